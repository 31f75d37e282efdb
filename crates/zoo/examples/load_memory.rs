//! How much memory loading a checkpoint takes, at its peak: `cargo run --release --example load_memory -- FILE MODEL`.
//!
//! Reads the process's own high-water mark (`VmHWM` of Linux) and fails when it is beyond 1.3 times the size of the file.
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::error::Error;
use std::path::Path;

use robustify_zoo::weights::{self, Checkpoint, LoadOptions};
use robustify_zoo::{Model, registry};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, name] = arguments.as_slice() else { return Err("usage: load_memory FILE MODEL".into()) };
    let size = std::fs::metadata(file)?.len();
    let device = robustify_device::open(Some("flex"))?;
    let before = peak()?;
    let blank = Model::blank(&(registry::find(name)?.config)(), &device)?;
    let (model, loaded) = weights::load_from(blank, &Checkpoint::open(Path::new(file))?, LoadOptions::default())?;
    let factor = (peak()? - before) as f64 / size as f64;
    println!("{loaded}");
    println!(
        "{} classes; the file has {} MB, loading it took {factor:.3} times that",
        model.classes(),
        size / 1_000_000
    );
    if factor > 1.3 { Err("more than 1.3 times the size of the file".into()) } else { Ok(()) }
}

/// The largest resident memory of this process so far, in bytes.
fn peak() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}
