//! DaWin: coefficients in all their forms, the selective choice, and the clusters of the weight form.

use anyhow::{Context as _, Result};
use robustify_select::{BetaMixture, dawin};

use crate::oracle::Oracle;

pub fn check(oracle: &mut Oracle) -> Result<()> {
    let (original, tuned) = (rows(oracle, "in.zs_logits")?, rows(oracle, "in.ft_logits")?);
    let labels = oracle.labels("in.labels")?;
    let entropies = |temperatures: [f64; 2]| -> Vec<[f64; 2]> {
        let of = |(zs, ft): (&Vec<f64>, &Vec<f64>)| {
            [dawin::entropy(zs, temperatures[0]), dawin::entropy(ft, temperatures[1])]
        };
        original.iter().zip(&tuned).map(of).collect()
    };
    let plain = entropies([1.0; 2]);
    let column = |k: usize| plain.iter().map(|pair| pair[k]).collect::<Vec<f64>>();
    oracle.expect("out.entropy.zs", &column(0))?;
    oracle.expect("out.entropy.ft", &column(1))?;
    let selective: Vec<f64> = plain.iter().map(|&[zs, ft]| f64::from(u8::from(dawin::takes_tuned(zs, ft)))).collect();
    oracle.expect("out.selective", &selective)?;
    for output in oracle.names("out.coef.") {
        let form = output.trim_start_matches("out.coef.");
        let found = if form.starts_with("cross_entropy") {
            let temperatures = temperatures(oracle, form)?;
            let target = |image: usize| match form.contains("labels") {
                true => one_hot(labels[image], original[image].len()),
                false => dawin::soft_label([&original[image], &tuned[image]], temperatures),
            };
            let of = |image: usize| {
                let [zs, ft] = dawin::cross_entropies([&original[image], &tuned[image]], &target(image));
                dawin::coefficient(zs, ft, [0.0, 2.0])
            };
            (0..original.len()).map(of).collect::<Vec<f64>>()
        } else {
            let pairs = entropies(temperatures(oracle, form)?);
            let mut offset = [0.0, 2.0];
            if form.contains("offset") {
                offset = dawin::offset(&pairs)?;
                oracle.expect(&format!("out.offset.{form}"), &offset)?;
            }
            pairs.into_iter().map(|[zs, ft]| dawin::coefficient(zs, ft, offset)).collect()
        };
        oracle.expect(&output, &found)?;
    }
    let data: Vec<f64> = oracle.values("in.bmm.data")?.values.clone();
    let clusters = oracle.number("mixtures")? as usize;
    ["f32", "f64"].iter().try_for_each(|precision| mixture(oracle, precision, &data, clusters))
}

/// Those of a form: 1, or a model's of the settings, whose name the form ends in (`b32` for `ViT-B/32`).
fn temperatures(oracle: &Oracle, form: &str) -> Result<[f64; 2]> {
    let table = oracle.config["temperature_scales"].as_object().context("config.temperature_scales is no table")?;
    let short = |name: &str| name.trim_start_matches("ViT-").replace('/', "").to_lowercase();
    let found = table.iter().find(|(name, _)| form.ends_with(&format!("_{}", short(name))));
    found.map_or(Ok([1.0; 2]), |(name, scales)| serde_json::from_value(scales.clone()).with_context(|| name.clone()))
}

fn one_hot(label: usize, classes: usize) -> Vec<f64> {
    (0..classes).map(|class| f64::from(u8::from(class == label))).collect()
}

fn rows(oracle: &Oracle, name: &str) -> Result<Vec<Vec<f64>>> {
    let values = oracle.values(name)?;
    let width = *values.shape.last().with_context(|| format!("tensor {name} has no dimension"))?;
    Ok(values.values.chunks_exact(width).map(<[f64]>::to_vec).collect())
}

/// Clusters have no order: ours and the file's are compared by their means.
fn mixture(oracle: &mut Oracle, precision: &str, data: &[f64], clusters: usize) -> Result<()> {
    let rounds = oracle.names(&format!("in.bmm.{precision}.init_labels."));
    let rounds = rounds.iter().map(|name| oracle.labels(name)).collect::<Result<Vec<_>>>()?;
    let found = BetaMixture::fit(data, clusters, &rounds).context("nothing to fit")?;
    let name = |of: &str| format!("out.bmm.{precision}.{of}");
    let (ours, theirs) = (order(&found.means()), order(&oracle.values(&name("mean"))?.values));
    for (of, values) in [
        ("mean", found.means()),
        ("weights", found.weights.clone()),
        ("alpha", found.alpha.clone()),
        ("beta", found.beta.clone()),
    ] {
        let want = oracle.values(&name(of))?.values.clone();
        oracle.compare(&name(of), &picked(&values, &ours), &picked(&want, &theirs))?;
    }
    oracle.expect(&name("lower_bound"), &[found.likelihood])?;
    let want = rows(oracle, &name("posterior"))?;
    let posteriors =
        |rows: Vec<Vec<f64>>, order: &[usize]| rows.iter().flat_map(|row| picked(row, order)).collect::<Vec<f64>>();
    let got = data.iter().map(|x| found.posterior(*x)).collect();
    oracle.compare(&name("posterior"), &posteriors(got, &ours), &posteriors(want, &theirs))?;
    let place =
        |order: &[usize], cluster: usize| order.iter().position(|of| *of == cluster).unwrap_or(usize::MAX) as f64;
    let got: Vec<f64> = data.iter().map(|x| place(&ours, found.assign(*x))).collect();
    let want: Vec<f64> =
        oracle.labels(&name("assignment"))?.into_iter().map(|cluster| place(&theirs, cluster)).collect();
    oracle.compare(&name("assignment"), &got, &want)
}

/// Places of clusters in ascending order of their means.
fn order(means: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..means.len()).collect();
    order.sort_by(|a, b| means[*a].total_cmp(&means[*b]));
    order
}

fn picked(values: &[f64], order: &[usize]) -> Vec<f64> {
    order.iter().map(|place| values[*place]).collect()
}
