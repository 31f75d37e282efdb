//! Scaled dot-product attention, in blocks that keep no weights.

use burn::tensor::Tensor;

use super::Array;
use crate::op::{self, Kernel};

/// See [`crate::self_attention`]; without extras.
pub(crate) fn self_attention(qkv: Tensor<3>, heads: usize, scale: f64) -> Tensor<3> {
    op::run(Attention { heads: heads as i64, scale }, [qkv.into_dispatch()])
}

#[derive(Clone, Debug)]
struct Attention {
    heads: i64,
    scale: f64,
}

/// All as LibTorch has them, `[rows, heads, tokens, size]` but for the last.
#[derive(Clone, Debug)]
struct Saved {
    qkv: Array,
    output: Array,
    /// For every token and head the logarithm of the sum of the scores' exponentials.
    logarithms: Array,
}

impl Kernel<1> for Attention {
    type Array = Array;
    type Saved = Saved;

    fn forward(&self, [qkv]: [Array; 1]) -> (Array, Saved) {
        let [q, k, v] = self.parts(&qkv);
        let (output, logarithms) = tch::Tensor::internal_scaled_dot_product_flash_attention_for_cpu(
            &q,
            &k,
            &v,
            0.0,
            false,
            None::<&tch::Tensor>,
            self.scale,
        );
        // In memory the heads of a token lie side by side already.
        let size = qkv.size();
        let output = Array::new(output.transpose(1, 2).reshape([size[0], size[1], size[2] / 3]));
        (output.clone(), Saved { qkv, output, logarithms: Array::new(logarithms) })
    }

    fn backward(&self, Saved { qkv, output, logarithms }: Saved, gradient: Array, _: [bool; 1]) -> [Option<Array>; 1] {
        let [q, k, v] = self.parts(&qkv);
        let [output, gradient] = [output, gradient].map(|tokens| self.heads(&tokens));
        let (q, k, v) = tch::Tensor::internal_scaled_dot_product_flash_attention_for_cpu_backward(
            &gradient,
            &q,
            &k,
            &v,
            &output,
            &logarithms,
            0.0,
            false,
            None::<&tch::Tensor>,
            self.scale,
        );
        let parts = [q, k, v].map(|part| part.transpose(1, 2));
        [Some(Array::new(tch::Tensor::stack(&parts, 2).view_(qkv.size())))]
    }
}

impl Attention {
    /// Queries, keys and values: `[rows, heads, tokens, size]`.
    fn parts(&self, qkv: &tch::Tensor) -> [tch::Tensor; 3] {
        let size = qkv.size();
        let parts = qkv.reshape([size[0], size[1], 3, self.heads, size[2] / 3 / self.heads]).permute([2, 0, 3, 1, 4]);
        [0, 1, 2].map(|index| parts.select(0, index))
    }

    /// `[rows, tokens, width]` as `[rows, heads, tokens, size]`.
    fn heads(&self, tokens: &tch::Tensor) -> tch::Tensor {
        let size = tokens.size();
        tokens.reshape([size[0], size[1], self.heads, size[2] / self.heads]).transpose(1, 2)
    }
}
