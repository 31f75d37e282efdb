//! Metrics: calibration, corruption error, class maps, effective robustness, intervals and tests, segmentation, top-k.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use robustify_bench::calibration::{SizedBins, expected_calibration_error, in_top};
use robustify_bench::robustness::{Baseline, Trend};
use robustify_bench::segmentation::Confusion;
use robustify_bench::{ClassMap, Reliability, Scored, mcnemar_exact, mcnemar_mid, paired_on};
use robustify_select::argmax;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::oracle::Oracle;

pub fn check(oracle: &mut Oracle) -> Result<()> {
    let all = oracle.json.as_object().context("a table of metrics is expected")?.clone();
    for (name, case) in &all {
        let check = match name.as_str() {
            _ if name.starts_with("calibration") => calibration,
            "mce" => corruption_error,
            "class_mask" => class_mask,
            "objectnet_max_projection" => projection,
            "effective_robustness" => effective,
            "bootstrap" => bootstrap,
            "mcnemar_exact" => mcnemar,
            "segmentation" => segmentation,
            "top_k" => top_k,
            _ => anyhow::bail!("{name}: the library has no such metric"),
        };
        check(oracle, name, case).with_context(|| name.clone())?;
    }
    Ok(())
}

fn get<T: DeserializeOwned>(case: &Value, key: &str) -> Result<T> {
    serde_json::from_value(case[key].clone()).with_context(|| key.to_owned())
}

/// Compares numbers by name with those of a table; all of the table must be there.
fn expect(oracle: &mut Oracle, case: &str, got: &[(&str, f64)], want: &Value) -> Result<()> {
    let want: BTreeMap<String, Value> = serde_json::from_value(want.clone())?;
    for (name, value) in &want {
        let Some(value) = value.as_f64() else { continue };
        let (_, got) = got.iter().find(|(of, _)| of == name).with_context(|| format!("{name} is not computed"))?;
        oracle.compare(&format!("{case}.{name}"), &[*got], &[value])?;
    }
    Ok(())
}

fn calibration(oracle: &mut Oracle, name: &str, case: &Value) -> Result<()> {
    let (probabilities, labels) = match case.get("file") {
        None => (get::<Vec<Vec<f32>>>(case, "probs")?, get::<Vec<usize>>(case, "labels")?),
        Some(_) => {
            let entry = serde_json::json!({ "tolerance": "exact" });
            let file = Oracle::open(&oracle.folder, "metrics.safetensors", &entry)?;
            let probabilities = file.values("in.probs")?;
            let classes = *probabilities.shape.last().context("in.probs has no dimension")?;
            let rows = probabilities.values.chunks_exact(classes);
            (rows.map(|row| row.iter().map(|p| *p as f32).collect()).collect(), file.labels("in.labels")?)
        }
    };
    let answers = || probabilities.iter().zip(&labels).map(|(row, &label)| (row.as_slice(), label));
    let found = Reliability::of(answers()).context("no image")?;
    let told: Vec<(f64, bool)> =
        answers().map(|(row, label)| (f64::from(row[argmax(row)]), argmax(row) == label)).collect();
    // Written in decimals, which 32-bit floats round: such a case has the tolerance of those.
    let before = oracle.in_single_precision(case.get("file").is_none());
    let mut outputs: BTreeMap<String, f64> = get(case, "out")?;
    if let Some(table) = case.as_object() {
        let beside = table.iter().filter(|(key, _)| key.starts_with("ece_"));
        outputs.extend(beside.filter_map(|(key, value)| Some((key.clone(), value.as_f64()?))));
    }
    for (key, want) in outputs {
        let got = match key.as_str() {
            "accuracy" => found.accuracy,
            "mean_confidence" => found.confidence,
            "ece_15" => found.ece,
            "rms_calibration_error_15" => found.rms,
            "adaptive_ece_15" => found.adaptive_ece,
            "adaptive_rms_15" => found.adaptive_rms,
            "brier" => found.brier,
            "nll" => found.nll,
            other => with_number(other, &told).with_context(|| format!("the library has no {other}"))?,
        };
        oracle.compare(&format!("{name}.{key}"), &[got], &[want])?;
    }
    oracle.in_single_precision(before);
    Ok(())
}

/// A metric whose name holds the number of its bins, or of the images in a bin.
fn with_number(name: &str, told: &[(f64, bool)]) -> Option<f64> {
    if let Some(rest) = name.strip_prefix("hendrycks_rms_bin_size_") {
        let (size, form) = rest.split_once('_')?;
        let sized = SizedBins::of(told, size.parse().ok()?)?;
        return match form {
            "all_bins" => Some(sized.all),
            "as_coded" => Some(sized.published),
            _ => None,
        };
    }
    let bins = name.strip_prefix("ece_")?.trim_end_matches("_bins").parse().ok()?;
    Some(expected_calibration_error(told, bins))
}

fn corruption_error(oracle: &mut Oracle, name: &str, case: &Value) -> Result<()> {
    #[derive(Deserialize)]
    struct Case {
        name: String,
        clean_error: f64,
        errors: BTreeMap<String, Vec<f64>>,
        out: Out,
    }
    #[derive(Deserialize)]
    struct Out {
        mean_error: f64,
        mean_accuracy: f64,
        ce: BTreeMap<String, f64>,
        mce: f64,
        relative_ce: BTreeMap<String, f64>,
        relative_mce: f64,
    }
    let alexnet = Baseline::alexnet();
    let baseline = Baseline { clean: get(case, "alexnet_clean_error")?, corruptions: get(case, "alexnet_mean_error")? };
    oracle.expect_equal(&format!("{name}.alexnet"), &alexnet, &baseline)?;
    for case in get::<Vec<Case>>(case, "cases")? {
        let found = alexnet.compare(case.clean_error, &case.errors).context("a corruption is missing")?;
        let mean = mean_of_means(&case.errors);
        let values = |table: &BTreeMap<String, f64>| table.values().copied().collect::<Vec<_>>();
        for (of, got, want) in [
            ("mean_error", vec![mean], vec![case.out.mean_error]),
            ("mean_accuracy", vec![1.0 - mean], vec![case.out.mean_accuracy]),
            ("ce", values(&found.errors), values(&case.out.ce)),
            ("mce", vec![found.mean], vec![case.out.mce]),
            ("relative_ce", values(&found.relative), values(&case.out.relative_ce)),
            ("relative_mce", vec![found.relative_mean], vec![case.out.relative_mce]),
        ] {
            oracle.compare(&format!("{name}.{}.{of}", case.name), &got, &want)?;
        }
    }
    Ok(())
}

/// Of each corruption the mean over its severities, of these the mean, as the library's records have it.
fn mean_of_means(errors: &BTreeMap<String, Vec<f64>>) -> f64 {
    let row = |(corruption, values): (&String, &Vec<f64>)| {
        let row = |(severity, value): (usize, &f64)| robustify_report::Row {
            suite: "oracle".into(),
            corruption: Some(corruption.clone()),
            severity: Some(severity as u8 + 1),
            model: "oracle".into(),
            route: "single".into(),
            metric: "accuracy".into(),
            value: *value,
            count: 1,
        };
        values.iter().enumerate().map(row).collect::<Vec<_>>()
    };
    let rows: Vec<_> = errors.iter().flat_map(row).collect();
    robustify_bench::metrics::summaries(&rows, "accuracy").first().map_or(f64::NAN, |summary| summary.mean)
}

fn accuracy(scores: &[Vec<f32>], labels: &[usize]) -> f64 {
    let right = scores.iter().zip(labels).filter(|(scores, label)| argmax(scores) == **label).count();
    right as f64 / labels.len() as f64
}

fn class_mask(oracle: &mut Oracle, name: &str, case: &Value) -> Result<()> {
    let map = ClassMap::subset(get(case, "subset")?);
    let logits: Vec<Vec<f32>> = get(case, "logits")?;
    let masked = logits.iter().map(|row| map.project(row)).collect::<Result<Vec<_>, _>>()?;
    let predicted: Vec<usize> = masked.iter().map(|row| argmax(row)).collect();
    let output = format!("{name}.prediction_subset");
    oracle.expect_equal(&output, predicted, get(&case["out"], "prediction_subset")?)?;
    let masked = accuracy(&masked, &get::<Vec<usize>>(case, "labels_in_subset_order")?);
    let unmasked = accuracy(&logits, &get::<Vec<usize>>(case, "labels_original")?);
    expect(oracle, name, &[("accuracy", masked), ("unmasked_accuracy", unmasked)], &case["out"])
}

fn projection(oracle: &mut Oracle, name: &str, case: &Value) -> Result<()> {
    let groups: BTreeMap<String, Vec<usize>> = get(case, "groups")?;
    let mut numbered = groups.into_iter().map(|(class, ids)| Ok((class.parse()?, ids))).collect::<Result<Vec<_>>>()?;
    numbered.sort_by_key(|(class, _): &(usize, _)| *class);
    let map = ClassMap::groups(numbered.into_iter().map(|(_, ids)| ids).collect())?;
    let logits: Vec<Vec<f32>> = get(case, "logits")?;
    let projected = logits.iter().map(|row| map.project(row)).collect::<Result<Vec<_>, _>>()?;
    let want: Vec<Vec<f32>> = get(&case["out"], "projected")?;
    oracle.expect_equal(&format!("{name}.projected"), &projected, &want)?;
    let predicted: Vec<usize> = projected.iter().map(|row| argmax(row)).collect();
    oracle.expect_equal(&format!("{name}.prediction"), predicted, get(&case["out"], "prediction")?)?;
    let accuracy = accuracy(&projected, &get::<Vec<usize>>(case, "labels")?);
    expect(oracle, name, &[("accuracy", accuracy)], &case["out"])
}

fn effective(oracle: &mut Oracle, name: &str, case: &Value) -> Result<()> {
    let clean: Vec<f64> = get(case, "baseline_id")?;
    let shifted: Vec<f64> = get(case, "baseline_shift")?;
    let models: Vec<[f64; 2]> = clean.into_iter().zip(shifted).map(|(clean, shifted)| [clean, shifted]).collect();
    let trend = Trend::fit(&models).context("no trend")?;
    let model: [f64; 2] = [get(case, "model_id")?, get(case, "model_shift")?];
    let got = [
        ("slope", trend.slope),
        ("intercept", trend.intercept),
        ("expected_shift", trend.expected(model[0])),
        ("effective_robustness", trend.effective(model)),
        ("relative_robustness", model[1] - get::<f64>(case, "starting_model_shift")?),
    ];
    expect(oracle, name, &got, &case["out"])
}

fn bootstrap(oracle: &mut Oracle, name: &str, case: &Value) -> Result<()> {
    let scored = |hits: Vec<u8>| {
        let right = (0..).zip(hits).map(|(id, hit)| (id, hit == 1)).collect();
        vec![vec![Scored { corruption: "clean", right }]]
    };
    let (a, b) = (scored(get(case, "hits_a")?), scored(get(case, "hits_b")?));
    // Alone, a predictor is compared with one that is never right.
    let never: Vec<Vec<Scored<'_>>> =
        vec![vec![Scored { corruption: "clean", right: a[0][0].right.iter().map(|(id, _)| (*id, false)).collect() }]];
    let (resamples, level) = (get::<Vec<Vec<usize>>>(case, "resample_indices")?, get(case, "level")?);
    for (prefix, other) in [("", never), ("paired_", b)] {
        let found = paired_on(&a, &other, &resamples, level)?;
        let interval = found.comparison.difference;
        for (of, got) in [
            ("point", vec![interval.estimate]),
            ("replicates", found.replicates),
            ("interval", vec![interval.low, interval.high]),
        ] {
            let of = format!("{prefix}{of}");
            let want = match &case["out"][&of] {
                Value::Number(number) => vec![number.as_f64().context("a number is expected")?],
                _ => get(&case["out"], &of)?,
            };
            oracle.compare(&format!("{name}.{of}"), &got, &want)?;
        }
        if prefix == "paired_" {
            let want: f64 = get(&case["out"], "paired_p_two_sided")?;
            oracle.compare(&format!("{name}.paired_p_two_sided"), &[found.comparison.p], &[want])?;
        }
    }
    Ok(())
}

fn mcnemar(oracle: &mut Oracle, name: &str, case: &Value) -> Result<()> {
    let cases: Vec<BTreeMap<String, f64>> = get(case, "cases")?;
    let of = |key: &str| cases.iter().map(|case| case[key]).collect::<Vec<f64>>();
    let counts = || of("only_a_right").into_iter().zip(of("only_b_right"));
    let exact: Vec<f64> = counts().map(|(a, b)| mcnemar_exact(a as u64, b as u64)).collect();
    let mid: Vec<f64> = counts().map(|(a, b)| mcnemar_mid(a as u64, b as u64)).collect();
    oracle.compare(&format!("{name}.p"), &exact, &of("p"))?;
    oracle.compare(&format!("{name}.mid_p"), &mid, &of("mid_p"))
}

fn segmentation(oracle: &mut Oracle, name: &str, case: &Value) -> Result<()> {
    type Maps = Vec<Vec<Vec<usize>>>;
    let (classes, ignored) = (get::<usize>(case, "classes")?, get::<usize>(case, "ignore")?);
    let flat = |maps: Maps| maps.into_iter().map(|rows| rows.concat()).collect::<Vec<_>>();
    let truth = flat(get(case, "truth")?);
    for (number, case) in get::<Vec<Value>>(case, "cases")?.iter().enumerate() {
        let mut confusion = Confusion::new(classes, Some(ignored));
        for (truth, prediction) in truth.iter().zip(flat(get(case, "prediction")?)) {
            confusion.add(truth, &prediction)?;
        }
        let name = format!("{name}.{number}");
        let counts = |truth| (0..classes).map(move |prediction| (truth, prediction));
        let matrix: Vec<u64> = (0..classes).flat_map(counts).map(|(t, p)| confusion.count(t, p)).collect();
        let want = get::<Vec<Vec<u64>>>(&case["out"], "confusion_rows_truth")?.concat();
        oracle.expect_equal(&format!("{name}.confusion"), matrix, want)?;
        for (of, got) in [("iou", confusion.intersection_over_union()), ("class_accuracy", confusion.class_accuracy())]
        {
            let want: Vec<Option<f64>> = get(&case["out"], of)?;
            // A class that has none is as far from a number as can be.
            let number = |value: Option<f64>| value.unwrap_or(-1.0);
            let (got, want): (Vec<f64>, Vec<f64>) =
                (got.into_iter().map(number).collect(), want.into_iter().map(number).collect());
            oracle.compare(&format!("{name}.{of}"), &got, &want)?;
        }
        let value = |value: Option<f64>| value.unwrap_or(f64::NAN);
        let got = [
            ("miou", value(confusion.mean_intersection_over_union())),
            ("mean_accuracy", value(confusion.mean_accuracy())),
            ("pixel_accuracy", value(confusion.pixel_accuracy())),
        ];
        expect(oracle, &name, &got, &case["out"])?;
    }
    Ok(())
}

fn top_k(oracle: &mut Oracle, name: &str, case: &Value) -> Result<()> {
    let (logits, labels): (Vec<Vec<f32>>, Vec<usize>) = (get(case, "logits")?, get(case, "labels")?);
    for (of, want) in get::<BTreeMap<String, f64>>(case, "out")? {
        let k = of.trim_start_matches("top").parse()?;
        let right = logits.iter().zip(&labels).filter(|(row, label)| in_top(row, **label, k)).count();
        oracle.compare(&format!("{name}.{of}"), &[right as f64 / labels.len() as f64], &[want])?;
    }
    Ok(())
}
