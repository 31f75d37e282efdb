//! `cargo xtask <subcommand>`: picks the cargo features of a backend and re-enters cargo, and checks the repository.
//!
//! Thin on purpose: it depends on no crate of the workspace and not on Burn, so that it is built in seconds and can say
//! what is missing before a build of minutes begins.

mod args;
mod bench_augment;
mod bench_models;
mod cargo;
mod check;
mod ci;
mod libtorch;
mod oracles;
mod run;
mod test;
mod tidy;

use std::process::ExitCode;

use args::Request;

const HELP: &str = "\
cargo xtask <subcommand> [--backend NAME] [arguments]

Subcommands of the program, built in release mode and run from the root of the workspace
(`cargo xtask train --help` and so on describe them):
  train             make the small teacher and the large model robust, and print the table
  init              write the configuration for one's own images and model
  experiment        run a grid of settings and seeds, and draw its tables and figures
  eval              evaluate any model on any images, clean and corrupted
  predict           say what a model takes pictures for
  export            write a robust model as timm loads it
  diagnose          look into models: where attention looks, and how flat the loss is around their weights
  bench-robustness  measure the models of a finished run again
  bench-cost        measure what the method costs against full fine-tuning and the original model
  pretrain          train the large model from scratch
  config reference  print every setting with its type, default, allowed values and meaning
  <any other>       is handed to the program as it is

Work on the repository:
  bench-models      measure flex, LibTorch and PyTorch on the same models, in one table
  bench-augment     measure the corruptions and AugMix beside the reference implementations in Python (--help)
  test [arguments]  every test on the default backend; with --backend NAME, the conformance tests on that one;
                    with --hub, those of the hub too
  oracles DIR       compare losses, methods and metrics with numbers of the reference implementations
  check             type-check the program for a backend
  tidy              crate borders, machine paths, configs and other rules of the house
  ci                format, tidy, clippy, docs, tests: what must pass before a merge
  help              this text

Options:
  --backend NAME    flex (default), tch, wgpu, vulkan, metal, cuda, rocm; a place may follow: tch:cuda:0, vulkan:1
  --hub             download what `hf-hub:OWNER/REPO` names where a checkpoint is asked for
  --torch-venv DIR  for tch: the Python environment with LibTorch, instead of the active one
";

fn main() -> ExitCode {
    match dispatch() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> anyhow::Result<ExitCode> {
    let request = Request::parse(std::env::args_os().skip(1))?;
    match request.subcommand.as_deref() {
        None | Some("help") => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        Some("bench-augment") => bench_augment::run(&request),
        Some("bench-models") => bench_models::run(&request),
        Some("check") => check::run(&request),
        Some("ci") => ci::run(&request),
        Some("oracles") => oracles::run(&request),
        Some("test") => test::run(&request),
        Some("tidy") => tidy::run(&request),
        Some(_) => run::run(&request),
    }
}
