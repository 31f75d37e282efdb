//! `cargo xtask oracles DIR`: are the numbers of the reference implementations ours?
//!
//! `DIR` holds an `index.json` and the files that it lists: inputs, weights, settings and outputs of the references. Every output is
//! computed again by the library and compared; a line says how far it is off and how far it may be. Nothing of a file's sizes or
//! settings is known here: they are read from it.
//!
//! Ends with exit code 1 if an output is off by more than its tolerance, if one was not compared, or if a file cannot be read.
//! Files of methods that the library does not have are named.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it found")]

mod adamspd;
mod attention;
mod dawin;
mod fd_finetune;
mod fd_student;
mod fd_tables;
mod fd_teachers;
mod flyp;
mod landscape;
mod losses;
mod metrics;
mod oracle;
mod schedules;
mod segmentation;
mod vit;
mod vpt;
mod zeroshot;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde_json::Value;

use oracle::Oracle;

/// Computes the outputs of a file and compares them.
type Check = fn(&mut Oracle) -> Result<()>;

/// What is compared, by the name of the file without its ending.
const CHECKS: &[(&str, Check)] = &[
    ("adamspd", adamspd::check),
    ("dawin", dawin::check),
    ("diagnose_vit", attention::check),
    ("fd_finetune_vit", fd_finetune::form),
    ("fd_student_swinv2_perblock", fd_student::swin),
    ("fd_student_swinv2_shared", fd_student::swin),
    ("fd_student_vit", fd_student::vit),
    ("fd_teacher_clip", fd_teachers::clip),
    ("fd_teacher_deit", fd_teachers::vit),
    ("fd_teacher_deit_distilled", fd_teachers::vit),
    ("fd_teacher_dino", fd_teachers::vit),
    ("fd_teacher_esvit_swin", fd_teachers::swin),
    ("fd_teacher_mae", fd_teachers::vit),
    ("flyp_loss", flyp::check),
    ("fpn_neck", segmentation::neck),
    ("landscape", landscape::check),
    ("layer_decay", fd_finetune::layers),
    ("losses", losses::check),
    ("lr_schedules", schedules::check),
    ("metrics", metrics::check),
    ("rpb_index", fd_tables::index),
    ("rpb_interp", fd_tables::interpolation),
    ("upernet_head", segmentation::head),
    ("vpt", vpt::check),
    ("zeroshot", zeroshot::check),
];

fn main() -> ExitCode {
    let folder = match std::env::args_os().skip(1).collect::<Vec<_>>().as_slice() {
        [folder] => folder.clone(),
        _ => {
            eprintln!("usage: cargo xtask oracles DIR\nDIR holds an index.json and the files that it lists");
            return ExitCode::from(2);
        }
    };
    match check(Path::new(&folder)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything in a folder is within its tolerance.
fn check(folder: &Path) -> Result<bool> {
    let index = folder.join("index.json");
    let text = std::fs::read_to_string(&index).with_context(|| index.display().to_string())?;
    let index: Value = serde_json::from_str(&text).with_context(|| index.display().to_string())?;
    let files = index["files"].as_object().context("index.json: `files` is missing, a table of the files")?;
    anyhow::ensure!(!files.is_empty(), "index.json lists no file");
    let (mut compared, mut off, mut unknown) = (0, 0, Vec::new());
    for (name, entry) in files {
        let stem = name.split_once('.').map_or(name.as_str(), |(stem, _)| stem);
        let Some((_, check)) = CHECKS.iter().find(|(of, _)| *of == stem) else {
            unknown.push(name.as_str());
            continue;
        };
        // A file that only holds inputs of another is read by that one's check.
        if entry["tolerance"] == "input only" {
            continue;
        }
        let outcome = Oracle::open(folder, name, entry).and_then(|mut oracle| {
            check(&mut oracle)?;
            Ok(oracle)
        });
        match outcome {
            Ok(oracle) => {
                let report = oracle.report();
                print!("{}", report.text);
                compared += report.outputs;
                off += report.off;
            }
            Err(error) => {
                println!("{name}: ERROR {error:#}");
                off += 1;
            }
        }
    }
    println!("\n{compared} outputs compared, {off} beyond their tolerance, not compared or not readable");
    if !unknown.is_empty() {
        println!("not looked at, since the library has nothing to compare: {}", unknown.join(", "));
    }
    Ok(off == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/oracles/reference");

    #[test]
    fn the_numbers_of_the_references_are_ours() {
        assert!(check(Path::new(REFERENCE)).unwrap());
    }

    #[test]
    fn a_number_that_is_off_one_that_is_missing_and_a_damaged_file_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        for entry in std::fs::read_dir(REFERENCE).unwrap().map(Result::unwrap) {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        assert!(check(folder.path()).unwrap());
        let schedules = std::fs::read_to_string(place("lr_schedules.json")).unwrap();
        std::fs::write(place("lr_schedules.json"), schedules.replace("1.25,", "1.2500001,")).unwrap();
        assert!(!check(folder.path()).unwrap());
        std::fs::write(place("lr_schedules.json"), &schedules).unwrap();
        let mut bytes = std::fs::read(place("losses.safetensors")).unwrap();
        let end = bytes.len() - 1;
        // The last output's exponent.
        bytes[end] ^= 0x40;
        std::fs::write(place("losses.safetensors"), &bytes).unwrap();
        assert!(!check(folder.path()).unwrap());
        std::fs::write(place("losses.safetensors"), &bytes[..end]).unwrap();
        assert!(!check(folder.path()).unwrap());
        std::fs::remove_file(place("index.json")).unwrap();
        let error = check(folder.path()).unwrap_err();
        assert!(format!("{error:#}").contains("index.json"));
    }
}
