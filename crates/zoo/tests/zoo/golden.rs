//! Golden cases of `crates/zoo/goldens`: a tiny model of timm with its outputs and gradients, to compare any device with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData, activation};
use robustify_zoo::weights::{self, Entry, ParameterPath, State};
use robustify_zoo::{BatchStatistics, Features, Model, ModelConfig, Pass, Trace};

/// One case, read from its folder.
pub struct Golden {
    pub name: String,
    pub config: ModelConfig,
    pub labels: Vec<i64>,
    stored: State,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../zoo/goldens")
}

/// The case of a name.
#[allow(dead_code, reason = "of the two suites that share this file one asks for names")]
pub fn read(name: &str) -> Golden {
    Golden::read(&root().join(name))
}

/// All cases, by name.
pub fn all() -> Vec<Golden> {
    let root = root();
    let entries = std::fs::read_dir(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.join("case.json").is_file()).collect();
    folders.sort();
    assert!(folders.len() >= 10, "only {} cases in {}", folders.len(), root.display());
    folders.iter().map(|folder| Golden::read(folder)).collect()
}

impl Golden {
    fn read(folder: &Path) -> Self {
        let case = std::fs::read_to_string(folder.join("case.json")).unwrap();
        let case: serde_json::Value = serde_json::from_str(&case).unwrap();
        let config = serde_json::from_value(case["config"].clone()).unwrap();
        let labels = serde_json::from_value(case["labels"].clone()).unwrap();
        let stored = weights::read(&folder.join("golden.safetensors")).unwrap();
        Self { name: folder.file_name().unwrap().to_string_lossy().into_owned(), config, labels, stored }
    }

    /// The stored model on a device.
    pub fn model(&self, device: &Device) -> Model {
        let state = self.under("w.");
        weights::with_state(Model::new(&self.config, 0, device).unwrap(), state).unwrap()
    }

    /// The stored images `[batch, 3, image_size, image_size]`.
    pub fn images(&self, device: &Device) -> Tensor<4> {
        let entry = &self.stored["in.x"];
        Tensor::from_data(TensorData::new(entry.values.clone(), entry.shape.clone()), device)
    }

    /// Compares everything that is stored. A difference counts relative to the largest element of its tensor; returns the
    /// largest one. Tensors that differ by more than `tolerance`, or gradients by more than `gradient_tolerance`, are listed in
    /// one panic.
    pub fn check(&self, device: &Device, tolerance: f32, gradient_tolerance: f32) -> f32 {
        let mut check =
            Check { golden: self, tolerance, gradient_tolerance, worst: 0.0, compared: 0, faults: Vec::new() };
        let model = self.model(device);
        for (index, cut) in model.cut_points().into_iter().enumerate() {
            let name = if cut == model.last_cut() { "out.logits".into() } else { format!("mid.{index}") };
            check.compare(&name, host(model.features(self.images(device), cut)));
        }
        self.check_trace(&model, device, &mut check);
        self.check_gradients(&model, "", &Pass::eval(), &mut check);
        if matches!(self.config, ModelConfig::ResNet(_) | ModelConfig::ClipResNet(_)) {
            let statistics = BatchStatistics::default();
            self.check_gradients(&model, "train.", &Pass::eval().with_statistics(&statistics), &mut check);
            let moved = weights::state(&model.with_statistics(statistics));
            for (key, _) in self.under("train.w.") {
                check.compare(&format!("train.w.{key}"), moved[&key].clone());
            }
        }
        let inputs = self.stored.keys().filter(|key| key.starts_with("w.") || *key == "in.x").count();
        assert_eq!(check.compared, self.stored.len() - inputs + check.again(), "{}: not all was compared", self.name);
        let faults = check.faults;
        assert!(faults.is_empty(), "{} tensors of {} differ:\n{}", faults.len(), self.name, faults.join("\n"));
        check.worst
    }

    /// Compares the intermediates of case.json's `trace`; a trace changes no logits.
    fn check_trace(&self, model: &Model, device: &Device, check: &mut Check<'_>) {
        let trace = Trace::default();
        let traced = model.forward(self.images(device), &Pass::eval().with_trace(&trace));
        check.compare("out.logits", entry(traced));
        let seen: BTreeMap<String, Features> = trace.into_steps().into_iter().collect();
        for key in self.under("trace.").into_keys() {
            let features = seen.get(&key).unwrap_or_else(|| panic!("{}: no intermediate {key}", self.name));
            check.compare(&format!("trace.{key}"), host(features.clone()));
        }
    }

    fn check_gradients(&self, model: &Model, prefix: &str, pass: &Pass<'_>, check: &mut Check<'_>) {
        let model = model.clone().train();
        let logits = model.forward(self.images(&model.devices()[0].clone().without_autodiff()), pass);
        check.compare(&format!("{prefix}out.logits"), entry(logits.clone().without_autodiff()));
        let loss = cross_entropy(logits, &self.labels);
        check.compare(&format!("{prefix}loss"), scalar(loss.clone().without_autodiff()));
        let gradients = gradients_of(&model, &loss.backward());
        for key in self.under(&format!("{prefix}grad.")).into_keys() {
            let gradient = gradients.get(&key).unwrap_or_else(|| panic!("{}: no gradient of {key}", self.name));
            check.compare(&format!("{prefix}grad.{key}"), gradient.clone());
        }
    }

    fn under(&self, prefix: &str) -> State {
        let entries =
            self.stored.iter().filter_map(|(key, entry)| Some((key.strip_prefix(prefix)?.into(), entry.clone())));
        entries.collect()
    }
}

struct Check<'a> {
    golden: &'a Golden,
    tolerance: f32,
    gradient_tolerance: f32,
    worst: f32,
    compared: usize,
    faults: Vec<String>,
}

impl Check<'_> {
    fn compare(&mut self, name: &str, got: Entry) {
        let case = &self.golden.name;
        let stored = self.golden.stored.get(name).unwrap_or_else(|| panic!("{case}: nothing stored for {name}"));
        assert_eq!(got.shape, stored.shape, "{case}: shape of {name}");
        let tolerance = if name.contains("grad.") { self.gradient_tolerance } else { self.tolerance };
        let scale = stored.values.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
        let mut largest = (0.0, 0);
        for (index, (got, stored)) in got.values.iter().zip(&stored.values).enumerate() {
            let difference = (got - stored).abs() / scale;
            if difference > largest.0 || difference.is_nan() {
                largest = (difference, index);
            }
        }
        let (difference, index) = largest;
        if difference > tolerance || difference.is_nan() {
            let (got, stored) = (got.values[index], stored.values[index]);
            self.faults.push(format!("{name}[{index}] is {got}, stored is {stored}, the largest is {scale}"));
        }
        self.worst = self.worst.max(difference);
        self.compared += 1;
    }

    /// The logits of evaluation are compared three times: as they are, with a trace, with autodiff.
    fn again(&self) -> usize {
        2
    }
}

/// Mean cross-entropy, `[1]`.
pub fn cross_entropy(logits: Tensor<2>, labels: &[i64]) -> Tensor<1> {
    let device = logits.device().without_autodiff();
    let labels = Tensor::<1, Int>::from_data(labels, &device).unsqueeze_dim::<2>(1);
    -activation::log_softmax(logits, 1).gather(1, labels).mean()
}

/// The gradients of all parameters that have one, by name.
pub fn gradients_of<M: Module>(module: &M, gradients: &Gradients) -> State {
    let mut reader = Reader { path: ParameterPath::default(), gradients, state: State::new() };
    module.visit(&mut reader);
    reader.state
}

struct Reader<'a> {
    path: ParameterPath,
    gradients: &'a Gradients,
    state: State,
}

impl ModuleVisitor for Reader<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(self.gradients) {
            self.state.insert(self.path.name(), entry(gradient));
        }
    }
}

fn host(features: Features) -> Entry {
    match features {
        Features::Tokens(x) => entry(x),
        Features::Map(x) => entry(x),
        Features::Rows(x) => entry(x),
    }
}

/// A tensor on the host.
pub fn entry<const D: usize>(x: Tensor<D>) -> Entry {
    let data = x.into_data().convert::<f32>();
    Entry { shape: data.shape().to_vec(), values: data.try_to_vec::<f32>().unwrap() }
}

fn scalar(x: Tensor<1>) -> Entry {
    Entry { shape: Vec::new(), ..entry(x) }
}
