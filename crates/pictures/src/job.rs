//! What corrupting and augmenting share: which pictures are read, and where their results go.

use std::num::NonZeroUsize;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail, ensure};
use image::RgbImage;
use robustify_augment::Scratch;
use robustify_data::place::what_is;
use robustify_data::{Normalize, Preprocess};
use robustify_report::expect_folder_of;
use robustify_watch::{Watch, shown};

use crate::output::{Format, check_names, encode, replace};
use crate::picture::png;
use crate::run::{Options, run};
use crate::{Ended, Inputs, Work, sheet};

/// Extensions that OUTPUT cannot have, since it would be taken for a file and become a folder.
const NO_FOLDERS: [&str; 14] =
    ["webp", "gif", "bmp", "tif", "tiff", "avif", "jxl", "npy", "npz", "tar", "gz", "tgz", "zip", "jsonl"];

/// Which pictures are read, and how and where their results are written.
#[derive(Clone, Debug)]
pub struct Files {
    /// A JPEG, PNG or WebP file; a folder tree of them; or a `.npy` array of bytes, pictures x height x width x 3.
    pub input: PathBuf,
    /// A folder; or, for one picture and one result, a `.png`, `.jpg` or `.jpeg` file.
    pub output: PathBuf,
    /// Seed of all random draws.
    pub seed: u64,
    /// Form of the results. None: as the name of `output` says, else PNG.
    pub format: Option<Format>,
    /// What is done to every picture first, in the notation of [`Preprocess`]; empty for nothing.
    pub preprocess: String,
    /// Pictures worked on at a time; results do not depend on it. None: all cores.
    pub jobs: Option<NonZeroUsize>,
    /// Where to draw the first picture with everything that can happen to it, as one PNG file.
    pub sheet: Option<PathBuf>,
    /// Whether results, listed in the output's manifest, are deleted whose picture is gone or was another one.
    pub prune: bool,
    /// Whether an unusable picture, or a file that is passed over, is an error.
    pub strict: bool,
    /// Whether `output`, if it is one file, and the sheet may take the place of files that hold something else.
    pub force: bool,
}

impl Files {
    /// PNG files of every picture, with seed 0.
    pub fn new(input: impl Into<PathBuf>, output: impl Into<PathBuf>) -> Self {
        Self {
            input: input.into(),
            output: output.into(),
            seed: 0,
            format: None,
            preprocess: String::new(),
            jobs: None,
            sheet: None,
            prune: false,
            strict: false,
            force: false,
        }
    }
}

/// Pictures, and where their results go: everything about them is checked when it is opened, before any work.
pub(crate) struct Job<'a> {
    options: &'a Files,
    pub inputs: Inputs,
    pub preprocess: Preprocess,
    /// The form of results in a folder.
    format: Format,
    /// The format of the file that OUTPUT names, if it names one.
    single: Option<Format>,
}

impl<'a> Job<'a> {
    /// Finds the pictures.
    ///
    /// # Errors
    /// If there are none, or the places that are named do not fit together.
    pub fn open(options: &'a Files) -> anyhow::Result<Self> {
        let preprocess: Preprocess = options.preprocess.parse().context("--preprocess")?;
        ensure!(
            preprocess.normalization() == Normalize::NONE,
            "--preprocess {preprocess}: results are pictures, whose levels normalize(…) leaves as they are; leave it out"
        );
        let single = single(options)?;
        let inputs = Inputs::open(&options.input)?;
        let format = options.format.unwrap_or(Format::Png);
        let job = Self { options, inputs, preprocess, format, single };
        if options.input.is_dir() {
            job.outside(&options.output)?;
        }
        if single.is_none() && format != Format::Npy {
            check_names(&job.inputs, format)?;
        }
        if let Some(sheet) = &options.sheet {
            job.check_sheet(sheet)?;
        }
        Ok(job)
    }

    /// Fails for a place inside INPUT.
    fn outside(&self, path: &Path) -> anyhow::Result<()> {
        ensure!(
            !resolved(path).starts_with(resolved(&self.options.input)),
            "{}: is INPUT or lies inside it, so that the next run would read results as pictures; choose another place",
            shown(path)
        );
        Ok(())
    }

    fn check_sheet(&self, path: &Path) -> anyhow::Result<()> {
        let context = || format!("--sheet {}", shown(path));
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        ensure!(extension == "png", "{}: the sheet is a PNG file, and is to be named so", context());
        ensure!(!path.is_dir(), "{}: is a folder; name a file", context());
        expect_folder_of(path).with_context(context)?;
        self.outside(path).with_context(context)?;
        ensure!(
            !resolved(path).starts_with(resolved(&self.options.output)),
            "{}: is OUTPUT or lies inside it, where it might take the place of a result; name a file elsewhere",
            context()
        );
        Ok(())
    }

    /// A file beside OUTPUT, whose name begins as OUTPUT's, in a folder that is made.
    pub fn beside(&self, name: &str) -> anyhow::Result<PathBuf> {
        let output = resolved(&self.options.output);
        let file = output.file_name().with_context(|| format!("{}: nothing lies beside it", shown(&output)))?;
        let folder = output.parent().unwrap_or(&output);
        std::fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made a folder", shown(folder)))?;
        Ok(folder.join(format!("{}.{name}", file.to_string_lossy())))
    }

    /// The first usable picture and its name, for a sheet.
    pub fn first(&self) -> anyhow::Result<(String, RgbImage)> {
        let decode = |index| self.inputs.decode(index, self.inputs.read(index)?, &self.preprocess);
        let mut error = None;
        for index in 0..self.inputs.len() {
            match decode(index) {
                Ok(picture) => return Ok((self.inputs.name(index), picture.rgb)),
                Err(found) => error = error.or(Some(found)),
            }
        }
        Err(error.context("there are no pictures")?.context("no picture is usable"))
    }

    /// Does the work: into a folder, or into one file.
    pub fn execute(&self, work: &dyn Work, watch: &dyn Watch) -> anyhow::Result<()> {
        let (options, inputs) = (self.options, &self.inputs);
        if let Some(format) = self.single {
            return self.one(work, format);
        }
        self.check_folders(work)?;
        let settings = Options {
            folder: options.output.clone(),
            format: self.format,
            preprocess: self.preprocess.clone(),
            jobs: options.jobs,
            strict: options.strict,
            prune: options.prune,
        };
        let summary = run(inputs, work, &settings, watch)?;
        let there = if summary.kept > 0 { format!(", {} were there", summary.kept) } else { String::new() };
        let manifest = options.output.join("manifest.jsonl");
        watch.say(&format!("{} results made{there}; {}", summary.made, shown(&manifest)));
        match summary.outdated {
            0 => {}
            count if options.prune => {
                watch.say(&format!("{} deleted, whose picture is gone or was another", plural(count, "result")));
            }
            count => watch.warn(&format!(
                "{} holds {} of pictures that INPUT does not hold, or holds changed; --prune deletes them",
                shown(&options.output),
                plural(count, "result")
            )),
        }
        ensure!(summary.unusable < summary.pictures, "none of the {} pictures was usable", summary.pictures);
        let mut left_out = Vec::new();
        if summary.unusable > 0 {
            left_out.push(format!("{} of {} were unusable", summary.unusable, plural(summary.pictures, "picture")));
        }
        if !inputs.unlisted.is_empty() {
            left_out.push(format!("{} could not be listed", plural(inputs.unlisted.len(), "folder")));
        }
        if left_out.is_empty() {
            return Ok(());
        }
        let text = format!("{}; they are named above and left out, all others are done", left_out.join(" and "));
        Err(Ended::Partial(text).into())
    }

    /// Fails if results would be read as pictures by the next run, or might take the place of INPUT.
    fn check_folders(&self, work: &dyn Work) -> anyhow::Result<()> {
        let options = self.options;
        for variant in work.variants() {
            let folder =
                if self.format.is_tree() { options.output.join(variant.folder()) } else { options.output.clone() };
            if options.input.is_dir() {
                self.outside(&folder)?;
                continue;
            }
            ensure!(
                resolved(&options.input).parent() != Some(&resolved(&folder)),
                "{}: INPUT lies there, and a result might take its place; choose another folder",
                shown(&folder)
            );
        }
        Ok(())
    }

    fn one(&self, work: &dyn Work, format: Format) -> anyhow::Result<()> {
        let (options, inputs) = (self.options, &self.inputs);
        ensure!(
            inputs.len() == 1 && work.variants().len() == 1,
            "{}: OUTPUT is one picture, and {} x {} are to be made; name a folder, or one corruption and one severity",
            shown(&options.output),
            inputs.len(),
            work.variants().len()
        );
        ensure!(
            resolved(&options.output) != resolved(&options.input),
            "{}: OUTPUT is INPUT, which would be lost; name another file",
            shown(&options.output)
        );
        ensure!(!options.prune, "--prune: OUTPUT is one picture; it is for folders");
        let picture = inputs.decode(0, inputs.read(0)?, &self.preprocess)?;
        let mut out = RgbImage::new(0, 0);
        work.make(&picture.rgb, &inputs.name(0), 0, &mut Scratch::new(), &mut out)?;
        self.put(&options.output, &encode(format, &out, picture.alpha.as_ref())?)
    }

    /// Draws and writes a sheet.
    pub fn save_sheet(&self, path: &Path, columns: &[String], rows: &[(String, Vec<RgbImage>)]) -> anyhow::Result<()> {
        self.put(path, &png(&sheet::draw(columns, rows)?, None)?).context("--sheet")
    }

    /// Writes a file, but over none that holds something else unless that is wanted: no manifest says whose it is.
    fn put(&self, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
        if path.exists() {
            ensure!(path.is_file(), "{}: {}; name another file", shown(path), what_is(path));
            if std::fs::read(path).is_ok_and(|found| found == bytes) {
                return Ok(());
            }
            ensure!(
                self.options.force,
                "{}: is there already, and holds something else; name another file, or replace it with --force",
                shown(path)
            );
        }
        replace(path, bytes)
    }
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The path without links, `.` and `..`, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    // Behind a `.`, since the empty path stands for the working folder too.
    let path = std::path::absolute(Path::new(".").join(path)).unwrap_or_else(|_| path.to_owned());
    let mut known = PathBuf::new();
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
fn single(options: &Files) -> anyhow::Result<Option<Format>> {
    if options.output.is_dir() {
        return Ok(None);
    }
    let extension = options.output.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    ensure!(
        !NO_FOLDERS.contains(&extension.as_str()),
        "{}: OUTPUT is a folder, or one .png or .jpg file; arrays and archives go into a folder with --format npy or tar",
        shown(&options.output)
    );
    let format = match extension.as_str() {
        "png" => Format::Png,
        "jpg" | "jpeg" => Format::Jpeg85,
        _ => return Ok(None),
    };
    if let Some(given) = options.format.filter(|given| *given != format) {
        bail!(
            "{}: OUTPUT is named as a picture of --format {}, and --format {} was given; leave the option out, name OUTPUT \
             otherwise, or name a folder",
            shown(&options.output),
            format.name(),
            given.name()
        );
    }
    Ok(Some(format))
}
