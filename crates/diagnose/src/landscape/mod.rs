//! Loss and accuracy around the weights of a model.

mod curvature;
mod directions;
mod kept;
mod loss;

use std::path::Path;

use anyhow::{Result, ensure};
use robustify_device::Machine;
use robustify_report::diagnosis::{LandscapeRecord, PointRecord};
use robustify_watch::{Stopped, Watch};
use robustify_zoo::Model;
use serde::{Deserialize, Serialize};

pub use curvature::curvature;
pub use directions::{Directions, filter_normalised};
pub use kept::Kept;
pub use loss::{Batch, Said, gradient, said};

/// The most images of one forward.
pub(crate) const ROWS: usize = 32;

/// Where a landscape is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// Whether along two directions.
    pub plane: bool,
    /// Places along each; odd, so that the model itself is one.
    pub count: usize,
    /// The outermost place, in units of the filters' lengths.
    pub radius: f64,
}

impl Grid {
    /// What is wrong with it, a sentence each.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.count < 3 || self.count.is_multiple_of(2) {
            faults.push(format!(
                "--grid {}: an odd number from 3 on is expected, so that the model itself is a point",
                self.count
            ));
        }
        if !(self.radius > 0.0 && self.radius.is_finite()) {
            faults.push(format!("--radius {}: a positive number is expected", self.radius));
        }
        faults
    }

    /// The places along a direction.
    pub fn places(&self) -> Vec<f64> {
        let half = (self.count / 2) as i64;
        (-half..=half).map(|step| self.radius * step as f64 / half as f64).collect()
    }

    /// All points, row by row along the second direction.
    pub fn points(&self) -> Vec<[f64; 2]> {
        let places = self.places();
        match self.plane {
            true => places.iter().flat_map(|&b| places.iter().map(move |&a| [a, b])).collect(),
            false => places.into_iter().map(|a| [a, 0.0]).collect(),
        }
    }
}

/// Looks at the loss around a model. Points that are kept in the file `path` are not computed again; new ones go there.
///
/// # Errors
/// No images, a file that cannot be written, and a stop that was asked for.
pub fn landscape(
    (name, model): (&str, &Model),
    (grid, seed): (Grid, u64),
    batches: &[Batch],
    path: &Path,
    machine: &Machine,
    watch: &dyn Watch,
) -> Result<LandscapeRecord> {
    let images: usize = batches.iter().map(|batch| batch.labels.len()).sum();
    ensure!(images > 0, "{name}: no images");
    let mut kept = Kept::open(path)?;
    let points = grid.points();
    let left: Vec<[f64; 2]> = points.iter().copied().filter(|at| kept.get(*at).is_none()).collect();
    let mut progress = watch.progress(&format!("landscape of {name}"), points.len());
    if !left.is_empty() {
        let directions = Directions::new(model, seed, &machine.device);
        let mut done = points.len() - left.len();
        for group in left.chunks(machine.workers.threads()) {
            watch.check(Stopped::Saved)?;
            let found =
                machine.workers.map(group.to_vec(), |at| Ok((at, said(&directions.moved(model, at), batches)?)));
            kept.add(&found.into_iter().collect::<Result<Vec<_>>>()?)?;
            done += group.len();
            progress.set(done, "");
        }
    }
    progress.finish(&format!("{} points of {images} images", points.len()));
    let record = |at: &[f64; 2]| {
        let said = kept.get(*at).unwrap_or(Said { loss: f64::NAN, correct: 0 });
        PointRecord {
            loss: Some(said.loss).filter(|loss| loss.is_finite()),
            accuracy: said.correct as f64 / images as f64,
        }
    };
    let points: Vec<PointRecord> = points.iter().map(record).collect();
    let rings = rings(grid, &points);
    let (doubles_at, beyond) = doubling(&rings);
    Ok(LandscapeRecord {
        images,
        places: grid.places(),
        plane: grid.plane,
        points,
        rings,
        doubles_at,
        beyond,
        curvature: None,
    })
}

/// The mean loss at every distance that is a whole number of steps: of a plane over the points no more than half a step away from it.
fn rings(grid: Grid, points: &[PointRecord]) -> Vec<(f64, Option<f64>)> {
    let half = grid.count / 2;
    let step = grid.radius / half as f64;
    let at = grid.points();
    let ring = |index: usize| {
        let near = |[a, b]: &[f64; 2]| (a.hypot(*b) / step - index as f64).abs() <= 0.5;
        let losses: Vec<Option<f64>> =
            at.iter().zip(points).filter(|(at, _)| near(at)).map(|(_, point)| point.loss).collect();
        let sum = losses.iter().copied().sum::<Option<f64>>();
        (grid.radius * index as f64 / half as f64, sum.map(|sum| sum / losses.len().max(1) as f64))
    };
    (0..=half).map(ring).collect()
}

/// The distance at which the mean loss reaches twice that of the model, on a line between rings; whether it does not within the last.
fn doubling(rings: &[(f64, Option<f64>)]) -> (f64, bool) {
    let Some((_, Some(own))) = rings.first() else { return (0.0, false) };
    let limit = 2.0 * own;
    for pair in rings.windows(2) {
        let ((from, below), (to, above)) = (pair[0], pair[1]);
        match (below, above) {
            (Some(_), Some(above)) if above <= limit => {}
            (Some(below), Some(above)) => {
                return (from + (to - from) * ((limit - below) / (above - below)).clamp(0.0, 1.0), false);
            }
            _ => return (from, false),
        }
    }
    (rings.last().map_or(0.0, |(at, _)| *at), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(loss: f64) -> PointRecord {
        PointRecord { loss: Some(loss).filter(|loss| loss.is_finite()), accuracy: 0.5 }
    }

    #[test]
    fn a_bowl_has_the_rings_of_its_formula() {
        let grid = Grid { plane: false, count: 5, radius: 1.0 };
        assert_eq!(grid.places(), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        let bowl: Vec<PointRecord> = grid.points().iter().map(|[a, _]| point(1.0 + 4.0 * a * a)).collect();
        let rings = rings(grid, &bowl);
        assert_eq!(rings, [(0.0, Some(1.0)), (0.5, Some(2.0)), (1.0, Some(5.0))]);
        assert_eq!(doubling(&rings), (0.5, false));
        // Half of the way from 1 to 3 is 2; a plain never doubles; what breaks down counts up to where it did.
        assert_eq!(doubling(&[(0.0, Some(1.0)), (1.0, Some(3.0))]), (0.5, false));
        assert_eq!(doubling(&[(0.0, Some(1.0)), (1.0, Some(1.5))]), (1.0, true));
        assert_eq!(doubling(&[(0.0, Some(1.0)), (0.5, Some(1.5)), (1.0, None)]), (0.5, false));
    }

    #[test]
    fn a_plane_is_read_by_rows_and_a_ring_is_a_step_wide() {
        let grid = Grid { plane: true, count: 3, radius: 1.0 };
        assert_eq!(grid.points()[..4], [[-1.0, -1.0], [0.0, -1.0], [1.0, -1.0], [-1.0, 0.0]]);
        // The corners are 1.41 steps away, nearer to one than to two: four points of one and four of two.
        let points: Vec<PointRecord> = grid.points().iter().map(|[a, b]| point(a.abs() + b.abs())).collect();
        assert_eq!(rings(grid, &points), [(0.0, Some(0.0)), (1.0, Some(1.5))]);
        let faults = Grid { count: 4, radius: 0.0, ..grid }.faults();
        assert!(faults.len() == 2 && faults[0].contains("odd"), "{faults:?}");
    }
}
