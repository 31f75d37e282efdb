//! A file of reference numbers, and the comparison with ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// A tensor on the host, whatever its type in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

/// A file of reference numbers: of safetensors its tensors, of JSON its content.
pub struct Oracle {
    /// Its folder, for files beside it.
    pub folder: PathBuf,
    /// Its settings.
    pub config: Value,
    /// The content of a JSON file; null of a file of tensors.
    pub json: Value,
    /// Where tensors are computed.
    pub device: Device,
    name: String,
    tensors: BTreeMap<String, Values>,
    tolerances: Vec<(String, Tolerance)>,
    /// What holds instead where the library computes with 32-bit floats.
    single: Option<Tolerance>,
    single_precision: bool,
    lines: Vec<Line>,
    compared: BTreeSet<String>,
}

/// How far a number may be off: `absolute + relative |b|`, b the reference's.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tolerance {
    absolute: f64,
    relative: f64,
}

/// An output that was compared.
struct Line {
    output: String,
    /// The largest deviation, and the part of its tolerance that the worst element takes.
    deviation: f64,
    share: f64,
    tolerance: Tolerance,
}

/// What became of a file.
pub struct Report {
    pub text: String,
    pub outputs: usize,
    /// Outputs beyond their tolerance, and outputs that were not compared.
    pub off: usize,
}

impl Tolerance {
    /// `1e-6 + 1e-5|b|` or `exact`; what it is for may stand behind ` in `.
    fn parse(text: &str) -> Result<Self> {
        let mut tolerance = Self { absolute: 0.0, relative: 0.0 };
        if text.starts_with("exact") {
            return Ok(tolerance);
        }
        for term in text.split(" in ").next().unwrap_or(text).split(" + ") {
            let (number, place) = match term.trim().strip_suffix("|b|") {
                Some(number) => (number, &mut tolerance.relative),
                None => (term.trim(), &mut tolerance.absolute),
            };
            *place = number.parse().with_context(|| format!("tolerance `{text}` is not like `1e-6 + 1e-5|b|`"))?;
        }
        Ok(tolerance)
    }

    /// For a reference. Where that is zero and the tolerance relative alone, a millionth of it still is rounding.
    fn of(self, reference: f64) -> f64 {
        let scale = if reference == 0.0 { 1e-6 } else { reference.abs() };
        self.absolute + self.relative * scale
    }
}

impl std::fmt::Display for Tolerance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.absolute, self.relative) {
            (0.0, 0.0) => write!(f, "exact"),
            (absolute, 0.0) => write!(f, "{absolute:.0e}"),
            (0.0, relative) => write!(f, "{relative:.0e} |b|"),
            (absolute, relative) => write!(f, "{absolute:.0e} + {relative:.0e} |b|"),
        }
    }
}

impl Oracle {
    /// The file `name` in `folder`, described by its entry in the index.
    pub fn open(folder: &Path, name: &str, entry: &Value) -> Result<Self> {
        let path = folder.join(name);
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let (tensors, json) = if name.ends_with(".json") {
            (BTreeMap::new(), serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?)
        } else {
            (read_tensors(&bytes).with_context(|| path.display().to_string())?, Value::Null)
        };
        let tolerances = match &entry["tolerance"] {
            Value::String(text) => {
                let first = text.split(';').next().unwrap_or(text);
                vec![("out".to_owned(), Tolerance::parse(first.trim())?)]
            }
            Value::Object(table) => {
                let parsed = table.iter().map(|(prefix, text)| {
                    // What is no name of tensors says in words what holds for all others.
                    let prefix = match prefix.as_str() {
                        "grad" => "out.grad",
                        name if name.starts_with("out") => name,
                        _ => "out",
                    };
                    Ok((prefix.to_owned(), Tolerance::parse(text.as_str().unwrap_or_default())?))
                });
                parsed.collect::<Result<_>>()?
            }
            _ => bail!("index.json: {name} has no tolerance"),
        };
        let second = entry["tolerance"].as_str().and_then(|text| text.split(';').nth(1));
        let single = second.filter(|text| text.trim_end().ends_with("f32")).map(str::trim);
        Ok(Self {
            single: single.map(Tolerance::parse).transpose()?,
            single_precision: false,
            folder: folder.to_owned(),
            config: entry["config"].clone(),
            json,
            device: robustify_device::open(Some("flex"))?,
            name: name.to_owned(),
            tensors,
            tolerances,
            lines: Vec::new(),
            compared: BTreeSet::new(),
        })
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// Another file of the same folder, described by its entry in the index.
    pub fn beside(&self, name: &str) -> Result<Self> {
        let path = self.folder.join("index.json");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let index: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        Self::open(&self.folder, name, &index["files"][name])
    }

    /// Names of the tensors that begin so.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        self.tensors.keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    /// A tensor of the file on the host.
    pub fn values(&self, name: &str) -> Result<&Values> {
        self.tensors.get(name).ok_or_else(|| anyhow!("tensor {name} is missing"))
    }

    /// The only element of a tensor.
    pub fn scalar(&self, name: &str) -> Result<f64> {
        match self.values(name)?.values.as_slice() {
            [value] => Ok(*value),
            other => bail!("tensor {name} has {} elements, one is expected", other.len()),
        }
    }

    /// A tensor of the file.
    pub fn tensor<const D: usize>(&self, name: &str) -> Result<Tensor<D>> {
        let Values { shape, values } = self.values(name)?;
        ensure!(shape.len() == D, "tensor {name} has the shape {shape:?}, {D} dimensions are expected");
        let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        Ok(Tensor::from_data(TensorData::new(values, shape.clone()), &self.device))
    }

    /// A tensor of the file whose gradient is asked for.
    pub fn leaf<const D: usize>(&self, name: &str) -> Result<Tensor<D>> {
        Ok(self.tensor::<D>(name)?.autodiff().require_grad())
    }

    /// Labels, as numbers.
    pub fn labels(&self, name: &str) -> Result<Vec<usize>> {
        Ok(self.values(name)?.values.iter().map(|label| *label as usize).collect())
    }

    /// Labels, as a tensor.
    pub fn label_tensor(&self, name: &str) -> Result<Tensor<1, Int>> {
        let labels: Vec<i64> = self.labels(name)?.into_iter().map(|label| label as i64).collect();
        let count = labels.len();
        Ok(Tensor::from_data(TensorData::new(labels, [count]), &self.device))
    }

    /// A number of the settings.
    pub fn number(&self, key: &str) -> Result<f64> {
        self.config[key].as_f64().with_context(|| format!("index.json: config.{key} of {} is no number", self.name))
    }

    /// Whether the tolerance of 32-bit floats holds from now on, if the file states one; returns what held before.
    pub fn in_single_precision(&mut self, single: bool) -> bool {
        std::mem::replace(&mut self.single_precision, single)
    }

    /// Compares a tensor with the output of its name.
    pub fn expect_tensor<const D: usize>(&mut self, output: &str, got: Tensor<D>) -> Result<()> {
        let shape = got.dims().to_vec();
        let want = &self.values(output)?.shape;
        // A scalar is a tensor of one dimension here.
        ensure!(
            *want == shape || (want.is_empty() && shape == [1]),
            "{output}: {shape:?} is ours, the file has {want:?}"
        );
        let got: Vec<f64> = host(got)?;
        self.expect(output, &got)
    }

    /// Compares numbers with the output of its name.
    pub fn expect(&mut self, output: &str, got: &[f64]) -> Result<()> {
        let want = self.values(output)?.values.clone();
        self.compare(output, got, &want)
    }

    /// Compares numbers with others, under the name of an output.
    pub fn compare(&mut self, output: &str, got: &[f64], want: &[f64]) -> Result<()> {
        ensure!(got.len() == want.len(), "{output}: {} numbers are ours, the file has {}", got.len(), want.len());
        let named = |prefix: &str| output == prefix || output.starts_with(&format!("{prefix}."));
        let of = self.tolerances.iter().filter(|(prefix, _)| named(prefix)).max_by_key(|(prefix, _)| prefix.len());
        let of = of.or(self.tolerances.first()).context("no tolerance")?.1;
        let tolerance = self.single.filter(|_| self.single_precision).unwrap_or(of);
        let (mut deviation, mut share) = (0.0_f64, 0.0_f64);
        for (got, want) in got.iter().zip(want) {
            let off = (got - want).abs();
            // What is no number is off by everything.
            let part = if off == 0.0 { 0.0 } else { off / tolerance.of(*want) };
            deviation = if off.is_nan() { f64::INFINITY } else { deviation.max(off) };
            share = if part.is_nan() { f64::INFINITY } else { share.max(part) };
        }
        self.compared.insert(output.to_owned());
        self.lines.push(Line { output: output.to_owned(), deviation, share, tolerance });
        Ok(())
    }

    /// Compares a fact with the file's.
    pub fn expect_equal<T: PartialEq + std::fmt::Debug>(&mut self, output: &str, got: T, want: T) -> Result<()> {
        ensure!(got == want, "{output}: {got:?} is ours, the file has {want:?}");
        self.compare(output, &[], &[])
    }

    /// Compares a set of names with the file's.
    pub fn expect_names<'a>(
        &mut self,
        output: &str,
        got: impl IntoIterator<Item = &'a String>,
        want: impl IntoIterator<Item = &'a String>,
    ) -> Result<()> {
        let [got, want] = [got.into_iter().collect::<BTreeSet<_>>(), want.into_iter().collect::<BTreeSet<_>>()];
        let [ours, theirs] = [got.difference(&want), want.difference(&got)].map(|names| names.collect::<Vec<_>>());
        ensure!(ours.is_empty() && theirs.is_empty(), "{output}: only ours are {ours:?}, only the file's {theirs:?}");
        self.compare(output, &[], &[])
    }

    /// A line for every output, and those of the file that were not compared.
    pub fn report(&self) -> Report {
        let mut text = String::new();
        for Line { output, deviation, share, tolerance } in &self.lines {
            let verdict = if *share <= 1.0 { "ok" } else { "OFF" };
            let (name, used) = (&self.name, 100.0 * share);
            let _ = writeln!(
                text,
                "{name:28} {output:52} {deviation:8.1e} of {:22} {used:5.1} %  {verdict}",
                tolerance.to_string()
            );
        }
        let left: Vec<_> = self.names("out.").into_iter().filter(|name| !self.compared.contains(name)).collect();
        for output in &left {
            let _ = writeln!(text, "{:28} {output:52} NOT COMPARED", self.name);
        }
        let off = self.lines.iter().filter(|line| line.share > 1.0).count() + left.len();
        Report { text, outputs: self.lines.len(), off }
    }
}

/// A tensor's elements.
pub fn host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f64>> {
    let values = tensor.into_data().convert::<f32>().try_to_vec::<f32>();
    let values = values.map_err(|error| anyhow!("a tensor's data: {error:?}"))?;
    Ok(values.into_iter().map(f64::from).collect())
}

fn read_tensors(bytes: &[u8]) -> Result<BTreeMap<String, Values>> {
    let file = SafeTensors::deserialize(bytes)?;
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        let data = view.data();
        let values: Vec<f64> = match view.dtype() {
            Dtype::F32 => numbers(data, |bytes| f64::from(f32::from_le_bytes(bytes))),
            Dtype::F64 => numbers(data, f64::from_le_bytes),
            Dtype::I64 => numbers(data, |bytes| i64::from_le_bytes(bytes) as f64),
            Dtype::I32 => numbers(data, |bytes| f64::from(i32::from_le_bytes(bytes))),
            Dtype::U8 | Dtype::BOOL => data.iter().map(|byte| f64::from(*byte)).collect(),
            other => bail!("tensor {name} is of type {other:?}"),
        };
        Ok((name, Values { shape: view.shape().to_vec(), values }))
    });
    tensors.collect()
}

fn numbers<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    data.chunks_exact(N).map(|bytes| read(bytes.try_into().expect("chunks of N"))).collect()
}
