//! The compressive autoencoder that DeepAugment perturbs, for users who have its weights.
//!
//! Source: Theis et al. 2017, arXiv:1703.00395, in the variant of 32 channels with stochastic binarisation; perturbations
//! from the authors' code of Hendrycks et al. 2021, arXiv:2006.16241. Names are those of the original PyTorch modules. We
//! differ where their code flips the filters of a second layer twice: here both layers are flipped once.

use std::path::Path;

use burn::tensor::ops::PadMode;
use burn::tensor::{Device, Tensor, TensorData, activation};
use robustify_rng::{Key, Stream};

use crate::layers::{Layers, Shape, Table, conv, conv_transposed};
use crate::recipe::{Plan, Recipe, WeightPerturb, pick};
use crate::state::{self, State};
use crate::{DeepAugmentError, LatentOp, WeightOp};

/// PyTorch's default slope of LeakyReLU.
const SLOPE: f64 = 0.01;

/// The size of the compressive autoencoder; the default is the authors'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaeConfig {
    /// Channels of the residual blocks, 128, a multiple of 8; all other layers are fractions or multiples of it.
    pub width: usize,
}

impl Default for CaeConfig {
    fn default() -> Self {
        Self { width: 128 }
    }
}

impl CaeConfig {
    /// All layers, in the order that the authors number them.
    fn shapes(&self) -> Vec<Shape> {
        let width = self.width;
        let (half, quarter) = (width / 2, width / 4);
        let mut shapes = vec![Shape::conv("e_conv_1.1", [3, half], 5), Shape::conv("e_conv_2.1", [half, width], 5)];
        shapes.extend(blocks("e_block").map(|name| Shape::conv(name, [width; 2], 3)));
        shapes.push(Shape::conv("e_conv_3.0", [width, quarter], 5));
        shapes.push(Shape::conv("d_up_conv_1.0", [quarter, half], 3));
        shapes.push(Shape::transposed("d_up_conv_1.3", [half, width], 2));
        shapes.extend(blocks("d_block").map(|name| Shape::conv(name, [width; 2], 3)));
        shapes.push(Shape::conv("d_up_conv_2.0", [width, quarter], 3));
        shapes.push(Shape::transposed("d_up_conv_2.3", [quarter, 2 * width], 2));
        shapes.push(Shape::conv("d_up_conv_3.0", [2 * width, width / 8], 3));
        shapes.push(Shape::conv("d_up_conv_3.3", [width / 8, 3], 3));
        shapes
    }
}

fn blocks(side: &str) -> impl Iterator<Item = String> {
    (1..=3).flat_map(move |block| [1, 4].map(|at| format!("{side}_{block}.{at}")))
}

/// The compressive autoencoder.
#[derive(Clone, Debug)]
pub struct Cae {
    pub(crate) layers: Layers,
    names: Vec<String>,
}

impl Cae {
    /// Height and width must be multiples of this, and at least [`Self::MINIMUM`].
    pub(crate) const MULTIPLE: u32 = 4;
    pub(crate) const MINIMUM: u32 = 16;

    /// A network from weights by name.
    ///
    /// # Errors
    /// A width that is no multiple of 8; every missing, unexpected and misshapen tensor, in one error in which `origin` names
    /// the weights.
    pub fn new(config: &CaeConfig, weights: State, origin: &str, device: &Device) -> Result<Self, DeepAugmentError> {
        if config.width == 0 || !config.width.is_multiple_of(8) {
            let faults = vec![format!("width {} is no positive multiple of 8", config.width)];
            return Err(DeepAugmentError::Config { what: "compressive autoencoder", faults });
        }
        let shapes = config.shapes();
        let layers = Layers::new(&shapes, weights, device)
            .map_err(|faults| DeepAugmentError::Mismatch { origin: origin.to_owned(), faults })?;
        Ok(Self { layers, names: shapes.into_iter().map(|shape| shape.name).collect() })
    }

    /// Reads a safetensors file with the names of the original PyTorch modules.
    ///
    /// # Errors
    /// A file that cannot be read or is no safetensors file, and those of [`Self::new`].
    pub fn load(config: &CaeConfig, path: &Path, device: &Device) -> Result<Self, DeepAugmentError> {
        Self::new(config, state::load(path, "weights of CAE")?, &path.display().to_string(), device)
    }

    /// The reconstruction of images; `key` decides the binarisation.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]` in `[0, 1]`, height and width multiples of 4 and at least 16
    /// - output: that of `images`, in `[-1, 1]`, meant for `[0, 1]`
    pub fn forward(&self, images: Tensor<4>, key: Key) -> Tensor<4> {
        Self::run(&self.layers.table, images, &Plan::default(), key)
    }

    /// The authors' list: one of eight entries.
    pub fn perturbations(&self) -> WeightPerturb {
        use WeightOp::*;
        let layers = |from: usize, to: usize| self.names[from..to].to_vec();
        let masks = layers(8, 14).into_iter().flat_map(|name| [vec![(ZeroMask, name.clone())], vec![(SignMask, name)]]);
        let recipes = vec![
            Recipe::new(FlipFilters, layers(11, 16), 2),
            Recipe::new(NegateFilters, layers(8, 14), 1),
            Recipe::new(ZeroFilters, layers(8, 14), 1),
            Recipe::new(GeluFilters, layers(10, 14), 1),
            Recipe::new(Gain, layers(8, 14), 2),
            Recipe { targets: masks.collect(), picks: 1 },
            Recipe::new(Rotate, layers(8, 14), 1),
            Recipe::new(NegateFifth, layers(8, 14), 1),
        ];
        WeightPerturb { recipes, draws: 1 }
    }

    /// Draws what happens to the code: one of nine operations.
    pub(crate) fn latent(stream: &mut Stream) -> Plan {
        use LatentOp::*;
        const OPS: [LatentOp; 9] = [
            Gain,
            ZeroPositions,
            NegatePositions,
            PermuteChannels,
            FlipChannels,
            FlipAll,
            NoisyIdentity,
            RandomTaps,
            ShiftChannels,
        ];
        Plan { latent: pick(&OPS, stream).copied(), ..Plan::default() }
    }

    pub(crate) fn run(table: &Table, images: Tensor<4>, plan: &Plan, key: Key) -> Tensor<4> {
        let mut stream = key.with_str("latent").stream();
        let gain = plan.latent == Some(LatentOp::Gain);
        let code = encode(table, images);
        let code = match plan.latent {
            Some(op) if !gain => op.apply(code, &mut stream),
            _ => code,
        };
        let [batch, channels, height, width] = code.dims();
        let mut draws = key.with_str("binarise").stream();
        let draws: Vec<f32> = (0..batch * channels * height * width).map(|_| draws.unit() as f32).collect();
        let draws = Tensor::from_data(TensorData::new(draws, [batch, channels, height, width]), &code.device());
        let bits = binarise(code, draws);
        decode(table, if gain { LatentOp::Gain.apply(bits, &mut stream) } else { bits })
    }
}

/// # Shapes
/// - images: `[batch, 3, height, width]` in `[0, 1]`
/// - output: `[batch, width / 4, height / 4, width / 4]` in `[-1, 1]`
fn encode(table: &Table, images: Tensor<4>) -> Tensor<4> {
    let down = |name: &str, x: Tensor<4>| {
        let x = x.pad((1, 2, 1, 2), PadMode::Constant(0.0));
        activation::leaky_relu(conv(&table[name], x, 2, 0), SLOPE)
    };
    let x = down("e_conv_2.1", down("e_conv_1.1", images));
    activation::tanh(conv(&table["e_conv_3.0"], residual(table, "e_block", x), 1, 2))
}

/// Bits that are 1 with probability `(1 + code) / 2`, by uniform `draws` in `[0, 1)`.
fn binarise(code: Tensor<4>, draws: Tensor<4>) -> Tensor<4> {
    draws.lower_equal((code + 1.0) / 2.0).float()
}

/// # Shapes
/// - bits: as [`encode`] gives them, 0 or 1, or beyond them by a perturbation
/// - output: `[batch, 3, height, width]` in `[-1, 1]`
fn decode(table: &Table, bits: Tensor<4>) -> Tensor<4> {
    let up = |name: &str, x: Tensor<4>| {
        let x = activation::leaky_relu(conv(&table[&format!("{name}.0")], x, 1, 0), SLOPE);
        conv_transposed(&table[&format!("{name}.3")], x.pad((1, 1, 1, 1), PadMode::Constant(0.0)))
    };
    let x = residual(table, "d_block", up("d_up_conv_1", bits * 2.0 - 1.0));
    let x = up("d_up_conv_2", x);
    let x = activation::leaky_relu(conv(&table["d_up_conv_3.0"], x, 1, 0), SLOPE);
    activation::tanh(conv(&table["d_up_conv_3.3"], x.pad((2, 2, 2, 2), PadMode::Reflect), 1, 0))
}

fn residual(table: &Table, side: &str, x: Tensor<4>) -> Tensor<4> {
    (1..=3).fold(x, |x, block| {
        let inner = activation::leaky_relu(conv(&table[&format!("{side}_{block}.1")], x.clone(), 1, 1), SLOPE);
        x + conv(&table[&format!("{side}_{block}.4")], inner, 1, 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Golden};

    #[test]
    fn the_passes_match_pytorch() {
        let device = testing::device();
        let golden = Golden::read(include_bytes!("../goldens/cae.safetensors"));
        let net = Cae::new(&CaeConfig { width: 8 }, golden.under("w."), "golden", &device).unwrap();
        let table = &net.layers.table;
        let code = encode(table, golden.tensor("input", &device));
        golden.compare("code", code.clone(), 1e-5);
        let bits = binarise(code, golden.tensor("draws", &device));
        golden.compare("bits", bits.clone(), 0.0);
        golden.compare("output", decode(table, bits), 1e-5);
        let [once, again] =
            [1, 1].map(|seed| testing::values(net.forward(golden.tensor("input", &device), Key::new(seed, "bits"))));
        assert_eq!(once, again);
    }

    #[test]
    fn the_layers_are_numbered_as_the_authors_do() {
        let names: Vec<String> = CaeConfig::default().shapes().into_iter().map(|shape| shape.name).collect();
        assert_eq!(names.len(), 21);
        assert_eq!(
            [&names[8], &names[10], &names[13], &names[20]],
            ["e_conv_3.0", "d_up_conv_1.3", "d_block_2.1", "d_up_conv_3.3"]
        );
    }

    #[test]
    fn all_faults_of_the_weights_are_in_one_error() {
        let device = testing::device();
        let mut weights = Golden::read(include_bytes!("../goldens/cae.safetensors")).under("w.");
        let odd = weights.remove("e_conv_3.0.bias").unwrap();
        weights.insert("e_conv_1.1.bias".into(), odd.clone());
        weights.insert("extra".into(), odd);
        let error = Cae::new(&CaeConfig { width: 8 }, weights, "cae.safetensors", &device).unwrap_err().to_string();
        assert_eq!(
            error,
            "cae.safetensors: does not fit the network: tensor e_conv_1.1.bias has shape [2], the network needs [4]; \
             missing tensor e_conv_3.0.bias [2]; unexpected tensor extra"
        );
        assert!(
            Cae::new(&CaeConfig { width: 12 }, State::new(), "", &device).unwrap_err().to_string().contains("width 12")
        );
    }
}
