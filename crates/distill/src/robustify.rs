//! Robustify: three heads tuned on pairs of a clean and an augmented view.
//!
//! Source: Jain et al. 2023, arXiv:2309.07499, section 3. A batch holds a clean and an augmented view of the same images.
//! A clean row tunes the clean and the combined head, an augmented row the robust and the combined head, and all rows the
//! shared part. Every head has `w_ce CE + w_kd tau^2 KL(teacher || head)`; the clean head's teacher is the original model,
//! the robust head's the robust teacher, the combined head's a setting ([`CombinedTeacher`]).

use burn::tensor::{Int, Tensor};
use robustify_select::ThreeHeads;
use robustify_zoo::{BatchStatistics, Features, Pass};

use crate::DistillError;
use crate::cache::Teacher;
use crate::losses::{cross_entropy, distillation, right};
use crate::optimizer::Group;
use crate::pairs::{PairShard, Pairs, Said, View, group};
use crate::trainer::{Batches, Objective, Outcome};
use crate::tuning::{CombinedTeacher, RobustTeacher, TuningConfig};

/// Robustify's objective, on cached pairs or on fresh ones.
pub struct Robustify<P>(pub P);

/// The loss of a shard by its four terms. Each is weighted and divided by the rows of the whole batch; their sum is the loss.
pub struct Terms {
    /// Of the clean head on clean rows.
    pub clean: Tensor<1>,
    /// Of the combined head on clean rows.
    pub combined_clean: Tensor<1>,
    /// Of the combined head on augmented rows.
    pub combined_augmented: Tensor<1>,
    /// Of the robust head on augmented rows.
    pub robust: Tensor<1>,
}

impl<P: Pairs> Robustify<P> {
    /// The loss of a shard by its terms.
    ///
    /// # Errors
    /// As [`Objective::loss`].
    pub fn terms(&self, model: &ThreeHeads, shard: &PairShard) -> Result<Terms, DistillError> {
        let shown = self.0.shown(shard, &wanted(self.0.config()))?;
        let logits = heads_on(model, shown.features, shard, &self.0);
        let HeadLosses { clean, combined: [combined_clean, combined_augmented], robust } =
            HeadLosses::new(self.0.config(), logits, shard.labels(self.0.device()), &shown.said)?;
        let [clean_weight, combined_weight, robust_weight] = self.0.config().head_weights;
        let scaled = |loss: Tensor<1>, weight: f64| loss * weight / rows_of_batch(shard);
        Ok(Terms {
            clean: scaled(clean, clean_weight),
            combined_clean: scaled(combined_clean, combined_weight),
            combined_augmented: scaled(combined_augmented, combined_weight),
            robust: scaled(robust, robust_weight),
        })
    }
}

/// Logits of the rows that each head is tuned on, see [`ThreeHeads::forward_split`].
pub(crate) fn heads_on<P: Pairs>(
    model: &ThreeHeads,
    features: Features,
    shard: &PairShard,
    pairs: &P,
) -> [Tensor<2>; 3] {
    let range = |view| shard.range(view, pairs.device());
    let masks = shard.masks(pairs.config());
    let passes = masks.each_ref().map(|masks| Pass::eval().with_masks(masks));
    model.forward_split(features.autodiff(), range(View::Clean), range(View::Augmented), passes.each_ref())
}

/// The loss of a shard and what the log wants, from the logits of each head's rows.
pub(crate) fn outcome(
    config: &TuningConfig,
    logits: [Tensor<2>; 3],
    shard: &PairShard,
    said: &Said,
) -> Result<Outcome, DistillError> {
    let device = &logits[1].device().without_autodiff();
    let right = right(&logits[1], &shard.all_labels(device));
    let losses = HeadLosses::new(config, logits, shard.labels(device), said)?;
    let loss = losses.weighted(config.head_weights) / rows_of_batch(shard);
    Ok(Outcome { loss, rows: 2 * shard.pairs(), right, statistics: BatchStatistics::default() })
}

fn rows_of_batch(shard: &PairShard) -> f64 {
    (2 * shard.batch_pairs) as f64
}

/// Losses of the three heads, summed over the rows of a shard.
struct HeadLosses {
    clean: Tensor<1>,
    /// On clean rows and on augmented ones.
    combined: [Tensor<1>; 2],
    robust: Tensor<1>,
}

impl HeadLosses {
    /// # Shapes
    /// - logits: `[pairs, classes]` of clean rows, `[2 * pairs, classes]`, `[pairs, classes]` of augmented rows
    /// - labels: `[pairs]`
    fn new(
        config: &TuningConfig,
        [clean, combined, robust]: [Tensor<2>; 3],
        labels: Tensor<1, Int>,
        said: &Said,
    ) -> Result<Self, DistillError> {
        let pairs = labels.dims()[0];
        let loss = |logits: Tensor<2>, view: View, teachers: Vec<(Teacher, f64)>| {
            let [ce_weight, kd_weight] = config.loss_weights();
            let mut loss = cross_entropy(logits.clone(), labels.clone()) * ce_weight;
            for (teacher, share) in teachers {
                let target = said.by(teacher, view)?;
                loss = loss + distillation(logits.clone(), target, config.temperature) * (kd_weight * share);
            }
            Ok::<_, DistillError>(loss)
        };
        let combined_on = |view: View, first: usize| {
            loss(combined.clone().narrow(0, first, pairs), view, combined_teachers(config, view))
        };
        let [clean_teachers, robust_teachers] = own_teachers(config);
        Ok(Self {
            combined: [combined_on(View::Clean, 0)?, combined_on(View::Augmented, pairs)?],
            clean: loss(clean, View::Clean, clean_teachers)?,
            robust: loss(robust, View::Augmented, robust_teachers)?,
        })
    }

    fn weighted(self, [clean_weight, combined_weight, robust_weight]: [f64; 3]) -> Tensor<1> {
        let [on_clean, on_augmented] = self.combined;
        self.clean * clean_weight + (on_clean + on_augmented) * combined_weight + self.robust * robust_weight
    }
}

/// The logits that the losses read.
pub fn wanted(config: &TuningConfig) -> Vec<(Teacher, View)> {
    let [clean, robust] = own_teachers(config);
    let on = |view: View, own: Vec<(Teacher, f64)>| {
        let all = own.into_iter().chain(combined_teachers(config, view));
        all.map(move |(teacher, _)| (teacher, view)).collect::<Vec<_>>()
    };
    let mut wanted = [on(View::Clean, clean), on(View::Augmented, robust)].concat();
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

fn combined_teachers(config: &TuningConfig, view: View) -> Vec<(Teacher, f64)> {
    match config.combined_teacher {
        _ if config.kd_weight == 0.0 => Vec::new(),
        CombinedTeacher::Matched if view == View::Augmented => config.robust_teacher.shares(),
        CombinedTeacher::Matched | CombinedTeacher::Original => vec![(Teacher::Original, 1.0)],
        CombinedTeacher::Robust => vec![(Teacher::Robust, 1.0)],
        CombinedTeacher::Mean => vec![(Teacher::Original, 0.5), (Teacher::Robust, 0.5)],
        CombinedTeacher::None => Vec::new(),
    }
}

/// The clean head's and the robust head's teachers.
fn own_teachers(config: &TuningConfig) -> [Vec<(Teacher, f64)>; 2] {
    match config.kd_weight {
        0.0 => [Vec::new(), Vec::new()],
        _ => [vec![(Teacher::Original, 1.0)], config.robust_teacher.shares()],
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

impl<P: Pairs> Objective for Robustify<P> {
    type Model = ThreeHeads;
    type Shard = PairShard;

    fn steps(&self) -> usize {
        self.0.steps()
    }

    fn epoch<'a>(&'a self, epoch: usize, first: usize) -> Result<Batches<'a, PairShard>, DistillError> {
        self.0.batches(epoch, first, &wanted(self.0.config()))
    }

    fn loss(&self, model: &ThreeHeads, shard: PairShard) -> Result<Outcome, DistillError> {
        let shown = self.0.shown(&shard, &wanted(self.0.config()))?;
        let logits = heads_on(model, shown.features, &shard, &self.0);
        outcome(self.0.config(), logits, &shard, &shown.said)
    }

    fn group(&self, name: &str, rank: usize) -> Group {
        group(self.0.config(), name, rank)
    }
}
