//! Parity with PyTorch, exact resume, and properties of the methods.

mod checkpoints;
mod common;
mod fresh;
mod goldens;
mod jsd;
mod lora;
mod methods;
mod optimizer;
mod prompts;
mod reach;
mod towers;
mod training;
mod unlabelled;
mod views;
