//! EDSR, the super-resolution network that DeepAugment perturbs, for users who have its weights.
//!
//! Source: Lim et al. 2017, arXiv:1707.02921 (the baseline for a factor of four: `edsr_baseline_x4`); perturbations from the
//! authors' code of Hendrycks et al. 2021, arXiv:2006.16241. Names are those of the original PyTorch modules. We differ where
//! their code, to skip three blocks, forgets the output of all but the last: here the others follow each other.

use std::path::Path;

use burn::tensor::{Device, Tensor, activation};
use robustify_rng::{Key, Stream};

use crate::layers::{Layers, Shape, Table, conv, pixel_shuffle};
use crate::recipe::{Plan, Recipe, WeightPerturb, pick};
use crate::state::{self, State};
use crate::{DeepAugmentError, LatentOp, WeightOp};

/// Behind this block, or the last one of a smaller network, the body's features are changed.
const CUT: usize = 5;
/// The network multiplies width and height by this.
pub(crate) const SCALE: u32 = 4;

/// EDSR's size; the default is the baseline's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdsrConfig {
    /// Residual blocks, 16.
    pub blocks: usize,
    /// Channels, 64.
    pub features: usize,
}

impl Default for EdsrConfig {
    fn default() -> Self {
        Self { blocks: 16, features: 64 }
    }
}

impl EdsrConfig {
    fn shapes(&self) -> Vec<Shape> {
        let width = self.features;
        let mut shapes = vec![Shape::conv("sub_mean", [3, 3], 1), Shape::conv("head.0", [3, width], 3)];
        for block in 0..self.blocks {
            shapes.extend([0, 2].map(|half| Shape::conv(format!("body.{block}.body.{half}"), [width; 2], 3)));
        }
        shapes.push(Shape::conv(format!("body.{}", self.blocks), [width; 2], 3));
        shapes.extend([0, 2].map(|half| Shape::conv(format!("tail.0.{half}"), [width, 4 * width], 3)));
        shapes.extend([Shape::conv("tail.1", [width, 3], 3), Shape::conv("add_mean", [3, 3], 1)]);
        shapes
    }
}

/// EDSR for a factor of four.
#[derive(Clone, Debug)]
pub struct Edsr {
    pub(crate) layers: Layers,
    config: EdsrConfig,
}

impl Edsr {
    /// A network from weights by name.
    ///
    /// # Errors
    /// Every missing, unexpected and misshapen tensor, in one error; `origin` names the weights in it.
    pub fn new(config: &EdsrConfig, weights: State, origin: &str, device: &Device) -> Result<Self, DeepAugmentError> {
        let layers = Layers::new(&config.shapes(), weights, device)
            .map_err(|faults| DeepAugmentError::Mismatch { origin: origin.to_owned(), faults })?;
        Ok(Self { layers, config: config.clone() })
    }

    /// Reads a safetensors file with the names of the original PyTorch modules.
    ///
    /// # Errors
    /// A file that cannot be read or is no safetensors file, and those of [`Self::new`].
    pub fn load(config: &EdsrConfig, path: &Path, device: &Device) -> Result<Self, DeepAugmentError> {
        Self::new(config, state::load(path, "weights of EDSR")?, &path.display().to_string(), device)
    }

    /// Images four times as wide and high.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]` in `[0, 1]`
    /// - output: `[batch, 3, 4 * height, 4 * width]`, mostly in `[0, 1]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        self.run(&self.layers.table, images, &Plan::default(), Key::new(0, ""))
    }

    /// The authors' list: three draws out of seventeen entries.
    pub fn perturbations(&self) -> WeightPerturb {
        use WeightOp::*;
        let step = |start, stop, step| (start..stop).step_by(step).filter(|&block| block < self.config.blocks);
        let thirds = || step(0, 10, 3);
        let layer = |block: usize, half: usize| format!("body.{block}.body.{half}");
        let first = |op| Recipe::new(op, thirds().map(|block| layer(block, 0)), 1);
        let pair = |ops: [WeightOp; 2]| Recipe {
            targets: thirds().map(|block| vec![(ops[0], layer(block, 0)), (ops[1], layer(block, 2))]).collect(),
            picks: 1,
        };
        let five = |op| Recipe::new(op, step(0, 15, 1).map(|block| layer(block, 0)), 5);
        let both = || step(0, 15, 1).flat_map(|block| [layer(block, 0), layer(block, 2)]);
        let turns = both().flat_map(|name| [vec![(Rotate, name.clone())], vec![(RotateChannels, name)]]);
        let recipes = vec![
            pair([FlipFilters; 2]),
            Recipe::new(Negate, step(1, 10, 3).map(|block| layer(block, 0)), 1),
            first(Zero),
            pair([Gelu; 2]),
            first(Laplacian4),
            first(Laplacian8),
            Recipe::new(GainLow, thirds().map(|block| layer(block, 2)), 1),
            pair([Mirror, NegateKernel]),
            Recipe::new(ShiftKernel, step(1, 13, 4).map(|block| layer(block, 0)), 1),
            first(NoiseKernel),
            Recipe::new(DirichletKernel, step(1, 12, 4).map(|block| layer(block, 2)), 1),
            Recipe::new(AddNoise, step(0, 15, 1).map(|block| layer(block, 2)), 1),
            Recipe { targets: turns.collect(), picks: 5 },
            five(SignMask),
            five(ZeroMask),
            five(NegateHalf),
            Recipe::new(KeepMax, both(), 5),
        ];
        WeightPerturb { recipes, draws: 3 }
    }

    /// Draws what happens to the features: one of four things behind the head, one of five in the body.
    pub(crate) fn latent(&self, stream: &mut Stream) -> Plan {
        const HEAD: [Option<LatentOp>; 4] =
            [None, Some(LatentOp::CopyChannels), Some(LatentOp::ZeroFeatures), Some(LatentOp::NegateFeatures)];
        const BODY: [LatentOp; 3] = [LatentOp::Negate, LatentOp::Rectify, LatentOp::FlipOrder];
        let latent = pick(&HEAD, stream).copied().flatten();
        let body = stream.below(5) as usize;
        let mut skipped = Vec::new();
        if body == BODY.len() && self.config.blocks > 2 {
            // The convolution after the last block counts as one more.
            let choices = self.config.blocks as u32 - 1;
            skipped.extend((0..3).map(|_| 2 + stream.below(choices) as usize));
            skipped.sort_unstable();
            skipped.dedup();
        }
        Plan { latent, body: BODY.get(body).copied(), skipped, ..Plan::default() }
    }

    pub(crate) fn run(&self, table: &Table, images: Tensor<4>, plan: &Plan, key: Key) -> Tensor<4> {
        let x = conv(&table["head.0"], conv(&table["sub_mean"], images * 255.0, 1, 0), 1, 1);
        let x = match plan.latent {
            Some(op) => op.apply(x, &mut key.with_str("latent").stream()),
            None => x,
        };
        let mut y = x.clone();
        for block in (0..self.config.blocks).filter(|block| !plan.skipped.contains(block)) {
            let inner = activation::relu(conv(&table[&format!("body.{block}.body.0")], y.clone(), 1, 1));
            y = y + conv(&table[&format!("body.{block}.body.2")], inner, 1, 1);
            if block + 1 == CUT.min(self.config.blocks)
                && let Some(op) = plan.body
            {
                y = op.apply(y, &mut key.with_str("body").stream());
            }
        }
        if !plan.skipped.contains(&self.config.blocks) {
            y = conv(&table[&format!("body.{}", self.config.blocks)], y, 1, 1);
        }
        let mut z = x + y;
        for half in [0, 2] {
            z = pixel_shuffle(conv(&table[&format!("tail.0.{half}")], z, 1, 1));
        }
        conv(&table["add_mean"], conv(&table["tail.1"], z, 1, 1), 1, 0) / 255.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Golden};

    fn net(device: &Device) -> (Golden, Edsr) {
        let golden = Golden::read(include_bytes!("../goldens/edsr.safetensors"));
        let config = EdsrConfig { blocks: 6, features: 4 };
        let net = Edsr::new(&config, golden.under("w."), "golden", device).unwrap();
        (golden, net)
    }

    #[test]
    fn the_forward_matches_pytorch() {
        let device = testing::device();
        let (golden, net) = net(&device);
        golden.compare("output", net.forward(golden.tensor("input", &device)), 1e-5);
    }

    #[test]
    fn the_authors_list_names_layers_that_there_are() {
        let device = testing::device();
        let (_, net) = net(&device);
        let list = net.perturbations();
        assert_eq!((list.recipes.len(), list.draws), (17, 3));
        for (_, layer) in list.recipes.iter().flat_map(|recipe| recipe.targets.iter().flatten()) {
            assert!(net.layers.table.contains_key(layer), "{layer}");
        }
    }

    #[test]
    fn features_are_changed_where_the_plan_says() {
        let device = testing::device();
        let (golden, net) = net(&device);
        let output = |plan: &Plan| {
            let input = golden.tensor("input", &device).narrow(0, 0, 1);
            testing::values(net.run(&net.layers.table, input, plan, Key::new(1, "plan")))
        };
        let plain = output(&Plan::default());
        let plans = [
            Plan { latent: Some(LatentOp::Negate), ..Plan::default() },
            Plan { body: Some(LatentOp::Negate), ..Plan::default() },
            Plan { skipped: vec![2, 6], ..Plan::default() },
        ];
        assert!(plans.iter().all(|plan| output(plan) != plain));
        let drawn: Vec<Plan> = (0..60).map(|id| net.latent(&mut Key::new(id, "draw").stream())).collect();
        assert!(drawn.iter().all(|plan| plan.skipped.iter().all(|block| (2..=6).contains(block))));
        assert!(drawn.iter().any(|plan| !plan.skipped.is_empty()) && drawn.iter().any(|plan| plan.body.is_some()));
        assert!(drawn.iter().any(|plan| *plan == Plan::default()));
    }
}
