use std::collections::BTreeMap;

use anyhow::Context;
use robustify_report::{Style, Table};
use robustify_zoo::weights::Entry;

use super::dump::Dump;
use crate::args::ModelsVerify;
use crate::console;

/// Runs the dumped model on the dumped inputs and prints, for every dumped output, how far ours is from it.
///
/// # Errors
/// An output is further off than both tolerances allow, or has no counterpart.
pub fn run(options: &ModelsVerify) -> anyhow::Result<()> {
    for (flag, value) in [("--tolerance", options.tolerance), ("--absolute", options.absolute)] {
        anyhow::ensure!(value >= 0.0 && value.is_finite(), "{flag} {value} is not a number of at least 0");
    }
    let device = robustify_device::open(options.backend.as_deref())?;
    let dump = Dump::open(&options.dump, options.model.as_deref(), &device)?;
    let got = dump.run(&device).with_context(|| options.dump.display().to_string())?;
    let (table, failed) = compare(&dump.outputs, &got, options);
    let [too_far, incomparable] = failed;
    console::result(&format!("{}: {}\n{}", options.dump.display(), dump.model, table.render(Style::Box)))?;
    let count = dump.outputs.len();
    let mut faults = Vec::new();
    if too_far > 0 {
        let (relative, absolute) = (options.tolerance, options.absolute);
        faults.push(format!(
            "{too_far} of {count} outputs are not within {relative:e} relative and {absolute:e} absolute"
        ));
    }
    if incomparable > 0 {
        faults.push(format!("{incomparable} of {count} outputs have another shape here or no counterpart"));
    }
    anyhow::ensure!(faults.is_empty(), "{}: {}", options.dump.display(), faults.join("; "));
    console::result(&format!("all {count} outputs agree\n"))
}

/// A row for every stored output, and how many are too far off and how many cannot be compared.
fn compare(
    stored: &BTreeMap<String, Entry>,
    got: &BTreeMap<String, Entry>,
    options: &ModelsVerify,
) -> (Table, [usize; 2]) {
    let header = ["output", "shape", "largest difference", "relative to the largest value", ""];
    let mut table = Table::new(header).left(0).left(1).left(4);
    let (mut too_far, mut incomparable) = (0, 0);
    for (name, stored) in stored {
        let [largest, relative, verdict] = match got.get(name) {
            Some(got) if same_layout(&got.shape, &stored.shape) => {
                let difference = Difference::between(&got.values, &stored.values);
                let within = difference.is_within(options);
                too_far += usize::from(!within);
                let verdict = match (within, got.shape == stored.shape) {
                    (false, _) => "too far".to_owned(),
                    (true, true) => "ok".to_owned(),
                    (true, false) => format!("ok as {:?}", got.shape),
                };
                [format!("{:.1e}", difference.largest), format!("{:.1e}", difference.relative), verdict]
            }
            other => {
                incomparable += 1;
                let verdict =
                    other.map_or("nothing to compare with".to_owned(), |got| format!("shape is {:?}", got.shape));
                ["–".into(), "–".into(), verdict]
            }
        };
        table.row([name.clone(), format!("{:?}", stored.shape), largest, relative, verdict]);
    }
    (table, [too_far, incomparable])
}

/// Whether two shapes are one, or one becomes the other when neighbouring axes are merged: a grid of tokens as rows and
/// columns or as a list. Elements have the same order then. Batch and channels, the outermost and innermost axes, are
/// never merged.
fn same_layout(a: &[usize], b: &[usize]) -> bool {
    let (fine, coarse) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    if fine.len() == coarse.len() {
        return fine == coarse;
    }
    let ([first, merged @ .., last], [coarse_first, inner @ .., coarse_last]) = (fine, coarse) else { return false };
    let mut rest = merged.iter();
    let groups = inner.iter().all(|&axis| {
        let mut product = 1;
        // An axis of one element is merged by the next group or at the end.
        while product < axis {
            let Some(&length) = rest.next() else { return false };
            product *= length;
        }
        product == axis
    });
    first == coarse_first && last == coarse_last && groups && !inner.is_empty() && rest.all(|&length| length == 1)
}

/// How two lists of numbers differ.
#[derive(Debug, PartialEq)]
struct Difference {
    /// Of any element; not a number if one of them is none.
    largest: f64,
    /// The same over the largest stored magnitude. Relative to each element it would say little: what is nearly zero carries
    /// the rounding of the sums that it came from.
    relative: f64,
}

impl Difference {
    fn between(got: &[f32], stored: &[f32]) -> Self {
        let (mut largest, mut scale) = (0.0_f64, 0.0_f64);
        for (got, stored) in got.iter().zip(stored).map(|(got, stored)| (f64::from(*got), f64::from(*stored))) {
            scale = scale.max(stored.abs());
            let difference = (got - stored).abs();
            // `max` would pass over what is not a number.
            if difference.is_nan() || difference > largest {
                largest = difference;
            }
            if largest.is_nan() {
                break;
            }
        }
        let relative = if largest == 0.0 { 0.0 } else { largest / scale };
        Self { largest, relative }
    }

    fn is_within(&self, options: &ModelsVerify) -> bool {
        self.largest <= options.absolute || self.relative <= options.tolerance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_neighbouring_axes_between_batch_and_channels_are_merged() {
        let same: [[&[usize]; 2]; 5] = [
            [&[2, 10, 10, 64], &[2, 100, 64]],
            [&[2, 100, 64], &[2, 10, 10, 64]],
            [&[2, 1, 1, 64], &[2, 1, 64]],
            [&[2, 3, 4, 5, 6], &[2, 12, 5, 6]],
            [&[2, 7], &[2, 7]],
        ];
        for [a, b] in same {
            assert!(same_layout(a, b), "{a:?} and {b:?}");
        }
        let other: [[&[usize]; 2]; 7] = [
            [&[2, 10, 10, 64], &[2, 64, 100]],
            [&[2, 10, 10, 64], &[2, 101, 64]],
            [&[2, 64, 10, 10], &[2, 64, 100]],
            [&[2, 10, 10, 64], &[2, 6400]],
            [&[2, 3, 4, 6], &[6, 4, 6]],
            [&[2, 3, 4], &[2, 4, 3]],
            [&[], &[1]],
        ];
        for [a, b] in other {
            assert!(!same_layout(a, b), "{a:?} and {b:?}");
        }
    }

    #[test]
    fn either_tolerance_is_enough_and_what_is_no_number_never_passes() {
        let (tolerance, absolute) = (1e-2, 1e-3);
        let options = ModelsVerify { dump: "dump".into(), model: None, tolerance, absolute, backend: None };
        let within = |got: &[f32], stored: &[f32]| Difference::between(got, stored).is_within(&options);
        assert!(within(&[1.0, 4.0], &[1.0, 4.03125]), "within a hundredth");
        assert!(within(&[0.0005], &[0.0]), "within a thousandth of one");
        assert!(!within(&[0.002], &[0.0]));
        assert!(!within(&[f32::NAN, 1.0], &[2.0, 1.0]) && !within(&[2.0, f32::NAN], &[2.0, 1.0]));
        let difference = Difference::between(&[3.0, 1.0], &[2.0, 1.0]);
        assert_eq!(difference, Difference { largest: 1.0, relative: 0.5 });
    }
}
