//! Settings of tuning on cached views, which Robustify and APT share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::optimizer::AdamWConfig;

/// Who teaches the combined head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CombinedTeacher {
    /// The original model on clean rows, the robust teacher on augmented rows.
    Matched,
    /// The robust teacher.
    Robust,
    /// The original model; `initial` is its former name.
    #[serde(alias = "initial")]
    #[schemars(extend("formerly" = ["initial"]))]
    Original,
    /// Both, half each.
    Mean,
    /// Nobody.
    None,
}

/// Who teaches the robust head, and the matched combined head, on augmented rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RobustTeacher {
    /// The robust teacher, as in the paper.
    #[default]
    Robust,
    /// The mean of the original model's and the robust teacher's probabilities: where the original is the better classifier, the
    /// two together know more than the small teacher alone. Half of the distillation towards each has the same gradient.
    Mean,
}

/// How the heads are tuned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TuningConfig {
    /// Seed of order and dropout.
    pub seed: u64,
    /// Passes over the augmented views.
    #[schemars(range(min = 1, max = TuningConfig::MOST_EPOCHS))]
    pub epochs: usize,
    /// Pairs of a clean and an augmented view in a batch.
    #[schemars(range(min = 1, max = TuningConfig::MOST_ROWS / 2))]
    pub pairs: usize,
    /// Dropout rate from the first tunable layer on, in `[0, 1)`.
    pub dropout: f64,
    /// Weight of cross-entropy; only its ratio to `kd_weight` counts, since both are divided by their sum.
    pub ce_weight: f64,
    /// Weight of distillation; only its ratio to `ce_weight` counts, since both are divided by their sum. 0: no distillation.
    pub kd_weight: f64,
    /// Temperature tau of distillation.
    pub temperature: f64,
    /// Who teaches the combined head.
    pub combined_teacher: CombinedTeacher,
    /// Who teaches on augmented rows.
    #[serde(default)]
    pub robust_teacher: RobustTeacher,
    /// Weights of the clean, the combined and the robust head's loss.
    pub head_weights: [f64; 3],
    /// Factor on the learning rate of the shared part.
    pub shared_rate_scale: f64,
    /// The optimizer's settings.
    pub optimizer: AdamWConfig,
}

impl TuningConfig {
    /// The most passes over anything: beyond it a typing error is likelier than patience.
    pub const MOST_EPOCHS: usize = 100_000;
    /// The most rows of a batch, which are in memory at once.
    pub const MOST_ROWS: usize = 65_536;

    /// Weights of cross-entropy and of distillation, divided by their sum: without distillation (`kd_weight = 0`) the loss, and
    /// with it the gradients that are clipped, keep their scale. A head without a teacher keeps cross-entropy at its weight.
    pub fn loss_weights(&self) -> [f64; 2] {
        let sum = self.ce_weight + self.kd_weight;
        [self.ce_weight / sum, self.kd_weight / sum]
    }

    /// Faults of the settings, each beginning with its key.
    pub fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> =
            self.optimizer.faults().into_iter().map(|fault| format!("optimizer.{fault}")).collect();
        let mut check = |ok: bool, fault: String| {
            if !ok {
                faults.push(fault);
            }
        };
        check(
            (1..=Self::MOST_EPOCHS).contains(&self.epochs),
            format!("epochs {} is not in 1 to {}: more would never end", self.epochs, Self::MOST_EPOCHS),
        );
        check(
            (1..=Self::MOST_ROWS / 2).contains(&self.pairs),
            format!(
                "pairs {} is not in 1 to {}: a batch of pairs is in memory at once",
                self.pairs,
                Self::MOST_ROWS / 2
            ),
        );
        check((0.0..1.0).contains(&self.dropout), format!("dropout {} is not in [0, 1)", self.dropout));
        let weight = |weight: &f64| weight.is_finite() && *weight >= 0.0;
        check(weight(&self.ce_weight), format!("ce_weight {} is negative", self.ce_weight));
        check(weight(&self.kd_weight), format!("kd_weight {} is negative", self.kd_weight));
        check(self.head_weights.iter().all(weight), format!("head_weights {:?}: one is negative", self.head_weights));
        check(self.ce_weight + self.kd_weight > 0.0, "ce_weight and kd_weight are both 0".into());
        check(
            self.temperature > 0.0 && self.temperature.is_finite(),
            format!("temperature {} is not positive", self.temperature),
        );
        check(self.shared_rate_scale >= 0.0, format!("shared_rate_scale {} is negative", self.shared_rate_scale));
        faults
    }
}
