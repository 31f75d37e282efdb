//! Tiny models, images and cached views, and what the tests ask of a training.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use burn::module::Module;
use burn::tensor::Device;
use image::RgbImage;
use robustify_data::{Images, MemorySet};
use robustify_device::Workers;
use robustify_distill::optimizer::{self, AdamWConfig, DecayTo};
use robustify_distill::trainer::{self, EpochRecord, Objective, Plan};
use robustify_distill::views::Report;
use robustify_distill::{
    CachedPairs, CombinedTeacher, DistillError, FreshPairs, Precision, RobustTeacher, Teacher, TuningConfig, ViewCache,
    ViewJob, ViewSpec,
};
use robustify_rng::Key;
use robustify_select::SplitConfig;
use robustify_watch::{Progress, Silent, Stopped, Watch};
use robustify_zoo::weights::{self, Entry, State};
use robustify_zoo::{Model, ModelConfig};
use tempfile::TempDir;

pub const CLASSES: usize = 4;

pub fn flex() -> Device {
    robustify_device::open(Some("flex")).unwrap()
}

pub fn vit(seed: u64) -> Model {
    model(
        r#"{"architecture": "vit", "image_size": 16, "patch_size": 8, "width": 12, "depth": 3, "heads": 2, "mlp_ratio": 2.0,
            "classes": 4}"#,
        seed,
    )
}

pub fn resnet(seed: u64) -> Model {
    model(
        r#"{"architecture": "resnet", "image_size": 16, "stem_kernel": 3, "stem_stride": 2, "width": 6, "layers": [1, 1],
            "block": "basic", "classes": 4}"#,
        seed,
    )
}

fn model(config: &str, seed: u64) -> Model {
    let config: ModelConfig = serde_json::from_str(config).unwrap();
    Model::new(&config, seed, &flex()).unwrap()
}

/// Noise images, each of its own kind; labels go round the classes.
pub fn images(count: usize) -> Images {
    let noise = |index: usize| {
        let mut stream = Key::new(1, "image").with(index as u64).stream();
        let mut bytes = vec![0; 16 * 16 * 3];
        stream.fill(&mut bytes);
        RgbImage::from_raw(16, 16, bytes).unwrap()
    };
    let all: Vec<RgbImage> = (0..count).map(noise).collect();
    let labels = (0..count).map(|index| index % CLASSES).collect();
    let classes = (0..CLASSES).map(|class| class.to_string()).collect();
    Arc::new(MemorySet::from_images("noise", &all, labels, classes).unwrap())
}

/// Fresh parameters are near zero, and a signal hardly passes: this makes all of them large enough to tell things apart.
pub fn stirred<M: Module>(model: M) -> M {
    let mut state = weights::state(&model);
    for (name, entry) in &mut state {
        let mut stream = Key::new(5, name).stream();
        let vector = entry.shape.len() < 2;
        for value in &mut entry.values {
            *value = if vector { *value + stream.uniform(0.0, 0.2) as f32 } else { *value * 8.0 };
        }
    }
    weights::with_state(model, state).unwrap()
}

pub fn adamw() -> AdamWConfig {
    AdamWConfig {
        learning_rate: 0.01,
        weight_decay: 0.05,
        decay_to: DecayTo::Zero,
        betas: [0.9, 0.999],
        eps: 1e-8,
        warmup_fraction: 0.1,
        clip_norm: 1.0,
    }
}

pub fn tuning() -> TuningConfig {
    TuningConfig {
        seed: 3,
        epochs: 2,
        pairs: 6,
        dropout: 0.2,
        ce_weight: 0.5,
        kd_weight: 0.5,
        temperature: 2.0,
        combined_teacher: CombinedTeacher::Matched,
        robust_teacher: RobustTeacher::Robust,
        head_weights: [1.0, 1.0, 1.0],
        shared_rate_scale: 0.5,
        optimizer: adamw(),
    }
}

/// The small robust model that teaches.
pub fn small_teacher() -> Model {
    stirred(resnet(9))
}

/// Cached views of a model cut where `split` says.
pub struct Cached {
    pub original: Model,
    pub split: SplitConfig,
    pub cache: ViewCache,
    pub spec: ViewSpec,
    pub images: Images,
    /// Dimensions of a row of features, and the two teachers' logits, to read the file again.
    pub dims: Vec<usize>,
    pub logits: [Vec<f32>; 2],
    pub folder: TempDir,
}

impl Cached {
    pub fn new(original: Model, split: [usize; 2], clean: usize) -> Self {
        let spec = ViewSpec {
            preprocess: "normalize(half)".parse().unwrap(),
            clean_view: "random_crop(16,2)+hflip".parse().unwrap(),
            policy: "rand_conv".parse().unwrap(),
            clean,
            augmented: 2,
            seed: 1,
            precision: Precision::F16,
        };
        Self::of(original, split, spec)
    }

    /// The same of other views.
    pub fn of(original: Model, [shared_blocks, head_blocks]: [usize; 2], spec: ViewSpec) -> Self {
        let device = flex();
        let split = SplitConfig { shared_blocks, head_blocks, dropout_from: robustify_select::DropoutFrom::Shared };
        let images = images(8);
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("features.f16");
        let workers = Workers::new(2).unwrap();
        let cut = split.backbone_end(&original).unwrap();
        let mut silent = Silent;
        let base = &folder.path().join("growing");
        let job = ViewJob { spec: &spec, images: &images, workers: &workers, device: &device, base, identity: "views" };
        let report = Report { name: "features", watch: &Silent, progress: &mut silent };
        let written = job.features(&original, cut, report).unwrap();
        let (own, dims) = (written.logits.clone(), written.dims.clone());
        written.finish(&path).unwrap();
        let teacher = small_teacher();
        let report = Report { name: "logits", watch: &Silent, progress: &mut silent };
        let written = job.logits(Teacher::Robust, &teacher, &spec.preprocess, report).unwrap();
        let logits = [own, written.logits.clone()];
        written.discard().unwrap();
        let said = teachers(logits.clone());
        let cache = ViewCache::read(&path, &spec, images.labels().to_vec(), dims.clone(), said).unwrap();
        Self { original, split, cache, spec, images, dims, logits, folder }
    }

    pub fn pairs<'a>(&'a self, config: &'a TuningConfig, shard_pairs: usize, device: &'a Device) -> CachedPairs<'a> {
        CachedPairs { cache: &self.cache, config, shard_pairs, device }
    }

    /// The same views made anew in every epoch, with the teacher.
    pub fn fresh<'a>(
        &'a self,
        teacher: &'a Model,
        config: &'a TuningConfig,
        shard_pairs: usize,
        device: &'a Device,
    ) -> FreshPairs<'a> {
        FreshPairs {
            images: &self.images,
            spec: &self.spec,
            original: &self.original,
            cut: self.split.backbone_end(&self.original).unwrap(),
            teacher: Some((teacher, &self.spec.preprocess)),
            config,
            shard_pairs,
            loader_threads: 2,
            device,
        }
    }

    /// The cache with other features and teachers' logits for the rows whose view `changed` says.
    pub fn with_other_rows(&self, changed: impl Fn(usize) -> bool) -> ViewCache {
        let path = self.folder.path().join("features.f16");
        let mut bytes = std::fs::read(&path).unwrap();
        let row_bytes = 2 * self.dims.iter().product::<usize>();
        let other = self.folder.path().join("other.f16");
        let mut logits = self.logits.clone();
        for row in (0..bytes.len() / row_bytes).filter(|row| changed(row % self.spec.count())) {
            // Signs of 16-bit floats.
            bytes[row * row_bytes..(row + 1) * row_bytes].iter_mut().skip(1).step_by(2).for_each(|byte| *byte ^= 0x80);
            logits.iter_mut().for_each(|all| all[row * CLASSES..(row + 1) * CLASSES].reverse());
        }
        std::fs::write(&other, bytes).unwrap();
        self.reread(&other, teachers(logits)).unwrap()
    }

    /// The cache with other teachers.
    pub fn with_teachers(&self, said: &[(Teacher, Vec<f32>)]) -> Result<ViewCache, DistillError> {
        self.reread(&self.folder.path().join("features.f16"), said.to_vec())
    }

    /// The cache whose teachers say nothing but that they do not know.
    pub fn untaught(&self) -> ViewCache {
        self.with_teachers(&teachers(self.logits.each_ref().map(|logits| vec![f32::NAN; logits.len()]))).unwrap()
    }

    fn reread(&self, path: &Path, said: Vec<(Teacher, Vec<f32>)>) -> Result<ViewCache, DistillError> {
        ViewCache::read(path, &self.spec, self.images.labels().to_vec(), self.dims.clone(), said)
    }
}

/// Logits by who gave them.
pub fn teachers([original, robust]: [Vec<f32>; 2]) -> Vec<(Teacher, Vec<f32>)> {
    vec![(Teacher::Original, original), (Teacher::Robust, robust)]
}

/// The summed gradients of an epoch's first batch by name, and its loss.
pub fn gradients<O: Objective>(objective: &O, model: &O::Model) -> (State, f64) {
    let trained = model.clone().train();
    let shards = objective.epoch(0, 0).unwrap().next_batch().unwrap().unwrap();
    let mut loss = 0.0;
    let each = shards.into_iter().map(|shard| {
        let outcome = objective.loss(&trained, shard).unwrap();
        let mut backward = outcome.loss.backward();
        loss += f64::from(outcome.loss.into_scalar::<f32>());
        optimizer::gradients(&trained, &mut backward)
    });
    let sum = optimizer::sum(each.collect());
    let entry = |tensor: burn::tensor::Tensor<1>| Entry {
        shape: tensor.dims().to_vec(),
        values: tensor.into_data().try_to_vec().unwrap(),
    };
    (sum.into_iter().map(|(name, tensor)| (name, entry(tensor))).collect(), loss)
}

/// The largest difference of two states' elements, over the largest element of `b`.
pub fn difference(a: &State, b: &State) -> f32 {
    assert!(!b.is_empty() && a.keys().eq(b.keys()), "{:?} against {:?}", a.keys(), b.keys());
    let pairs = || a.values().zip(b.values()).flat_map(|(a, b)| a.values.iter().zip(&b.values));
    let largest = pairs().fold(0.0, |max: f32, (_, b)| max.max(b.abs()));
    assert!(pairs().all(|(a, b)| a.is_finite() && b.is_finite()) && largest > 0.0);
    pairs().fold(0.0, |max: f32, (a, b)| max.max((a - b).abs())) / largest
}

/// Counts steps, keeps what is said, and interrupts after some steps.
#[derive(Default)]
pub struct Watcher {
    stop_after: Option<usize>,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Clone, Default)]
struct Heard {
    steps: usize,
    said: Vec<String>,
    finished: Vec<String>,
}

impl Watcher {
    pub fn stopping_after(steps: usize) -> Self {
        Self { stop_after: Some(steps), ..Self::default() }
    }

    /// Everything that was said, and the message of progress that was finished.
    pub fn said(&self) -> (Vec<String>, Vec<String>) {
        let heard = self.heard.lock().unwrap();
        (heard.said.clone(), heard.finished.clone())
    }

    fn steps(&self) -> usize {
        self.heard.lock().unwrap().steps
    }
}

impl Watch for Watcher {
    fn say(&self, text: &str) {
        self.heard.lock().unwrap().said.push(text.to_owned());
    }

    fn warn(&self, text: &str) {
        panic!("a warning: {text}");
    }

    fn progress(&self, _: &str, _: usize) -> Box<dyn Progress> {
        Box::new(Counter(Arc::clone(&self.heard)))
    }

    fn is_stopped(&self) -> bool {
        self.stop_after == Some(self.steps())
    }
}

struct Counter(Arc<Mutex<Heard>>);

impl Progress for Counter {
    fn set(&mut self, _: usize, message: &str) {
        assert!(message.starts_with("loss "), "{message}");
        self.0.lock().unwrap().steps += 1;
    }

    fn finish(self: Box<Self>, message: &str) {
        self.0.lock().unwrap().finished.push(message.to_owned());
    }
}

pub fn plan(epochs: usize, checkpoint: &Path) -> Plan {
    Plan {
        name: "test".into(),
        epochs,
        optimizer: adamw(),
        checkpoint: checkpoint.into(),
        identity: "this training".into(),
        config: serde_json::json!({"epochs": epochs}),
        checkpoint_every: Duration::from_secs(3600),
    }
}

/// What a training ends in.
#[derive(Debug, PartialEq)]
pub struct Trained {
    pub state: State,
    pub history: Vec<EpochRecord>,
}

/// Trains for two epochs, interrupted after each of `stops` steps of a process; `fresh` is the model every process begins with.
pub fn train<O: Objective>(objective: &O, fresh: &O::Model, threads: usize, stops: &[usize]) -> Trained {
    train_with(&adamw(), objective, fresh, threads, stops)
}

/// The same with other settings of the optimizer.
pub fn train_with<O: Objective>(
    optimizer: &AdamWConfig,
    objective: &O,
    fresh: &O::Model,
    threads: usize,
    stops: &[usize],
) -> Trained {
    let (device, folder, workers) = (flex(), TempDir::new().unwrap(), Workers::new(threads).unwrap());
    let plan = Plan { optimizer: optimizer.clone(), ..plan(2, &folder.path().join("checkpoint.safetensors")) };
    let total = 2 * objective.steps();
    let continues = |step: usize| format!("test: continues at step {step} of {total}");
    let mut before = 0;
    for &stop in stops {
        let watcher = Watcher::stopping_after(stop);
        let result = trainer::train(objective, fresh.clone(), &plan, &workers, &device, &watcher);
        assert!(matches!(result, Err(DistillError::Stopped(Stopped::Saved))), "no interruption after {stop} steps");
        let (said, finished) = watcher.said();
        assert_eq!(said.contains(&continues(before)), before > 0, "{said:?}");
        assert!(finished.is_empty(), "{finished:?}");
        before += stop;
    }
    let watcher = Watcher::default();
    let (model, history) = trainer::train(objective, fresh.clone(), &plan, &workers, &device, &watcher).unwrap();
    assert_eq!(before + watcher.steps(), total);
    let (mut said, finished) = watcher.said();
    if before > 0 {
        assert_eq!(said.remove(0), continues(before));
    }
    let sentence = |record: &EpochRecord| match objective.has_labels() {
        true => format!("loss {:.3}, accuracy {:.1} %", record.loss, 100.0 * record.accuracy),
        false => format!("loss {:.3}", record.loss),
    };
    let epochs = &history[history.len() - said.len()..];
    let expected: Vec<String> =
        epochs.iter().map(|record| format!("test: epoch {}, {}", record.epoch, sentence(record))).collect();
    assert_eq!(said, expected);
    let last =
        format!("{}, {} steps, waited for data ", epochs.last().map(sentence).unwrap_or_default(), watcher.steps());
    assert!(
        matches!(&finished[..], [text] if text.starts_with(&last) && text.ends_with(" % of the time")),
        "{finished:?}"
    );
    Trained { state: weights::state(&model), history }
}
