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
    let dump = Dump::open(&options.dump, options.model.as_deref())?;
    let got = dump.run(&device).with_context(|| options.dump.display().to_string())?;
    let (table, failed) = compare(&dump.outputs, &got, options);
    console::result(&format!("{}: {}\n{}", options.dump.display(), dump.model, table.render(Style::Box)))?;
    let count = dump.outputs.len();
    anyhow::ensure!(
        failed == 0,
        "{}: {failed} of {count} outputs are not within {:e} relative and {:e} absolute",
        options.dump.display(),
        options.tolerance,
        options.absolute
    );
    console::result(&format!("all {count} outputs agree\n"))
}

fn compare(stored: &BTreeMap<String, Entry>, got: &BTreeMap<String, Entry>, options: &ModelsVerify) -> (Table, usize) {
    let header = ["output", "shape", "largest difference", "relative to the largest value", ""];
    let mut table = Table::new(header).left(0).left(1).left(4);
    let mut failed = 0;
    for (name, stored) in stored {
        let shape = format!("{:?}", stored.shape);
        let row = match got.get(name) {
            None => [shape, "–".into(), "–".into(), "nothing to compare with".into()],
            Some(got) if got.shape != stored.shape => {
                [shape, "–".into(), "–".into(), format!("shape is {:?}", got.shape)]
            }
            Some(got) => {
                let difference = Difference::between(&got.values, &stored.values);
                let verdict = if difference.is_within(options) { "" } else { "too far" };
                let verdict = verdict.to_owned();
                [shape, format!("{:.1e}", difference.largest), format!("{:.1e}", difference.relative), verdict]
            }
        };
        failed += usize::from(!row[3].is_empty());
        let [shape, largest, relative, verdict] = row;
        let verdict = if verdict.is_empty() { "ok".to_owned() } else { verdict };
        table.row([name.clone(), shape, largest, relative, verdict]);
    }
    (table, failed)
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
