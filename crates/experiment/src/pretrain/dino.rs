//! Self-distillation without labels (DINO): what a Vision Transformer learns from two views of each image.

use robustify_distill::dino::{Dino, DinoPair, DinoSizes};
use robustify_methods::config::check;
use robustify_zoo::ModelConfig;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{Made, PretrainConfig, Pretraining, Session, unlabelled};

/// Two views of an image are to be told alike.
pub(super) struct SelfDistillation;

/// `[settings.dino]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "DinoSettings")]
struct Settings {
    /// Width of the head's hidden layers (the authors': 2048).
    hidden: usize,
    /// Width before its last layer (256).
    bottleneck: usize,
    /// Its outputs (65536).
    outputs: usize,
    /// Temperature of the student.
    student_temperature: f64,
    /// Temperature of the teacher.
    teacher_temperature: f64,
    /// Part of the teacher that a step leaves as it was, in the beginning; it rises to 1.
    momentum: f64,
    /// Part of the centre of the teacher's answers that a step leaves as it was.
    centre_momentum: f64,
    /// Passes in which the student's last layer stays as it is.
    fixed_epochs: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hidden: 256,
            bottleneck: 64,
            outputs: 1024,
            student_temperature: 0.1,
            teacher_temperature: 0.04,
            momentum: 0.996,
            centre_momentum: 0.9,
            fixed_epochs: 1,
        }
    }
}

impl Settings {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, size) in [("hidden", self.hidden), ("bottleneck", self.bottleneck), ("outputs", self.outputs)] {
            check(&mut faults, (1..=1 << 20).contains(&size), || {
                format!("settings.dino.{name} {size} is not in 1 to 1048576")
            });
        }
        let temperatures =
            [("student_temperature", self.student_temperature), ("teacher_temperature", self.teacher_temperature)];
        for (name, value) in temperatures {
            check(&mut faults, value.is_finite() && value > 0.0, || {
                format!("settings.dino.{name} {value} is not positive")
            });
        }
        for (name, value) in [("momentum", self.momentum), ("centre_momentum", self.centre_momentum)] {
            check(&mut faults, (0.0..=1.0).contains(&value), || {
                format!("settings.dino.{name} {value} is not in [0, 1]")
            });
        }
        faults
    }
}

impl Pretraining for SelfDistillation {
    fn name(&self) -> &'static str {
        "dino"
    }

    fn about(&self) -> &'static str {
        "what two views of an image have in common, from a running mean of itself and without labels"
    }

    fn faults(&self, config: &PretrainConfig) -> Vec<String> {
        let mut faults = unlabelled::faults(self.name(), config);
        match config.settings::<Settings>(self.name()) {
            Err(error) => faults.push(format!("{error:#}")),
            Ok(settings) => faults.extend(settings.faults()),
        }
        check(&mut faults, config.training.policy.is_some(), || {
            "training.policy is missing: dino compares a view with an augmented one".into()
        });
        faults
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<Settings>())
    }

    fn train(&self, session: &Session<'_>) -> anyhow::Result<Made> {
        let (config, settings) = (session.config, session.config.settings::<Settings>(self.name())?);
        let mut images = session.image_training()?;
        // Both views of an image are in one shard.
        images.shard_rows = images.shard_rows.div_ceil(2).max(1) * 2;
        let Settings { hidden, bottleneck, outputs, .. } = settings;
        let network: &ModelConfig = &config.network;
        let sizes = DinoSizes { hidden, bottleneck, outputs };
        let pair = DinoPair::new(network, sizes, config.seed, &session.machine.device)?;
        let objective = Dino {
            images,
            student_temperature: settings.student_temperature,
            teacher_temperature: settings.teacher_temperature,
            momentum: settings.momentum,
            centre_momentum: settings.centre_momentum,
            fixed_epochs: settings.fixed_epochs,
            epochs: config.training.epochs,
        };
        let (bytes, model) = session.written(session.train(&objective, pair)?.teacher)?;
        Ok(Made { bytes, scores: vec![unlabelled::score(session, &model)?] })
    }
}
