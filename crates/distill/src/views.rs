//! Fixed views of the tuning images, the frozen backbone's features of each, and what the two teachers say about them.
//!
//! The backbone never changes, so its output for a view is computed once, stored as 16-bit floats, and read in every epoch.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use half::slice::HalfFloatSliceExt;
use image::RgbImage;
use robustify_augment::Policy;
use robustify_data::{CleanView, Images, Preprocess, batch};
use robustify_device::Workers;
use robustify_rng::Key;
use robustify_watch::{Progress, Stopped, Watch};
use robustify_zoo::{CutPoint, Features, Model, Pass};

use crate::DistillError;

/// Rows that one thread computes at a time.
const ROWS: usize = 64;

/// Which views an image has: first the clean ones, then the augmented ones.
#[derive(Clone, Debug)]
pub struct ViewSpec {
    /// Pixels of the large model.
    pub preprocess: Preprocess,
    /// Random geometry of all views but the first, which is the image itself.
    pub clean_view: CleanView,
    /// Augmentations of the augmented views.
    pub policy: Policy,
    /// Clean views an image, at least one.
    pub clean: usize,
    /// Augmented views an image, at least one.
    pub augmented: usize,
    /// Seed of geometry and augmentations.
    pub seed: u64,
}

impl ViewSpec {
    /// Views an image.
    pub fn count(&self) -> usize {
        self.clean + self.augmented
    }

    /// The pixels of a view of one image.
    ///
    /// # Errors
    /// An image that cannot be read, or that the preprocessing or the view cannot take.
    pub fn pixels(&self, images: &Images, index: usize, view: usize) -> Result<RgbImage, DistillError> {
        let sample = images.get(index)?;
        let pixels = self.preprocess.pixels(&sample.image).map_err(|error| error.of_image(images, index))?;
        if view == 0 {
            return Ok(pixels);
        }
        let key = |purpose| Key::new(self.seed, purpose).with(sample.id).with(view as u64);
        let moved =
            self.clean_view.apply(&pixels, key("view geometry")).map_err(|error| error.of_image(images, index))?;
        if view < self.clean { Ok(moved) } else { Ok(self.policy.apply(&moved, key("view augmentation"))) }
    }
}

/// Who hears how many rows are done, and who says whether to stop.
pub struct Report<'a> {
    /// Asked whether to stop.
    pub watch: &'a dyn Watch,
    /// Told how many rows are done; the caller, who may have more to do, finishes it.
    pub progress: &'a mut dyn Progress,
}

/// Computes something for every view of every image, in order: row `image * views + view`.
///
/// `work` gets the pixels of some consecutive rows; `take` gets its results in order.
///
/// # Errors
/// An image that cannot be read, what `take` says, or an interruption.
pub fn each<R: Send>(
    spec: &ViewSpec,
    images: &Images,
    workers: &Workers,
    report: Report<'_>,
    work: impl Fn(&[RgbImage]) -> Result<R, DistillError> + Sync,
    mut take: impl FnMut(R) -> Result<(), DistillError>,
) -> Result<(), DistillError> {
    let rows = images.len() * spec.count();
    let wave = ROWS * workers.threads() * 4;
    for start in (0..rows).step_by(wave) {
        let end = (start + wave).min(rows);
        let chunks: Vec<_> = (start..end).step_by(ROWS).map(|first| first..(first + ROWS).min(end)).collect();
        let results = workers.map(chunks, |chunk| {
            let pixels = chunk.map(|row| spec.pixels(images, row / spec.count(), row % spec.count()));
            work(&pixels.collect::<Result<Vec<_>, _>>()?)
        });
        for result in results {
            take(result?)?;
        }
        report.progress.set(end, "");
        report.watch.check(Stopped::StartsOver)?;
    }
    Ok(())
}

/// Writes the features of all views at `cut`, row after row as little-endian 16-bit floats, and returns the original
/// model's logits of all views, `[rows * classes]`.
///
/// # Errors
/// As [`each`], and a file that cannot be written.
#[allow(clippy::too_many_arguments)]
pub fn write_features(
    spec: &ViewSpec,
    images: &Images,
    original: &Model,
    cut: CutPoint,
    path: &Path,
    workers: &Workers,
    device: &Device,
    report: Report<'_>,
) -> Result<(Vec<f32>, Vec<usize>), DistillError> {
    let io = |source| DistillError::Io { path: path.into(), source };
    let tail = original.segment(cut, original.last_cut());
    let temporary = path.with_extension("tmp");
    let mut file = BufWriter::new(File::create(&temporary).map_err(io)?);
    let (mut logits, mut dims) = (Vec::new(), Vec::new());
    let work = |pixels: &[RgbImage]| {
        let features = original.features(batch::normalised(pixels, &spec.preprocess, device)?, cut);
        let dims = features.dims()[1..].to_vec();
        let own = host(tail.forward(features.clone(), &Pass::eval()).logits());
        let halves: Vec<f16> = host(features.flatten()).into_iter().map(f16::from_f32).collect();
        Ok((halves, own, dims))
    };
    each(spec, images, workers, report, work, |(halves, own, row_dims)| {
        let bytes: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        file.write_all(&bytes).map_err(io)?;
        logits.extend(own);
        dims = row_dims;
        Ok(())
    })?;
    file.into_inner().map_err(|error| io(error.into_error()))?.sync_all().map_err(io)?;
    std::fs::rename(&temporary, path).map_err(io)?;
    Ok((logits, dims))
}

/// A model's logits of all views, `[rows * classes]`; the model sees the same pixels as the large one, through its own
/// preprocessing.
///
/// # Errors
/// As [`each`].
pub fn logits(
    spec: &ViewSpec,
    images: &Images,
    model: &Model,
    preprocess: &Preprocess,
    workers: &Workers,
    device: &Device,
    report: Report<'_>,
) -> Result<Vec<f32>, DistillError> {
    let mut all = Vec::new();
    let work = |pixels: &[RgbImage]| {
        let own = pixels.iter().map(|image| preprocess.pixels(image)).collect::<Result<Vec<_>, _>>()?;
        Ok(host(model.forward(batch::normalised(&own, preprocess, device)?, &Pass::eval())))
    };
    each(spec, images, workers, report, work, |own| {
        all.extend(own);
        Ok(())
    })?;
    Ok(all)
}

fn host(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_to_vec().expect("converted to f32")
}

/// Cached views: what a tuning step reads instead of images.
pub struct ViewCache {
    /// Clean views an image.
    pub clean: usize,
    /// Augmented views an image.
    pub augmented: usize,
    /// Label of every image.
    pub labels: Vec<usize>,
    /// The original model's logits, `[rows * classes]`.
    pub original: Vec<f32>,
    /// The robust teacher's logits, `[rows * classes]`.
    pub teacher: Vec<f32>,
    /// Number of classes.
    pub classes: usize,
    /// Dimensions of one row of features.
    pub dims: Vec<usize>,
    features: Vec<f16>,
}

impl ViewCache {
    /// Reads what [`write_features`] wrote.
    ///
    /// # Errors
    /// A file that cannot be read or is of another size than the views need; logits that are not as many for both teachers,
    /// or too few for the labels.
    pub fn read(
        path: &Path,
        spec: &ViewSpec,
        labels: Vec<usize>,
        dims: Vec<usize>,
        [original, teacher]: [Vec<f32>; 2],
    ) -> Result<Self, DistillError> {
        let io = |source| DistillError::Io { path: path.into(), source };
        let rows = labels.len() * spec.count();
        let elements = rows * dims.iter().product::<usize>();
        let mut file = File::open(path).map_err(io)?;
        let found = file.metadata().map_err(io)?.len();
        if found != 2 * elements as u64 {
            let reason = format!("features of {rows} views take {} bytes, the file has {found}", 2 * elements);
            return Err(DistillError::Checkpoint { path: path.into(), reason });
        }
        let mut features = vec![f16::ZERO; elements];
        let mut bytes = vec![0; 1 << 20];
        for part in features.chunks_mut(bytes.len() / 2) {
            let bytes = &mut bytes[..2 * part.len()];
            file.read_exact(bytes).map_err(io)?;
            for (half, pair) in part.iter_mut().zip(bytes.chunks_exact(2)) {
                *half = f16::from_le_bytes([pair[0], pair[1]]);
            }
        }
        let classes = original.len() / rows.max(1);
        if original.len() != rows * classes
            || teacher.len() != original.len()
            || labels.iter().any(|&label| label >= classes)
        {
            let reason = format!(
                "{rows} views with labels up to {} need as many logits of one number of classes from the original model and \
                 from the teacher; they gave {} and {}",
                labels.iter().max().unwrap_or(&0),
                original.len(),
                teacher.len()
            );
            return Err(DistillError::Config(reason));
        }
        Ok(Self { clean: spec.clean, augmented: spec.augmented, labels, original, teacher, classes, dims, features })
    }

    /// Views an image.
    pub fn views(&self) -> usize {
        self.clean + self.augmented
    }

    /// The features of some rows.
    pub fn features(&self, rows: &[usize], device: &Device) -> Features {
        let elements: usize = self.dims.iter().product();
        let mut values = vec![0.0; rows.len() * elements];
        for (&row, out) in rows.iter().zip(values.chunks_exact_mut(elements)) {
            self.features[row * elements..(row + 1) * elements].convert_to_f32_slice(out);
        }
        let tensor = Tensor::from_data(TensorData::new(values, [rows.len(), elements]), device);
        Features::unflatten(tensor, &self.dims).expect("the dimensions of these rows")
    }

    /// A teacher's logits of some rows, `[rows, classes]`.
    pub fn teacher_logits(&self, of: Teacher, rows: &[usize], device: &Device) -> Tensor<2> {
        let all = match of {
            Teacher::Original => &self.original,
            Teacher::Robust => &self.teacher,
        };
        let values: Vec<f32> =
            rows.iter().flat_map(|row| &all[row * self.classes..(row + 1) * self.classes]).copied().collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), self.classes]), device)
    }

    /// Part of the given rows that a teacher gets right.
    pub fn teacher_accuracy(&self, of: Teacher, rows: impl Iterator<Item = usize>) -> f64 {
        let all = match of {
            Teacher::Original => &self.original,
            Teacher::Robust => &self.teacher,
        };
        let (mut right, mut count) = (0, 0);
        for row in rows {
            let logits = &all[row * self.classes..(row + 1) * self.classes];
            let best = (1..logits.len()).fold(0, |best, class| if logits[class] > logits[best] { class } else { best });
            right += usize::from(best == self.labels[row / self.views()]);
            count += 1;
        }
        right as f64 / f64::from(count.max(1))
    }

    /// The rows of augmented views.
    pub fn augmented_rows(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.labels.len() * self.views()).filter(|row| row % self.views() >= self.clean)
    }
}

/// Whose knowledge a head is distilled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teacher {
    /// The untouched large model, `M0`.
    Original,
    /// The small robust model, `Mt`.
    Robust,
}
