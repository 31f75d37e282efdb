//! Damaged files through every reader: none panics, none takes more memory than twice the file and a margin, none takes a second.
//!
//! `cargo xtask test` runs a few hundred of each. `ROBUSTIFY_DAMAGED=10000 cargo test --workspace --test readers -- --nocapture` runs as
//! many as are asked for, and prints how many were read in spite of the damage, the slowest and the largest. A file that
//! shows a fault is kept in the folder for temporary files, and named.

mod memory;
#[path = "../miniatures/mod.rs"]
mod miniatures;
mod mutate;
mod seeds;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use cpu_time::ThreadTime;
use robustify_data::{Dataset, Shards, Split, cifar, decode, idx, listed, mat, npy};
use robustify_experiment::pretrain::PretrainConfig;
use robustify_experiment::settings;
use robustify_methods::Config;
use robustify_zoo::weights::Checkpoint;

/// Damaged files of each kind, unless the environment says otherwise.
const RUNS: u64 = 300;

/// Bytes that a reader may hold beside twice the file: buffers, tables of decoders, descriptions of tensors.
const MARGIN: u64 = 4 << 20;

/// Seconds of processor time that a run may take.
const LONGEST: f64 = 1.0;

/// What came of all runs of a kind.
#[derive(Default)]
struct Outcome {
    read: u64,
    slowest: f64,
    largest: u64,
    reasons: BTreeSet<String>,
    faults: Vec<String>,
}

/// Damages the seeds, writes what comes of it to a file, and reads that.
fn check(kind: &str, seeds: &[Vec<u8>], file: &Path, read: impl Fn() -> Result<(), String>) {
    check_beside(kind, seeds, file, read, || 0);
}

/// The same of files that may announce more than they hold: so many bytes are allowed besides.
#[allow(clippy::print_stdout)]
fn check_beside(
    kind: &str,
    seeds: &[Vec<u8>],
    file: &Path,
    read: impl Fn() -> Result<(), String>,
    beside: impl Fn() -> u64,
) {
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(file, seed).unwrap();
        let whole = catch_unwind(AssertUnwindSafe(&read));
        assert!(whole.is_ok(), "{kind}: seed {number} makes the reader panic");
    }
    let runs = std::env::var("ROBUSTIFY_DAMAGED").map_or(RUNS, |runs| runs.parse().expect("a number of runs"));
    let mut outcome = Outcome::default();
    for number in 0..runs {
        let bytes = mutate::damaged(seeds, kind, number);
        std::fs::write(file, &bytes).unwrap();
        let start = ThreadTime::now();
        let (result, held) = memory::of(|| catch_unwind(AssertUnwindSafe(&read)));
        let seconds = start.elapsed().as_secs_f64();
        let mut faults = Vec::new();
        match result {
            Ok(Ok(())) => outcome.read += 1,
            Ok(Err(reason)) => drop(outcome.reasons.insert(reason)),
            Err(_) => faults.push("a panic".to_owned()),
        }
        let limit = 2 * bytes.len() as u64 + MARGIN + beside();
        if held > limit {
            faults.push(format!("{held} bytes held for a file of {}", bytes.len()));
        }
        if seconds > LONGEST {
            faults.push(format!("{seconds:.1} s"));
        }
        outcome.slowest = outcome.slowest.max(seconds);
        outcome.largest = outcome.largest.max(held);
        if !faults.is_empty() {
            let kept = std::env::temp_dir().join(format!("robustify-{kind}-{number}"));
            std::fs::write(&kept, &bytes).unwrap();
            outcome.faults.push(format!("{}: {}", kept.display(), faults.join(", ")));
        }
    }
    let Outcome { read, slowest, largest, reasons, faults } = outcome;
    println!(
        "{kind}: {runs} damaged files, {read} read, {} refused for {} reasons; slowest {:.0} ms, most memory {} KiB",
        runs - read,
        reasons.len(),
        1e3 * slowest,
        largest >> 10
    );
    let shown = faults.iter().take(10).cloned().collect::<Vec<_>>().join("\n  ");
    assert!(faults.is_empty(), "{kind}: {} of {runs} damaged files show a fault:\n  {shown}", faults.len());
    assert!(read < runs && !reasons.is_empty(), "{kind}: the damage does none");
}

/// The reason without names and numbers, so that like reasons count once.
fn reason(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    let plain =
        text.rsplit('/').next().and_then(|name| name.split_once(": ")).map_or(text.as_str(), |(_, reason)| reason);
    plain.chars().filter(|letter| !letter.is_ascii_digit()).take(60).collect()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn idx_files() {
    let folder = folder();
    let [images, labels] = ["images", "labels"].map(|name| folder.path().join(name));
    std::fs::write(&labels, seeds::idx_labels()).unwrap();
    check("idx", &seeds::idx_images(), &images, || {
        // As images, and as labels of what does not matter.
        let read = idx::open_pair(&images, &labels, None).map(drop);
        read.or_else(|_| idx::open_pair(&labels, &images, None).map(drop)).map_err(reason)
    });
}

#[test]
fn cifar_files() {
    let folder = folder();
    let [names, train] = ["fine_label_names.txt", "train.bin"].map(|name| folder.path().join(name));
    std::fs::write(&names, seeds::cifar_names()).unwrap();
    let read = || cifar::open(folder.path(), Split::Train).map(drop).map_err(reason);
    check("cifar", &seeds::cifar(), &train, read);
    std::fs::write(&train, &seeds::cifar()[0]).unwrap();
    check("cifar-names", &[seeds::cifar_names()], &names, read);
}

/// A picture by the name of its kind; the header alone is read as well. Its pixels and a further margin may be allowed for.
fn pictures(kind: &str, seeds: &[Vec<u8>], bytes_a_pixel: u64, margin: u64) {
    let folder = folder();
    let file = folder.path().join(format!("damaged.{kind}"));
    let read = || {
        let header = decode::dimensions(&file);
        let image = decode::decode(&file).map_err(reason)?;
        assert_eq!(header.ok(), Some(image.dimensions()), "the header says something else than the decoder");
        Ok(())
    };
    let pixels = || decode::dimensions(&file).map_or(0, |(width, height)| u64::from(width) * u64::from(height));
    check_beside(kind, seeds, &file, read, || margin + bytes_a_pixel * pixels());
}

#[test]
fn jpeg_files() {
    pictures("jpg", &seeds::jpeg(), 0, 0);
}

#[test]
fn png_files() {
    pictures("png", &seeds::png(), 0, 0);
}

/// A WebP of one colour takes no bits a pixel, so that nothing but its header tells how many there are; the decoder makes room
/// for a part of a lossy frame of any length that three bytes can say.
#[test]
fn webp_files() {
    pictures("webp", &seeds::webp(), 8, 1 << 24);
}

/// Every tensor of a checkpoint.
fn checkpoints(kind: &str, seeds: &[Vec<u8>]) {
    let folder = folder();
    let file = folder.path().join(format!("damaged.{kind}"));
    check(kind, seeds, &file, || {
        let checkpoint = Checkpoint::open(&file).map_err(reason)?;
        for name in checkpoint.names() {
            checkpoint.read_raw(name).map_err(reason)?;
        }
        Ok(())
    });
}

#[test]
fn safetensors_files() {
    checkpoints("safetensors", &seeds::safetensors());
}

#[test]
fn pytorch_archives() {
    checkpoints("zip.pth", &seeds::zips());
}

#[test]
fn pytorch_pickles() {
    checkpoints("legacy.pth", &seeds::legacy());
}

#[test]
fn numpy_arrays() {
    let folder = folder();
    let file = folder.path().join("damaged.npy");
    check("npy", &seeds::npy(), &file, || robustify_pictures::count(&file).map(drop).map_err(reason));
}

/// The pictures and the labels of a corrupted data set in arrays.
#[test]
fn arrays_of_pictures_and_labels() {
    let folder = folder();
    let file = folder.path().join("damaged.npy");
    check("npy-pictures", &seeds::npy(), &file, || {
        let pictures = npy::Pictures::open(&file).map_err(reason)?;
        pictures.get(pictures.len().saturating_sub(1)).map(drop).map_err(reason)
    });
    check("npy-labels", &seeds::npy(), &file, || npy::integers(&file).map(drop).map_err(reason));
}

/// What a variable unpacks to is limited by itself, and a number of a byte becomes one of eight.
#[test]
fn matlab_files() {
    let folder = folder();
    let file = folder.path().join("damaged.mat");
    check_beside("mat", &seeds::mat(), &file, || mat::read(&file).map(drop).map_err(reason), || 16 << 20);
}

#[test]
fn shards() {
    let folder = folder();
    let file = folder.path().join("damaged.tar");
    check("tar", &seeds::tar(), &file, || {
        let shards = Shards::open(&file, vec!["a".to_owned(), "b".to_owned()]).map_err(reason)?;
        (0..shards.len()).try_for_each(|index| shards.get(index).map(drop)).map_err(reason)
    });
}

#[test]
fn lists_of_images() {
    let folder = folder();
    let file = folder.path().join("damaged.csv");
    let seeds = [b"path,label\na/b.jpg,1\nc.png 0\n".to_vec(), b"\"a b.jpg\";cat\n".to_vec()];
    check("csv", &seeds, &file, || listed::pairs(&file).map(drop).map_err(reason));
}

#[test]
fn configurations() {
    let folder = folder();
    let file = folder.path().join("damaged.toml");
    check("toml", &seeds::toml(), &file, || {
        let read = settings::load::<Config>(&file, &[]).map(drop);
        read.or_else(|_| settings::load::<PretrainConfig>(&file, &[]).map(drop)).map_err(reason)
    });
}
