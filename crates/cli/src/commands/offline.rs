//! What `corrupt` and `augment` share.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, ensure};
use image::RgbImage;
use robustify_augment::Scratch;
use robustify_data::Preprocess;
use robustify_report::write_atomic;

use crate::args::Offline;
use crate::console::{Console, Interrupt};
use crate::offline::{Format, Inputs, Options, Work, check_names, encode, png, replace, run, sheet};

/// Does the work on the input: into a folder, or into one file.
pub fn execute(
    inputs: &Inputs,
    work: &dyn Work,
    options: &Offline,
    console: &Console,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let preprocess: Preprocess = options.preprocess.parse()?;
    if let Some(format) = single(options)? {
        return one(inputs, work, options, format, &preprocess);
    }
    if options.input.is_dir() {
        let input = resolved(&options.input);
        let folders = work.variants().iter().map(|variant| options.output.join(variant.folder()));
        for folder in folders.chain([options.output.clone()]) {
            ensure!(
                !resolved(&folder).starts_with(&input),
                "{}: lies inside INPUT, so that the next run would read results as pictures; choose another folder",
                folder.display()
            );
        }
    }
    check_names(inputs)?;
    let folder = options.output.clone();
    let settings = Options { folder, format: options.format, preprocess, jobs: options.jobs, strict: options.strict };
    let summary = run(inputs, work, &settings, console, interrupt)?;
    let there = if summary.kept > 0 { format!(", {} were there", summary.kept) } else { String::new() };
    console.say(&format!("{} results made{there}; {}", summary.made, options.output.join("manifest.jsonl").display()));
    if summary.unusable > 0 {
        console.warn(&format!("{} of {} pictures were unusable and are left out", summary.unusable, summary.pictures));
    }
    ensure!(summary.unusable < summary.pictures, "none of the {} pictures was usable", summary.pictures);
    Ok(())
}

/// The path without links, `.` and `..`, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let mut known = std::env::current_dir().unwrap_or_default();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                known.pop();
            }
            Component::CurDir => {}
            part => known.push(part),
        }
        if let Ok(real) = known.canonicalize() {
            known = real;
        }
    }
    known
}

/// The format of the file that OUTPUT names, if it names one.
fn single(options: &Offline) -> anyhow::Result<Option<Format>> {
    if options.output.is_dir() {
        return Ok(None);
    }
    let extension = options.output.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let format = match extension.as_str() {
        "png" => Format::Png,
        "jpg" | "jpeg" => Format::Jpeg85,
        _ => return Ok(None),
    };
    ensure!(
        options.format == Format::Png || options.format == format,
        "{}: OUTPUT is one picture, and --format {} makes others; name a folder",
        options.output.display(),
        options.format.name()
    );
    Ok(Some(format))
}

fn one(
    inputs: &Inputs,
    work: &dyn Work,
    options: &Offline,
    format: Format,
    preprocess: &Preprocess,
) -> anyhow::Result<()> {
    ensure!(
        inputs.len() == 1 && work.variants().len() == 1,
        "{}: OUTPUT is one picture, and {} x {} are to be made; name a folder, or one corruption and one severity",
        options.output.display(),
        inputs.len(),
        work.variants().len()
    );
    ensure!(
        resolved(&options.output) != resolved(&options.input),
        "{}: OUTPUT is INPUT, which would be lost; name another file",
        options.output.display()
    );
    let picture = inputs.decode(0, inputs.read(0)?, preprocess)?;
    let mut out = RgbImage::new(0, 0);
    work.make(&picture.rgb, &inputs.name(0), 0, &mut Scratch::new(), &mut out)?;
    replace(&options.output, &encode(format, &out, picture.alpha.as_ref())?)
}

/// The first picture, for a sheet.
pub fn first(inputs: &Inputs, options: &Offline) -> anyhow::Result<(String, RgbImage)> {
    let picture = inputs.decode(0, inputs.read(0)?, &options.preprocess.parse()?)?;
    Ok((inputs.name(0), picture.rgb))
}

/// Draws and writes a sheet.
pub fn save_sheet(path: &Path, columns: &[String], rows: &[(String, Vec<RgbImage>)]) -> anyhow::Result<()> {
    let bytes = png(&sheet::draw(columns, rows)?, None)?;
    write_atomic(path, &bytes).with_context(|| "--sheet".to_owned())?;
    Ok(())
}
