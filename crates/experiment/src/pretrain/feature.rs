//! Feature Distillation: a student learns the tokens that a frozen pre-trained network ends in.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use robustify_data::Preprocess;
use robustify_distill::feature::{
    BETA, FeatureDistillation, FeatureSchedule, FeatureStudent, FeatureTeacher, Kept, Matching, Renormalisation,
    Target, Whitening, drop_path_rates,
};
use robustify_methods::config::{check, parses};
use robustify_predict::RobustModel;
use robustify_report::digest;
use robustify_zoo::weights::{self, Checkpoint, LoadOptions, Partial};
use robustify_zoo::{Model, ModelConfig, Pass, network, network_schema};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Made, PretrainConfig, Pretraining, Session, unlabelled};

/// A teacher's tokens are to be said.
pub(super) struct FeatureLearning;

/// `[settings.feature]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "FeatureSettings")]
struct Settings {
    /// The frozen network that is learned from.
    teacher: Option<TeacherSettings>,
    /// What is learned of it: all its last tokens, the mean of its patches, or its logits.
    target: Target,
    /// What is done to every target vector.
    whitening: Whitening,
    /// Where smooth-L1 passes from squares to absolute values.
    beta: f64,
    /// The rate at which residual branches of the student's last block are left out, in `[0, 1)`; it falls to 0 at the first block. The
    /// teacher leaves none out.
    drop_path: f64,
    /// Where the warm-up of the learning rate starts.
    warmup_rate: f64,
    /// Where its cosine ends.
    least_rate: f64,
    /// Whether `training.optimizer.learning_rate`, `warmup_rate` and `least_rate` are those of 512 images a batch, and grow with
    /// `training.batch_size`, as in the authors' configurations.
    rates_of_512: bool,
    /// MiB that targets of fixed views (`training.clean_view` without chance, no policy) may take in memory; what does not fit is computed
    /// anew in every epoch.
    cache_mib: usize,
}

/// `[settings.feature.teacher]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FeatureTeacherSettings")]
struct TeacherSettings {
    /// The network: its sizes, or `model` with a name of the registry. The file of a robust model has its own, and needs none here.
    #[serde(default, deserialize_with = "given_network", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "network_schema")]
    network: Option<ModelConfig>,
    /// Its weights: a file of a robust model, or a checkpoint of any program whose names are known. Of a whole CLIP the image tower.
    weights: PathBuf,
    /// The key under which the state dict lies in a file that holds several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// Its normalisation of pixels, as in `normalize(clip)`; other steps are the student's. Default: that of the file of a robust model, else
    /// the student's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    preprocess: Option<String>,
}

fn given_network<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ModelConfig>, D::Error> {
    network(deserializer).map(Some)
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            teacher: None,
            target: Target::default(),
            whitening: Whitening::default(),
            beta: BETA,
            drop_path: 0.1,
            warmup_rate: 5e-7,
            least_rate: 5e-6,
            rates_of_512: false,
            cache_mib: 1024,
        }
    }
}

impl Settings {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        check(&mut faults, self.beta.is_finite() && self.beta > 0.0, || {
            format!("settings.feature.beta {} is not positive", self.beta)
        });
        check(&mut faults, (0.0..1.0).contains(&self.drop_path), || {
            format!("settings.feature.drop_path {} is not in [0, 1)", self.drop_path)
        });
        for (name, rate) in [("warmup_rate", self.warmup_rate), ("least_rate", self.least_rate)] {
            check(&mut faults, rate.is_finite() && rate >= 0.0, || {
                format!("settings.feature.{name} {rate} is negative")
            });
        }
        match &self.teacher {
            None => faults.push(
                "settings.feature.teacher is missing: feature learns from a pre-trained network, whose file is \
                 settings.feature.teacher.weights"
                    .into(),
            ),
            Some(teacher) => {
                if let Some(text) = &teacher.preprocess {
                    parses::<Preprocess>(&mut faults, "settings.feature.teacher.preprocess", text);
                }
                if let Some(network) = &teacher.network {
                    let of_network = network.faults();
                    faults.extend(
                        of_network.into_iter().map(|fault| format!("settings.feature.teacher.network: {fault}")),
                    );
                }
            }
        }
        faults
    }
}

impl Pretraining for FeatureLearning {
    fn name(&self) -> &'static str {
        "feature"
    }

    fn about(&self) -> &'static str {
        "the last tokens of a frozen pre-trained network, whitened and without labels (Feature Distillation)"
    }

    fn faults(&self, config: &PretrainConfig) -> Vec<String> {
        let mut faults = unlabelled::classifier_faults(self.name(), config);
        check(&mut faults, !config.network.has_batch_norm(), || {
            "network: feature trains a Vision Transformer or a Swin Transformer, whose tokens it compares".into()
        });
        match config.settings::<Settings>(self.name()) {
            Err(error) => faults.push(format!("{error:#}")),
            Ok(settings) => faults.extend(settings.faults()),
        }
        faults
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<Settings>())
    }

    fn train(&self, session: &Session<'_>) -> Result<Made> {
        let (config, settings) = (session.config, session.config.settings::<Settings>(self.name())?);
        let device = &session.machine.device;
        let (teacher, hash) = teacher(session, &settings)?;
        let student = FeatureStudent::new(&config.network, teacher.width(), config.seed, device)?;
        for note in matching(&student, &teacher, session).notes() {
            session.watch.say(&format!("feature: {note}"));
        }
        let images = session.image_training()?;
        let is_fixed = images.clean_view.is_fixed() && images.policy.is_none();
        let objective = FeatureDistillation {
            drop_path: drop_path_rates(&student.encoder, settings.drop_path),
            schedule: FeatureSchedule {
                warmup_rate: settings.warmup_rate,
                least_rate: settings.least_rate,
                factor: if settings.rates_of_512 { config.training.batch_size as f64 / 512.0 } else { 1.0 },
            },
            kept: is_fixed.then(|| Kept::new(settings.cache_mib << 20)),
            beta: settings.beta,
            images,
            teacher,
        };
        let trained = session.train_with(&objective, student, Some(&hash))?;
        let (bytes, model) = session.written(trained.encoder)?;
        Ok(Made { bytes, scores: vec![unlabelled::score(session, &model)?] })
    }
}

/// How the tokens of both go together, found with an image that is black.
fn matching(student: &FeatureStudent, teacher: &FeatureTeacher, session: &Session<'_>) -> Matching {
    let side = student.encoder.image_size();
    let image = burn::tensor::Tensor::<4>::zeros([1, 3, side, side], &session.machine.device);
    let tokens = student.encoder.last_tokens(image.clone(), &Pass::eval());
    teacher.targets(image, &tokens).1
}

/// The frozen network with its weights, and a hash of its file.
fn teacher(session: &Session<'_>, settings: &Settings) -> Result<(FeatureTeacher, String)> {
    let Some(given) = &settings.teacher else { bail!("settings.feature.teacher is missing") };
    let (file, own) = (&given.weights, session.preprocess()?);
    let read = || -> Result<_> { Ok((read(given, settings.target, session)?, digest::of_file(file)?)) };
    let ((model, seen), hash) =
        read().with_context(|| format!("settings.feature.teacher.weights `{}`", file.display()))?;
    let seen: Preprocess = match &given.preprocess {
        Some(text) => text.parse()?,
        None => seen.unwrap_or_else(|| own.clone()),
    };
    let renormalisation = Renormalisation::between(own.normalization(), seen.normalization());
    let teacher = FeatureTeacher { model, renormalisation, target: settings.target, whitening: settings.whitening };
    Ok((teacher, hash))
}

/// A network, and what it does with pixels if its file says so.
fn read(given: &TeacherSettings, target: Target, session: &Session<'_>) -> Result<(Model, Option<Preprocess>)> {
    let (file, device) = (given.weights.as_path(), &session.machine.device);
    if RobustModel::is_one(file)? {
        let read = RobustModel::read(file, device)?;
        return Ok((read.model, Some(read.seen)));
    }
    let Some(network) = &given.network else {
        bail!("settings.feature.teacher.network is missing; only the file of a robust model says it by itself")
    };
    let (checkpoint, from) = (Checkpoint::open(file)?, given.from.as_deref());
    let mut blank = Model::blank(network, device)?;
    if target != Target::Logits && network.classifier() > 0 {
        // Tokens need no classifier: whichever the file has will do.
        let classes = weights::classes(&checkpoint, &weights::shapes(&blank), from)?;
        blank = Model::blank(&network.with_classes(classes), device)?;
    }
    let (model, loaded) = weights::load_from(blank, &checkpoint, LoadOptions { from, partial: Partial::Refuse })?;
    session.watch.say(&format!("feature: the teacher is {loaded}"));
    Ok((model, None))
}
