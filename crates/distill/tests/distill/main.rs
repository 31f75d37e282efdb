//! Parity with PyTorch, exact resume, and properties of the methods.

mod checkpoints;
mod common;
mod goldens;
mod jsd;
mod methods;
mod optimizer;
mod prompts;
mod training;
mod views;
