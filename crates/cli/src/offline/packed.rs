//! Many pictures in one file: arrays as CIFAR-10-C has them, or tar archives.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use image::RgbImage;
use npyz::WriterBuilder;
use robustify_augment::Scratch;

use super::manifest::{Known, Record};
use super::output::{Format, member, neighbour, replace};
use super::run::{Options, each};
use super::{Inputs, Variant};
use crate::console::Interrupt;
use crate::digest;

/// What the worker threads need to know.
#[derive(Clone)]
pub struct Plan {
    /// By variant: whether its file is there.
    done: Arc<Vec<bool>>,
    /// Width and height that all pictures must have, for arrays.
    size: Option<(u32, u32)>,
}

impl Plan {
    /// Whether a variant is in a finished file.
    pub fn is_done(&self, variant: usize) -> bool {
        self.done[variant]
    }

    /// Fails for a picture that does not fit into the array.
    pub fn check(&self, name: &str, found: (u32, u32)) -> anyhow::Result<()> {
        let Some(size) = self.size else { return Ok(()) };
        ensure!(
            size == found,
            "{name}: has {}x{} pixels, the first picture has {}x{}; the pictures of an array must have one size: add \
             --preprocess 'resize(32)|center_crop(32)' or the like",
            found.0,
            found.1,
            size.0,
            size.1
        );
        Ok(())
    }
}

/// Arrays or archives that are being written.
pub struct Packed {
    plan: Plan,
    /// By variant: its file and its part of it. None for what is done.
    places: Vec<Option<(usize, usize)>>,
    files: Vec<Pack>,
    /// By picture: its row among the usable ones.
    rows: Vec<Option<usize>>,
    names: Vec<String>,
    labels: Option<Vec<usize>>,
    /// SHA-256 of the list of pictures.
    list: String,
    labels_file: Option<PathBuf>,
    /// Variants of a group, which an array holds one after the other.
    parts: usize,
}

/// One file.
struct Pack {
    path: PathBuf,
    name: String,
    writer: Writer,
}

enum Writer {
    Array { file: File, header: u64, row: u64, rows: u64 },
    Archive(Box<tar::Builder<BufWriter<File>>>),
}

impl Packed {
    /// Reads all pictures once to know how many are usable and whether finished files are of these pictures.
    pub fn open(
        inputs: &Inputs,
        variants: &[Variant],
        options: &Options,
        known: &Known,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        let census = Census::take(inputs, options, interrupt)?;
        let array = options.format == Format::Npy;
        let mut packed = Self {
            plan: Plan { done: Arc::default(), size: census.size.filter(|_| array) },
            places: Vec::new(),
            files: Vec::new(),
            rows: census.rows,
            names: (0..inputs.len()).map(|index| inputs.name(index)).collect(),
            labels: inputs.labels(),
            list: census.list,
            labels_file: array.then(|| options.folder.join("labels.npy")),
            parts: variants.iter().filter(|variant| variant.group == variants[0].group).count(),
        };
        let mut done = Vec::new();
        for (variant, kind) in variants.iter().enumerate() {
            let name = file_name(kind, options.format);
            let path = options.folder.join(&name);
            let part = variants[..variant].iter().filter(|other| file_name(other, options.format) == name).count();
            let recorded = known.find(&name, &packed.list, &name);
            let is_done = recorded.is_some_and(|recorded| digest::of_file(&path).is_ok_and(|found| found == recorded));
            done.push(is_done);
            let place = match packed.files.iter().position(|file| file.name == name) {
                _ if is_done => None,
                Some(file) => Some((file, part)),
                None => {
                    let parts = variants.iter().filter(|other| file_name(other, options.format) == name).count();
                    let writer = packed.begin(&path, parts).with_context(|| format!("{}", path.display()))?;
                    packed.files.push(Pack { path, name, writer });
                    Some((packed.files.len() - 1, part))
                }
            };
            packed.places.push(place);
        }
        packed.plan.done = Arc::new(done);
        Ok(packed)
    }

    fn begin(&self, path: &Path, parts: usize) -> anyhow::Result<Writer> {
        let mut file = File::create(neighbour(path))?;
        let Some((width, height)) = self.plan.size else {
            return Ok(Writer::Archive(Box::new(tar::Builder::new(BufWriter::new(file)))));
        };
        let rows = self.rows.iter().flatten().count() as u64;
        write_header(&file, &[parts as u64 * rows, u64::from(height), u64::from(width), 3])?;
        let header = file.stream_position()?;
        Ok(Writer::Array { file, header, row: u64::from(width) * u64::from(height) * 3, rows })
    }

    /// What the worker threads need.
    pub fn plan(&self) -> Plan {
        self.plan.clone()
    }

    /// Writes a result to its place.
    pub fn write(&mut self, index: usize, variant: usize, bytes: &[u8]) -> anyhow::Result<()> {
        let Some((file, part)) = self.places[variant] else { return Ok(()) };
        let pack = &mut self.files[file];
        let written = match &mut pack.writer {
            Writer::Array { file, header, row, rows } => {
                let place = self.rows[index].context("a picture became readable while the program ran; start again")?;
                let start = *header + (part as u64 * *rows + place as u64) * *row;
                file.seek(SeekFrom::Start(start)).and_then(|_| file.write_all(bytes))
            }
            Writer::Archive(archive) => {
                let name = &self.names[index];
                append(archive, &member(name, "png"), bytes).and_then(|()| match &self.labels {
                    Some(labels) => append(archive, &member(name, "cls"), labels[index].to_string().as_bytes()),
                    None => Ok(()),
                })
            }
        };
        written.with_context(|| format!("{}: cannot be written", pack.path.display()))
    }

    /// Completes the files; the records that name them.
    pub fn finish(self) -> anyhow::Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut record = |path: &Path, name: &str| -> anyhow::Result<()> {
            let sha256 = digest::of_file(path).with_context(|| format!("{}: cannot be read", path.display()))?;
            let outputs = [(name.to_owned(), sha256)].into();
            let input = self.list.clone();
            records.push(Record { name: name.to_owned(), input, outputs, drawn: BTreeMap::new() });
            Ok(())
        };
        for pack in self.files {
            let closed = match pack.writer {
                Writer::Array { mut file, .. } => file.flush(),
                Writer::Archive(archive) => archive.into_inner().and_then(|mut file| file.flush()),
            };
            let renamed = closed.and_then(|()| fs::rename(neighbour(&pack.path), &pack.path));
            renamed.with_context(|| format!("{}: cannot be written", pack.path.display()))?;
            record(&pack.path, &pack.name)?;
        }
        if let Some((path, labels)) = self.labels_file.zip(self.labels) {
            let usable: Vec<usize> =
                labels.iter().zip(&self.rows).filter(|(_, row)| row.is_some()).map(|(label, _)| *label).collect();
            write_labels(&path, &usable, self.parts)?;
            record(&path, "labels.npy")?;
        }
        Ok(records)
    }
}

/// What a look at all pictures tells.
struct Census {
    rows: Vec<Option<usize>>,
    size: Option<(u32, u32)>,
    list: String,
}

impl Census {
    fn take(inputs: &Inputs, options: &Options, interrupt: &Interrupt) -> anyhow::Result<Self> {
        let array = options.format == Format::Npy;
        let look = |index: usize| -> anyhow::Result<(String, Option<(u32, u32)>)> {
            let raw = inputs.read(index)?;
            let sha256 = raw.sha256.clone();
            let size = array.then(|| inputs.decode(index, raw, &options.preprocess)).transpose()?;
            Ok((sha256, size.map(|picture| picture.rgb.dimensions())))
        };
        let mut census = Self { rows: Vec::new(), size: None, list: String::new() };
        let mut usable = 0;
        let mut list = String::new();
        let look = |index: usize, _: &mut Scratch, _: &mut RgbImage| look(index);
        each(inputs.len(), options.jobs, interrupt, look, |index, seen| {
            // What is wrong with a picture is said when its turn comes.
            let row = seen.ok().filter(|(_, size)| size.is_none_or(|size| size == *census.size.get_or_insert(size)));
            census.rows.push(row.as_ref().map(|_| usable));
            if let Some((sha256, _)) = row {
                usable += 1;
                list += &format!("{} {sha256}\n", inputs.name(index));
            }
            Ok(())
        })?;
        ensure!(usable > 0, "no usable picture among {}", inputs.len());
        census.list = digest::of_bytes(list.as_bytes());
        Ok(census)
    }
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

/// The labels, once for every part of an array, as bytes.
fn write_labels(path: &Path, labels: &[usize], parts: usize) -> anyhow::Result<()> {
    let bytes: Vec<u8> =
        labels.iter().map(|&label| u8::try_from(label)).collect::<Result<_, _>>().with_context(|| {
            format!("{}: more than 256 classes do not fit CIFAR-10-C's labels; use --format png or tar", path.display())
        })?;
    let mut file = Vec::new();
    write_header(&mut file, &[(parts * bytes.len()) as u64])?;
    file.extend(bytes.repeat(parts));
    replace(path, &file)
}

/// A member without owner and date, so that equal pictures give equal archives.
fn append(archive: &mut tar::Builder<BufWriter<File>>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, bytes)
}
