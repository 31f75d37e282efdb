//! An image tower and a text tower, by contrast of pictures and their captions. Source: Radford et al. 2021, arXiv:2103.00020.
//!
//! Captions are made with the pictures ([`Scene`]): objects are painted, made smaller and put before backgrounds, and the caption says
//! a part of it in one of 80 sentences. `network` is the image tower, whose last layer projects into the common space.

use std::sync::Arc;

use anyhow::{Result, bail};
use robustify_bench::evaluate;
use robustify_data::{CleanView, Images, Job, Preprocess, Scene};
use robustify_distill::captions::MOST_SCALE;
use robustify_distill::contrastive::Duplicates;
use robustify_distill::{CaptionBatches, CaptionTraining, Captioned, Precision};
use robustify_methods::config::{check, parses};
use robustify_methods::lab::texts::{ClipDescription, Texts, ZeroShotConfig, clip_bytes, text_matrix};
use robustify_rng::Key;
use robustify_tokenizer::{Tokenizer, Vocabulary, prompts};
use robustify_zoo::clip::{Clip as Towers, ClipConfig, TextConfig};
use robustify_zoo::weights;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{Made, PretrainConfig, Pretraining, Score, Session};

/// Captions.
pub(super) struct Clip;

/// `[settings.clip]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ClipSettings")]
struct Settings {
    /// Width of the text tower.
    width: usize,
    /// Blocks of the text tower.
    depth: usize,
    /// Attention heads of the text tower.
    heads: usize,
    /// The most ids that a caption can have, markers included.
    context_length: usize,
    /// Part of the pictures that stay as they are, with a caption that names the object alone.
    plain: f64,
    /// Rows of a batch that are compared with each other.
    group_rows: usize,
    /// What captions that mean the same are to each other.
    duplicates: Duplicates,
    /// What classes are called in captions: a list for each that is called something else than in the data, with that name and then
    /// one name or several, of which zero-shot classes have the first.
    names: Vec<Vec<String>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            width: 128,
            depth: 2,
            heads: 4,
            context_length: 32,
            plain: 0.5,
            group_rows: 128,
            duplicates: Duplicates::Shared,
            names: Vec::new(),
        }
    }
}

impl Settings {
    fn names<'a>(&'a self, class: &'a String) -> &'a [String] {
        let named = self.names.iter().find(|names| names.first() == Some(class));
        named.map_or(std::slice::from_ref(class), |names| &names[1..])
    }

    fn text(&self, vocabulary: &Vocabulary, config: &PretrainConfig) -> TextConfig {
        let Self { context_length, width, depth, heads, .. } = *self;
        let (vocabulary, embed_dim) = (vocabulary.size(), config.network.outputs());
        TextConfig { context_length, vocabulary, width, depth, heads, embed_dim, activation: Default::default() }
    }
}

impl Pretraining for Clip {
    fn name(&self) -> &'static str {
        "clip"
    }

    fn about(&self) -> &'static str {
        "captions that are made with the pictures, by contrast of an image tower and a text tower"
    }

    fn faults(&self, config: &PretrainConfig) -> Vec<String> {
        let settings: Settings = match config.settings(self.name()) {
            Ok(settings) => settings,
            Err(error) => return vec![format!("{error:#}")],
        };
        let mut faults = settings.text(&Vocabulary::whole(), config).faults();
        faults.iter_mut().for_each(|fault| *fault = format!("settings.clip: {fault}"));
        check(&mut faults, (0.0..=1.0).contains(&settings.plain), || {
            format!("settings.clip.plain {} is not in [0, 1]", settings.plain)
        });
        check(&mut faults, settings.group_rows > 1, || "settings.clip.group_rows is at least 2".into());
        check(&mut faults, settings.names.iter().all(|names| names.len() > 1), || {
            "settings.clip.names: a class without another name".into()
        });
        check(&mut faults, config.network.with_texts(0).is_some(), || {
            "network: objective clip trains an image tower that ends in a projection: a vit with projects = true, or a clip_resnet \
             with classes = 0"
                .into()
        });
        check(&mut faults, config.training.policy.is_none(), || {
            "training.policy: objective clip makes its own pictures; leave it out".into()
        });
        parses::<Preprocess>(&mut faults, "preprocess", &config.preprocess);
        faults
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<Settings>())
    }

    fn train(&self, session: &Session<'_>) -> Result<Made> {
        let (config, machine) = (session.config, session.machine);
        let settings: Settings = config.settings(self.name())?;
        let classes = session.images.classes();
        if let Some(names) = settings.names.iter().find(|names| !classes.contains(&names[0])) {
            bail!("settings.clip.names: `{}` is none of the data's classes: {}", names[0], classes.join(", "));
        }
        let vocabulary = vocabulary(&settings, classes);
        let shape = ClipConfig { image: config.network.clone(), text: settings.text(&vocabulary, config) };
        let towers = Towers::new(&shape, config.seed, &machine.device)?;
        let captions = Arc::new(Captions {
            texts: Texts::new(vocabulary, settings.context_length),
            images: session.images.clone(),
            preprocess: session.preprocess()?,
            view: config.training.clean_view.as_deref().unwrap_or("identity").parse()?,
            seed: config.seed,
            settings,
        });
        let items = |epoch| captions.job(epoch);
        let batches = CaptionBatches {
            items: &items,
            images: session.images.len(),
            batch_size: config.training.batch_size,
            group_rows: captions.settings.group_rows,
            image_size: config.network.image_size(),
            seed: config.seed,
            loader_threads: machine.workers.threads(),
            device: machine.device.clone(),
        };
        let duplicates = captions.settings.duplicates;
        let objective = CaptionTraining {
            batches,
            duplicates,
            most_scale: Some(MOST_SCALE),
            freeze_norm: false,
            decay_scale: false,
        };
        let (_, towers) = session.written(session.train(&objective, towers)?)?;
        let half = config.precision == Precision::F16;
        let vocabulary = captions.texts.vocabulary().ids().to_vec();
        let description = ClipDescription { clip: shape, vocabulary, preprocess: config.preprocess.clone() };
        let bytes = clip_bytes(&weights::state(&towers), half, &description);
        Ok(Made { bytes, scores: vec![zero_shot(session, &captions, &towers)?] })
    }
}

/// Every id of every caption.
fn vocabulary(settings: &Settings, classes: &[String]) -> Vocabulary {
    let named = classes.iter().flat_map(|class| settings.names(class)).cloned();
    let words: Vec<String> = Scene::words().into_iter().chain(named).collect();
    let sentences = prompts::OPENAI_IMAGENET.iter().flat_map(|template| template.split("{}"));
    Vocabulary::of(&Tokenizer::new(), words.iter().map(String::as_str).chain(sentences))
}

/// Part of the test images whose class is the closest text.
fn zero_shot(session: &Session<'_>, captions: &Captions, towers: &Towers) -> Result<Score> {
    let (test, machine) = (&session.test, session.machine);
    let names = test.classes().iter().map(|class| [class.clone(), captions.settings.names(class)[0].clone()]);
    let prompts = ZeroShotConfig { names: names.collect(), ..ZeroShotConfig::default() };
    let matrix = text_matrix(towers, &captions.texts, test.classes(), &prompts, &machine.workers)?;
    let model = towers.visual.clone().with_texts(Some(&matrix), &machine.device)?;
    let value = evaluate::accuracy(&model, test, &captions.preprocess, &machine.workers, &machine.device)?;
    Ok(Score { measure: "zero-shot test accuracy".into(), value, images: test.len() })
}

/// Makes pictures and their captions.
struct Captions {
    texts: Texts,
    images: Images,
    preprocess: Preprocess,
    view: CleanView,
    seed: u64,
    settings: Settings,
}

impl Captions {
    /// The captioned pictures of an epoch.
    fn job(self: &Arc<Self>, epoch: usize) -> Job<Captioned> {
        let captions = Arc::clone(self);
        Arc::new(move |index, _| captions.captioned(epoch, index))
    }

    fn captioned(&self, epoch: usize, index: usize) -> robustify_data::Result<Captioned> {
        let misfit = |error: robustify_data::DataError| error.of_image(&self.images, index);
        let sample = self.images.get(index)?;
        let pixels = self.preprocess.geometry().pixels(&sample.image).map_err(misfit)?;
        let key = |purpose| Key::new(self.seed, purpose).with(epoch as u64).with(sample.id);
        let view = self.view.apply(&pixels, key("clean view")).map_err(misfit)?;
        let stream = &mut key("caption").stream();
        let names = self.settings.names(&self.images.classes()[sample.label]);
        let name = &names[stream.below(names.len() as u32) as usize];
        let scene = match stream.chance(self.settings.plain) {
            true => Scene::plain(view, name),
            false => Scene::new(&view, name, key("scene")).map_err(misfit)?,
        };
        let sentences = prompts::OPENAI_IMAGENET;
        let caption = prompts::fill(sentences[stream.below(sentences.len() as u32) as usize], &scene.phrase);
        let ids = self.texts.row(&caption).map_err(|error| robustify_data::DataError::Settings(error.to_string()))?;
        let mut values = vec![0.0; 3 * (scene.image.width() * scene.image.height()) as usize];
        self.preprocess.write_chw(&scene.image, &mut values).map_err(misfit)?;
        Ok(Captioned { pixels: values, ids, meaning: meaning(&scene.phrase) })
    }
}

/// The same number for the same phrase.
fn meaning(phrase: &str) -> u64 {
    Key::new(0, "meaning").with_str(phrase).digest()
}
