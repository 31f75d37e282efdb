//! `augment`: training augmentations into files.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use image::RgbImage;
use robustify_augment::{Policy, Scratch};
use robustify_deepaugment::{
    Autoencoder, Cae, CaeConfig, DeepAugment, Edsr, EdsrConfig, Noise2Net, TrainConfig, train,
};
use robustify_rng::Key;
use robustify_watch::{Stopped, Watch};
use serde_json::json;

use super::offline::{self, Job};
use crate::args::Augment;
use crate::digest;
use crate::offline::{Variant, Work, stopped};

/// A network of DeepAugment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Deep {
    /// A small residual network with fresh random weights for every picture.
    Noise2net,
    /// A small autoencoder with disturbed weights; trained on the pictures of INPUT first, unless --deep-weights names one.
    Autoencoder,
    /// EDSR x4 with disturbed weights, which --deep-weights names.
    Edsr,
    /// The compressive autoencoder of DeepAugment's authors with disturbed weights, which --deep-weights names.
    Cae,
}

/// Augments every picture of the input.
pub fn run(options: &Augment, watch: &dyn Watch) -> anyhow::Result<()> {
    let policy: Option<Policy> = match (&options.policy, options.deep) {
        (Some(policy), _) => Some(policy.parse()?),
        (None, Some(_)) => None,
        (None, None) => Some("augmix(severity=3)".parse()?),
    };
    let job = Job::open(&options.offline)?;
    let part = |view: u32| Variant { group: view.to_string(), part: None };
    let variants = match options.views {
        1 => vec![Variant { group: String::new(), part: None }],
        views => (1..=views).map(part).collect(),
    };
    let deep = options.deep.map(|method| Network::open(method, options, &job, watch)).transpose()?;
    let mut sets = policy.as_ref().map(Policy::mixing_sets).unwrap_or_default();
    sets.dedup();
    if !sets.is_empty() {
        watch.say(&format!("pictures that are mixed in: {} (generated, not the authors')", sets.join(", ")));
    }
    let work = AugmentWork { deep, policy, variants, seed: options.offline.seed };
    if let Some(path) = &options.offline.sheet {
        sheet(&job, &work, path)?;
    }
    job.execute(&work, watch)
}

/// A network, and what identifies it.
struct Network {
    augment: DeepAugment,
    method: Deep,
    /// SHA-256 of the weights.
    weights: Option<String>,
}

impl Network {
    fn open(method: Deep, options: &Augment, job: &Job, watch: &dyn Watch) -> anyhow::Result<Self> {
        let device = robustify_device::open(options.backend.as_deref())?;
        let named = options.deep_weights.as_deref();
        let needed = || named.context("--deep-weights FILE is needed: the authors' weights in safetensors");
        ensure!(
            method != Deep::Noise2net || named.is_none(),
            "--deep-weights: noise2net draws its weights; leave the option out"
        );
        let (augment, file) = match method {
            Deep::Noise2net => (DeepAugment::noise2net(Noise2Net::default(), &device), None),
            Deep::Autoencoder => {
                let file = match named {
                    Some(file) => file.to_owned(),
                    None => trained(options, job, watch, &device)?,
                };
                (DeepAugment::perturbed(Autoencoder::load(&file, &device)?), Some(file))
            }
            Deep::Edsr => {
                let file = needed()?;
                (DeepAugment::perturbed(Edsr::load(&EdsrConfig::default(), file, &device)?), Some(file.to_owned()))
            }
            Deep::Cae => {
                let file = needed()?;
                (DeepAugment::perturbed(Cae::load(&CaeConfig::default(), file, &device)?), Some(file.to_owned()))
            }
        };
        let weights = file.map(|file| digest::of_file(&file)).transpose()?;
        Ok(Self { augment, method, weights })
    }
}

/// The autoencoder of the results' folder, trained on the input if it is not there.
fn trained(options: &Augment, job: &Job, watch: &dyn Watch, device: &burn::tensor::Device) -> anyhow::Result<PathBuf> {
    let Job { inputs, preprocess, .. } = job;
    let mut list = format!("{} {} {}\n", options.offline.seed, options.deep_epochs, options.offline.preprocess);
    for index in 0..inputs.len() {
        list += &format!("{} {}\n", inputs.name(index), inputs.read(index).map(|raw| raw.sha256).unwrap_or_default());
    }
    // Named by what determines it, so that other pictures or settings train another.
    let name = format!("autoencoder-{}.safetensors", &digest::of_bytes(list.as_bytes())[..12]);
    let file = job.beside(&name)?;
    if file.is_file() {
        watch.say(&format!("autoencoder: {}", file.display()));
        return Ok(file);
    }
    let config =
        TrainConfig { seed: options.offline.seed, epochs: options.deep_epochs as usize, ..TrainConfig::default() };
    let mut progress = watch.progress("autoencoder", config.epochs * inputs.len());
    let mut seen = 0;
    let decode = |index: usize| Ok(inputs.decode(index, inputs.read(index)?, preprocess)?.rgb);
    let image = |index: usize| -> anyhow::Result<RgbImage> {
        seen += 1;
        progress.set(seen, "");
        watch.check(Stopped::Saved)?;
        // Unusable pictures are named later; here the next one takes the place.
        let next = (1..inputs.len()).map(|step| decode((index + step) % inputs.len()));
        decode(index).or_else(|error| next.flatten().next().ok_or(error))
    };
    let trained = train(inputs.len(), image, &config, device).or_else(|error| {
        let begins_anew = || "interrupted; the training of the autoencoder begins anew".to_owned();
        watch.check(Stopped::Saved).map_err(|stop| stopped(stop.into(), begins_anew))?;
        Err(anyhow::Error::from(error))
    })?;
    let losses: Vec<String> = trained.losses.iter().map(|loss| format!("{loss:.4}")).collect();
    progress.finish(&format!("mean squared error by epoch {}; {}", losses.join(" "), file.display()));
    trained.network.save(&file)?;
    Ok(file)
}

struct AugmentWork {
    deep: Option<Network>,
    policy: Option<Policy>,
    variants: Vec<Variant>,
    seed: u64,
}

fn key(seed: u64, name: &str, view: usize) -> Key {
    Key::new(seed, "augment").with_str(name).with(view as u64)
}

impl AugmentWork {
    /// The network first, then the policy.
    fn view(
        &self,
        image: &RgbImage,
        policy: Option<&Policy>,
        key: Key,
        scratch: &mut Scratch,
    ) -> anyhow::Result<RgbImage> {
        let Some(deep) = &self.deep else {
            return Ok(policy.map_or_else(|| image.clone(), |policy| policy.apply_with(image, key, scratch)));
        };
        let made = deep.augment.apply(std::slice::from_ref(image), &[key.with_str("deep")])?;
        let made = made.into_iter().next().context("a network gave no image; please report it")?;
        Ok(policy.map_or_else(|| made.clone(), |policy| policy.apply_with(&made, key, scratch)))
    }
}

impl Work for AugmentWork {
    fn settings(&self) -> serde_json::Value {
        let deep = self.deep.as_ref().map(|deep| {
            json!({ "network": deep.method.to_possible_value().map(|value| value.get_name().to_owned()), "weights": deep.weights })
        });
        json!({
            "command": "augment",
            "deep": deep,
            "policy": self.policy.as_ref().map(ToString::to_string),
            "seed": self.seed,
            "numbered": self.variants.len() > 1,
        })
    }

    fn variants(&self) -> &[Variant] {
        &self.variants
    }

    fn make(
        &self,
        image: &RgbImage,
        name: &str,
        variant: usize,
        scratch: &mut Scratch,
        out: &mut RgbImage,
    ) -> anyhow::Result<()> {
        *out = self.view(image, self.policy.as_ref(), key(self.seed, name, variant), scratch)?;
        Ok(())
    }

    fn describe(&self, name: &str, variant: usize) -> Option<String> {
        let key = key(self.seed, name, variant).with_str("deep");
        self.deep.as_ref().filter(|deep| deep.method != Deep::Noise2net).map(|deep| deep.augment.describe(key))
    }
}

/// Columns of a sheet.
const VIEWS: usize = 5;

/// The first picture, augmented: a row for each alternative of the policy, a column for each view.
fn sheet(job: &Job, work: &AugmentWork, path: &Path) -> anyhow::Result<()> {
    let (name, image) = job.first()?;
    let columns: Vec<String> =
        std::iter::once("clean".to_owned()).chain((1..=VIEWS).map(|view| view.to_string())).collect();
    let alternatives = match &work.policy {
        Some(policy) => {
            let text = policy.to_string();
            text.split('|').map(|text| text.parse().map(Some)).collect::<Result<Vec<Option<Policy>>, _>>()?
        }
        None => vec![None],
    };
    let mut rows = Vec::new();
    let mut scratch = Scratch::new();
    for policy in &alternatives {
        let mut row = vec![image.clone()];
        for view in 0..VIEWS {
            row.push(work.view(&image, policy.as_ref(), key(work.seed, &name, view), &mut scratch)?);
        }
        let title = match (&work.deep, policy) {
            (Some(_), Some(policy)) => format!("deep + {policy}"),
            (Some(_), None) => "deep".to_owned(),
            (None, policy) => policy.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        rows.push((title, row));
    }
    offline::save_sheet(path, &columns, &rows)
}
