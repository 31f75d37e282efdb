//! About how much a job computes, before it does: for an estimate, not for a bill.

use anyhow::Result;
use robustify_zoo::weights;

use super::Lab;

/// About how much a method computes by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Fitting it, in forwards of the original model; a step of training is worth three for each row.
    pub forwards: f64,
    /// Pictures that are read and augmented for it.
    pub pictures: f64,
    /// Whether it learns on the cached views, which it shares with others.
    pub views: bool,
    /// Asking its models, in forwards of the original model for each image, without a trunk that they share with it.
    pub answer: f64,
    /// Parameters that it trains; none if it does not say it.
    pub tuned: Option<usize>,
}

/// Forwards that a step of training is worth, for each row: one forward, and twice as much backwards.
pub const STEP: f64 = 3.0;

impl Lab<'_> {
    /// Part of the original model that is tuned behind the frozen backbone, in multiply-accumulates.
    pub fn tail(&self) -> f64 {
        let (split, network) = (&self.config.split, &self.config.original.network);
        let units = network.unit_macs();
        let behind = split.shared_blocks + split.head_blocks + 1;
        units.iter().rev().take(behind).sum::<u64>() as f64 / units.iter().sum::<u64>().max(1) as f64
    }

    /// Scales and shifts of the original model's norms, but for those in its last `left_out` blocks or stages and behind them; of all with 0.
    ///
    /// # Errors
    /// More blocks than the model has.
    pub fn norm_parameters(&self, left_out: usize) -> Result<usize> {
        let model = &self.opened().model;
        let mut names = weights::norm_affines(model);
        if left_out > 0 {
            let tail = model.segment(model.cut_before_last(left_out)?, model.last_cut());
            let behind: Vec<String> = weights::names_in(model, &tail).into_values().collect();
            names.retain(|name| !behind.contains(name));
        }
        let shapes = weights::shapes(model);
        Ok(names.iter().filter_map(|name| shapes.get(name)).map(|shape| shape.iter().product::<usize>()).sum())
    }

    /// Parameters of the part that is tuned behind the frozen backbone, with so many heads.
    pub fn tuned(&self, heads: usize) -> Option<usize> {
        let (split, model) = (self.config.split, &self.opened().model);
        let (start, head, end) =
            (split.backbone_end(model).ok()?, model.cut_before_last(split.head_blocks).ok()?, model.last_cut());
        let of = |from, to| weights::parameters(&model.segment(from, to));
        Some(of(start, head) + heads * of(head, end))
    }

    /// A forward of the teacher over one of the original model; nothing where only a file says what the teacher is.
    pub fn teacher_share(&self) -> f64 {
        let macs = |network: &robustify_zoo::ModelConfig| network.macs() as f64;
        let teacher = self.config.teacher.network.as_ref();
        teacher.map_or(0.0, |teacher| macs(teacher) / macs(&self.config.original.network).max(1.0))
    }

    /// Tuning `models` models of `heads` heads on pairs of views, each head on the part that is not frozen; `taught` by the teacher.
    /// Views that are not cached are computed again in every epoch.
    pub fn tuning_work(&self, models: f64, heads: f64, taught: bool) -> Work {
        let (rows, tuned) = (self.tuned_rows(), self.tuned(heads as usize));
        let forwards = models * heads * STEP * self.tail() * rows;
        if self.config.views.cached {
            return Work { forwards, views: true, tuned, ..Work::default() };
        }
        let teacher = if taught { self.teacher_share() / 2.0 } else { 0.0 };
        let views = models * rows * (1.0 - self.tail() + teacher);
        Work { forwards: forwards + views, pictures: models * rows, tuned, ..Work::default() }
    }

    /// Rows of all epochs of tuning: pairs of a clean and an augmented one.
    pub fn tuned_rows(&self) -> f64 {
        let (config, images) = (&self.config, self.images().len());
        2.0 * (config.tuning.epochs as f64) * (config.views.augmented * images) as f64
    }
}
