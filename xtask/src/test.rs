//! `test`: everything on the default backend, or on another the conformance tests and those of its kernels.

use std::process::ExitCode;

use anyhow::Result;

use crate::args::Request;
use crate::cargo::Step;
use crate::libtorch;

/// The backend that has kernels of its own besides flex.
const WITH_KERNELS: &str = "tch";

/// Runs the tests.
pub fn run(request: &Request) -> Result<ExitCode> {
    step(request).envs(libtorch::environment(request)?).exec()
}

/// Of another backend only that it computes the same is in question, so its tests are those that compare it with flex.
fn step(request: &Request) -> Step {
    match request.other_backend() {
        // A package of the workspace is named, since the others do not have the feature.
        None if request.hub => Step::new("test --workspace --features robustify/hub").args(request.rest.clone()),
        None => everything(request.rest.clone()),
        Some(backend) => {
            let kernels: &[&str] = if backend.name == WITH_KERNELS {
                &["--package", "robustify-kernels", "--test", "composed", "--test", "residual"]
            } else {
                &[]
            };
            Step::new("test --release --package robustify")
                .args(request.features())
                .args(["--test", "conformance"])
                .args(kernels.iter().copied())
                .args(request.rest.clone())
                .env("ROBUSTIFY_TEST_BACKEND", &backend.selector)
        }
    }
}

/// Every test of the workspace on the default backend.
pub fn everything(args: Vec<String>) -> Step {
    Step::new("test --workspace").args(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(line: &str) -> Step {
        step(&Request::parse(line.split_whitespace().map(Into::into)).unwrap())
    }

    #[test]
    fn the_default_backend_runs_everything() {
        assert_eq!(planned("test --doc"), Step::new("test --workspace --doc"));
        assert_eq!(planned("test --backend flex"), Step::new("test --workspace"));
        assert_eq!(planned("test --hub"), Step::new("test --workspace --features robustify/hub"));
    }

    #[test]
    fn another_backend_runs_the_conformance_tests_and_is_named_to_them() {
        let expected = Step::new("test --release --package robustify --features wgpu --test conformance vit");
        assert_eq!(planned("test vit --backend wgpu"), expected.env("ROBUSTIFY_TEST_BACKEND", "wgpu"));
        let expected = "test --release --package robustify --features tch --test conformance \
            --package robustify-kernels --test composed --test residual";
        assert_eq!(planned("test --backend tch:mps"), Step::new(expected).env("ROBUSTIFY_TEST_BACKEND", "tch:mps"));
    }
}
