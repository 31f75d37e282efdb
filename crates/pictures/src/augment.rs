//! Training augmentations into files.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use image::RgbImage;
use robustify_augment::{Policy, Scratch};
use robustify_data::place;
use robustify_deepaugment::{
    Autoencoder, Cae, CaeConfig, DeepAugment, Edsr, EdsrConfig, Noise2Net, TrainConfig, train,
};
use robustify_report::digest;
use robustify_rng::Key;
use robustify_watch::{Stopped, Watch, shown};
use serde_json::json;

use crate::job::{Files, Job};
use crate::run::stopped;
use crate::{Variant, Work};

/// Which augmentations of which pictures.
#[derive(Clone, Debug)]
pub struct AugmentJob {
    /// The pictures, and where results go.
    pub files: Files,
    /// What is done, after the network if there is one.
    pub policy: Option<Policy>,
    /// A disturbed network that every picture goes through first.
    pub deep: Option<Deep>,
    /// Different results of every picture, at least one.
    pub views: u32,
}

/// A disturbed network (DeepAugment).
#[derive(Clone, Debug)]
pub struct Deep {
    /// Which network.
    pub method: DeepMethod,
    /// Its weights, as safetensors.
    pub weights: Option<PathBuf>,
    /// Passes over the pictures when an autoencoder is trained.
    pub epochs: usize,
    /// Backend to compute on, as [`robustify_device::open`] takes it.
    pub backend: Option<String>,
}

/// A network of DeepAugment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeepMethod {
    /// A small residual network with fresh random weights for every picture.
    Noise2net,
    /// A small autoencoder with disturbed weights; trained on the pictures first, unless weights are given.
    Autoencoder,
    /// EDSR x4 with disturbed weights, which are given.
    Edsr,
    /// The compressive autoencoder of DeepAugment's authors with disturbed weights, which are given.
    Cae,
}

impl DeepMethod {
    /// The name in settings and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Noise2net => "noise2net",
            Self::Autoencoder => "autoencoder",
            Self::Edsr => "edsr",
            Self::Cae => "cae",
        }
    }
}

/// Augments every picture of the input.
///
/// # Errors
/// Files that cannot be read or written or do not fit together; [`Ended`](crate::Ended) if a stop was asked for, or if some
/// pictures were unusable and everything else is done.
pub fn augment(job: &AugmentJob, watch: &dyn Watch) -> anyhow::Result<()> {
    let opened = Job::open(&job.files)?;
    let part = |view: u32| Variant { group: view.to_string(), part: None };
    let variants = match job.views {
        1 => vec![Variant { group: String::new(), part: None }],
        views => (1..=views).map(part).collect(),
    };
    let deep = job.deep.as_ref().map(|deep| Network::open(deep, &opened, &job.files, watch)).transpose()?;
    let mut sets = job.policy.as_ref().map(Policy::mixing_sets).unwrap_or_default();
    sets.dedup();
    if !sets.is_empty() {
        watch.say(&format!("pictures that are mixed in: {} (generated, not the authors')", sets.join(", ")));
    }
    let work = AugmentWork { deep, policy: job.policy.clone(), variants, seed: job.files.seed };
    if let Some(path) = &job.files.sheet {
        sheet(&opened, &work, path)?;
    }
    opened.execute(&work, watch)
}

/// A network, and what identifies it.
struct Network {
    augment: DeepAugment,
    method: DeepMethod,
    /// SHA-256 of the weights.
    weights: Option<String>,
}

impl Network {
    fn open(deep: &Deep, job: &Job<'_>, files: &Files, watch: &dyn Watch) -> anyhow::Result<Self> {
        let device = robustify_device::open(deep.backend.as_deref())?;
        let (method, named) = (deep.method, deep.weights.as_deref());
        named.map(|file| place::open(file).context("--deep-weights")).transpose()?;
        let needed = || named.context("--deep-weights FILE is needed: the authors' weights in safetensors");
        ensure!(
            method != DeepMethod::Noise2net || named.is_none(),
            "--deep-weights: noise2net draws its weights; leave the option out"
        );
        let (augment, file) = match method {
            DeepMethod::Noise2net => (DeepAugment::noise2net(Noise2Net::default(), &device), None),
            DeepMethod::Autoencoder => {
                let file = match named {
                    Some(file) => file.to_owned(),
                    None => trained(job, files, deep.epochs, watch, &device)?,
                };
                (DeepAugment::perturbed(Autoencoder::load(&file, &device)?), Some(file))
            }
            DeepMethod::Edsr => {
                let file = needed()?;
                (DeepAugment::perturbed(Edsr::load(&EdsrConfig::default(), file, &device)?), Some(file.to_owned()))
            }
            DeepMethod::Cae => {
                let file = needed()?;
                (DeepAugment::perturbed(Cae::load(&CaeConfig::default(), file, &device)?), Some(file.to_owned()))
            }
        };
        let weights = file.map(|file| digest::of_file(&file)).transpose()?;
        Ok(Self { augment, method, weights })
    }
}

/// The autoencoder of the results' folder, trained on the input if it is not there.
fn trained(
    job: &Job<'_>,
    files: &Files,
    epochs: usize,
    watch: &dyn Watch,
    device: &burn::tensor::Device,
) -> anyhow::Result<PathBuf> {
    let Job { inputs, preprocess, .. } = job;
    let mut list = format!("{} {epochs} {}\n", files.seed, files.preprocess);
    for index in 0..inputs.len() {
        list += &format!("{} {}\n", inputs.name(index), inputs.read(index).map(|raw| raw.sha256).unwrap_or_default());
    }
    // Named by what determines it, so that other pictures or settings train another.
    let name = format!("autoencoder-{}.safetensors", &digest::of_bytes(list.as_bytes())[..12]);
    let file = job.beside(&name)?;
    if file.is_file() {
        watch.say(&format!("autoencoder: {}", shown(&file)));
        return Ok(file);
    }
    let config = TrainConfig { seed: files.seed, epochs, ..TrainConfig::default() };
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
    progress.finish(&format!("mean squared error by epoch {}; {}", losses.join(" "), shown(&file)));
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
        let deep = self.deep.as_ref().map(|deep| json!({ "network": deep.method.name(), "weights": deep.weights }));
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
        self.deep.as_ref().filter(|deep| deep.method != DeepMethod::Noise2net).map(|deep| deep.augment.describe(key))
    }
}

/// Columns of a sheet.
const VIEWS: usize = 5;

/// The first picture, augmented: a row for each alternative of the policy, a column for each view.
fn sheet(job: &Job<'_>, work: &AugmentWork, path: &Path) -> anyhow::Result<()> {
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
    job.save_sheet(path, &columns, &rows)
}
