//! CaRot: FLYP's contrastive loss, an orthogonal projection, uncorrelated towers, and a slowly moving copy of itself as teacher.
//!
//! Source: Oh et al. 2024, arXiv:2311.01723; MLAI-Yonsei/CaRot `src/models/carot_loss.py` at 5d78b94. There the teacher moves every 500 of
//! 25,000 steps; here `teacher_every` is counted in the same way, and smaller where there are few steps.

use anyhow::Result;
use robustify_distill::TuningConfig;
use robustify_distill::carot::{CarotTraining, SelfDistilled};
use robustify_distill::contrastive::Duplicates;
use robustify_distill::optimizer::AdamWConfig;
use robustify_zoo::weights;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::config::check;
use crate::lab::STEP;
use crate::lab::captions::{TowerTuning, TuningCaptions};
use crate::{Config, Fitted, Lab, Method, Work};

/// Contrastive fine-tuning with self-distillation.
pub(crate) struct Carot;

/// `[method.carot]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "CarotSettings")]
struct Settings {
    /// Passes over the images.
    #[schemars(range(min = 1, max = TuningConfig::MOST_EPOCHS))]
    epochs: usize,
    /// Rows of a batch.
    #[schemars(range(min = 2, max = TuningConfig::MOST_ROWS))]
    batch_size: usize,
    /// Rows of a batch that are compared with each other.
    #[schemars(range(min = 2, max = TuningConfig::MOST_ROWS))]
    group_rows: usize,
    /// What pairs of the same class are to each other.
    duplicates: Duplicates,
    /// Whether half of the views are augmented, as those of other methods.
    augmented: bool,
    /// Weight of the distance of the image tower's projection to an orthogonal one.
    orthogonality: f64,
    /// Weight of the correlation of both towers' projections.
    correlation: f64,
    /// Weight of the cross-entropy to the teacher.
    distillation: f64,
    /// Steps between two moves of the teacher. Default: a fiftieth of all steps, which is the paper's 500 of 25,000.
    teacher_every: Option<usize>,
    /// The teacher's momentum at first, and after a fifth of the steps.
    momentum: [f64; 2],
    /// The optimizer's settings; without them those of `tuning.optimizer`, at a quarter of its learning rate.
    optimizer: Option<AdamWConfig>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 5,
            batch_size: 256,
            group_rows: 128,
            duplicates: Duplicates::Negatives,
            augmented: true,
            orthogonality: 0.2,
            correlation: 0.05,
            distillation: 1.5,
            teacher_every: None,
            momentum: [0.05, 0.9],
            optimizer: None,
        }
    }
}

/// Moves of the teacher in a training, unless the settings say otherwise.
const MOVES: usize = 50;

impl Settings {
    fn tuning(&self, config: &Config) -> TowerTuning {
        let Self { epochs, batch_size, group_rows, augmented, .. } = *self;
        TowerTuning { epochs, batch_size, group_rows, augmented, optimizer: config.gentle(self.optimizer.as_ref()) }
    }
}

impl Method for Carot {
    fn name(&self) -> &'static str {
        "carot"
    }

    fn title(&self) -> &'static str {
        "CaRot"
    }

    fn about(&self) -> &'static str {
        "as FLYP, with an orthogonal projection and a moving average of itself as teacher"
    }

    fn needs_texts(&self) -> bool {
        true
    }

    fn faults(&self, config: &Config) -> Vec<String> {
        let settings: Settings = match config.settings(self.name()) {
            Ok(settings) => settings,
            Err(error) => return vec![format!("{error:#}")],
        };
        let mut faults = settings.tuning(config).faults("method.carot");
        let weights = [
            ("orthogonality", settings.orthogonality),
            ("correlation", settings.correlation),
            ("distillation", settings.distillation),
        ];
        for (name, weight) in weights {
            check(&mut faults, weight.is_finite() && weight >= 0.0, || {
                format!("method.carot.{name} {weight} is negative")
            });
        }
        check(&mut faults, settings.teacher_every != Some(0), || "method.carot.teacher_every is 0".into());
        check(&mut faults, settings.momentum.iter().all(|momentum| (0.0..=1.0).contains(momentum)), || {
            format!("method.carot.momentum {:?} is not in [0, 1]", settings.momentum)
        });
        faults
    }

    fn work(&self, lab: &Lab<'_>) -> Result<Work> {
        let settings: Settings = lab.settings(self.name())?;
        let rows = (settings.epochs * lab.images().len()) as f64;
        // A text is about as much work as an image; the teacher looks at both.
        let tuned = lab.towers().ok().map(|towers| weights::parameters(&towers.clip));
        Ok(Work { forwards: 2.0 * (STEP + 1.0) * rows, pictures: rows, answer: 1.0, tuned, ..Work::default() })
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<Settings>())
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let settings: Settings = lab.settings(self.name())?;
        let (towers, original, tuning) = (lab.towers()?, lab.original()?, settings.tuning(&lab.config));
        let captions = TuningCaptions::new(lab, tuning.augmented)?;
        let stage = TuningCaptions::stage(lab, self.name(), &settings, &tuning)?;
        let items = |epoch| captions.job(epoch);
        let batches = captions.batches(lab, &tuning, &items);
        let steps = batches.steps() * tuning.epochs;
        let objective = CarotTraining {
            batches,
            duplicates: settings.duplicates,
            epochs: tuning.epochs,
            orthogonality: settings.orthogonality,
            correlation: settings.correlation,
            distillation: settings.distillation,
            teacher_every: settings.teacher_every.unwrap_or((steps / MOVES).max(1)),
            momentum: settings.momentum,
            momentum_warmup: 0.2,
        };
        let start = SelfDistilled::new(&towers.clip, &lab.machine.device);
        let (tuned, hash) = stage.trained(lab, &objective, start, tuning.epochs, &tuning.optimizer)?;
        Ok(vec![lab.fitted_towers(self.name(), tuned.student, hash, original.cost + stage.cost())?])
    }
}
