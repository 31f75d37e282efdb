//! The ops that cost most, forward and backward, as one op each on the CPU.
//!
//! Every function of this crate takes and returns Burn's tensors and can stand wherever the ops it replaces stood. In `f32`
//! it runs a kernel with a backward pass of its own: on flex (feature `flex`) one written here, on LibTorch's CPU (feature
//! `tch`) LibTorch's op and its derivative, where it has one. Elsewhere, on any other backend and in any other element type, it
//! composes Burn's ops. All agree to 1e-5 of the largest element, and their gradients to 1e-4.
//!
//! On flex a kernel's result does not depend on the number of threads: work is split at fixed places, and partial sums are
//! added in the order of the split. Nor does it depend on the vectors of the machine, but for matrix products and
//! convolutions, which use fused multiply-adds where there are any, and sum long rows in blocks that fit the caches.
//!
//! # A new kernel
//!
//! For flex:
//!
//! 1. Write plain functions on slices, and test them against a naive loop: `simd::vectorised` compiles them for the vectors
//!    of the machine, `gemm::product` multiplies matrices, `threads` cuts work at fixed places.
//! 2. Implement `op::Kernel<N>` for a struct of the op's settings: `forward` on `N` arrays, and `backward`, which gives the
//!    gradient of every input that wants one. `forward` returns with the result whatever `backward` has to read.
//! 3. Write the public function: `if flex::serves(&x) { op::run(kernel, [...]) }`, or else the composition.
//!
//! For LibTorch implement the same trait in `tch`, where `forward` and `backward` each call one op.
//!
//! ```
//! use burn::tensor::Tensor;
//!
//! let device = robustify_device::open(Some("flex"))?.autodiff();
//! let x = Tensor::<1>::from_floats([-1.0, 0.0, 1.0], &device).require_grad();
//! let y = robustify_kernels::gelu(x.clone());
//! let gradient = x.grad(&y.sum().backward()).expect("x takes a gradient");
//! assert!((gradient.into_data().try_to_vec::<f32>()?[1] - 0.5).abs() < 1e-6);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(missing_docs)]

mod activation;
mod adamw;
mod attention;
mod batch_norm;
#[cfg(feature = "flex")]
pub mod conv;
mod conv2d;
#[cfg(feature = "flex")]
mod each;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
mod gemm;
mod linear;
#[cfg(feature = "flex")]
mod maths;
mod norm;
#[cfg(any(feature = "flex", feature = "tch"))]
mod op;
#[cfg(feature = "flex")]
mod simd;
#[cfg(feature = "tch")]
#[allow(deprecated, reason = "Burn is pinned to the last release with LibTorch")]
mod tch;
#[cfg(feature = "flex")]
mod threads;

pub use activation::{gelu, quick_gelu};
pub use adamw::{AdamWStep, adamw};
pub use attention::{Extras, attention_weights, self_attention};
pub use batch_norm::{Then, batch_norm, batch_norm_train};
pub use conv2d::conv2d;
pub use linear::linear;
pub use norm::{layer_norm, normalise};
