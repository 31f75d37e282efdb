//! LoRA of the frozen part: low-rank updates of its attention, learnt together with Robustify's heads and from the same losses.
//!
//! Source: Hu et al. 2022, arXiv:2106.09685: `W + alpha / r * B A`, `A` drawn, `B` zero, so that training begins at the original.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use robustify_select::ThreeHeads;
use robustify_zoo::layers::Init;
use robustify_zoo::weights::{self, ParameterPath};
use robustify_zoo::{CutPoint, Model, ZooError};

use crate::DistillError;
use crate::fresh::FreshPairs;
use crate::optimizer::Group;
use crate::pairs::{PairShard, Pairs, View, group};
use crate::robustify::{heads_on, outcome, wanted};
use crate::trainer::{Batches, Objective, Outcome};

/// Ends of the names of the matrices that are updated: those of attention, under timm's names.
const ATTENTION: [&str; 2] = [".attn.qkv.weight", ".attn.proj.weight"];

/// How large updates are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoraConfig {
    /// Rank r of every update.
    pub rank: usize,
    /// What the product of the two matrices is multiplied by, times r.
    pub alpha: f64,
}

/// A low-rank update of one matrix.
#[derive(Module, Debug)]
struct Update {
    /// `[rank, inputs]`.
    a: Param<Tensor<2>>,
    /// `[outputs, rank]`.
    b: Param<Tensor<2>>,
    /// Name of the matrix in the model.
    #[module(skip)]
    name: String,
}

/// Updates of the attention of a frozen part, and the heads behind it.
#[derive(Module, Debug)]
pub struct LoraHeads {
    updates: Vec<Update>,
    heads: ThreeHeads,
    #[module(skip)]
    scale: f64,
}

impl LoraHeads {
    /// Updates that change nothing yet, for all attention of `model` before `cut`, with `heads` behind it.
    ///
    /// # Errors
    /// A model without attention before the cut.
    pub fn new(
        model: &Model,
        cut: CutPoint,
        heads: ThreeHeads,
        config: LoraConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ZooError> {
        let mut init = Init::new(seed, device);
        let updates: Vec<Update> = attention(model, cut)
            .into_iter()
            .map(|(name, [outputs, inputs])| {
                // The standard deviation of the authors' initialisation, uniform to 1 / sqrt(inputs) (microsoft/LoRA, layers.py).
                let std = (3.0 * inputs as f64).sqrt().recip();
                let a = init.truncated_normal([config.rank, inputs], std);
                Update { a, b: init.constant([outputs, config.rank], 0.0), name }
            })
            .collect();
        if updates.is_empty() {
            return Err(ZooError::Config("the frozen part has no attention, which LoRA updates".into()));
        }
        Ok(Self { updates, heads, scale: config.alpha / config.rank as f64 })
    }

    /// The heads.
    pub fn heads(&self) -> &ThreeHeads {
        &self.heads
    }

    /// `model` with the updates added to its weights; under autodiff, as a function of them.
    pub fn merged(&self, model: &Model) -> Model {
        let updates = self.updates.iter().map(|update| {
            let product = update.b.val().matmul(update.a.val());
            (update.name.clone(), product * self.scale)
        });
        model.clone().map(&mut Adder { path: ParameterPath::default(), updates: updates.collect() })
    }
}

/// Parameters of the updates of all attention of `model` before `cut`, `rank · (inputs + outputs)` for each matrix; 0 without attention.
pub fn update_parameters(model: &Model, cut: CutPoint, rank: usize) -> usize {
    attention(model, cut).into_iter().map(|(_, [outputs, inputs])| rank * (inputs + outputs)).sum()
}

/// Names and shapes of the matrices of attention before a cut.
fn attention(model: &Model, cut: CutPoint) -> Vec<(String, [usize; 2])> {
    let behind: Vec<String> = weights::names_in(model, &model.segment(cut, model.last_cut())).into_values().collect();
    let found = weights::shapes(model).into_iter().filter_map(|(name, shape)| {
        let shape = <[usize; 2]>::try_from(shape).ok()?;
        ATTENTION.iter().any(|end| name.ends_with(end)).then_some((name, shape))
    });
    found.filter(|(name, _)| !behind.contains(name)).collect()
}

/// Adds updates to the parameters that they are of.
struct Adder {
    path: ParameterPath,
    updates: BTreeMap<String, Tensor<2>>,
}

impl ModuleMapper for Adder {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(update) = self.updates.remove(&self.path.name()) else { return param };
        let (id, weight, mapper) = param.consume();
        let dims = weight.dims();
        Param::from_mapped_value(id, weight + update.reshape(dims), mapper)
    }
}

/// Robustify's losses, on fresh pairs whose features come from the updated backbone.
pub struct Lora<'a>(pub FreshPairs<'a>);

impl Objective for Lora<'_> {
    type Model = LoraHeads;
    type Shard = PairShard;

    fn steps(&self) -> usize {
        self.0.steps()
    }

    fn epoch<'a>(&'a self, epoch: usize, first: usize) -> Result<Batches<'a, PairShard>, DistillError> {
        self.0.batches(epoch, first, &wanted(self.0.config))
    }

    fn loss(&self, model: &LoraHeads, shard: PairShard) -> Result<Outcome, DistillError> {
        let FreshPairs { original, cut, config, .. } = &self.0;
        let (input, pairs) = (self.0.large(&shard)?, shard.pairs());
        let of = |view| {
            let first = if view == View::Clean { 0 } else { pairs };
            Ok(self.0.features(input.clone().narrow(0, first, pairs)))
        };
        let said = self.0.said(&shard, &wanted(config), of)?;
        let features = model.merged(original).features(input.autodiff(), *cut);
        let logits = heads_on(&model.heads, features, &shard, &self.0);
        outcome(config, logits, &shard, &said)
    }

    fn group(&self, name: &str, rank: usize) -> Group {
        group(self.0.config, name.strip_prefix("heads.").unwrap_or(name), rank)
    }
}
