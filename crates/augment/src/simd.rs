//! Loops compiled for the widest vectors of the machine they run on.

/// Runs `work` with the vector instructions that this machine has (AVX2, NEON), and not only with those that every
/// machine of its kind has. The closure and what it calls must be inlined to gain: write
/// `vectorised(#[inline(always)] || ...)` and mark the functions `#[inline(always)]`.
///
/// Results do not depend on the instructions: the compiler reorders no floating-point sum and fuses no product.
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
