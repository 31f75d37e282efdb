//! Fixed views of the tuning images, the frozen backbone's features of each, and what a model says about them.
//!
//! The backbone never changes, so its output for a view is computed once, written to a file, and read in every epoch: see
//! [`ViewCache`](crate::ViewCache).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use burn::tensor::{Device, Tensor};
use image::RgbImage;
use robustify_augment::Policy;
use robustify_data::{CleanView, Images, Preprocess, batch};
use robustify_device::Workers;
use robustify_rng::Key;
use robustify_watch::{Progress, Stopped, Watch};
use robustify_zoo::{CutPoint, Model, Pass};

use crate::{DistillError, Precision};

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
    /// How the features of the views are stored.
    pub precision: Precision,
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
/// `work` gets some consecutive rows and their pixels; `take` gets its results in order.
///
/// # Errors
/// An image that cannot be read, what `take` says, or an interruption.
pub fn each<R: Send>(
    spec: &ViewSpec,
    images: &Images,
    workers: &Workers,
    report: Report<'_>,
    work: impl Fn(Range<usize>, &[RgbImage]) -> Result<R, DistillError> + Sync,
    mut take: impl FnMut(R) -> Result<(), DistillError>,
) -> Result<(), DistillError> {
    let rows = images.len() * spec.count();
    let wave = ROWS * workers.threads() * 4;
    for start in (0..rows).step_by(wave) {
        let end = (start + wave).min(rows);
        let chunks: Vec<_> = (start..end).step_by(ROWS).map(|first| first..(first + ROWS).min(end)).collect();
        let results = workers.map(chunks, |chunk| {
            let pixels = chunk.clone().map(|row| spec.pixels(images, row / spec.count(), row % spec.count()));
            work(chunk, &pixels.collect::<Result<Vec<_>, _>>()?)
        });
        for result in results {
            take(result?)?;
        }
        report.progress.set(end, "");
        report.watch.check(Stopped::StartsOver)?;
    }
    Ok(())
}

/// Writes the features of all views at `cut`, row after row as little-endian floats of the spec's precision, and returns the
/// original model's logits of all views, `[rows * classes]`.
///
/// # Errors
/// As [`each`], a feature that is no number or too large for the precision, and a file that cannot be written.
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
    let work = |rows: Range<usize>, pixels: &[RgbImage]| {
        let features = original.features(batch::normalised(pixels, &spec.preprocess, device)?, cut);
        let dims = features.dims()[1..].to_vec();
        let own = host(tail.forward(features.clone(), &Pass::eval()).logits());
        let values = host(features.flatten());
        if let Some((at, value)) = spec.precision.misfit(&values) {
            let row = rows.start + at / dims.iter().product::<usize>();
            let (origin, view) = (images.origin(row / spec.count()), row % spec.count());
            return Err(DistillError::Feature { origin, view, value, remedy: remedy(value) });
        }
        Ok((spec.precision.encode(&values), own, dims))
    };
    each(spec, images, workers, report, work, |(bytes, own, row_dims)| {
        file.write_all(&bytes).map_err(io)?;
        logits.extend(own);
        dims = row_dims;
        Ok(())
    })?;
    file.into_inner().map_err(|error| io(error.into_error()))?.sync_all().map_err(io)?;
    std::fs::rename(&temporary, path).map_err(io)?;
    Ok((logits, dims))
}

/// What to do about a feature that cannot be stored.
fn remedy(value: f32) -> &'static str {
    if value.is_finite() {
        "16-bit floats end at 65504; store the features of views with precision = \"f32\""
    } else {
        "this is no number; check the weights"
    }
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
    let work = |_: Range<usize>, pixels: &[RgbImage]| {
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
