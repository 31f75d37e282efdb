//! Scaled dot-product attention, without keeping the weights.

use burn::tensor::{Tensor, activation};

/// What attention does besides `softmax(scale q k^T) v`.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Added to the scores: `[windows, heads, tokens, tokens]`, where row `r` of the batch reads `r % windows`.
    pub bias: Option<Tensor<4>>,
    /// Multiplied onto the weights after the softmax, as dropout does: `[rows, heads, tokens, tokens]`. It takes no gradient.
    pub mask: Option<Tensor<4>>,
}

/// Multi-head self-attention on projections that lie side by side, as the one layer that makes all three leaves them.
/// Source: Vaswani et al. 2017, arXiv:1706.03762, 3.2.
///
/// The kernel of flex keeps one number per token and head for its backward pass and computes the weights again. LibTorch has one
/// for attention without extras; with them it composes, and keeps the weights.
///
/// # Shapes
/// - qkv: `[rows, tokens, 3 * width]`: queries, keys and values, each with the heads side by side
/// - output: `[rows, tokens, width]`
pub fn self_attention(qkv: Tensor<3>, heads: usize, scale: f64, extras: Extras) -> Tensor<3> {
    #[cfg(feature = "flex")]
    {
        let serves = |extra: &Option<Tensor<4>>| extra.as_ref().is_none_or(crate::flex::serves);
        if crate::flex::serves(&qkv) && serves(&extras.bias) && serves(&extras.mask) {
            return kernel::run(qkv, heads, scale as f32, extras);
        }
    }
    #[cfg(feature = "tch")]
    if crate::tch::serves(&qkv) && extras.bias.is_none() && extras.mask.is_none() {
        return crate::tch::self_attention(qkv, heads, scale);
    }
    let [q, k, v] = split(qkv, heads);
    let [rows, _, tokens, size] = v.dims();
    let mut weights = weigh(q, k, scale, extras.bias);
    if let Some(mask) = extras.mask {
        weights = weights * mask.detach();
    }
    weights.matmul(v).swap_dims(1, 2).reshape([rows, tokens, heads * size])
}

/// The weights that [`self_attention`] gives values, which no fast path keeps: `softmax(scale q k^T + bias)`.
///
/// # Shapes
/// - qkv, bias: as those of [`self_attention`]
/// - output: `[rows, heads, tokens, tokens]`, queries before keys
pub fn attention_weights(qkv: Tensor<3>, heads: usize, scale: f64, bias: Option<Tensor<4>>) -> Tensor<4> {
    let [q, k, _] = split(qkv, heads);
    weigh(q, k, scale, bias)
}

/// Queries, keys and values, each `[rows, heads, tokens, size]`.
fn split(qkv: Tensor<3>, heads: usize) -> [Tensor<4>; 3] {
    let [rows, tokens, width] = qkv.dims();
    let size = width / 3 / heads;
    let qkv = qkv.reshape([rows, tokens, 3, heads, size]).permute([2, 0, 3, 1, 4]);
    [0, 1, 2].map(|index| qkv.clone().narrow(0, index, 1).reshape([rows, heads, tokens, size]))
}

fn weigh(q: Tensor<4>, k: Tensor<4>, scale: f64, bias: Option<Tensor<4>>) -> Tensor<4> {
    let [rows, heads, tokens, _] = q.dims();
    let mut scores = (q * scale).matmul(k.transpose());
    if let Some(bias) = bias {
        let windows = bias.dims()[0];
        let scores_of = scores.reshape([rows / windows, windows, heads, tokens, tokens]);
        scores = (scores_of + bias.unsqueeze::<5>()).reshape([rows, heads, tokens, tokens]);
    }
    activation::softmax(scores, 3)
}

#[cfg(feature = "flex")]
mod kernel {
    use burn::tensor::Tensor;

    use super::Extras;
    use crate::flex::Array;
    use crate::gemm::{Matrix, Old, product};
    use crate::maths::exp;
    use crate::op::{self, Kernel};
    use crate::simd::{dot, largest, sum, vectorised};
    use crate::threads::{pieces_with, sum_rows};

    /// Scores computed at a time: a block of queries against all keys, kept in the cache.
    const SCORES: usize = 40 * 1024;

    /// Rows of the batch whose gradients of the bias are summed before they join those of other rows.
    const ROWS: usize = 16;

    pub(super) fn run(qkv: Tensor<3>, heads: usize, scale: f32, extras: Extras) -> Tensor<3> {
        let [rows, tokens, width] = qkv.dims();
        assert_eq!(width % (3 * heads), 0, "a width of {width} is not three times {heads} heads");
        if let Some([windows, dims @ ..]) = extras.bias.as_ref().map(Tensor::dims) {
            assert_eq!(dims, [heads, tokens, tokens], "the bias is [windows, heads, tokens, tokens]");
            assert_eq!(rows % windows.max(1), 0, "{rows} rows are no multiple of {windows} windows");
        }
        if let Some(dims) = extras.mask.as_ref().map(Tensor::dims) {
            assert_eq!(dims, [rows, heads, tokens, tokens], "the mask is [rows, heads, tokens, tokens]");
        }
        let attention = Attention { heads, scale, bias: extras.bias.is_some(), mask: extras.mask.is_some() };
        let qkv = qkv.into_dispatch();
        match (extras.bias.map(Tensor::into_dispatch), extras.mask.map(Tensor::into_dispatch)) {
            (None, None) => op::run(attention, [qkv]),
            (Some(extra), None) | (None, Some(extra)) => op::run(attention, [qkv, extra]),
            (Some(bias), Some(mask)) => op::run(attention, [qkv, bias, mask]),
        }
    }

    /// After the projections come the bias and the mask, where there are any.
    #[derive(Clone, Debug)]
    struct Attention {
        heads: usize,
        scale: f32,
        bias: bool,
        mask: bool,
    }

    impl<const N: usize> Kernel<N> for Attention {
        type Array = Array;
        /// The inputs, and for every row, head and token the logarithm of the sum of the scores' exponentials.
        type Saved = ([Array; N], Vec<f32>);

        fn forward(&self, inputs: [Array; N]) -> (Array, Self::Saved) {
            let (output, logarithms) = self.attend(&Parts::new(self, &inputs));
            (output, (inputs, logarithms))
        }

        fn infer(&self, inputs: [Array; N]) -> Array {
            self.attend(&Parts::new(self, &inputs)).0
        }

        fn backward(
            &self,
            (inputs, logarithms): Self::Saved,
            gradient: Array,
            wanted: [bool; N],
        ) -> [Option<Array>; N] {
            let parts = Parts::new(self, &inputs);
            let bias = (self.bias && wanted[1]).then_some(&inputs[N.min(2) - 1]);
            let (of_qkv, of_bias) = self.gradients(&parts, &logarithms, &gradient, bias.map(|bias| bias.len()));
            let mut found =
                [Some(Array::new(of_qkv, inputs[0].dims())), bias.map(|bias| Array::new(of_bias, bias.dims()))];
            // A mask is a constant: whoever drew it cannot learn from it.
            std::array::from_fn(|input| if wanted[input] { found.get_mut(input).and_then(Option::take) } else { None })
        }
    }

    /// What one call works on.
    struct Parts<'a> {
        qkv: &'a [f32],
        bias: Option<&'a [f32]>,
        mask: Option<&'a [f32]>,
        tokens: usize,
        width: usize,
        heads: usize,
        /// Width of a head.
        size: usize,
        /// Queries in a block.
        block: usize,
    }

    impl<'a> Parts<'a> {
        fn new<const N: usize>(attention: &Attention, inputs: &'a [Array; N]) -> Self {
            let [_, width] = inputs[0].rows();
            let (tokens, width, heads) = (inputs[0].dims()[1], width / 3, attention.heads);
            let block = (SCORES / tokens.max(1)).clamp(1, tokens.max(1));
            Self {
                qkv: &inputs[0],
                bias: attention.bias.then(|| &*inputs[1]),
                mask: attention.mask.then(|| &*inputs[N - 1]),
                tokens,
                width,
                heads,
                size: width / heads,
                block,
            }
        }

        /// Queries (0), keys (1) or values (2) of one row and head, the tokens from `from` on.
        fn part(&self, index: usize, row: usize, head: usize, from: usize, count: usize) -> Matrix<'a> {
            let at = (row * self.tokens + from) * 3 * self.width + index * self.width + head * self.size;
            Matrix::new(&self.qkv[at..], [count, self.size], 3 * self.width)
        }

        /// The part of a `[rows, heads, tokens, tokens]` array for some queries of one row and head.
        fn square(&self, values: &'a [f32], row: usize, head: usize, from: usize, count: usize) -> &'a [f32] {
            let rows = values.len() / (self.heads * self.tokens * self.tokens).max(1);
            let at = ((row % rows * self.heads + head) * self.tokens + from) * self.tokens;
            &values[at..at + count * self.tokens]
        }

        /// Rows, heads and the first query of every block with their number, in order.
        fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
            let (tokens, block) = (self.tokens, self.block);
            (0..tokens).step_by(block).map(move |from| (from, block.min(tokens - from)))
        }
    }

    impl Attention {
        /// The result, and the logarithms that the backward pass reads.
        fn attend(&self, parts: &Parts<'_>) -> (Array, Vec<f32>) {
            let Parts { tokens, width, heads, size, .. } = *parts;
            let rows = parts.qkv.len() / (3 * tokens * width).max(1);
            let mut output = vec![0.0; rows * tokens * width];
            let mut logarithms = vec![0.0; rows * heads * tokens];
            pieces_with(
                &mut output,
                (tokens * width).max(1),
                &mut logarithms,
                heads * tokens,
                |row, output, logarithms| {
                    let mut scores = vec![0.0; parts.block * tokens];
                    for head in 0..heads {
                        for (from, count) in parts.blocks() {
                            let scores = &mut scores[..count * tokens];
                            self.scores(parts, row, head, (from, count), scores);
                            softmax(scores, tokens, &mut logarithms[head * tokens + from..][..count]);
                            if let Some(mask) = parts.mask {
                                multiply(scores, parts.square(mask, row, head, from, count));
                            }
                            let weights = Matrix::new(scores, [count, tokens], tokens);
                            let out = &mut output[from * width + head * size..];
                            product(out, width, Old::Replace, 1.0, weights, parts.part(2, row, head, 0, tokens));
                        }
                    }
                },
            );
            (Array::new(output, &[rows, tokens, width]), logarithms)
        }

        /// `scale q k^T` plus the bias, for a block of queries.
        fn scores(&self, parts: &Parts<'_>, row: usize, head: usize, (from, count): (usize, usize), out: &mut [f32]) {
            let old = match parts.bias {
                Some(bias) => {
                    out.copy_from_slice(parts.square(bias, row, head, from, count));
                    Old::Add
                }
                None => Old::Replace,
            };
            let (q, k) = (parts.part(0, row, head, from, count), parts.part(1, row, head, 0, parts.tokens));
            product(out, parts.tokens, old, self.scale, q, k.transposed());
        }

        /// The gradients of the projections, and of the bias if its length is given.
        fn gradients(
            &self,
            parts: &Parts<'_>,
            logarithms: &[f32],
            gradient: &[f32],
            bias: Option<usize>,
        ) -> (Vec<f32>, Vec<f32>) {
            let Parts { tokens, width, heads, .. } = *parts;
            let image = (3 * tokens * width).max(1);
            let mut of_qkv = vec![0.0; parts.qkv.len()];
            let rows = parts.qkv.len() / image;
            // A piece of several rows where they share a gradient of the bias, so that few copies of it are needed.
            let together = if bias.is_some() { ROWS } else { 1 };
            let mut sums = vec![0.0; bias.unwrap_or(0) * rows.div_ceil(together)];
            pieces_with(&mut of_qkv, image * together, &mut sums, bias.unwrap_or(0), |index, piece, sums| {
                let mut room = Room::new(parts);
                for (offset, of_qkv) in piece.chunks_exact_mut(image).enumerate() {
                    let row = index * together + offset;
                    for head in 0..heads {
                        let logarithms = &logarithms[(row * heads + head) * tokens..][..tokens];
                        self.head_gradients(parts, (row, head), logarithms, gradient, of_qkv, sums, &mut room);
                    }
                }
            });
            (of_qkv, sum_rows(&sums, bias.unwrap_or(0)))
        }

        /// Adds the gradients of one head of one row.
        #[expect(clippy::too_many_arguments, reason = "what it reads, what it writes, and room")]
        fn head_gradients(
            &self,
            parts: &Parts<'_>,
            (row, head): (usize, usize),
            logarithms: &[f32],
            gradient: &[f32],
            of_qkv: &mut [f32],
            of_bias: &mut [f32],
            room: &mut Room,
        ) {
            let Parts { tokens, width, size, .. } = *parts;
            let (stride, start) = (3 * width, head * size);
            for (from, count) in parts.blocks() {
                let old = if from == 0 { Old::Replace } else { Old::Add };
                let (weights, slopes) = (&mut room.weights[..count * tokens], &mut room.slopes[..count * tokens]);
                self.scores(parts, row, head, (from, count), weights);
                let g = &gradient[(row * tokens + from) * width + start..];
                let g = Matrix::new(g, [count, size], width);
                product(slopes, tokens, Old::Replace, 1.0, g, parts.part(2, row, head, 0, tokens).transposed());
                let mask = parts.mask.map(|mask| parts.square(mask, row, head, from, count));
                let masked = mask.map(|_| &mut room.masked[..count * tokens]);
                softmax_gradient(weights, slopes, &logarithms[from..from + count], mask.zip(masked));
                let applied = if mask.is_some() { &room.masked[..count * tokens] } else { &*weights };
                let applied = Matrix::new(applied, [count, tokens], tokens).transposed();
                product(&mut of_qkv[2 * width + start..], stride, old, 1.0, applied, g);
                if !of_bias.is_empty() {
                    let windows = of_bias.len() / (parts.heads * tokens * tokens);
                    let at = ((row % windows * parts.heads + head) * tokens + from) * tokens;
                    add(&mut of_bias[at..at + count * tokens], slopes);
                }
                let slopes = Matrix::new(slopes, [count, tokens], tokens);
                let (q, k) = (parts.part(0, row, head, from, count), parts.part(1, row, head, 0, tokens));
                product(&mut of_qkv[from * stride + start..], stride, Old::Replace, self.scale, slopes, k);
                product(&mut of_qkv[width + start..], stride, old, self.scale, slopes.transposed(), q);
            }
        }
    }

    /// Arrays that the heads use one after the other.
    struct Room {
        weights: Vec<f32>,
        slopes: Vec<f32>,
        masked: Vec<f32>,
    }

    impl Room {
        fn new(parts: &Parts<'_>) -> Self {
            let size = parts.block * parts.tokens;
            let masked = if parts.mask.is_some() { size } else { 0 };
            Self { weights: vec![0.0; size], slopes: vec![0.0; size], masked: vec![0.0; masked] }
        }
    }

    /// Turns rows of scores into weights, and says for every row the logarithm of the sum of the scores' exponentials.
    fn softmax(scores: &mut [f32], tokens: usize, logarithms: &mut [f32]) {
        vectorised(
            #[inline(always)]
            || {
                for (row, logarithm) in scores.chunks_exact_mut(tokens).zip(&mut *logarithms) {
                    let largest = largest(row);
                    row.iter_mut().for_each(
                        #[inline(always)]
                        |score| *score = exp(*score - largest),
                    );
                    let total = sum(row);
                    let scale = 1.0 / total;
                    row.iter_mut().for_each(
                        #[inline(always)]
                        |weight| *weight *= scale,
                    );
                    *logarithm = largest + total.ln();
                }
            },
        );
    }

    /// Turns rows of scores into weights by their logarithms, and rows of the weights' gradients into those of the scores. With
    /// a mask, the second array gets the masked weights.
    fn softmax_gradient(
        scores: &mut [f32],
        slopes: &mut [f32],
        logarithms: &[f32],
        mask: Option<(&[f32], &mut [f32])>,
    ) {
        let tokens = scores.len() / logarithms.len().max(1);
        vectorised(
            #[inline(always)]
            || {
                for (row, &logarithm) in scores.chunks_exact_mut(tokens).zip(logarithms) {
                    row.iter_mut().for_each(
                        #[inline(always)]
                        |score| *score = exp(*score - logarithm),
                    );
                }
            },
        );
        if let Some((mask, masked)) = mask {
            masked.copy_from_slice(scores);
            multiply(masked, mask);
            multiply(slopes, mask);
        }
        vectorised(
            #[inline(always)]
            || {
                for (weights, slopes) in scores.chunks_exact(tokens).zip(slopes.chunks_exact_mut(tokens)) {
                    let mean = dot(weights, slopes);
                    for (slope, &weight) in slopes.iter_mut().zip(weights) {
                        *slope = weight * (*slope - mean);
                    }
                }
            },
        );
    }

    fn multiply(values: &mut [f32], factors: &[f32]) {
        vectorised(
            #[inline(always)]
            || values.iter_mut().zip(factors).for_each(|(value, &factor)| *value *= factor),
        );
    }

    fn add(sums: &mut [f32], values: &[f32]) {
        vectorised(
            #[inline(always)]
            || sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += value),
        );
    }
}
