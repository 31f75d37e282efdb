//! `oracles DIR`: the library against numbers of the reference implementations, by a program that is an example of the package
//! `robustify`.

use std::process::ExitCode;

use anyhow::Result;

use crate::args::Request;
use crate::cargo::Step;

/// Builds the comparison and becomes it. It computes on flex, to which the tolerances belong.
pub fn run(request: &Request) -> Result<ExitCode> {
    anyhow::ensure!(
        request.other_backend().is_none(),
        "oracles compares flex; `test --backend NAME` compares a backend with it"
    );
    Step::new("run --release --quiet --package robustify --example oracles --").args(request.rest.clone()).exec()
}
