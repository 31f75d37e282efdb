use std::sync::Mutex;

use burn::tensor::{Device, Tensor};

use crate::{Features, Onlooker};

/// A source of dropout masks, keyed by what they are drawn for.
pub trait Masks: Sync {
    /// The multiplicative mask of the dropout layer `site`: zero where dropped, `1 / (1 - p)` where kept.
    /// `None` when nothing is dropped there.
    ///
    /// # Shapes
    /// - output: `[rows, elements]`, one row for every row of the batch
    fn mask(&self, site: &str, elements: usize, device: &Device) -> Option<Tensor<2>>;

    /// What the residual branch `site` of every row is multiplied by: zero where it is left out, `1 / (1 - p)` where it is kept. `None`
    /// when all are kept. Source: Huang et al. 2016, arXiv:1603.09382 (stochastic depth, "drop path").
    ///
    /// # Shapes
    /// - output: `[rows]`
    fn branch(&self, _site: &str, _device: &Device) -> Option<Tensor<1>> {
        None
    }
}

/// Batch statistics that the BatchNorm layers of one training forward saw, in the order of the layers.
///
/// The forward itself changes no state: the trainer decides when, and from which statistics, the running ones move.
/// A frozen layer therefore cannot move.
#[derive(Debug, Default)]
pub struct BatchStatistics(Mutex<Vec<(Tensor<1>, Tensor<1>)>>);

impl BatchStatistics {
    /// Takes what a further layer saw, or what is averaged over the shards of a batch in the same way.
    pub fn push(&self, mean: Tensor<1>, unbiased_variance: Tensor<1>) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((mean, unbiased_variance));
    }

    /// Whether no BatchNorm layer has reported: there is none, or it used its running statistics.
    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_empty()
    }

    /// One report for the shards of a batch: the means of their statistics, the shards weighing alike.
    pub fn average(shards: Vec<Self>) -> Self {
        let count = shards.len() as f64;
        let mut layers = shards.into_iter().map(Self::into_layers);
        let mut sums = layers.next().unwrap_or_default();
        for shard in layers {
            let pairs = sums.into_iter().zip(shard);
            sums = pairs.map(|((mean, variance), (m, v))| (mean + m, variance + v)).collect();
        }
        Self(Mutex::new(sums.into_iter().map(|(mean, variance)| (mean / count, variance / count)).collect()))
    }

    /// Mean and unbiased variance of every layer, in order; each of shape `[channels]`.
    pub fn into_layers(self) -> Vec<(Tensor<1>, Tensor<1>)> {
        self.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Named intermediates of one forward, in the order in which they were computed.
///
/// Names are those of timm's modules (`patch_embed`, `blocks.0`, `layer1`, `norm`), then `forward_features` and
/// `pre_logits` after timm's methods; values are the outputs of these modules.
#[derive(Debug, Default)]
pub struct Trace(Mutex<Vec<(String, Features)>>);

impl Trace {
    /// The intermediates with their names.
    pub fn into_steps(self) -> Vec<(String, Features)> {
        self.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What is stochastic in a forward, and who looks on. [`Pass::eval`] for the deterministic one.
#[derive(Clone, Copy, Default)]
pub struct Pass<'a> {
    masks: Option<&'a dyn Masks>,
    statistics: Option<&'a BatchStatistics>,
    trace: Option<&'a Trace>,
    onlooker: Option<&'a dyn Onlooker>,
    /// Whether the trace takes the classifier's input alone.
    is_last_alone: bool,
    scope: &'a str,
}

impl<'a> Pass<'a> {
    /// No dropout; BatchNorm uses its running statistics.
    pub fn eval() -> Self {
        Self::default()
    }

    /// The same pass with dropout masks from `masks`.
    #[must_use]
    pub fn with_masks(self, masks: &'a dyn Masks) -> Self {
        Self { masks: Some(masks), ..self }
    }

    /// The same pass with BatchNorm normalising by the batch and reporting to `statistics`.
    #[must_use]
    pub fn with_statistics(self, statistics: &'a BatchStatistics) -> Self {
        Self { statistics: Some(statistics), ..self }
    }

    /// The same pass with every named intermediate kept in `trace`. Nothing is left out then for speed, such as rows of
    /// the last block that no classifier reads.
    #[must_use]
    pub fn with_trace(self, trace: &'a Trace) -> Self {
        Self { trace: Some(trace), is_last_alone: false, ..self }
    }

    /// The same pass with the classifier's input, `pre_logits`, kept in `trace`, and nothing else; nothing more is computed for it.
    #[must_use]
    pub fn with_pre_logits(self, trace: &'a Trace) -> Self {
        Self { trace: Some(trace), is_last_alone: true, ..self }
    }

    /// The same pass with `onlooker` shown the weights of every layer of attention. They are computed for it beside the fast path,
    /// which keeps none, and every row of the last block is computed.
    #[must_use]
    pub fn with_attention(self, onlooker: &'a dyn Onlooker) -> Self {
        Self { onlooker: Some(onlooker), ..self }
    }

    /// The same pass with `scope` before the name of every dropout site, so that two copies of a layer draw different masks.
    #[must_use]
    pub fn scoped(self, scope: &'a str) -> Self {
        Self { scope, ..self }
    }

    pub(crate) fn statistics(&self) -> Option<&BatchStatistics> {
        self.statistics
    }

    /// Whether all intermediates are asked for.
    pub(crate) fn is_traced(&self) -> bool {
        self.trace.is_some() && !self.is_last_alone
    }

    /// Whether every row of every block is wanted, also those that no classifier reads.
    pub(crate) fn wants_all_rows(&self) -> bool {
        self.is_traced() || self.onlooker.is_some()
    }

    /// Shows the weights of the attention of a block, when somebody looks on.
    pub(crate) fn attends(&self, block: &str, weights: impl FnOnce() -> Tensor<4>) {
        if let Some(onlooker) = self.onlooker {
            onlooker.saw(&format!("{block}.attn"), weights());
        }
    }

    /// Keeps an intermediate, when they are asked for.
    pub(crate) fn saw(&self, name: impl FnOnce() -> String, features: impl FnOnce() -> Features) {
        if let Some(Trace(steps)) = self.trace {
            let name = name();
            if self.is_last_alone && name != "pre_logits" {
                return;
            }
            let step = (name, features());
            steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(step);
        }
    }

    /// The mask of a site, see [`Masks::mask`].
    pub(crate) fn mask(&self, site: &str, elements: usize, device: &Device) -> Option<Tensor<2>> {
        self.masks?.mask(&format!("{}/{site}", self.scope), elements, device)
    }

    /// The residual branch `site` as it joins the others, see [`Masks::branch`].
    ///
    /// # Shapes
    /// - x: `[rows, ...]`
    /// - output: that of `x`
    pub(crate) fn branch<const D: usize>(&self, x: Tensor<D>, site: &str) -> Tensor<D> {
        let device = x.device().without_autodiff();
        match self.masks.and_then(|masks| masks.branch(&format!("{}/{site}", self.scope), &device)) {
            Some(mask) => {
                let mut dims = [1; D];
                dims[0] = x.dims()[0];
                x * mask.reshape(dims)
            }
            None => x,
        }
    }

    /// Applies the dropout of `site` to `x`.
    ///
    /// # Shapes
    /// - x: `[rows, ...]`
    /// - output: that of `x`
    pub(crate) fn dropout<const D: usize>(&self, x: Tensor<D>, site: &str) -> Tensor<D> {
        let dims = x.dims();
        // A plain mask is a constant to an autodiff `x`.
        match self.mask(site, dims[1..].iter().product(), &x.device().without_autodiff()) {
            Some(mask) => x * mask.reshape(dims),
            None => x,
        }
    }
}
