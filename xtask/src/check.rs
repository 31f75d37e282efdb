//! `check`: does the program type-check for a backend, also where the backend's toolkit is absent?

use std::process::ExitCode;

use anyhow::Result;

use crate::args::{Backend, Request};
use crate::cargo::Step;
use crate::libtorch;

/// Runs `cargo check` with the backend's feature.
pub fn run(request: &Request) -> Result<ExitCode> {
    step(request).envs(libtorch::environment(request)?).exec()
}

fn step(request: &Request) -> Step {
    let step = Step::new("check --package robustify").args(request.features()).args(request.rest.clone());
    match &request.backend {
        Some(Backend { name: "cuda" | "rocm", .. }) => step.env(WITHOUT_LLVM, "1"),
        _ => step,
    }
}

/// Burn's compiler for these backends brings an LLVM, which a build script of `tracel-llvm-bundler` downloads. Types need none,
/// and where this variable is set that script, and the one of `cubecl-llvm`, leave it out.
const WITHOUT_LLVM: &str = "DOCS_RS";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backend_becomes_a_feature() {
        let request = Request::parse(["check", "--backend", "cuda"].map(Into::into)).unwrap();
        assert_eq!(step(&request), Step::new("check --package robustify --features cuda").env("DOCS_RS", "1"));
        let request = Request::parse(["check", "--backend", "metal"].map(Into::into)).unwrap();
        assert_eq!(step(&request), Step::new("check --package robustify --features metal"));
    }
}
