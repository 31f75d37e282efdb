//! The `robustify` program: arguments, configuration, logging and progress. Everything else is in the crates it uses.
#![recursion_limit = "256"]

mod allocator;
mod args;
mod commands;
mod console;
mod hub;
mod settings;

use std::process::ExitCode;
use std::time::Instant;

use crate::args::Command;
use crate::console::Console;
use robustify_watch::Watch as _;

fn main() -> ExitCode {
    let start = Instant::now();
    allocator::keep_freed_memory();
    let arguments = settings::arguments();
    let console = match &arguments.command {
        // What takes seconds ends at the first signal.
        Command::Models(_)
        | Command::Export(_)
        | Command::Config(_)
        | Command::Data(_)
        | Command::Report(_)
        | Command::Compare(_) => Ok(Console::new(false)),
        command => Console::catching_signals(command.is_quiet()),
    };
    let result = console.and_then(|console| {
        let takes_long = arguments.command.takes_long();
        run(arguments.command, &console)?;
        if takes_long {
            console.say(&format!("done in {}", console::duration(start.elapsed())));
        }
        Ok(())
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::message(&format!("error: {}", chain(&error)));
            ExitCode::from(console::exit_code(&error))
        }
    }
}

fn run(command: Command, console: &Console) -> anyhow::Result<()> {
    match command {
        Command::Train(options) => commands::train::run(&options, console),
        Command::Init(options) => commands::init::run(&options, console),
        Command::Experiment(options) => commands::experiment::run(&options, console),
        Command::Eval(options) => commands::eval::run(&options, console),
        Command::Predict(options) => commands::predict::run(&options, console),
        Command::Export(options) => commands::export::run(&options),
        Command::Merge(options) => commands::eval::merge(&options, console),
        Command::Rescore(options) => commands::eval::rescore(&options, console),
        Command::Report(options) => commands::compare::report(&options),
        Command::Compare(options) => commands::compare::run(&options),
        Command::Leaderboard(options) => commands::compare::leaderboard(&options, console),
        Command::BenchRobustness(options) => commands::bench_robustness::run(&options, console),
        Command::BenchCost(options) => commands::bench_cost::run(&options, console),
        Command::BenchModels(options) => commands::bench_models::run(&options),
        Command::Diagnose(options) => commands::diagnose::run(&options, console),
        Command::Config(options) => commands::config::run(&options),
        Command::Data(options) => commands::data::run(&options, console),
        Command::Corrupt(options) => commands::corrupt::run(&options, console),
        Command::Augment(options) => commands::augment::run(&options, console),
        Command::Models(options) => commands::models::run(&options, console),
        Command::Pretrain(options) => commands::pretrain::run(&options, console),
    }
}

/// An error with its causes, each said once; a cause that lists several faults has a line for each.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            text += if text.is_empty() { "" } else { ": " };
            text += &cause;
        }
    }
    text
}
