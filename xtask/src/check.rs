//! `check`: does the program type-check for a backend?

use std::process::ExitCode;

use anyhow::Result;

use crate::args::Request;
use crate::cargo::Step;
use crate::libtorch;

/// Runs `cargo check` with the backend's feature.
pub fn run(request: &Request) -> Result<ExitCode> {
    step(request).envs(libtorch::environment(request)?).exec()
}

fn step(request: &Request) -> Step {
    Step::new("check --package robustify").args(request.features()).args(request.rest.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backend_becomes_a_feature() {
        let request = Request::parse(["check", "--backend", "cuda"].map(Into::into)).unwrap();
        assert_eq!(step(&request), Step::new("check --package robustify --features cuda"));
    }
}
