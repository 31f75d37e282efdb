//! Numbers over several cells, and differences between models.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use robustify_augment::Group;
use robustify_bench::metrics::summaries;
use robustify_bench::robustness::{Baseline, Trend};
use robustify_bench::{Bootstrap, Comparison, paired_effects};
use robustify_report::evaluation::{ComparisonRecord, ResultRecord, SuiteRecord};
use robustify_report::{Row, leaderboard};

use crate::plan::{Plan, PlannedCell, PlannedSuite};

/// Draws of a bootstrap. With 2,000 the ends of an interval of 95 % are known to a few hundredths of its width.
const RESAMPLES: usize = 2_000;

/// What each image adds to a model's accuracies, by identity: on clean images, and to the mean over corruptions or other shifts.
#[derive(Clone, Debug, Default)]
pub(super) struct Effects([HashMap<u64, f64>; 2]);

impl Effects {
    /// Adds a cell, one of `cells`: every shift weighs the same, and so do its severities.
    pub fn add(&mut self, cells: &[PlannedCell], cell: &PlannedCell, right: &[(u64, bool)]) {
        let severities = cells.iter().filter(|other| other.shift == cell.shift).count();
        let mut shifts: Vec<&str> = cells.iter().filter_map(|cell| cell.shift.as_deref()).collect();
        shifts.sort_unstable();
        shifts.dedup();
        let (place, alike) = match cell.shift {
            None => (0, 1),
            Some(_) => (1, severities * shifts.len()),
        };
        let weight = 1.0 / (alike * right.len()).max(1) as f64;
        for (id, right) in right {
            *self.0[place].entry(*id).or_default() += if *right { weight } else { 0.0 };
        }
    }

    /// The interval of an accuracy (0: clean, 1: under shift), less that of another model if one is given. None without such images.
    fn compared(&self, place: usize, other: Option<&Self>) -> Result<Option<Comparison>> {
        let mut own: Vec<(u64, f64)> = self.0[place].iter().map(|(id, sum)| (*id, *sum)).collect();
        own.sort_unstable_by_key(|(id, _)| *id);
        let less = |id: &u64| other.and_then(|other| other.0[place].get(id)).copied().unwrap_or_default();
        let effects: Vec<f64> = own.iter().map(|(id, sum)| sum - less(id)).collect();
        if effects.is_empty() {
            return Ok(None);
        }
        Ok(Some(paired_effects(effects, &Bootstrap { resamples: RESAMPLES, ..Bootstrap::default() })?))
    }
}

/// The names of what is compared, by its place in [`Effects`].
const COMPARED: [&str; 2] = ["accuracy", "mean_accuracy"];

/// Every model against the first, by the routes that stand for them.
pub(super) fn comparisons(
    plan: &Plan,
    suite: &PlannedSuite,
    effects: &HashMap<String, Effects>,
) -> Result<Vec<ComparisonRecord>> {
    let mut found = Vec::new();
    let Some((first, others)) = plan.models.split_first() else { return Ok(found) };
    let Some(base) = effects.get(&first.name) else { return Ok(found) };
    let is_measured = measured(suite);
    for (model, own) in others.iter().filter_map(|model| Some((model, effects.get(&model.name)?))) {
        for (place, metric) in COMPARED.iter().enumerate().filter(|(place, _)| is_measured[*place]) {
            let Some(compared) = own.compared(place, Some(base))? else { continue };
            found.push(ComparisonRecord {
                suite: suite.name.clone(),
                metric: (*metric).to_owned(),
                first: [model.name.clone(), model.main_route.clone()],
                second: [first.name.clone(), first.main_route.clone()],
                difference: compared.difference.estimate,
                interval: [compared.difference.low, compared.difference.high],
                images: compared.images as u64,
            });
        }
    }
    Ok(found)
}

/// Whether there are clean images, and shifted ones.
fn measured(suite: &PlannedSuite) -> [bool; 2] {
    let has =
        |shifted: bool| suite.groups.iter().flat_map(|group| &group.cells).any(|cell| cell.shift.is_some() == shifted);
    [has(false), has(true)]
}

/// Means over cells, mCE and intervals, for each model and route in the order of the rows.
pub(super) fn totals(
    plan: &Plan,
    suite: &PlannedSuite,
    rows: &[Row],
    effects: &HashMap<String, Effects>,
) -> Result<Vec<ResultRecord>> {
    let mut totals: Vec<ResultRecord> = Vec::new();
    let mut metrics: Vec<&str> = rows.iter().map(|row| row.metric.as_str()).collect();
    metrics.sort_unstable();
    metrics.dedup();
    for metric in metrics {
        for summary in summaries(rows, metric) {
            let known = totals.iter().position(|total| total.model == summary.model && total.route == summary.route);
            let place = known.unwrap_or_else(|| {
                let (model, route) = (summary.model.clone(), summary.route.clone());
                totals.push(ResultRecord { model, route, ..Default::default() });
                totals.len() - 1
            });
            let mut put = |name: String, value: f64| {
                if value.is_finite() {
                    totals[place].metrics.insert(name, value);
                }
            };
            put(format!("clean_{metric}"), summary.clean);
            put(format!("mean_{metric}"), summary.mean);
            if metric == "accuracy" {
                for (group, value) in Group::TEST.into_iter().zip(&summary.groups) {
                    put(format!("mean_accuracy_{group}"), *value);
                }
                put("pooled_accuracy".into(), summary.pooled);
                let shifts = summary.shifts.iter().map(|(_, value)| value);
                put("mean_accuracy_shifts".into(), shifts.clone().sum::<f64>() / shifts.count() as f64);
            }
            if metric == "f_correct" {
                // Clean images are to go to the clean head, shifted ones to the robust head; each kind counts one half.
                put("f_correct".into(), (summary.clean + summary.pooled_shifted) / 2.0);
            }
            if metric == "right_choice" {
                put("right_choice".into(), summary.pooled);
            }
        }
    }
    // In the order in which routes first appear.
    let place = |total: &ResultRecord| rows.iter().position(|row| row.model == total.model && row.route == total.route);
    totals.sort_by_key(place);
    for total in &mut totals {
        if suite.is_imagenet {
            total.metrics.extend(corruption_errors(rows, total));
        }
        let main = plan.models.iter().find(|model| model.name == total.model && model.main_route == total.route);
        let Some(own) = main.and_then(|model| effects.get(&model.name)) else { continue };
        for (place, metric) in ["clean_accuracy", "mean_accuracy"].into_iter().enumerate() {
            let has = total.metrics.contains_key(metric) || total.metrics.contains_key("mean_accuracy_shifts");
            if let Some(found) = own.compared(place, None)?.filter(|_| has && measured(suite)[place]) {
                total.intervals.insert(metric.to_owned(), [found.difference.low, found.difference.high]);
            }
        }
    }
    Ok(totals)
}

/// mCE and relative mCE in percent of AlexNet's errors, where all fifteen corruptions were measured at all five severities.
fn corruption_errors(rows: &[Row], of: &ResultRecord) -> Vec<(String, f64)> {
    let own = rows.iter().filter(|row| row.model == of.model && row.route == of.route && row.metric == "accuracy");
    let (mut clean, mut errors): (Option<f64>, BTreeMap<String, Vec<f64>>) = (None, BTreeMap::new());
    for row in own {
        match (&row.corruption, row.severity) {
            (None, _) => clean = Some(1.0 - row.value),
            (Some(corruption), Some(_)) => errors.entry(corruption.clone()).or_default().push(1.0 - row.value),
            _ => {}
        }
    }
    let is_whole = errors.values().all(|errors| errors.len() == 5);
    let found = Baseline::alexnet().compare(clean.unwrap_or(f64::NAN), &errors).filter(|_| is_whole);
    let named = |found: robustify_bench::robustness::CorruptionError| {
        let both = [("mce", found.mean), ("relative_mce", found.relative_mean)];
        both.into_iter().filter(|(_, value)| value.is_finite()).map(|(name, value)| (name.to_owned(), value)).collect()
    };
    found.map(named).unwrap_or_default()
}

/// Effective robustness on suites for which results of published models are known, where ImageNet itself was measured as well: accuracy
/// beyond the trend of these models, see [`Trend`].
pub(super) fn effective(suites: &mut [SuiteRecord]) {
    let Some(imagenet) = suites.iter().find(|suite| suite.name == "imagenet") else { return };
    let of = |total: &ResultRecord| {
        Some(((total.model.clone(), total.route.clone()), *total.metrics.get("clean_accuracy")?))
    };
    let clean: HashMap<(String, String), f64> = imagenet.totals.iter().filter_map(of).collect();
    for suite in suites {
        let published = leaderboard::references(&suite.name);
        let Some(trend) = Trend::fit(&published) else { continue };
        let mut is_known = false;
        for total in &mut suite.totals {
            let clean =
                clean.get(&(total.model.clone(), total.route.clone())).filter(|clean| (0.0..1.0).contains(*clean));
            let shifted = total.metrics.get("mean_accuracy_shifts");
            if let (Some(&clean), Some(&shifted)) = (clean.filter(|clean| **clean > 0.0), shifted) {
                total.metrics.insert("effective_robustness".to_owned(), trend.effective([clean, shifted]));
                is_known = true;
            }
        }
        if is_known {
            suite.notes.push(format!(
                "effective robustness: accuracy beyond what that on ImageNet lets expect, by the trend of {} models of timm's results",
                published.len()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_model_is_about_as_robust_as_expected() {
        let total = |metric: &str, value: f64| ResultRecord {
            model: "resnet50".to_owned(),
            route: "single".to_owned(),
            metrics: BTreeMap::from([(metric.to_owned(), value)]),
            ..Default::default()
        };
        let suite = |name: &str, total: ResultRecord| SuiteRecord {
            name: name.to_owned(),
            totals: vec![total],
            ..Default::default()
        };
        // torchvision's, by timm's results.
        let mut suites = [
            suite("imagenet-r", total("mean_accuracy_shifts", 0.361)),
            suite("imagenet", total("clean_accuracy", 0.761)),
        ];
        effective(&mut suites);
        let found = suites[0].totals[0].metrics["effective_robustness"];
        assert!(found.abs() < 0.08 && suites[0].notes[0].contains("16 models"), "{found} {:?}", suites[0].notes);
        assert!(!suites[1].totals[0].metrics.contains_key("effective_robustness"));
    }

    #[test]
    fn mce_takes_all_fifteen_corruptions_at_all_severities() {
        let alexnet = Baseline::alexnet();
        let row = |corruption: Option<&String>, severity, error: f64| Row {
            model: "alexnet".to_owned(),
            suite: "imagenet-c".to_owned(),
            corruption: corruption.cloned(),
            severity,
            route: "single".to_owned(),
            metric: "accuracy".to_owned(),
            value: 1.0 - error,
            count: 50_000,
        };
        let mut rows = vec![row(None, None, alexnet.clean)];
        for (name, error) in &alexnet.corruptions {
            rows.extend((1..=5).map(|severity| row(Some(name), Some(severity), *error)));
        }
        let of = ResultRecord { model: "alexnet".to_owned(), route: "single".to_owned(), ..Default::default() };
        let found: BTreeMap<String, f64> = corruption_errors(&rows, &of).into_iter().collect();
        assert!((found["mce"] - 100.0).abs() < 1e-9 && (found["relative_mce"] - 100.0).abs() < 1e-9, "{found:?}");
        assert_eq!(corruption_errors(&rows[..rows.len() - 1], &of), []);
        // Without the clean cell there is no relative one.
        let names: Vec<String> = corruption_errors(&rows[1..], &of).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["mce"]);
    }
}
