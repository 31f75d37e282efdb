//! Every subcommand xtask does not know: built for the backend in release mode, and handed to the program.

use std::process::ExitCode;

use anyhow::Result;

use crate::args::Request;
use crate::cargo::Step;
use crate::libtorch;

/// Builds the program and becomes it.
pub fn run(request: &Request) -> Result<ExitCode> {
    step(request).envs(libtorch::environment(request)?).exec()
}

fn step(request: &Request) -> Step {
    let backend = request.backend.iter().flat_map(|backend| ["--backend".to_owned(), backend.selector.clone()]);
    Step::new("run --release --package robustify")
        .args(request.features())
        .args(["--"])
        .args(request.subcommand.clone())
        .args(backend)
        .args(request.rest.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cargo(line: &str) -> String {
        step(&Request::parse(line.split_whitespace().map(Into::into)).unwrap()).args.join(" ")
    }

    #[test]
    fn a_backend_becomes_a_feature_for_cargo_and_a_selector_for_the_program() {
        assert_eq!(
            cargo("train configs/a.toml --backend vulkan:1 --seeds 3"),
            "run --release --package robustify --features vulkan -- train --backend vulkan:1 configs/a.toml --seeds 3"
        );
    }

    #[test]
    fn without_a_backend_nothing_is_added() {
        assert_eq!(cargo("corrupt --help"), "run --release --package robustify -- corrupt --help");
        assert_eq!(cargo("train --backend flex"), "run --release --package robustify -- train --backend flex");
    }
}
