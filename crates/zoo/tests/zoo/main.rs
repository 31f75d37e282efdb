//! Parity with timm, and properties of forwards, weights and threads.

mod golden;
mod goldens;
mod passes;
mod swin;
mod threads;
mod weights;
