//! The arena: every way to answer with stored answers against the paper's product rule, each with a paired interval.

use std::path::Path;

use anyhow::Context as _;
use robustify_bench::metrics::SELECTED;
use robustify_bench::{Bootstrap, Comparison, Interval, JointBootstrap, StatisticsError, reads_passes};
use robustify_methods::place;
use robustify_report::{Style, Table, write_atomic};
use serde_json::{Value, json};

use crate::compare::{Outcomes, scored};
use crate::results::{Costs, Facts};
use crate::table::{costs_of, is_variant, name_of_route};
use crate::wrap::wrapped;

/// The arena's numbers, in a run's folder.
pub const FILE: &str = "arena.json";

/// What everything is compared with.
const BASELINE: (&str, &str) = ("robustify", "product");

/// Routes that read labels: limits, and no way to answer.
const LIMITS: [&str; 1] = ["oracle"];

/// Every rule, mixture, ensemble and control of one run, or of several seeds, best first.
pub struct Arena {
    entries: Vec<Entry>,
    passes: usize,
    images: usize,
    seeds: usize,
}

/// One way to answer.
struct Entry {
    model: String,
    route: String,
    /// Accuracies, fractions: clean, and mean over corruptions.
    accuracy: [f64; 2],
    /// Less the baseline's: clean, and mean over corruptions.
    difference: [Comparison; 2],
    /// Less those of the best of all: mean over corruptions.
    behind: Comparison,
    /// Monte Carlo passes that it reads.
    passes: usize,
    /// Time of one image over the original's, if it is known.
    inference: Option<f64>,
    /// Whether it is a rule or mixture of three heads.
    has_heads: bool,
}

impl Entry {
    /// Whether it is as good as the best, for all that is known.
    fn is_among_the_best(&self) -> bool {
        !LIMITS.contains(&self.route.as_str()) && self.behind.difference.high >= 0.0
    }

    /// Which of two entries stands first: the more accurate one under corruption.
    fn before(&self, other: &Self) -> std::cmp::Ordering {
        other.accuracy[1].total_cmp(&self.accuracy[1])
    }

    fn name(&self) -> String {
        name_of_route(&self.model, &self.route, self.has_heads)
    }
}

impl Arena {
    /// From which images every model and route got right, for each seed. Nothing without heads that a rule chooses between, or without
    /// corruptions.
    ///
    /// # Errors
    /// Seeds that were measured on different cells.
    pub(crate) fn new(
        seeds: &[&Outcomes],
        facts: &Facts,
        costs: &[(String, Costs)],
    ) -> Result<Option<Self>, StatisticsError> {
        let Some((_, first)) = seeds.first().and_then(|outcomes| outcomes.first()) else { return Ok(None) };
        let all = first.iter().map(|outcome| (outcome.model.as_str(), outcome.route.as_str()));
        // The configured rule stands under its own name, and of a method's variants the table has the numbers.
        let rows: Vec<(&str, &str)> = all.filter(|(model, route)| *route != SELECTED && !is_variant(model)).collect();
        let Some(baseline) = rows.iter().position(|row| *row == BASELINE) else { return Ok(None) };
        let shifts = seeds[0].iter().filter(|(cell, _)| cell.is_corrupted()).count();
        if shifts == 0 {
            return Ok(None);
        }
        let resampled = |shifted: bool| {
            let of = |row: &(&str, &str)| seeds.iter().map(|outcomes| scored(outcomes, *row, shifted)).collect();
            JointBootstrap::of(&rows.iter().map(of).collect::<Vec<_>>(), &Bootstrap::default())
        };
        let [clean, shifted] = [resampled(false)?, resampled(true)?];
        let possible = (0..rows.len()).filter(|&row| !LIMITS.contains(&rows[row].1));
        let better =
            |best: usize, row: usize| if shifted.accuracies[row] > shifted.accuracies[best] { row } else { best };
        let best = possible.fold(baseline, better);
        let has_heads = |model: &str| first.iter().any(|outcome| outcome.model == model && outcome.route == SELECTED);
        let entry = |(row, (model, route)): (usize, &(&str, &str))| {
            let has_heads = has_heads(model);
            let one_pass = !(has_heads && reads_passes(route));
            Entry {
                model: (*model).to_owned(),
                route: (*route).to_owned(),
                accuracy: [clean.accuracies[row], shifted.accuracies[row]],
                difference: [clean.compare(row, baseline), shifted.compare(row, baseline)],
                behind: shifted.compare(row, best),
                passes: if one_pass { 1 } else { facts.passes },
                inference: inference(costs, model, one_pass),
                has_heads,
            }
        };
        let mut entries: Vec<Entry> = rows.iter().enumerate().map(entry).collect();
        // Of equals the cheaper one, then the one that tables have first.
        entries.sort_by(|a, b| a.before(b).then(a.passes.cmp(&b.passes)).then(place(&a.model).cmp(&place(&b.model))));
        let images = shifted.compare(best, baseline).images;
        Ok(Some(Self { entries, passes: facts.passes, images, seeds: seeds.len() }))
    }

    /// Writes all numbers, as fractions.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let entries: Vec<Value> = self.entries.iter().map(Entry::json).collect();
        let text = serde_json::to_string_pretty(&json!({
            "baseline": { "model": BASELINE.0, "route": BASELINE.1 },
            "level": 0.95,
            "images": self.images,
            "seeds": self.seeds,
            "entries": entries,
        }))? + "\n";
        let path = folder.join(FILE);
        write_atomic(&path, text.as_bytes()).with_context(|| path.display().to_string())
    }

    /// The arena for people, in lines of `width` columns as far as names and numbers allow it.
    pub(crate) fn text(&self, width: usize) -> String {
        let seeds = if self.seeds > 1 { format!(" and {} seeds", self.seeds) } else { String::new() };
        let headline = format!(
            "Arena: every way to answer against robustify's product of U and KL (T = {}), by mean corruption accuracy. Rows without \
             a model's name are robustify's heads. Differences in points with 95 % intervals (paired bootstrap over {} images{seeds}).",
            self.passes, self.images
        );
        let mut table = Table::new(["", "mean", "less the product's", "clean", "less the product's", "passes", "time"]);
        for entry in &self.entries {
            let mark = if entry.is_among_the_best() { "*" } else { " " };
            let [clean, mean] = entry.accuracy.map(|accuracy| format!("{:.1}", 100.0 * accuracy));
            let [clean_less, mean_less] = entry.difference.map(|comparison| comparison.difference.in_points());
            let is_limit = LIMITS.contains(&entry.route.as_str());
            let passes = if is_limit { "–".into() } else { entry.passes.to_string() };
            let inference = entry.inference.filter(|_| !is_limit).map_or("–".into(), |ratio| format!("{ratio:.2}"));
            table.row([format!("{mark} {}", entry.name()), mean, mean_less, clean, clean_less, passes, inference]);
        }
        let legend = wrapped(
            "*: not shown to differ from the best in mean corruption accuracy. Each interval is for its own pair: of twenty true zeros one \
             is missed. passes: Monte Carlo dropout passes that are read, 1 without dropout; time: of one image, over the \
             original's; –: a limit, which reads labels, or not measured now.",
            "",
            width,
        );
        format!("{}\n{}\n{legend}{}", wrapped(&headline, "", width), table.render(Style::Plain), self.cheapest(width))
    }

    /// What to take: the cheapest that is not shown to differ from the best, and how it stands to the baseline.
    fn cheapest(&self, width: usize) -> String {
        let candidates = self.entries.iter().filter(|entry| entry.is_among_the_best());
        let cost = |entry: &Entry| (entry.passes, entry.inference.unwrap_or(f64::INFINITY));
        // The first of equals is the most accurate one.
        let cheaper = |best: Option<&Entry>, next: &Entry| {
            let [best_cost, next_cost] = [best.map_or((usize::MAX, 0.0), cost), cost(next)];
            next_cost.0 < best_cost.0 || (next_cost.0 == best_cost.0 && next_cost.1 < best_cost.1)
        };
        let found = candidates.fold(None, |best, next| if cheaper(best, next) { Some(next) } else { best });
        let Some(entry) = found else { return String::new() };
        let said = format!(
            "The cheapest of those marked: {}; less the product's {} mean, {} clean.",
            entry.name(),
            entry.difference[1].difference.in_points(),
            entry.difference[0].difference.in_points()
        );
        wrapped(&said, "", width)
    }
}

impl Entry {
    fn json(&self) -> Value {
        let compared = |comparison: &Comparison| {
            let Interval { estimate, low, high, .. } = comparison.difference;
            json!({ "estimate": estimate, "low": low, "high": high, "p": comparison.p })
        };
        json!({
            "model": self.model,
            "route": self.route,
            "clean": self.accuracy[0],
            "mean": self.accuracy[1],
            "clean_difference": compared(&self.difference[0]),
            "mean_difference": compared(&self.difference[1]),
            "mean_behind_best": compared(&self.behind),
            "is_among_the_best": self.is_among_the_best(),
            "reads_labels": LIMITS.contains(&self.route.as_str()),
            "passes": self.passes,
            "inference": self.inference,
        })
    }
}

/// Time of one image over the original's; of a blend that of all members.
fn inference(costs: &[(String, Costs)], model: &str, one_pass: bool) -> Option<f64> {
    let original = costs_of(costs, "original").first()?.inference?;
    let time = |costs: &Costs| costs.inference_one_pass.filter(|_| one_pass).or(costs.inference);
    let times: Option<Vec<f64>> = costs_of(costs, model).iter().map(time).collect();
    times.filter(|times| !times.is_empty()).map(|times| times.iter().sum::<f64>() / original)
}

#[cfg(test)]
mod tests {
    use robustify_augment::{Corruption, Severity};
    use robustify_bench::{Cell, Outcome, Shift};

    use super::*;

    fn outcomes() -> Outcomes {
        let row = |model: &str, route: &str, right: &dyn Fn(u64) -> bool| Outcome {
            model: model.into(),
            route: route.into(),
            right: (0..200).map(|id| (id, right(id))).collect(),
        };
        let fog = Shift::Corrupted(Corruption::Fog, Severity::try_from(3).unwrap());
        let cell = |shift| {
            let rows = vec![
                row("original", "single", &|id| id % 2 == 0),
                row("robustify", SELECTED, &|id| id % 4 != 1),
                row("robustify", "product", &|id| id % 4 != 1),
                row("robustify", "mean_deterministic", &|id| id % 4 != 2),
                row("robustify", "oracle", &|_| true),
                row("robustify-without_kd", "product", &|_| true),
            ];
            (Cell::new(shift), rows)
        };
        vec![cell(Shift::Clean), cell(fog)]
    }

    fn arena(outcomes: &Outcomes) -> Option<Arena> {
        let facts = Facts { passes: 10, ..Facts::default() };
        let costs = |inference, inference_one_pass| Costs {
            inference: Some(inference),
            inference_one_pass,
            ..Costs::default()
        };
        let costs = [("original".to_owned(), costs(2.0, None)), ("robustify".to_owned(), costs(3.0, Some(2.5)))];
        Arena::new(&[outcomes, outcomes], &facts, &costs).unwrap()
    }

    #[test]
    fn the_best_come_first_with_what_they_differ_by_and_cost() {
        let outcomes = outcomes();
        let arena = arena(&outcomes).unwrap();
        let order: Vec<(&str, usize, Option<f64>)> =
            arena.entries.iter().map(|entry| (entry.route.as_str(), entry.passes, entry.inference)).collect();
        // Two are as accurate as each other: the one without passes stands first.
        let (one, all) = (Some(1.25), Some(1.5));
        assert_eq!(order[1..3], [("mean_deterministic", 1, one), ("product", 10, all)]);
        assert_eq!((order[0].0, order[3]), ("oracle", ("single", 1, Some(1.0))));
        let starred: Vec<bool> = arena.entries.iter().map(Entry::is_among_the_best).collect();
        assert_eq!(starred, [false, true, true, false]);
        let text = arena.text(120);
        let unwrapped = text.replace('\n', " ");
        assert!(unwrapped.contains("over 200 images and 2 seeds"), "{text}");
        assert!(unwrapped.contains("The cheapest of those marked: mean of the heads, one pass; less"), "{text}");
        let line = text.lines().find(|line| line.trim_start().starts_with("original")).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        assert!(line.contains("50.0") && line.contains("−25.0 (−"), "{line}");
    }

    #[test]
    fn there_is_none_without_the_product_or_without_corruptions() {
        let mut clean = outcomes();
        clean.truncate(1);
        assert!(arena(&clean).is_none());
        let mut without = outcomes();
        without.iter_mut().for_each(|(_, rows)| rows.retain(|row| row.route != "product"));
        assert!(arena(&without).is_none());
    }
}
