//! A small convolutional autoencoder, to be trained on the user's own images and then perturbed.
//!
//! It takes the place of the compressive autoencoder of Hendrycks et al. 2021, arXiv:2006.16241, for those who lack its
//! weights: two strided convolutions, residual blocks on both sides of a narrow code, two pixel shuffles.

use std::path::Path;

use burn::tensor::{Device, Tensor, activation};
use robustify_rng::{Key, Stream};

use crate::layers::{Layers, Shape, Table, conv, pixel_shuffle};
use crate::recipe::{Plan, Recipe, WeightPerturb, pick};
use crate::state::{self, Entry, State};
use crate::{DeepAugmentError, LatentOp, WeightOp};

/// Residual blocks in the encoder, and as many in the decoder.
const BLOCKS: usize = 2;
/// See [`limited`]; for pixels in `[0, 1]`.
const MEAN_LIMIT: f64 = 0.2;
const SPREAD_LIMIT: f64 = 1.2;
/// Entry of the metadata that marks a file of ours, and its content.
const MARK: (&str, &str) = ("robustify", "autoencoder 1");

/// The autoencoder's size; the default has about 0.7 million parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoencoderConfig {
    /// Channels at a quarter of the resolution; even.
    pub width: usize,
    /// Channels of the code.
    pub code: usize,
}

impl Default for AutoencoderConfig {
    fn default() -> Self {
        Self { width: 80, code: 32 }
    }
}

impl AutoencoderConfig {
    /// Faults, as sentences; empty when it can be built.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.width == 0 || !self.width.is_multiple_of(2) {
            faults.push(format!("width {} is not even and positive", self.width));
        }
        if self.code == 0 {
            faults.push("code is 0".to_owned());
        }
        faults
    }

    fn shapes(&self) -> Vec<Shape> {
        let Self { width, code } = *self;
        let mut shapes = vec![Shape::conv("down_1", [3, width / 2], 5), Shape::conv("down_2", [width / 2, width], 5)];
        shapes.extend(blocks("encoder").map(|name| Shape::conv(name, [width; 2], 3)));
        shapes.push(Shape::conv("code", [width, code], 3));
        shapes.push(Shape::conv("decode", [code, width], 3));
        shapes.extend(blocks("decoder").map(|name| Shape::conv(name, [width; 2], 3)));
        shapes.push(Shape::conv("up_1", [width, 2 * width], 3));
        shapes.push(Shape::conv("up_2", [width / 2, 12], 3));
        shapes
    }

    /// The size that weights are of, as far as they tell.
    fn of(state: &State) -> Self {
        let outputs =
            |name, default| state.get(name).and_then(|entry: &Entry| entry.shape.first()).map_or(default, |n| *n);
        let Self { width, code } = Self::default();
        Self { width: outputs("down_2.weight", width), code: outputs("code.weight", code) }
    }
}

fn blocks(side: &str) -> impl Iterator<Item = String> {
    (1..=BLOCKS).flat_map(move |block| ["a", "b"].map(|half| format!("{side}_{block}.{half}")))
}

/// The autoencoder.
#[derive(Clone, Debug)]
pub struct Autoencoder {
    pub(crate) layers: Layers,
    config: AutoencoderConfig,
}

impl Autoencoder {
    /// Height and width must be multiples of this.
    pub(crate) const MULTIPLE: u32 = 4;

    /// An autoencoder with fresh weights (normal, variance two over the inputs of a sum; a tenth of the deviation at the
    /// end of residual blocks and of the network), which depend on `seed` alone.
    ///
    /// # Errors
    /// A configuration with faults.
    pub fn new(config: &AutoencoderConfig, seed: u64, device: &Device) -> Result<Self, DeepAugmentError> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(DeepAugmentError::Config { what: "autoencoder", faults });
        }
        let mut state = State::new();
        for Shape { name, weight, bias } in config.shapes() {
            let inputs = weight[1] * weight[2] * weight[3];
            let scale = (2.0 / inputs as f64).sqrt() * if name.ends_with(".b") || name == "up_2" { 0.1 } else { 1.0 };
            let mut stream = Key::new(seed, "autoencoder weights").with_str(&name).stream();
            let values = (0..weight[0] * inputs).map(|_| (scale * stream.normal()) as f32).collect();
            state.insert(format!("{name}.weight"), Entry { shape: weight.to_vec(), values });
            state.insert(format!("{name}.bias"), Entry { shape: vec![bias], values: vec![0.0; bias] });
        }
        Self::from_state(state, device, "fresh weights")
    }

    fn from_state(state: State, device: &Device, origin: &str) -> Result<Self, DeepAugmentError> {
        let config = AutoencoderConfig::of(&state);
        let layers = Layers::new(&config.shapes(), state, device)
            .map_err(|faults| DeepAugmentError::Mismatch { origin: origin.to_owned(), faults })?;
        Ok(Self { layers, config })
    }

    /// The same network with the weights of a training.
    pub(crate) fn with_table(&self, table: Table) -> Self {
        let entries = table.iter().flat_map(|(name, layer)| {
            [(format!("{name}.weight"), Entry::of(&layer.weight)), (format!("{name}.bias"), Entry::of(&layer.bias))]
        });
        let state = entries.collect();
        Self { layers: Layers { state, table, device: self.layers.device.clone() }, config: self.config.clone() }
    }

    /// The size.
    pub fn config(&self) -> &AutoencoderConfig {
        &self.config
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.layers.state.values().map(|entry| entry.values.len()).sum()
    }

    /// The reconstruction of images.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]` in `[0, 1]`, height and width multiples of 4
    /// - output: that of `images`, mostly in `[0, 1]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        decode(&self.layers.table, encode(&self.layers.table, images))
    }

    /// What the network lets be done to its weights: one draw, of every operation but four, on two of the layers around the
    /// code. Left out are those that wipe out a small network: zeroing or negating a layer with its bias, noise far above its
    /// weights, and one sum for all inputs.
    pub fn perturbations(&self) -> WeightPerturb {
        use WeightOp::{AddNoise, Gain, GainLow, Mirror, Negate, Rotate, ShiftKernel, Zero};
        let inner: Vec<String> = blocks("encoder").chain(blocks("decoder")).collect();
        let around: Vec<String> = inner.iter().cloned().chain(["code", "decode"].map(str::to_owned)).collect();
        let ops = WeightOp::ALL.into_iter().map(|(op, _)| op);
        let recipes = ops.filter(|op| !matches!(op, Negate | Zero | AddNoise | ShiftKernel)).map(|op| {
            // What moves or mixes whole channels leaves nothing recognisable unless a shortcut leads around the layer.
            let gentle = matches!(op, Gain | GainLow | Mirror | Rotate);
            Recipe::new(op, if gentle { around.clone() } else { inner.clone() }, 2)
        });
        WeightPerturb { recipes: recipes.collect(), draws: 1 }
    }

    /// Draws what happens to the code.
    pub(crate) fn latent(stream: &mut Stream) -> Plan {
        const OPS: [Option<LatentOp>; 9] = [
            None,
            Some(LatentOp::ZeroPositions),
            Some(LatentOp::NegatePositions),
            Some(LatentOp::PermuteChannels),
            Some(LatentOp::FlipChannels),
            Some(LatentOp::NoisyIdentity),
            Some(LatentOp::RandomTaps),
            Some(LatentOp::ShiftChannels),
            Some(LatentOp::CopyChannels),
        ];
        Plan { latent: pick(&OPS, stream).copied().flatten(), ..Plan::default() }
    }

    pub(crate) fn run(table: &Table, image: Tensor<4>, plan: &Plan, key: Key) -> Tensor<4> {
        let code = encode(table, image.clone());
        let code = match plan.latent {
            Some(op) => op.apply(code, &mut key.with_str("latent").stream()),
            None => code,
        };
        limited(decode(table, code), image)
    }

    /// The bytes of a safetensors file; equal weights give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        state::to_bytes(&self.layers.state, (MARK.0, MARK.1.to_owned()))
    }

    /// Parses the bytes of a safetensors file that [`Self::to_bytes`] made; `origin` names them in errors.
    ///
    /// # Errors
    /// Other bytes, or tensors that are missing, unexpected or misshapen, all by name.
    pub fn from_bytes(bytes: &[u8], origin: &str, device: &Device) -> Result<Self, DeepAugmentError> {
        let fault = |reason| DeepAugmentError::Format {
            origin: origin.to_owned(),
            expected: "weights of an autoencoder",
            reason,
        };
        match state::metadata(bytes, MARK.0).map_err(fault)? {
            Some(mark) if mark == MARK.1 => {}
            Some(other) => return Err(fault(format!("its metadata call it `{other}`, not `{}`", MARK.1))),
            None => return Err(fault(format!("its metadata do not call it `{}`", MARK.1))),
        }
        Self::from_state(state::from_bytes(bytes).map_err(fault)?, device, origin)
    }

    /// Writes a safetensors file, first beside its place and then over it.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), DeepAugmentError> {
        let partial = path.with_extension("partial");
        std::fs::write(&partial, self.to_bytes())
            .and_then(|()| std::fs::rename(&partial, path))
            .map_err(|source| DeepAugmentError::Io { path: path.into(), source })
    }

    /// Reads a file that [`Self::save`] wrote.
    ///
    /// # Errors
    /// A file that cannot be read, and those of [`Self::from_bytes`].
    pub fn load(path: &Path, device: &Device) -> Result<Self, DeepAugmentError> {
        Self::from_bytes(&state::read_file(path)?, &path.display().to_string(), device)
    }
}

/// # Shapes
/// - images: `[batch, 3, height, width]` in `[0, 1]`
/// - output: `[batch, code, height / 4, width / 4]`
pub(crate) fn encode(table: &Table, images: Tensor<4>) -> Tensor<4> {
    let x = activation::relu(conv(&table["down_1"], images - 0.5, 2, 2));
    let x = activation::relu(conv(&table["down_2"], x, 2, 2));
    conv(&table["code"], residual(table, "encoder", x), 1, 1)
}

/// The reverse of [`encode`].
pub(crate) fn decode(table: &Table, code: Tensor<4>) -> Tensor<4> {
    let x = activation::relu(conv(&table["decode"], code, 1, 1));
    let x = residual(table, "decoder", x);
    let x = activation::relu(pixel_shuffle(conv(&table["up_1"], x, 1, 1)));
    pixel_shuffle(conv(&table["up_2"], x, 1, 1)) + 0.5
}

/// Keeps a perturbed output from being all black or all white, which a small network's often are: a channel's mean may
/// differ from the input's by [`MEAN_LIMIT`], its standard deviation may be [`SPREAD_LIMIT`] times the input's and 0.05.
fn limited(output: Tensor<4>, input: Tensor<4>) -> Tensor<4> {
    let mean = |x: Tensor<4>| x.mean_dim(3).mean_dim(2);
    let [old, new] = [mean(input.clone()), mean(output.clone())];
    let [input, output] = [input - old.clone(), output - new.clone()];
    let spread = |x: Tensor<4>| mean(x.clone() * x).sqrt();
    let factor = (spread(input) * SPREAD_LIMIT + 0.05) / (spread(output.clone()) + 1e-12);
    let shift = (new - old.clone()).clamp(-MEAN_LIMIT, MEAN_LIMIT);
    output * factor.clamp_max(1.0) + old + shift
}

fn residual(table: &Table, side: &str, x: Tensor<4>) -> Tensor<4> {
    (1..=BLOCKS).fold(x, |x, block| {
        let inner = activation::relu(conv(&table[&format!("{side}_{block}.a")], x.clone(), 1, 1));
        x + conv(&table[&format!("{side}_{block}.b")], inner, 1, 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn what_is_saved_comes_back() {
        let device = testing::device();
        let config = AutoencoderConfig { width: 6, code: 3 };
        let net = Autoencoder::new(&config, 1, &device).unwrap();
        let path = std::env::temp_dir().join(format!("robustify-autoencoder-{}.safetensors", std::process::id()));
        net.save(&path).unwrap();
        let loaded = Autoencoder::load(&path, &device);
        std::fs::remove_file(&path).unwrap();
        let loaded = loaded.unwrap();
        assert_eq!((loaded.config(), loaded.to_bytes()), (&config, net.to_bytes()));
        let images: Tensor<4> = testing::random([2, 3, 8, 12], 1, &device);
        assert_eq!(testing::values(loaded.forward(images.clone())), testing::values(net.forward(images)));
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        let device = testing::device();
        let error = |bytes: &[u8]| Autoencoder::from_bytes(bytes, "a.safetensors", &device).unwrap_err().to_string();
        assert!(error(b"{}").starts_with("a.safetensors: not readable as weights of an autoencoder ("));
        let foreign = error(include_bytes!("../goldens/edsr.safetensors"));
        assert!(foreign.ends_with("(its metadata do not call it `autoencoder 1`)"), "{foreign}");
        let mut state = Autoencoder::new(&AutoencoderConfig { width: 6, code: 3 }, 1, &device).unwrap().layers.state;
        state.remove("up_1.bias");
        let short = error(&state::to_bytes(&state, (MARK.0, MARK.1.to_owned())));
        assert_eq!(short, "a.safetensors: does not fit the network: missing tensor up_1.bias [12]");
    }

    #[test]
    fn a_perturbed_output_is_neither_all_black_nor_all_white() {
        let device = testing::device();
        let input: Tensor<4> = testing::random([1, 3, 8, 8], 1, &device) * 0.1 + 0.5;
        let near = input.clone() * 0.9 + 0.05;
        let same = testing::values(limited(near.clone(), input.clone()) - near);
        assert!(same.iter().all(|difference| difference.abs() < 1e-5));
        let far = testing::values(limited(input.clone() * 40.0 - 90.0, input));
        let mean = far.iter().sum::<f32>() / far.len() as f32;
        let spread = (far.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / far.len() as f32).sqrt();
        assert!((mean - 0.3).abs() < 0.03 && (0.13..0.2).contains(&spread), "{mean}, {spread}");
    }

    #[test]
    fn the_default_has_the_size_it_says() {
        let net = Autoencoder::new(&AutoencoderConfig::default(), 1, &testing::device()).unwrap();
        assert!((650_000..750_000).contains(&net.parameters()), "{}", net.parameters());
        let faults = AutoencoderConfig { width: 5, code: 0 }.faults();
        assert_eq!(faults, ["width 5 is not even and positive", "code is 0"]);
    }
}
