//! Robustify: three heads tuned on cached views.
//!
//! Source: Jain et al. 2023, arXiv:2309.07499, section 3. A batch holds a clean and an augmented view of the same images.
//! A clean row tunes the clean and the combined head, an augmented row the robust and the combined head, and all rows the
//! shared part. Every head has `w_ce CE + w_kd tau^2 KL(teacher || head)`; the clean head's teacher is the original model,
//! the robust head's the robust teacher, the combined head's a setting ([`CombinedTeacher`]).

use burn::tensor::{Int, Tensor};
use robustify_select::ThreeHeads;
use robustify_zoo::{BatchStatistics, Pass};

use crate::DistillError;
use crate::cache::Teacher;
use crate::losses::{cross_entropy, distillation, right};
use crate::optimizer::Group;
use crate::pairs::{CachedPairs, PairShard};
use crate::trainer::{Batches, Objective, Outcome};
use crate::tuning::{CombinedTeacher, RobustTeacher};

/// Robustify's objective.
pub struct Robustify<'a>(pub CachedPairs<'a>);

impl Robustify<'_> {
    /// `w_ce CE + w_kd tau^2 KL` of one head on some rows, summed.
    fn head_loss(
        &self,
        logits: Tensor<2>,
        rows: &[usize],
        teachers: &[(Teacher, f64)],
    ) -> Result<Tensor<1>, DistillError> {
        let CachedPairs { cache, config, device, .. } = &self.0;
        let [ce_weight, kd_weight] = config.loss_weights();
        let mut loss = cross_entropy(logits.clone(), self.0.labels(rows)) * ce_weight;
        for &(teacher, share) in teachers {
            let target = cache.teacher_logits(teacher, rows, device)?;
            loss = loss + distillation(logits.clone(), target, config.temperature) * (kd_weight * share);
        }
        Ok(loss)
    }

    fn combined_teachers(&self, augmented: bool) -> Vec<(Teacher, f64)> {
        match self.0.config.combined_teacher {
            _ if self.0.config.kd_weight == 0.0 => Vec::new(),
            CombinedTeacher::Matched if augmented => self.0.config.robust_teacher.shares(),
            CombinedTeacher::Matched | CombinedTeacher::Original => vec![(Teacher::Original, 1.0)],
            CombinedTeacher::Robust => vec![(Teacher::Robust, 1.0)],
            CombinedTeacher::Mean => vec![(Teacher::Original, 0.5), (Teacher::Robust, 0.5)],
            CombinedTeacher::None => Vec::new(),
        }
    }

    /// The clean head's and the robust head's teachers.
    fn own_teachers(&self) -> [Vec<(Teacher, f64)>; 2] {
        match self.0.config.kd_weight {
            0.0 => [Vec::new(), Vec::new()],
            _ => [vec![(Teacher::Original, 1.0)], self.0.config.robust_teacher.shares()],
        }
    }
}

impl RobustTeacher {
    fn shares(self) -> Vec<(Teacher, f64)> {
        match self {
            Self::Robust => vec![(Teacher::Robust, 1.0)],
            Self::Mean => vec![(Teacher::Original, 0.5), (Teacher::Robust, 0.5)],
        }
    }
}

impl Objective for Robustify<'_> {
    type Model = ThreeHeads;
    type Shard = PairShard;

    fn steps(&self) -> usize {
        self.0.steps()
    }

    fn epoch<'a>(&'a self, epoch: usize, first: usize) -> Result<Batches<'a, PairShard>, DistillError> {
        Ok(self.0.batches(epoch, first))
    }

    fn loss(&self, model: &ThreeHeads, shard: PairShard) -> Result<Outcome, DistillError> {
        let CachedPairs { cache, config, device, .. } = &self.0;
        let pairs = shard.clean.len();
        let rows: Vec<usize> = shard.clean.iter().chain(&shard.augmented).copied().collect();
        let range = |start: usize| Tensor::<1, Int>::arange(start as i64..(start + pairs) as i64, *device);
        let masks = self.0.masks(&shard);
        let passes = masks.each_ref().map(|masks| Pass::eval().with_masks(masks));
        let features = cache.features(&rows, device).autodiff();
        let [clean, combined, robust] = model.forward_split(features, range(0), range(pairs), passes.each_ref());

        let correct = right(&combined, &self.0.labels(&rows));
        let [clean_weight, combined_weight, robust_weight] = config.head_weights;
        let clean_rows = combined.clone().narrow(0, 0, pairs);
        let augmented_rows = combined.narrow(0, pairs, pairs);
        let of_combined = self.head_loss(clean_rows, &shard.clean, &self.combined_teachers(false))?
            + self.head_loss(augmented_rows, &shard.augmented, &self.combined_teachers(true))?;
        let [clean_teachers, robust_teachers] = self.own_teachers();
        let of_clean = self.head_loss(clean, &shard.clean, &clean_teachers)?;
        let of_robust = self.head_loss(robust, &shard.augmented, &robust_teachers)?;
        let loss = of_clean * clean_weight + of_combined * combined_weight + of_robust * robust_weight;
        let loss = loss / (2 * shard.batch_pairs) as f64;
        Ok(Outcome { loss, rows: rows.len(), right: correct, statistics: BatchStatistics::default() })
    }

    fn group(&self, name: &str, rank: usize) -> Group {
        self.0.group(name, rank)
    }
}
