//! Whether one row of the table is better than another by more than chance.

use robustify_bench::metrics::{SELECTED, SINGLE};
use robustify_bench::{Blend, Bootstrap, Cell, Interval, Outcome, Scored, StatisticsError, paired_bootstrap};
use robustify_methods::title;

/// Which images every model and route got right, cell by cell, of one seed.
pub type Outcomes = Vec<(Cell, Vec<Outcome>)>;

/// The row that others are compared with.
const OURS: (&str, &str) = ("robustify", SELECTED);

/// Routes of our own model that are compared with the configured one, with their names for people.
const OWN: [(&str, &str); 6] = [
    ("combined", "its combined head alone"),
    ("product", "the paper's product of U and KL"),
    ("kl", "KL alone (without U)"),
    ("uncertainty", "U alone (without KL)"),
    ("max_prob", "max probability"),
    ("mean", "the mean of its heads"),
];

/// What the numbers are, then a sentence for every row that Robustify is compared with: the difference of mean corruption accuracy,
/// with a paired bootstrap interval over image identities and seeds (over images only, of one seed), and that of clean accuracy.
/// Nothing without Robustify.
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
    let shifted = scored(seeds[0], OURS, true);
    // Of clean images alone there is no mean corruption accuracy to compare.
    let Some(images) = shifted.iter().map(|cell| cell.right.len()).max() else { return Ok(Vec::new()) };
    let over = match seeds.len() {
        1 => format!("{images} images only: one seed shows nothing of chance in training"),
        count => format!("{images} images and {count} seeds"),
    };
    let mut sentences = vec![format!(
        "Differences in points, of mean corruption accuracy and then of clean accuracy, with 95 % intervals (paired bootstrap over {over}):"
    )];
    for &(model, route) in &rows {
        let main = [SINGLE, SELECTED].contains(&route) || (route == Blend::MAIN && !rows.contains(&(model, SELECTED)));
        if main && (model, route) != OURS {
            sentences.push(sentence(seeds, (model, route), &title(model))?);
        }
    }
    // A rule that is the configured one is right on the same images: there is nothing to say of it.
    let is_ours = |route: &str| seeds.iter().all(|outcomes| outcomes.iter().all(|(_, rows)| same(rows, route)));
    for (route, name) in OWN.into_iter().filter(|(route, _)| rows.contains(&(OURS.0, route)) && !is_ours(route)) {
        sentences.push(sentence(seeds, (OURS.0, route), name)?);
    }
    Ok(sentences)
}

/// Whether a route of our own model is right on the very images on which the configured one is.
fn same(rows: &[Outcome], route: &str) -> bool {
    let of = |route: &str| rows.iter().find(|row| row.model == OURS.0 && row.route == route).map(|row| &row.right);
    of(route) == of(OURS.1)
}

fn sentence(seeds: &[&Outcomes], other: (&str, &str), name: &str) -> Result<String, StatisticsError> {
    let compare = |shifted: bool| {
        let of = |row| seeds.iter().map(|outcomes| scored(outcomes, row, shifted)).collect::<Vec<_>>();
        paired_bootstrap(&of(OURS), &of(other), &Bootstrap::default())
    };
    let (shifted, clean) = (compare(true)?.difference, compare(false)?.difference);
    let is = match shifted {
        Interval { low, .. } if low > 0.0 => "is better than",
        Interval { high, .. } if high < 0.0 => "is worse than",
        _ => "is not shown to differ from",
    };
    Ok(format!("robustify {is} {name}: {}; clean {}", shifted.in_points(), clean.in_points()))
}

/// What one row got right in the clean cell, or in all corrupted ones.
pub(crate) fn scored<'a>(outcomes: &'a Outcomes, (model, route): (&str, &str), shifted: bool) -> Vec<Scored<'a>> {
    let is_wanted = |cell: &Cell| if shifted { cell.is_corrupted() } else { !cell.is_shifted() };
    let cells = outcomes.iter().filter(|(cell, _)| is_wanted(cell));
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
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].contains("over 200 images and 2 seeds"), "{}", said[0]);
        assert!(said[1].starts_with("robustify is better than original: +25.0 (+"), "{}", said[1]);
        // Each is right on as many images, so the interval holds zero.
        assert!(
            said[2].starts_with("robustify is not shown to differ from its combined head alone: 0.0 (−"),
            "{}",
            said[2]
        );
        assert!(verdicts(&[&one]).unwrap()[0].contains("over 200 images only"));
        assert_eq!(verdicts(&[&outcomes(false)]).unwrap(), Vec::<String>::new());
    }
}
