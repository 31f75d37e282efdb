//! A classifier in an ONNX file as a [`Predictor`].
//!
//! Whatever the file or those beside it say of its input, its classes and the preparation of pictures is taken from there; what they
//! do not say is asked for, by name. Every picture is computed alone, on one thread: its answer depends on nothing but itself.
//!
//! Runtime: rten. What was measured of it and of tract stands in `docs/benchmarks.md`.

mod file;
mod graph;
mod literal;
mod macs;
mod prepare;
mod said;
mod session;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use image::RgbImage;
use robustify_data::Preprocess;
use robustify_report::digest;
use rten_onnx::onnx::{GraphProto, ValueInfoProto};

use self::file::File;
use self::graph::{Ending, Input};
use self::prepare::{expect_grey, geometry_for, known_size, prepare, settled_size};
use self::session::{Pixels, Session};
use crate::classes::KnownClasses;
use crate::{Answered, Answers, Columns, PredictError, Predictor, Rows};

/// Grows when the runtime gives other numbers for the same file and pixels.
const RUNTIME: &str = "rten 0.27";

/// The order of an input's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Batch, channels, height, width: PyTorch's.
    Nchw,
    /// Batch, height, width, channels: TensorFlow's.
    Nhwc,
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "nchw" => Ok(Self::Nchw),
            "nhwc" => Ok(Self::Nhwc),
            _ => Err(format!("`{text}` is no layout; nchw (PyTorch's) and nhwc (TensorFlow's) are")),
        }
    }
}

/// What a user says of an ONNX file; it goes before whatever the file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnnxOptions {
    /// Height and width of the input.
    pub image_size: Option<[usize; 2]>,
    /// Order of the input's axes.
    pub layout: Option<Layout>,
    /// From a picture to the input. One without `normalize` says the pixel steps alone.
    pub preprocess: Option<Preprocess>,
    /// Names of the classes, in the order of the output.
    pub classes: Option<Vec<String>>,
    /// The output that holds the classes, of a file with several.
    pub output: Option<String>,
}

/// A classifier in an ONNX file.
pub struct OnnxClassifier {
    path: PathBuf,
    sha256: String,
    input: Input,
    /// The value that is read.
    read: String,
    size: [usize; 2],
    session: Session,
    ending: Answer,
    preprocess: Preprocess,
    seen: Preprocess,
    classes: Vec<String>,
    known: Option<KnownClasses>,
    notes: Vec<String>,
    parameters: u64,
    macs: Option<u64>,
    identity: String,
}

/// What the numbers are that come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Such that a softmax gives probabilities.
    Logits,
    /// Probabilities.
    Probabilities,
}

impl OnnxClassifier {
    /// Opens a file, and asks it about a grey picture, so that what it cannot do is known at once.
    ///
    /// # Errors
    /// A file that is damaged, is no ONNX model or no classifier of pictures, that has operations which are not known, or that does
    /// not say what `options` do not say either; the message names the option that is missing.
    pub fn open(path: &Path, options: &OnnxOptions) -> Result<Self, PredictError> {
        let fault = |reason: String| PredictError::Onnx { path: path.into(), reason };
        let (mut file, mut model) = File::read(path)?;
        let (sha256, notes) = (file.sha256.clone(), said::notes(&model));
        let graph = model.graph.get_or_insert_default();
        let input = graph::input(graph, options.layout).map_err(fault)?;
        let output = graph::output(graph, options.output.as_deref()).map_err(fault)?.clone();
        let known = known_size(&input, options, &notes).map_err(fault)?;
        let mut told = Vec::new();
        let preprocess = prepare(path, options, &notes, graph, &input, known, &mut told)?;
        let size = settled_size(&input, known, &preprocess).map_err(fault)?;
        expect_grey(&input, &preprocess).map_err(fault)?;

        let read = logits(graph, output.name.clone().unwrap_or_default(), &mut told);
        if output.name.as_ref() != Some(&read) {
            graph.output = vec![ValueInfoProto { name: Some(read.clone()), r#type: None }];
            file.bytes = guard(|| model.write_buf()).map_err(fault)?;
        }
        let graph = model.graph.take().unwrap_or_default();
        let (parameters, shape) = (graph::parameters(&graph), shape(&input, size));
        let opened = Session::open(file, &graph, [&input.name, &read], shape, input.bytes);
        let (session, macs) = opened.map_err(|reason| {
            fault(format!(
                "it cannot be run here: {reason}; export it with another opset (17 is the safest), or without operations of your own"
            ))
        })?;
        let mut opened = Self {
            path: path.into(),
            sha256,
            input,
            read,
            size,
            session,
            ending: Answer::Logits,
            seen: preprocess.normalisation_only(),
            preprocess,
            classes: Vec::new(),
            known: None,
            notes: told,
            parameters,
            macs,
            identity: String::new(),
        };
        let count = opened.try_out()?;
        opened.name_classes(count, options.classes.as_deref(), &notes)?;
        opened.identify();
        Ok(opened)
    }

    /// The same where the pixels that it is asked about are not those that [`Self::preprocess`]'s steps leave: `seen` makes its input of
    /// them.
    #[must_use]
    pub fn seeing(mut self, seen: Preprocess) -> Self {
        self.seen = seen;
        self.identify();
        self
    }

    /// From a picture to the input. [`Rows`] hold pixels behind its steps, unless [`Self::seeing`] says otherwise.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// All names of each class, and who says them; none where nothing names them, and [`Predictor::classes`] are numbers.
    pub fn known_classes(&self) -> Option<&KnownClasses> {
        self.known.as_ref()
    }

    /// Height and width of its input in pixels.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// What was taken from where, and what was done to it, a sentence each: whoever asked wants to know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// SHA-256 of the file, or of it and its files of weights one after the other.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Numbers in all tensors that the file holds; statistics of BatchNorm count where the exporter left them.
    pub fn parameters(&self) -> u64 {
        self.parameters
    }

    /// Multiply-accumulates of convolutions and matrix products for an image; none if the graph has others.
    pub fn macs(&self) -> Option<u64> {
        self.macs
    }

    /// What it is, in a few words.
    pub fn about(&self) -> String {
        let [height, width] = self.size;
        format!("ONNX, {height}x{width} pixels, {:.1} M parameters", self.parameters as f64 / 1e6)
    }

    fn fault(&self, reason: String) -> PredictError {
        PredictError::Onnx { path: self.path.clone(), reason }
    }

    /// Asks about a grey picture. Returns the number of classes.
    fn try_out(&mut self) -> Result<usize, PredictError> {
        let [height, width] = self.size;
        let grey = RgbImage::from_pixel(width as u32, height as u32, image::Rgb([128; 3]));
        let rows = vec![grey; self.input.batch.unwrap_or(1)];
        let plain = self.seen.normalisation_only();
        let pixels = self.pixels(&rows, &plain)?;
        let run = self.session.run(&pixels, shape(&self.input, self.size));
        let (shape, values) = run.map_err(|reason| self.fault(format!("it fails on a grey picture: {reason}")))?;
        let no_vector = |shape: &[usize]| {
            self.fault(format!(
                "its output for {} picture(s) is {shape:?}, no vector of classes [{}, classes]; --output NAME chooses another output",
                rows.len(),
                rows.len()
            ))
        };
        let classes = match shape[..] {
            [batch, classes, ref rest @ ..]
                if batch == rows.len() && classes > 1 && rest.iter().all(|size| *size == 1) =>
            {
                classes
            }
            _ => return Err(no_vector(&shape)),
        };
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(self.fault(format!(
                "its output for a grey picture is {} in class {}: no number",
                values[at],
                at % classes
            )));
        }
        let is_share =
            |row: &[f32]| row.iter().all(|value| *value >= 0.0) && (row.iter().sum::<f32>() - 1.0).abs() < 1e-3;
        if values.chunks_exact(classes).all(is_share) {
            self.ending = Answer::Probabilities;
            self.notes.push("its numbers are probabilities, and their logarithms are taken for logits".into());
        }
        Ok(classes)
    }

    /// Finds names for so many classes; without any they are called by their numbers.
    fn name_classes(
        &mut self,
        count: usize,
        given: Option<&[String]>,
        notes: &BTreeMap<String, String>,
    ) -> Result<(), PredictError> {
        let found = match given {
            Some(names) => Some(KnownClasses::new(names, "--classes")),
            None => said::classes(&self.path, notes)?,
        };
        match &found {
            Some(KnownClasses { names, from }) if names.len() != count => {
                return Err(self.fault(format!(
                    "{from} names {} classes, and its output has {count}; give --classes FILE, a text with a name a line in the order of \
                     the output",
                    names.len()
                )));
            }
            Some(KnownClasses { names, .. }) => {
                self.classes = names.iter().map(|all| all.first().cloned().unwrap_or_default()).collect();
            }
            None => {
                self.notes.push(format!(
                    "nothing names its {count} classes: neither a note in the file nor a file beside it"
                ));
                self.classes = (0..count).map(|class| class.to_string()).collect();
            }
        }
        self.known = found;
        Ok(())
    }

    fn identify(&mut self) {
        let layout = format!("{:?}", self.input.layout);
        let determines = (RUNTIME, &self.sha256, &self.read, self.seen.to_string(), &self.classes, layout, self.size);
        self.identity = digest::of(&determines).expect("strings and numbers have a JSON form");
    }

    /// The input of as many pictures as it takes at once.
    fn pixels(&self, pictures: &[RgbImage], seen: &Preprocess) -> Result<Pixels, PredictError> {
        let [height, width] = self.size;
        let area = height * width;
        let mut own = Vec::with_capacity(pictures.len());
        for picture in pictures {
            let made = if seen.steps().is_empty() { picture.clone() } else { seen.pixels(picture)? };
            if made.dimensions() != (width as u32, height as u32) {
                return Err(self.fault(format!(
                    "a picture of {}x{} pixels (width x height) comes to a network that takes {width}x{height}; let --preprocess begin \
                     with {}",
                    made.width(),
                    made.height(),
                    geometry_for(Some(self.size))
                )));
            }
            own.push(if self.input.channels == 1 { grey(&made) } else { made });
        }
        let channels = self.input.channels;
        if self.input.bytes {
            let mut bytes = Vec::with_capacity(own.len() * channels * area);
            for picture in &own {
                let levels = picture.as_raw();
                match self.input.layout {
                    Layout::Nchw => {
                        (0..channels).for_each(|channel| bytes.extend(levels.iter().skip(channel).step_by(3)))
                    }
                    Layout::Nhwc => levels.chunks_exact(3).for_each(|pixel| bytes.extend(&pixel[..channels])),
                }
            }
            return Ok(Pixels::Bytes(bytes));
        }
        let (mut floats, mut planes) = (Vec::with_capacity(own.len() * channels * area), vec![0.0; 3 * area]);
        for picture in &own {
            seen.write_chw(picture, &mut planes)?;
            match self.input.layout {
                Layout::Nchw => floats.extend(&planes[..channels * area]),
                Layout::Nhwc => {
                    let pixel = |at: usize| planes.iter().skip(at).step_by(area).take(channels);
                    (0..area).for_each(|at| floats.extend(pixel(at)));
                }
            }
        }
        Ok(Pixels::Floats(floats))
    }
}

impl Predictor for OnnxClassifier {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn trunk(&self) -> Option<&str> {
        None
    }

    fn answer(&self, rows: &Rows<'_>) -> Result<Answered, PredictError> {
        let (classes, batch) = (self.classes.len(), self.input.batch.unwrap_or(1));
        let pictures = rows.pixels()?;
        let mut values = Vec::with_capacity(pictures.len() * classes);
        let clock = Instant::now();
        for some in pictures.chunks(batch) {
            // A file of a fixed batch gets the last picture again until it is full.
            let full: Vec<RgbImage> = some.iter().cycle().take(batch).cloned().collect();
            let pixels = self.pixels(&full, &self.seen)?;
            let run = self.session.run(&pixels, shape(&self.input, self.size));
            let (_, mut said) = run.map_err(|reason| self.fault(format!("it fails on a picture: {reason}")))?;
            if said.len() != batch * classes {
                return Err(
                    self.fault(format!("{} numbers came out for {batch} picture(s) of {classes} classes", said.len()))
                );
            }
            if self.ending == Answer::Probabilities {
                // Nothing is impossible to a float that was rounded to 0.
                said.iter_mut().for_each(|share| *share = share.max(f32::MIN_POSITIVE).ln());
            }
            values.extend_from_slice(&said[..some.len() * classes]);
        }
        let time: Duration = clock.elapsed();
        let answers = Answers::Logits { classes, values };
        Ok(Answered { answers, time, deterministic_time: None, beside: Columns::default() })
    }
}

/// The value that is read for an output: what a softmax or a sigmoid at the end is taken of, or the output itself.
fn logits(graph: &GraphProto, output: String, told: &mut Vec<String>) -> String {
    let (op, before, more) = match graph::ending(graph, &output) {
        Ending::Plain => return output,
        Ending::Softmax(before) => ("softmax", before, ""),
        Ending::Sigmoid(before) => ("sigmoid", before, "; probabilities are those of a softmax of them"),
    };
    told.push(format!("it ends in a {op}: the logits, of which that is taken (`{before}`), are read instead{more}"));
    before
}

/// The shape of what goes in.
fn shape(input: &Input, [height, width]: [usize; 2]) -> [usize; 4] {
    let batch = input.batch.unwrap_or(1);
    match input.layout {
        Layout::Nchw => [batch, input.channels, height, width],
        Layout::Nhwc => [batch, height, width, input.channels],
    }
}

/// Every channel as Pillow's `convert("L")` has it. Source: Pillow, `Convert.c`, `L24`.
fn grey(picture: &RgbImage) -> RgbImage {
    let mut out = picture.clone();
    for pixel in out.pixels_mut() {
        let [red, green, blue] = pixel.0.map(u32::from);
        pixel.0 = [((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16) as u8; 3];
    }
    out
}

/// Does what somebody else's code may panic in; the reason in any case.
fn guard<T, E: Display>(work: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    let panicked = |cause: Box<dyn Any + Send>| {
        let said = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
        format!("the runtime broke off: {}", said.unwrap_or("no reason"))
    };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(cause) => Err(panicked(cause)),
    }
}
