//! `ci`: what must pass before a merge, the cheapest check first.

use std::process::ExitCode;

use anyhow::Result;

use crate::args::Request;
use crate::cargo::Step;
use crate::{test, tidy};

/// Runs every check, up to the first that fails.
pub fn run(request: &Request) -> Result<ExitCode> {
    request.expect_no_backend()?;
    request.expect_no_arguments()?;
    for check in checks() {
        let code = match check {
            Check::Cargo(step) => step.status()?,
            Check::Tidy => {
                println!("$ cargo xtask tidy");
                tidy::run(request)?
            }
        };
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    Ok(ExitCode::SUCCESS)
}

enum Check {
    Cargo(Step),
    Tidy,
}

fn checks() -> [Check; 7] {
    let docs = Step::new("doc --workspace --no-deps");
    [
        Check::Cargo(Step::new("fmt --all --check")),
        Check::Tidy,
        Check::Cargo(Step::new("clippy --workspace --all-targets -- -D warnings")),
        Check::Cargo(docs.env("RUSTDOCFLAGS", "-D warnings -D rustdoc::broken_intra_doc_links")),
        Check::Cargo(test::everything(Vec::new())),
        // Last, since more crates are built for it than for the default program.
        Check::Cargo(Step::new("clippy --package robustify --features hub --all-targets -- -D warnings")),
        Check::Cargo(Step::new("test --package robustify --features hub --test hub")),
    ]
}
