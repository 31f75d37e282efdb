//! Parity with timm, and properties of forwards, weights and threads.

mod checkpoints;
mod clip;
mod golden;
mod goldens;
mod hostile;
mod keys;
mod namings;
mod passes;
mod prompts;
mod registry;
mod resize;
mod swin;
mod threads;
mod transformers;
mod weights;
