//! What a pre-trained encoder becomes when it is fine-tuned as a whole: another head, no shared position biases, perhaps another input.

use burn::tensor::Device;

use crate::layers::{Init, STD};
use crate::swin::SwinConfig;
use crate::vit::{Pool, RelativePositions, VitConfig};
use crate::weights::{self, Entry, Shapes, State};
use crate::{Model, ModelConfig, ZooError};

/// The head of a Vision Transformer begins with weights that are multiplied by it, so that it says next to nothing.
const HEAD_SCALE: f32 = 1e-3;

impl ModelConfig {
    /// The network that [`Model::fine_tuning_form`] makes of one with this configuration.
    #[must_use]
    pub fn fine_tuning_form(&self, image_size: usize, classes: usize) -> Self {
        match self.with_image_size(image_size) {
            Self::Vit(config) => {
                let relative_positions = match config.relative_positions {
                    RelativePositions::None => RelativePositions::None,
                    RelativePositions::Shared | RelativePositions::Layers => RelativePositions::Layers,
                };
                Self::Vit(VitConfig {
                    pool: Pool::Mean,
                    fc_norm: true,
                    classes,
                    head_bias: true,
                    projects: false,
                    texts: 0,
                    projection: 0,
                    relative_positions,
                    ..config
                })
            }
            Self::Swin(config) => Self::Swin(SwinConfig { shared_positions: false, classes, ..config }),
            other => other.with_classes(classes),
        }
    }
}

impl Model {
    /// The network as it is fine-tuned for `classes` classes of images of another size: a Vision Transformer's classifier reads the mean of its
    /// patches behind a fresh norm (`fc_norm`, which replaces the last norm), and its weights begin a thousandth as large; position biases
    /// that blocks shared are copied into every block; what depends on the size of the input is fitted to it
    /// ([`resize_relative_positions`](crate::vit::resize_relative_positions), [`position_embedding`](crate::resize::position_embedding)).
    ///
    /// Source: SwinTransformer/Feature-Distillation, `utils.py`, `load_pretrained`, and BEiT's fine-tuning.
    ///
    /// # Errors
    /// A network without such a form: one with a distillation token, and one whose biases or positions cannot be fitted to the size.
    pub fn fine_tuning_form(
        self,
        image_size: usize,
        classes: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ZooError> {
        let config = self.config().fine_tuning_form(image_size, classes);
        let blank = Self::blank(&config, device)?;
        let (old, expected) = (weights::state(&self), weights::shapes(&blank));
        let mut init = Init::new(seed, device);
        let scale = if matches!(config, ModelConfig::Vit(_)) { HEAD_SCALE } else { 1.0 };
        let mut state = State::new();
        for (name, shape) in &expected {
            let entry = match fresh(name, shape, scale, &mut init) {
                Some(entry) => entry,
                None => taken(name, &old, &expected).map_err(ZooError::Config)?,
            };
            state.insert(name.clone(), entry);
        }
        weights::with_state(blank, state).map_err(|faults| ZooError::Config(faults.join("; ")))
    }
}

/// A tensor of the new head, if the name is that of one.
fn fresh(name: &str, shape: &[usize], scale: f32, init: &mut Init) -> Option<Entry> {
    let count = shape.iter().product();
    let filled = |value: f32| Entry { shape: shape.to_vec(), values: vec![value; count] };
    match name {
        "fc_norm.weight" => Some(filled(1.0)),
        "fc_norm.bias" | "head.bias" | "head.fc.bias" | "fc.bias" => Some(filled(0.0)),
        "head.weight" | "head.fc.weight" | "fc.weight" => {
            let drawn = init.truncated_normal([count], STD).val().into_data().convert::<f32>();
            let values = drawn.try_to_vec::<f32>().expect("converted to f32");
            Some(Entry { shape: shape.to_vec(), values: values.into_iter().map(|value| value * scale).collect() })
        }
        _ => None,
    }
}

/// A tensor of the encoder: its own, or what its block shared with others.
fn taken(name: &str, old: &State, expected: &Shapes) -> Result<Entry, String> {
    let shared = || {
        let (owner, rest) = name.split_once(".attn.")?;
        let layer = owner.rsplit_once("blocks.")?.0;
        old.get(&format!("{layer}rel_pos_bias.{rest}"))
    };
    let found = old.get(name).or_else(shared).ok_or_else(|| format!("missing tensor {name} of the encoder"))?;
    weights::fitted(name, found.clone(), expected)
}
