//! What flows between the units of a model.

use burn::tensor::{Int, Tensor};

use crate::vit::VitState;

/// What flows between the units of a model.
#[derive(Clone, Debug)]
pub enum Features {
    /// Token sequences `[rows, tokens, width]`.
    Tokens(Tensor<3>),
    /// Feature maps: `[rows, channels, height, width]` of residual networks, `[rows, height, width, channels]` of Swin
    /// Transformers.
    Map(Tensor<4>),
    /// One vector a row, `[rows, width]`; after the classifier, the logits `[rows, classes]`.
    Rows(Tensor<2>),
}

impl From<VitState> for Features {
    fn from(state: VitState) -> Self {
        match state {
            VitState::Tokens(tokens) => Self::Tokens(tokens),
            VitState::Cls(rows) => Self::Rows(rows),
        }
    }
}

impl Features {
    /// The logits `[rows, classes]`, when a classifier made these features.
    ///
    /// # Panics
    /// Features from before a classifier: a bug of the caller.
    pub fn logits(self) -> Tensor<2> {
        match self {
            Self::Rows(logits) => logits,
            other => panic!("features {:?} are not logits", other.dims()),
        }
    }

    /// The rows at `indices`.
    #[must_use]
    pub fn select(self, indices: Tensor<1, Int>) -> Self {
        match self {
            Self::Tokens(x) => Self::Tokens(x.select(0, indices)),
            Self::Map(x) => Self::Map(x.select(0, indices)),
            Self::Rows(x) => Self::Rows(x.select(0, indices)),
        }
    }

    /// The same features on the autodiff device, as constants.
    #[must_use]
    pub fn autodiff(self) -> Self {
        match self {
            Self::Tokens(x) => Self::Tokens(x.autodiff()),
            Self::Map(x) => Self::Map(x.autodiff()),
            Self::Rows(x) => Self::Rows(x.autodiff()),
        }
    }

    /// The same features off the autodiff device: no gradient flows into what made them.
    #[must_use]
    pub fn constant(self) -> Self {
        match self {
            Self::Tokens(x) => Self::Tokens(x.without_autodiff()),
            Self::Map(x) => Self::Map(x.without_autodiff()),
            Self::Rows(x) => Self::Rows(x.without_autodiff()),
        }
    }

    /// All dimensions.
    pub fn dims(&self) -> Vec<usize> {
        match self {
            Self::Tokens(x) => x.dims().to_vec(),
            Self::Map(x) => x.dims().to_vec(),
            Self::Rows(x) => x.dims().to_vec(),
        }
    }

    /// The features as one vector a row, `[rows, elements]`, for storage.
    pub fn flatten(self) -> Tensor<2> {
        match self {
            Self::Tokens(x) => x.flatten(1, 2),
            Self::Map(x) => x.flatten(1, 3),
            Self::Rows(x) => x,
        }
    }

    /// Undoes [`Features::flatten`]: `dims` are those of one row. `None` when the sizes do not fit.
    pub fn unflatten(rows: Tensor<2>, dims: &[usize]) -> Option<Self> {
        let [count, elements] = rows.dims();
        if dims.iter().product::<usize>() != elements {
            return None;
        }
        match *dims {
            [_] => Some(Self::Rows(rows)),
            [tokens, width] => Some(Self::Tokens(rows.reshape([count, tokens, width]))),
            [channels, height, width] => Some(Self::Map(rows.reshape([count, channels, height, width]))),
            _ => None,
        }
    }
}
