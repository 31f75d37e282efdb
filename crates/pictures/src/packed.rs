//! Many pictures in one file: arrays as CIFAR-10-C has them, or tar archives.
//!
//! The files of a folder are made of one list of pictures, so that a row is the same picture in all of them and in
//! `labels.npy`. Its digest is the `input` of their records.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, ensure};
use image::RgbImage;
use npyz::WriterBuilder;
use robustify_augment::Scratch;
use robustify_report::digest;
use robustify_watch::{Watch, shown};

use crate::manifest::{Manifest, Record, Records};
use crate::output::{Format, neighbour, not_ours, replace, sample};
use crate::run::{Options, each};
use crate::{Inputs, Variant};

const LABELS: &str = "labels.npy";

/// What a look at all pictures tells: which ones go into the files.
pub struct Census {
    /// Numbers of the usable pictures; the place in this list is the row.
    pub usable: Vec<usize>,
    /// Their SHA-256.
    sha256: Vec<String>,
    /// Width and height that all must have, for arrays.
    size: Option<(u32, u32)>,
}

impl Census {
    /// Reads all pictures, and names those that are not usable.
    ///
    /// # Errors
    /// If none is usable, or an array was asked for and they are not all of one size.
    pub fn take(inputs: &Inputs, options: &Options, watch: &dyn Watch) -> anyhow::Result<Self> {
        let look = |index: usize, _: &mut Scratch, _: &mut RgbImage| -> anyhow::Result<(String, (u32, u32))> {
            let raw = inputs.read(index)?;
            let sha256 = raw.sha256.clone();
            Ok((sha256, inputs.decode(index, raw, &options.preprocess)?.rgb.dimensions()))
        };
        let mut census = Self { usable: Vec::new(), sha256: Vec::new(), size: None };
        let mut progress = watch.progress("looking at pictures", inputs.len());
        each(inputs.len(), options.jobs, watch, look, |index, seen| {
            progress.set(index + 1, "");
            match seen {
                Ok((sha256, size)) => {
                    if options.format == Format::Npy {
                        let first = census.usable.first().map_or(index, |&first| first);
                        let names = [inputs.name(first), inputs.name(index)];
                        expect_one_size(names, [*census.size.get_or_insert(size), size])?;
                    }
                    census.usable.push(index);
                    census.sha256.push(sha256);
                }
                Err(error) if options.strict => return Err(error),
                Err(error) => watch.warn(&format!("{error:#}")),
            }
            Ok(())
        })?;
        progress.finish(&format!("{} usable", census.usable.len()));
        ensure!(!census.usable.is_empty(), "none of the {} pictures was usable", inputs.len());
        Ok(census)
    }

    /// Fails if a picture is another one now.
    pub fn check(&self, row: usize, name: &str, sha256: &str) -> anyhow::Result<()> {
        ensure!(self.sha256[row] == sha256, "{name}: was changed while the program ran; start again");
        Ok(())
    }
}

fn expect_one_size([first, name]: [String; 2], [expected, found]: [(u32, u32); 2]) -> anyhow::Result<()> {
    ensure!(
        found == expected,
        "{first} has {}x{} pixels, {name} has {}x{}; the pictures of an array must have one size, nothing was written: add \
         --preprocess 'resize(32)|center_crop(32)' or the like, or choose another --format",
        expected.0,
        expected.1,
        found.0,
        found.1
    );
    Ok(())
}

/// The number of every picture's class, if there are classes.
///
/// # Errors
/// If there are more than the labels of an array can tell apart.
pub fn labels(inputs: &Inputs, format: Format, watch: &dyn Watch) -> anyhow::Result<Option<Vec<usize>>> {
    let labels = match inputs.labels() {
        Ok(labels) => labels,
        Err(reason) => {
            let what = if format == Format::Npy { "labels.npy is not written" } else { "archives get no labels" };
            watch.warn(&format!("{what}: {reason}"));
            return Ok(None);
        }
    };
    let classes = labels.iter().max().map_or(0, |last| last + 1);
    ensure!(
        format != Format::Npy || classes <= 256,
        "{classes} classes do not fit CIFAR-10-C's labels, which are bytes; use --format png or tar"
    );
    Ok(Some(labels))
}

/// Arrays or archives that are being written.
pub struct Packed {
    pub census: Arc<Census>,
    /// The variants that are not there yet.
    pub wanted: Arc<[usize]>,
    /// By variant: its file and its part of it. None for what is done.
    places: Vec<Option<(usize, usize)>>,
    files: Vec<Pack>,
    /// By row.
    names: Vec<String>,
    labels: Option<Vec<usize>>,
    /// SHA-256 of the list of pictures.
    list: String,
    folder: PathBuf,
    format: Format,
    /// Variants that one file holds, one after the other.
    parts: usize,
}

/// One file, which is removed unless it is completed.
struct Pack {
    name: String,
    writer: Writer,
    unfinished: Unfinished,
}

/// The file under the name that it has until it is complete.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It is gone when the file was completed; what is left in spite of this, the next start removes.
        let _ = fs::remove_file(&self.0);
    }
}

enum Writer {
    Array { file: File, header: u64, row: u64 },
    Archive(Box<tar::Builder<BufWriter<File>>>),
}

impl Packed {
    /// Begins the files that are not there, or not of these pictures.
    ///
    /// # Errors
    /// If the folder would hold files of different lists of pictures, or somebody's own stand where these are to go.
    pub fn open(
        inputs: &Inputs,
        variants: &[Variant],
        labels: Option<Vec<usize>>,
        options: &Options,
        known: &Records,
        census: Census,
    ) -> anyhow::Result<Self> {
        let first: Vec<&Variant> = variants
            .iter()
            .filter(|kind| file_name(kind, options.format) == file_name(&variants[0], options.format))
            .collect();
        let mut packed = Self {
            wanted: Arc::default(),
            places: Vec::new(),
            files: Vec::new(),
            names: census.usable.iter().map(|&index| inputs.name(index)).collect(),
            labels: labels.map(|labels| census.usable.iter().map(|&index| labels[index]).collect()),
            list: String::new(),
            folder: options.folder.clone(),
            format: options.format,
            parts: first.len(),
            census: Arc::new(census),
        };
        packed.list = packed.digest(&first)?;
        packed.refuse_misfits(variants, known)?;
        packed.refuse_strangers(variants, known)?;
        packed.begin(variants, known)?;
        Ok(packed)
    }

    /// SHA-256 of everything that rows stand for, besides what was drawn.
    fn digest(&self, parts: &[&Variant]) -> anyhow::Result<String> {
        let parts: Vec<&str> = parts.iter().filter_map(|kind| kind.part.as_deref()).collect();
        let mut list = if self.format == Format::Npy { parts.join(",") + "\n" } else { String::new() };
        for (row, (name, sha256)) in self.names.iter().zip(&self.census.sha256).enumerate() {
            let label = self.labels.as_ref().map_or(String::new(), |labels| labels[row].to_string());
            writeln!(list, "{name} {sha256} {label}")?;
        }
        Ok(digest::of_bytes(list.as_bytes()))
    }

    /// Fails if files would stay that were made of another list.
    fn refuse_misfits(&self, variants: &[Variant], known: &Records) -> anyhow::Result<()> {
        let made: HashSet<String> = variants.iter().map(|kind| file_name(kind, self.format)).collect();
        let misfits: Vec<&str> = known
            .values()
            .filter(|record| !record.outputs.is_empty() && record.input != self.list)
            .map(|record| record.name.as_str())
            .filter(|&name| name != LABELS && !made.contains(name) && self.folder.join(name).exists())
            .collect();
        ensure!(
            misfits.is_empty(),
            "{}: {} {} made of other pictures, classes or severities than are asked for now, and would not fit the rest any \
             more; ask for {} too, remove {}, or choose another folder",
            shown(&self.folder),
            misfits.join(", "),
            if misfits.len() == 1 { "was" } else { "were" },
            if misfits.len() == 1 { "it" } else { "them" },
            if misfits.len() == 1 { "it" } else { "them" },
        );
        Ok(())
    }

    /// Begins every file that is not there.
    fn begin(&mut self, variants: &[Variant], known: &Records) -> anyhow::Result<()> {
        let mut seen: HashMap<String, (Option<usize>, usize)> = HashMap::new();
        for kind in variants {
            let name = file_name(kind, self.format);
            if !seen.contains_key(&name) {
                let done = self.is_done(&name, known);
                seen.insert(name.clone(), ((!done).then_some(self.files.len()), 0));
                if !done {
                    self.files.push(self.pack(name.clone())?);
                }
            }
            let place = seen.get_mut(&name).and_then(|(file, part)| {
                *part += 1;
                file.map(|file| (file, *part - 1))
            });
            self.places.push(place);
        }
        self.wanted = (0..variants.len()).filter(|&variant| self.places[variant].is_some()).collect();
        Ok(())
    }

    fn is_done(&self, name: &str, known: &Records) -> bool {
        let recorded = known.get(name).filter(|record| record.input == self.list);
        let Some(recorded) = recorded.and_then(|record| record.outputs.get(name)) else { return false };
        digest::of_file(&self.folder.join(name)).is_ok_and(|found| found == *recorded)
    }

    fn pack(&self, name: String) -> anyhow::Result<Pack> {
        let path = neighbour(&self.folder.join(&name));
        let unfinished = Unfinished(path.clone());
        let begin = || -> anyhow::Result<Writer> {
            let mut file = File::create(&path)?;
            let Some((width, height)) = self.census.size else {
                return Ok(Writer::Archive(Box::new(tar::Builder::new(BufWriter::new(file)))));
            };
            let rows = (self.parts * self.names.len()) as u64;
            write_header(&file, &[rows, u64::from(height), u64::from(width), 3])?;
            let header = file.stream_position()?;
            Ok(Writer::Array { file, header, row: u64::from(width) * u64::from(height) * 3 })
        };
        let writer = begin().with_context(|| format!("{}: cannot be written", shown(&path)))?;
        Ok(Pack { name, writer, unfinished })
    }

    /// What a stop leaves unfinished, as a sentence.
    pub fn unfinished(&self) -> String {
        let first = self.files.first().map_or("", |file| &file.name);
        let more = match self.files.len() {
            0 | 1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        format!(
            "{first}{more} begin anew, since a file of all pictures is kept only when it is complete (fewer at a time lose \
             less); earlier ones stay"
        )
    }

    /// Writes a result to its place.
    pub fn write(&mut self, row: usize, variant: usize, bytes: &[u8]) -> anyhow::Result<()> {
        let Some((file, part)) = self.places[variant] else { return Ok(()) };
        let pack = &mut self.files[file];
        let written = match &mut pack.writer {
            Writer::Array { file, header, row: size } => {
                let start = *header + (part * self.names.len() + row) as u64 * *size;
                file.seek(SeekFrom::Start(start)).and_then(|_| file.write_all(bytes))
            }
            Writer::Archive(archive) => {
                let name = &self.names[row];
                append(archive, &sample(name, "png"), bytes).and_then(|()| match &self.labels {
                    Some(labels) => append(archive, &sample(name, "cls"), labels[row].to_string().as_bytes()),
                    None => Ok(()),
                })
            }
        };
        written.with_context(|| format!("{}: cannot be written", shown(&self.folder.join(&pack.name))))
    }

    /// Completes the files. Each is recorded before it gets its name: what has a name and no record is always somebody else's,
    /// and what a kill left with a record and no name, or with other bytes, is made again.
    pub fn finish(&mut self, manifest: &mut Manifest) -> anyhow::Result<()> {
        for Pack { name, writer, unfinished } in std::mem::take(&mut self.files) {
            let path = self.folder.join(&name);
            let closed = match writer {
                Writer::Array { mut file, .. } => file.flush(),
                Writer::Archive(archive) => archive.into_inner().and_then(|mut file| file.flush()),
            };
            let failed = || format!("{}: cannot be written", shown(&path));
            let sha256 = closed.and_then(|()| digest::of_file(&unfinished.0)).with_context(failed)?;
            manifest.add(self.record(&name, sha256))?;
            fs::rename(&unfinished.0, &path).with_context(failed)?;
        }
        let (path, known) = (self.folder.join(LABELS), manifest.known());
        match &self.labels {
            Some(labels) if self.format == Format::Npy && !self.is_done(LABELS, &known) => {
                let bytes = labels_file(labels, self.parts)?;
                manifest.add(self.record(LABELS, digest::of_bytes(&bytes)))?;
                replace(&path, &bytes)?;
            }
            None if known.contains_key(LABELS) && path.exists() => {
                fs::remove_file(&path).with_context(|| format!("{}: cannot be removed", shown(&path)))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn record(&self, name: &str, sha256: String) -> Record {
        let outputs = BTreeMap::from([(name.to_owned(), sha256)]);
        Record { name: name.to_owned(), input: self.list.clone(), outputs, ..Record::default() }
    }

    /// Fails if a file that is somebody's own stands where one of these is to go.
    fn refuse_strangers(&self, variants: &[Variant], known: &Records) -> anyhow::Result<()> {
        let names =
            |record: &Record, name: &String| record.outputs.contains_key(name) || record.outdated.contains(name);
        let mut files = files(variants, self.format);
        if self.labels.is_none() {
            files.remove(LABELS);
        }
        for name in files {
            let path = self.folder.join(&name);
            ensure!(!path.exists() || known.values().any(|record| names(record, &name)), not_ours(&path, &self.folder));
        }
        Ok(())
    }

    /// Tells the records of these files and their pictures from others.
    pub fn is_present(&self) -> impl Fn(&Record) -> bool {
        let names: HashSet<&str> = self.names.iter().map(String::as_str).collect();
        move |record| match record.outputs.is_empty() {
            true => names.contains(record.name.as_str()),
            false => record.input == self.list,
        }
    }
}

/// The files that hold these variants, and what may be beside them.
pub fn files(variants: &[Variant], format: Format) -> BTreeSet<String> {
    let labels = (format == Format::Npy).then(|| LABELS.to_owned());
    variants.iter().map(|kind| file_name(kind, format)).chain(labels).collect()
}

/// The file of a variant.
fn file_name(kind: &Variant, format: Format) -> String {
    let group = if kind.group.is_empty() { "images" } else { &kind.group };
    match (&kind.part, format) {
        (Some(part), Format::Tar) => format!("{group}-{part}.tar"),
        (None, Format::Tar) => format!("{group}.tar"),
        _ => format!("{group}.npy"),
    }
}

fn write_header(file: impl Write, shape: &[u64]) -> anyhow::Result<()> {
    let kind = npyz::DType::Plain("|u1".parse().context("the type of bytes")?);
    npyz::WriteOptions::new_header_only().dtype(kind).shape(shape).writer(file).write_header_only()?;
    Ok(())
}

/// A file of the labels, once for every part of an array, as bytes.
fn labels_file(labels: &[usize], parts: usize) -> anyhow::Result<Vec<u8>> {
    let bytes: Vec<u8> = labels.iter().map(|&label| u8::try_from(label)).collect::<Result<_, _>>()?;
    let mut file = Vec::new();
    write_header(&mut file, &[(parts * bytes.len()) as u64])?;
    file.extend(bytes.repeat(parts));
    Ok(file)
}

/// A member without owner and date, so that equal pictures give equal archives.
fn append(archive: &mut tar::Builder<BufWriter<File>>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, bytes)
}
