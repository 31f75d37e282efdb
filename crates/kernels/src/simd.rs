//! Loops compiled for the widest vectors of the machine they run on.

/// Runs `work` with the vector instructions that this machine has (AVX-512, AVX2, NEON). The closure and what it calls must
/// be inlined to gain: write `vectorised(#[inline(always)] || ...)` and mark the functions `#[inline(always)]`.
///
/// Results do not depend on the instructions: the compiler reorders no floating-point sum and fuses no product. A sum that
/// is to use vectors has its [`LANES`] written out.
#[inline(always)]
pub(crate) fn vectorised<R>(work: impl FnMut() -> R) -> R {
    pulp::Arch::new().dispatch(Job(work))
}

/// A closure that is called by reference: called by value, it would not be inlined into the function that has the
/// instructions.
struct Job<F>(F);

impl<R, F: FnMut() -> R> pulp::WithSimd for Job<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(mut self, _: S) -> R {
        (self.0)()
    }
}

/// Partial sums of a reduction: two of the widest vectors.
pub(crate) const LANES: usize = 32;

/// Folds `values` lane by lane, then the lanes in a fixed tree.
#[inline(always)]
pub(crate) fn fold(values: &[f32], start: f32, step: impl Fn(f32, f32) -> f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = step(*lane, value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane = step(*lane, value);
    }
    for width in [16, 8, 4, 2, 1] {
        for index in 0..width {
            lanes[index] = join(lanes[index], lanes[index + width]);
        }
    }
    lanes[0]
}

/// The sum of `values`, in an order that depends on their number alone.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f32 {
    fold(values, 0.0, |sum, value| sum + value, |a, b| a + b)
}

/// The largest of `values`; minus infinity if there are none.
#[inline(always)]
pub(crate) fn largest(values: &[f32]) -> f32 {
    // A comparison, and not `f32::max`, whose rules for NaN cost instructions.
    let larger = |a, b| if b > a { b } else { a };
    fold(values, f32::NEG_INFINITY, larger, larger)
}

/// The sum of products of corresponding elements, in an order that depends on their number alone.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane += a * b;
    }
    sum(&lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_counts_every_element_once() {
        for length in [0, 1, 31, 32, 33, 100] {
            let values: Vec<f32> = (0..length).map(|value| value as f32).collect();
            assert_eq!(
                vectorised(
                    #[inline(always)]
                    || sum(&values)
                ),
                (length * length.max(1) - length) as f32 / 2.0
            );
        }
    }
}
