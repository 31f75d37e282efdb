//! AdamW with parameter groups, a schedule with linear warm-up and cosine decay, and clipping by the global norm.
//!
//! Source: Loshchilov & Hutter 2019, arXiv:1711.05101, as in PyTorch (decoupled decay scaled by the learning rate, epsilon
//! outside the root). State is kept by parameter path, so that a checkpoint can hold it under the parameter's name.

mod selective;

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use robustify_kernels::AdamWStep;
pub use robustify_zoo::weights::gradients;
use robustify_zoo::weights::{Entry, ParameterPath, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of AdamW.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdamWConfig {
    /// Peak learning rate of a group with scale one.
    pub learning_rate: f64,
    /// Decoupled weight decay of weights; biases, norms, tokens and embeddings of positions have none. With `decay_to = "selective"`
    /// the strength of the projection, of all parameters, which the learning rate does not scale.
    pub weight_decay: f64,
    /// Where weight decay pulls to.
    #[serde(default)]
    pub decay_to: DecayTo,
    /// Decay rates of the first and second moment.
    #[serde(default = "default_betas")]
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    #[serde(default = "default_eps")]
    pub eps: f64,
    /// Part of all steps over which the learning rate rises from zero.
    pub warmup_fraction: f64,
    /// Largest norm of all gradients together; larger ones are scaled down to it.
    pub clip_norm: f64,
}

/// Where weight decay pulls a parameter to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecayTo {
    /// Zero, as is usual; right for weights that were drawn.
    #[default]
    Zero,
    /// The value that it had when training began: a tuned copy then keeps what it was copied from. Source: Li et al. 2018,
    /// arXiv:1802.01483 (L2-SP), decoupled like AdamW's.
    Start,
    /// The same, but a tensor is drawn back only where a step leads away from that value, and by no more than `weight_decay` times
    /// what it has come farther: selective projection decay. Source: Tian et al. 2024, arXiv:2411.01713.
    Selective,
}

impl DecayTo {
    /// Whether a step needs to know where training began.
    pub fn needs_start(self) -> bool {
        self != Self::Zero
    }
}

fn default_betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn default_eps() -> f64 {
    1e-8
}

impl AdamWConfig {
    /// Faults of the settings, each beginning with its key.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, value) in [("learning_rate", self.learning_rate), ("eps", self.eps), ("clip_norm", self.clip_norm)] {
            if !(value.is_finite() && value > 0.0) {
                faults.push(format!("{name} {value} is not positive"));
            }
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            faults.push(format!("weight_decay {} is negative", self.weight_decay));
        }
        if !self.betas.iter().all(|beta| (0.0..1.0).contains(beta)) {
            faults.push(format!("betas {:?} are not in [0, 1)", self.betas));
        }
        if !(0.0..1.0).contains(&self.warmup_fraction) {
            faults.push(format!("warmup_fraction {} is not in [0, 1)", self.warmup_fraction));
        }
        faults
    }

    /// The learning rate of step `step` of `total`, counted from zero: linear warm-up, then cosine to zero.
    pub fn rate(&self, step: usize, total: usize) -> f64 {
        let warmup = (self.warmup_fraction * total as f64).round();
        let position = step as f64 + 1.0;
        if position <= warmup {
            return self.learning_rate * position / warmup;
        }
        let progress = (position - warmup) / (total as f64 - warmup + 1.0).max(1.0);
        self.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
    }
}

/// Last parts of the names of parameters of two dimensions and more without weight decay, see [`Group::by_shape`].
const UNDECAYED: [&str; 7] = [
    "cls_token",
    "dist_token",
    "reg_token",
    "pos_embed",
    "positional_embedding",
    "relative_position_bias_table",
    "logit_scale",
];

/// Swin V2's network that makes position biases, without weight decay as a whole.
const UNDECAYED_NETWORK: &str = "cpb_mlp";

/// How one parameter is stepped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Factor on the learning rate.
    pub rate_scale: f64,
    /// Whether weight decay applies.
    pub decay: bool,
}

impl Group {
    /// Decay for matrices and kernels; none for biases, norms, tokens that are parameters, position embeddings and biases,
    /// and scales of attention.
    ///
    /// Source: timm 1.0.31, `param_groups_weight_decay` in `optim/_param_groups.py` and `no_weight_decay` of ViT with DeiT,
    /// Swin and Swin V2; `positional_embedding`, CLIP's name for position embeddings, is ours.
    pub fn by_shape(name: &str, rank: usize) -> Self {
        let last = name.rsplit('.').next().unwrap_or(name);
        let exempt = rank < 2 || UNDECAYED.contains(&last) || name.split('.').any(|part| part == UNDECAYED_NETWORK);
        Self { rate_scale: 1.0, decay: !exempt }
    }

    /// The same group with `scale` on the rate, unless the parameter is the classifier's. A distilled DeiT has two classifiers.
    #[must_use]
    pub fn with_body_scale(self, name: &str, scale: f64) -> Self {
        let classifier = name.split('.').any(|part| ["head", "head_dist", "fc"].contains(&part));
        Self { rate_scale: self.rate_scale * if classifier { 1.0 } else { scale }, ..self }
    }
}

/// Gradients of one shard by parameter path, flattened, without autodiff.
pub type Gradients = BTreeMap<String, Tensor<1>>;

/// Parameters by path, flattened, as they were when training began.
pub type Start = BTreeMap<String, Tensor<1>>;

/// The parameters that [`AdamW::decay_towards`] needs under these settings: those of `module`, or none.
pub fn start<M: Module>(config: &AdamWConfig, module: &M) -> Start {
    if config.decay_to.needs_start() { parameters(module) } else { Start::new() }
}

/// The parameters of a module by path, flattened.
pub fn parameters<M: Module>(module: &M) -> BTreeMap<String, Tensor<1>> {
    let mut rememberer = Rememberer { path: ParameterPath::default(), found: BTreeMap::new() };
    module.visit(&mut rememberer);
    rememberer.found
}

/// Sums the gradients of shards in their order.
pub fn sum(shards: Vec<Gradients>) -> Gradients {
    let mut total = Gradients::new();
    for shard in shards {
        for (name, gradient) in shard {
            let sum = match total.remove(&name) {
                Some(sum) => sum + gradient,
                None => gradient,
            };
            total.insert(name, sum);
        }
    }
    total
}

/// Norm of all gradients together. The sums of squares of all parameters are read in one go, since every read waits until
/// the device has done what it was told before.
fn norm(gradients: &Gradients) -> f64 {
    let squares: Vec<Tensor<1>> = gradients.values().map(|g| (g.clone() * g.clone()).sum()).collect();
    if squares.is_empty() {
        return 0.0;
    }
    let squares = Tensor::cat(squares, 0).into_data().convert::<f32>().try_to_vec::<f32>().expect("converted to f32");
    squares.into_iter().map(f64::from).sum::<f64>().sqrt()
}

/// Scales gradients down to a global norm of at most `limit`; returns the norm before.
pub fn clip(gradients: Gradients, limit: f64) -> (Gradients, f64) {
    let norm = norm(&gradients);
    if norm <= limit {
        return (gradients, norm);
    }
    let scale = limit / (norm + 1e-6);
    (gradients.into_iter().map(|(name, gradient)| (name, gradient * scale)).collect(), norm)
}

/// The optimizer's state: both moments of every stepped parameter, and the number of steps.
#[derive(Clone, Debug, Default)]
pub struct AdamW {
    moments: BTreeMap<String, [Tensor<1>; 2]>,
    steps: usize,
    /// Empty unless weight decay pulls to it; no part of a checkpoint.
    start: Start,
}

impl AdamW {
    /// Steps taken.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The same optimizer, knowing where [`DecayTo::Start`] and [`DecayTo::Selective`] pull to; see [`start`].
    #[must_use]
    pub fn decay_towards(self, start: Start) -> Self {
        Self { start, ..self }
    }

    /// One step on `module`, at the learning rate `rate`; parameters without a gradient stay.
    ///
    /// # Panics
    /// Settings that [need a start](DecayTo::needs_start) without [`Self::decay_towards`]: a bug of the caller.
    #[must_use]
    pub fn step<M: Module>(
        &mut self,
        config: &AdamWConfig,
        rate: f64,
        group: &dyn Fn(&str, usize) -> Group,
        module: M,
        gradients: Gradients,
    ) -> M {
        self.steps += 1;
        let mut stepper = Stepper { path: ParameterPath::default(), optimizer: self, config, rate, group, gradients };
        module.map(&mut stepper)
    }

    /// One step on plain tensors by name instead of a module's parameters, all at the rate `rate` and with decay; those without a
    /// gradient stay.
    ///
    /// # Shapes
    /// - tensors, gradients: `[elements]` each, without autodiff
    ///
    /// # Panics
    /// As [`Self::step`].
    #[must_use]
    pub fn step_tensors(
        &mut self,
        config: &AdamWConfig,
        rate: f64,
        mut tensors: BTreeMap<String, Tensor<1>>,
        gradients: Gradients,
    ) -> BTreeMap<String, Tensor<1>> {
        self.steps += 1;
        for (name, gradient) in gradients {
            if let Some(old) = tensors.remove(&name) {
                let new = self.update(config, rate, true, &name, old, gradient);
                tensors.insert(name, new);
            }
        }
        tensors
    }

    fn update(
        &mut self,
        config: &AdamWConfig,
        rate: f64,
        decay: bool,
        name: &str,
        old: Tensor<1>,
        g: Tensor<1>,
    ) -> Tensor<1> {
        let moments = self.moments.remove(name).unwrap_or_else(|| [g.zeros_like(), g.zeros_like()]);
        let steps = self.steps as i32;
        let [bias1, bias2] = config.betas.map(|beta| 1.0 - beta.powi(steps));
        let pull = rate * config.weight_decay;
        let start = || self.start.get(name).expect("decay_towards is called before a step that decays to the start");
        let away = (config.decay_to == DecayTo::Selective).then(|| selective::Away::new(start(), &old, &g));
        let (old, keep) = match config.decay_to {
            DecayTo::Selective => (old, 1.0),
            _ if !decay => (old, 1.0),
            DecayTo::Zero => (old, 1.0 - pull),
            DecayTo::Start => (old.clone() - (old - start().clone()) * pull, 1.0),
        };
        let step =
            AdamWStep { keep, rate: rate / bias1, betas: config.betas, root_bias: bias2.sqrt(), eps: config.eps };
        let (new, moments) = robustify_kernels::adamw(old, moments, g, &step);
        let new = match away {
            Some(away) => away.projected(new, start(), config.weight_decay),
            None => new,
        };
        self.moments.insert(name.to_owned(), moments);
        new
    }

    /// The moments for a checkpoint, under `m.` and `v.` before the parameter's name.
    pub fn state(&self) -> State {
        let mut state = State::new();
        for (name, moments) in &self.moments {
            for (prefix, moment) in ["m", "v"].iter().zip(moments) {
                let values = moment.clone().into_data().convert::<f32>().try_to_vec().expect("converted to f32");
                state.insert(format!("{prefix}.{name}"), Entry { shape: moment.dims().to_vec(), values });
            }
        }
        state
    }

    /// The optimizer with the moments of a checkpoint. `None` when a moment lacks its other half or is no vector.
    pub fn with_state(mut state: State, steps: usize, device: &Device) -> Option<Self> {
        let names: Vec<String> = state.keys().filter_map(|key| key.strip_prefix("m.").map(str::to_owned)).collect();
        let mut moments = BTreeMap::new();
        for name in names {
            let mut take = |prefix: &str| {
                let entry = state.remove(&format!("{prefix}.{name}")).filter(|entry| entry.shape.len() == 1)?;
                Some(Tensor::from_data(TensorData::new(entry.values, entry.shape), device))
            };
            moments.insert(name.clone(), [take("m")?, take("v")?]);
        }
        state.is_empty().then_some(Self { moments, steps, start: Start::new() })
    }
}

struct Rememberer {
    path: ParameterPath,
    found: BTreeMap<String, Tensor<1>>,
}

impl ModuleVisitor for Rememberer {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let count = value.shape().num_elements();
        self.found.insert(self.path.name(), value.reshape([count]));
    }
}

struct Stepper<'a> {
    path: ParameterPath,
    optimizer: &'a mut AdamW,
    config: &'a AdamWConfig,
    rate: f64,
    group: &'a dyn Fn(&str, usize) -> Group,
    gradients: Gradients,
}

impl ModuleMapper for Stepper<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        let Some(gradient) = self.gradients.remove(&name) else { return param };
        let group = (self.group)(&name, D);
        let rate = self.rate * group.rate_scale;
        param.map(|old| {
            let dims = old.dims();
            let flat = old.reshape([dims.iter().product::<usize>()]);
            self.optimizer.update(self.config, rate, group.decay, &name, flat, gradient).reshape(dims)
        })
    }
}

#[cfg(test)]
mod tests {
    use robustify_zoo::{Model, weights};

    use super::*;

    #[test]
    fn tokens_positions_and_scales_have_no_decay() {
        let vit = |more: &str| {
            format!(
                r#"{{"architecture": "vit", "image_size": 8, "patch_size": 4, "width": 4, "depth": 1, "heads": 1, {more},
                    "classes": 2}}"#
            )
        };
        let swin = |version: &str| {
            format!(
                r#"{{"architecture": "swin", "version": "{version}", "image_size": 16, "width": 4, "depths": [1],
                    "heads": [1], "windows": [2], "classes": 2}}"#
            )
        };
        let clip = r#"{"architecture": "clip_resnet", "image_size": 32, "width": 2, "layers": [1, 1, 1, 1], "heads": 2,
                       "embed_dim": 4, "classes": 2}"#;
        let attention = "layers.0.blocks.0.attn";
        let cases = [
            (vit(r#""distilled": true"#), vec!["cls_token", "dist_token", "pos_embed"]),
            (vit(r#""registers": 2"#), vec!["cls_token", "pos_embed", "reg_token"]),
            (swin("v1"), vec!["{}.relative_position_bias_table"]),
            (swin("v2"), vec!["{}.cpb_mlp.0.weight", "{}.cpb_mlp.2.weight", "{}.logit_scale"]),
            (clip.to_owned(), vec!["attnpool.positional_embedding"]),
        ];
        let device = robustify_device::open(Some("flex")).unwrap();
        for (config, expected) in cases {
            let model = Model::new(&serde_json::from_str(&config).unwrap(), 1, &device).unwrap();
            let state = weights::state(&model);
            let undecayed = |rank: usize, name: &str| !Group::by_shape(name, rank).decay;
            let found =
                state.iter().filter(|(name, entry)| entry.shape.len() > 1 && undecayed(entry.shape.len(), name));
            let found: Vec<&str> = found.map(|(name, _)| name.as_str()).collect();
            let expected: Vec<String> = expected.iter().map(|name| name.replace("{}", attention)).collect();
            assert_eq!(found, expected, "{config}");
            assert!(undecayed(1, "norm.weight") && !undecayed(2, "head.weight"));
        }
    }
}
