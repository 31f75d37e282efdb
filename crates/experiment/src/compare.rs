//! Whether one row of the table is better than another by more than chance.

use robustify_bench::metrics::{SELECTED, SINGLE};
use robustify_bench::{Blend, Bootstrap, Cell, Outcome, Scored, StatisticsError, paired_bootstrap, points, verdict};
use robustify_methods::title;

/// Which images every model and route got right, cell by cell, of one seed.
pub type Outcomes = Vec<(Cell, Vec<Outcome>)>;

/// The row that others are compared with.
const OURS: (&str, &str) = ("robustify", SELECTED);

/// Routes of our own model that are compared with the configured one, with their names for people.
const OWN: [(&str, &str); 6] = [
    ("combined", "its combined head alone"),
    ("product", "the paper's product rule"),
    ("kl", "without U (KL alone)"),
    ("uncertainty", "without KL (U alone)"),
    ("max_prob", "max probability"),
    ("mean", "mean of its heads"),
];

/// A sentence for every row that Robustify is compared with: the difference of mean corruption accuracy, with a paired bootstrap
/// interval over image identities and seeds, and that of clean accuracy. Nothing without Robustify.
///
/// # Errors
/// Seeds that were measured on different cells.
pub fn verdicts(seeds: &[&Outcomes]) -> Result<Vec<String>, StatisticsError> {
    let Some(first) = seeds.first().and_then(|outcomes| outcomes.first()) else { return Ok(Vec::new()) };
    let rows: Vec<(&str, &str)> =
        first.1.iter().map(|outcome| (outcome.model.as_str(), outcome.route.as_str())).collect();
    if !rows.contains(&OURS) {
        return Ok(Vec::new());
    }
    let mut sentences = Vec::new();
    for &(model, route) in &rows {
        let main = [SINGLE, SELECTED].contains(&route) || (route == Blend::MAIN && !rows.contains(&(model, SELECTED)));
        if main && (model, route) != OURS {
            sentences.push(sentence(seeds, (model, route), &title(model))?);
        }
    }
    for (route, name) in OWN.into_iter().filter(|(route, _)| rows.contains(&(OURS.0, route))) {
        sentences.push(sentence(seeds, (OURS.0, route), name)?);
    }
    Ok(sentences)
}

fn sentence(seeds: &[&Outcomes], other: (&str, &str), name: &str) -> Result<String, StatisticsError> {
    let compare = |shifted: bool| {
        let of = |row| seeds.iter().map(|outcomes| scored(outcomes, row, shifted)).collect::<Vec<_>>();
        paired_bootstrap(&of(OURS), &of(other), &Bootstrap::default())
    };
    let shifted = compare(true)?;
    let clean = compare(false)?.difference;
    let (images, count) = (shifted.images, shifted.seeds);
    let text = verdict("robustify", name, &shifted.difference, images, count);
    let [estimate, low, high] = [clean.estimate, clean.low, clean.high].map(points);
    Ok(format!("{text}, clean {estimate} ({low} to {high})"))
}

/// What one row got right in the clean cell, or in all shifted ones.
fn scored<'a>(outcomes: &'a Outcomes, (model, route): (&str, &str), shifted: bool) -> Vec<Scored<'a>> {
    let cells = outcomes.iter().filter(|(cell, _)| cell.is_shifted() == shifted);
    let rows = cells.filter_map(|(cell, rows)| {
        let row = rows.iter().find(|row| row.model == model && row.route == route)?;
        Some(Scored { corruption: cell.corruption(), right: row.right.clone() })
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use robustify_augment::{Corruption, Severity};
    use robustify_bench::Shift;

    use super::*;

    fn outcomes(ours: bool) -> Outcomes {
        let row = |model: &str, route: &str, right: &dyn Fn(u64) -> bool| Outcome {
            model: model.into(),
            route: route.into(),
            right: (0..200).map(|id| (id, right(id))).collect(),
        };
        let fog = Shift::Corrupted(Corruption::Fog, Severity::try_from(3).unwrap());
        let cell = |shift| {
            let mut rows = vec![row("original", SINGLE, &|id| id % 2 == 0)];
            if ours {
                rows.push(row("robustify", SELECTED, &|id| id % 4 != 1));
                rows.push(row("robustify", "combined", &|id| id % 4 != 3));
            }
            (Cell::new(shift), rows)
        };
        vec![cell(Shift::Clean), cell(fog)]
    }

    #[test]
    fn a_sentence_has_the_difference_and_an_interval_around_it() {
        let one = outcomes(true);
        let said = verdicts(&[&one, &one]).unwrap();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("robustify − original: +25.0 points of mean corruption accuracy"), "{}", said[0]);
        assert!(said[0].contains("200 images, 2 seeds"), "{}", said[0]);
        // Each is right on as many images, so the interval holds zero.
        assert!(said[1].contains("its combined head alone: 0.0 points") && said[1].contains("−"), "{}", said[1]);
        assert_eq!(verdicts(&[&outcomes(false)]).unwrap(), Vec::<String>::new());
    }
}
