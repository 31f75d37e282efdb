//! Where results go: a tree of pictures as ImageNet-C has it, or packed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use image::{GrayImage, RgbImage};
use robustify_augment::{Scratch, encode_jpeg};
use robustify_data::Preprocess;
use robustify_report::digest;
use robustify_watch::{Watch, shown};

use crate::manifest::{Manifest, Record, Records};
use crate::packed::{self, Census, Packed};
use crate::picture::png;
use crate::run::Options;
use crate::{Inputs, Variant, Work};

/// The form of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A tree of PNG files: nothing is lost. Transparency is kept as it was, if no step of --preprocess is given.
    Png,
    /// A tree of JPEG files of quality 85 with the extension JPEG, as ImageNet-C was published; RGB.
    Jpeg85,
    /// One array a corruption, severities one after the other, or a view, with the classes in labels.npy, as CIFAR-10-C was
    /// published; RGB.
    Npy,
    /// One archive of PNG files a corruption and severity, or a view, in the order of their names, each with a .cls file of its class
    /// (WebDataset).
    Tar,
}

impl Format {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg85 => "jpeg85",
            Self::Npy => "npy",
            Self::Tar => "tar",
        }
    }

    /// Whether results are a tree of files, one each.
    pub fn is_tree(self) -> bool {
        matches!(self, Self::Png | Self::Jpeg85)
    }

    /// The extension of the pictures in a tree or an archive.
    fn extension(self) -> &'static str {
        if self == Self::Jpeg85 { "JPEG" } else { "png" }
    }
}

/// A file of the given format. Alpha is kept in PNG only.
pub fn encode(format: Format, rgb: &RgbImage, alpha: Option<&GrayImage>) -> anyhow::Result<Vec<u8>> {
    if format == Format::Jpeg85 {
        return encode_jpeg(rgb, 85)
            .with_context(|| format!("{}x{} pixels do not fit JPEG", rgb.width(), rgb.height()));
    }
    png(rgb, alpha)
}

/// Replaces a file at once, so that a kill leaves the old one or the new one. Nothing is forced to the disk: after a power
/// cut, the checksum in the manifest tells which files to make again.
pub fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let neighbour = neighbour(path);
    let written = fs::write(&neighbour, bytes).and_then(|()| fs::rename(&neighbour, path));
    written.map_err(|error| {
        // What went wrong first is what the caller should hear of.
        let _ = fs::remove_file(&neighbour);
        NotWritten(format!("{}: cannot be written: {error}", shown(path))).into()
    })
}

/// A result that cannot be written: no fault of the picture, and the end of the run.
#[derive(Debug)]
pub struct NotWritten(String);

impl std::fmt::Display for NotWritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotWritten {}

/// Bytes that a name may have for `.NAME.tmp` to be one as well.
const LONGEST: usize = 255 - ".".len() - ".tmp".len();

/// The name under which a file is written before it is complete; the next start writes over it. It is no longer than a name may be.
pub fn neighbour(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.len() > LONGEST {
        true => path.with_file_name(format!(".{}.tmp", digest::of_bytes(name.as_bytes()))),
        false => path.with_file_name(format!(".{name}.tmp")),
    }
}

/// The results of one picture.
pub struct Made {
    row: usize,
    record: Record,
    /// What goes into arrays or archives, by variant.
    packed: Vec<(usize, Vec<u8>)>,
    /// How many were made, and how many were there.
    pub made: usize,
    pub kept: usize,
    /// Why nothing was made, of a picture that was usable before.
    pub fault: Option<anyhow::Error>,
}

/// Results on their way to the disk.
pub struct Output {
    folder: PathBuf,
    format: Format,
    manifest: Manifest,
    packed: Option<Packed>,
}

impl Output {
    /// Opens the folder, and finds out what is done.
    pub fn open(
        settings: serde_json::Value,
        inputs: &Inputs,
        work: &dyn Work,
        options: &Options,
        watch: &dyn Watch,
    ) -> anyhow::Result<Self> {
        let (folder, format) = (options.folder.clone(), options.format);
        if !Manifest::exists(&folder) {
            expect_no_results(&folder, format, inputs, work)?;
        }
        if format.is_tree() {
            return Ok(Self { manifest: Manifest::open(&folder, settings)?, folder, format, packed: None });
        }
        let labels = packed::labels(inputs, format, watch)?;
        // A folder is made when it is known that something comes into it; one that is there is kept from others first.
        let open = || Manifest::open(&folder, settings.clone());
        let there = Manifest::exists(&folder).then(open).transpose()?;
        let census = Census::take(inputs, options, watch)?;
        let manifest = there.map_or_else(open, Ok)?;
        let packed = Packed::open(inputs, work.variants(), labels, options, &manifest.known(), census)?;
        Ok(Self { folder, format, manifest, packed: Some(packed) })
    }

    /// Numbers of the pictures to work on.
    pub fn pictures(&self, inputs: &Inputs) -> Vec<usize> {
        match &self.packed {
            Some(packed) => packed.census.usable.clone(),
            None => (0..inputs.len()).collect(),
        }
    }

    /// Whether a look at the pictures showed that nothing is to be done.
    pub fn is_complete(&self) -> bool {
        self.packed.as_ref().is_some_and(|packed| packed.wanted.is_empty())
    }

    /// Whether results go into files with all pictures.
    pub fn is_packed(&self) -> bool {
        self.packed.is_some()
    }

    /// What the worker threads need.
    pub fn maker(&self) -> Maker {
        Maker {
            folder: self.folder.clone(),
            format: self.format,
            known: self.manifest.known(),
            packed: self.packed.as_ref().map(|packed| (Arc::clone(&packed.census), Arc::clone(&packed.wanted))),
        }
    }

    /// Keeps the results of a picture. Pictures come in order.
    pub fn take(&mut self, made: Made) -> anyhow::Result<()> {
        if let Some(packed) = &mut self.packed {
            for (variant, bytes) in &made.packed {
                packed.write(made.row, *variant, bytes)?;
            }
        }
        self.manifest.add(made.record)
    }

    /// What becomes of the work when it is stopped now.
    pub fn stopped(&self) -> String {
        match &self.packed {
            Some(packed) => format!("interrupted; {}", packed.unfinished()),
            None => "interrupted; what is made stays, and the same command goes on from there".to_owned(),
        }
    }

    /// Completes arrays, archives and the manifest. Returns the number of results, there before and with `prune` deleted,
    /// whose picture is gone or was another one.
    pub fn finish(self, inputs: &Inputs, prune: bool) -> anyhow::Result<usize> {
        let Self { mut manifest, packed, .. } = self;
        let Some(mut packed) = packed else {
            return manifest.finish(prune, |record| inputs.contains(&record.name));
        };
        packed.finish(&mut manifest)?;
        manifest.finish(prune, packed.is_present())
    }
}

/// Makes the results of a picture, on any thread.
pub struct Maker {
    folder: PathBuf,
    format: Format,
    known: Arc<Records>,
    /// For arrays and archives, the pictures and the variants that go into them.
    packed: Option<(Arc<Census>, Arc<[usize]>)>,
}

impl Maker {
    /// Reads the picture of number `index`, which is the `row`th to be worked on, and makes what is not there yet.
    pub fn make(
        &self,
        (row, index): (usize, usize),
        inputs: &Inputs,
        work: &dyn Work,
        preprocess: &Preprocess,
        scratch: &mut Scratch,
        buffer: &mut RgbImage,
    ) -> anyhow::Result<Made> {
        let name = inputs.name(index);
        let raw = inputs.read(index)?;
        let wanted: Vec<usize> = match &self.packed {
            Some((census, wanted)) => {
                census.check(row, &name, &raw.sha256)?;
                wanted.to_vec()
            }
            None => {
                let is_done =
                    |kind: &Variant| self.is_done(&name, &raw.sha256, &result(&name, &kind.folder(), self.format));
                let variants = work.variants().iter().enumerate();
                variants.filter(|(_, kind)| !is_done(kind)).map(|(variant, _)| variant).collect()
            }
        };
        let record = Record { name: name.clone(), input: raw.sha256.clone(), ..Record::default() };
        let kept = work.variants().len() - wanted.len();
        let mut made = Made { row, record, packed: Vec::new(), made: wanted.len(), kept, fault: None };
        if wanted.is_empty() {
            return Ok(made);
        }
        let picture = match inputs.decode(index, raw, preprocess) {
            Ok(picture) => picture,
            // What was made of the picture before it broke is outdated.
            Err(fault) if self.packed.is_none() && self.known.contains_key(&name) => {
                return Ok(Made { made: 0, kept: 0, fault: Some(fault), ..made });
            }
            Err(fault) => return Err(fault),
        };
        for variant in wanted {
            work.make(&picture.rgb, &name, variant, scratch, buffer)?;
            let relative = result(&name, &work.variants()[variant].folder(), self.format);
            if let Some(drawn) = work.describe(&name, variant) {
                made.record.drawn.insert(relative.clone(), drawn);
            }
            if self.format == Format::Npy {
                made.packed.push((variant, buffer.as_raw().clone()));
                continue;
            }
            let bytes = encode(self.format, buffer, picture.alpha.as_ref())?;
            if self.packed.is_some() {
                made.packed.push((variant, bytes));
                continue;
            }
            let path = self.folder.join(&relative);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)
                    .map_err(|error| NotWritten(format!("{}: cannot be made: {error}", shown(parent))))?;
            }
            self.expect_ours(&name, &relative, &bytes)?;
            replace(&path, &bytes)?;
            made.record.outputs.insert(relative, digest::of_bytes(&bytes));
        }
        Ok(made)
    }

    /// Fails if a file that is somebody's own stands where a result is to go. After a kill a result may be there that no record
    /// names: it has the same bytes.
    fn expect_ours(&self, name: &str, relative: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.folder.join(relative);
        let names = |record: &Record| record.outputs.contains_key(relative) || record.outdated.contains(relative);
        let is_ours = || self.known.get(name).is_some_and(names) || self.known.values().any(names);
        if !path.exists() || is_ours() || fs::read(&path).is_ok_and(|found| found == bytes) {
            return Ok(());
        }
        Err(NotWritten(not_ours(&path, &self.folder)).into())
    }

    fn is_done(&self, name: &str, input: &str, relative: &str) -> bool {
        let record = self.known.get(name).filter(|record| record.input == input);
        let Some(recorded) = record.and_then(|record| record.outputs.get(relative)) else { return false };
        digest::of_file(&self.folder.join(relative)).is_ok_and(|found| found == *recorded)
    }
}

/// Fails if a file stands where a result would go, in a folder that has no results yet: it is somebody's own.
fn expect_no_results(folder: &Path, format: Format, inputs: &Inputs, work: &dyn Work) -> anyhow::Result<()> {
    let expect_none = |name: String| {
        let path = folder.join(name);
        ensure!(!path.exists(), not_ours(&path, folder));
        Ok(())
    };
    if !format.is_tree() {
        return packed::files(work.variants(), format).into_iter().try_for_each(expect_none);
    }
    let of_picture = |index| {
        let name = inputs.name(index);
        work.variants().iter().map(move |variant| result(&name, &variant.folder(), format))
    };
    (0..inputs.len()).flat_map(of_picture).try_for_each(expect_none)
}

pub fn not_ours(path: &Path, folder: &Path) -> String {
    format!(
        "{}: is there already and was not made by this program; remove it, or choose another folder than {}",
        shown(path),
        shown(folder)
    )
}

/// The path of a result below the folder of all results.
fn result(name: &str, folder: &str, format: Format) -> String {
    let file = member(name, format.extension());
    if folder.is_empty() { file } else { format!("{folder}/{file}") }
}

/// The name of a picture with another extension.
pub fn member(name: &str, extension: &str) -> String {
    format!("{}.{extension}", stem(name))
}

/// The name of a picture without its extension.
fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, ending)) if !ending.contains('/') => stem,
        _ => name,
    }
}

/// The name of a picture in an archive. WebDataset takes what follows the first dot of a file's name for its extension, and
/// files that agree before it for one sample, so other dots become `_`.
pub fn sample(name: &str, extension: &str) -> String {
    let stem = stem(name);
    let (folder, file) = stem.split_at(stem.rfind('/').map_or(0, |slash| slash + 1));
    format!("{folder}{}.{extension}", file.replace('.', "_"))
}

/// Fails when pictures would be written to one file; names them all.
pub fn check_names(inputs: &Inputs, format: Format) -> anyhow::Result<()> {
    let of = if format == Format::Tar { sample } else { member };
    let mut by_result: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for index in 0..inputs.len() {
        let name = inputs.name(index);
        by_result.entry(of(&name, "png")).or_default().push(name);
    }
    let clashes: Vec<String> =
        by_result.values().filter(|names| names.len() > 1).map(|names| format!("\n  {}", names.join(", "))).collect();
    ensure!(
        clashes.is_empty(),
        "the results of these pictures would have one name; rename or remove all but one of each line, or use --format npy:{}",
        clashes.concat()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_as_long_as_a_name_may_be_has_a_neighbour() {
        assert_eq!(neighbour(Path::new("a/b.png")), Path::new("a/.b.png.tmp"));
        for length in 248..=255 {
            let name = "x".repeat(length - 4) + ".png";
            let beside = neighbour(Path::new(&name));
            assert!(beside.as_os_str().len() <= 255 && beside != neighbour(Path::new(&format!("y{}", &name[1..]))));
        }
    }
}
