//! Fixed views of the tuning images, the frozen backbone's features of each, and what a model says about them.
//!
//! The backbone never changes, so its output for a view is computed once, written to a file, and read in every epoch: see
//! [`ViewCache`](crate::ViewCache).

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};
use image::RgbImage;
use robustify_augment::Policy;
use robustify_data::{CleanView, DataError, Images, Preprocess, batch};
use robustify_device::Workers;
use robustify_rng::Key;
use robustify_watch::{Progress, Stopped, Watch};
use robustify_zoo::{CutPoint, Model, Pass};

use crate::growing::Growing;
use crate::{DistillError, Precision, Teacher};

/// Rows that one thread computes at a time.
const ROWS: usize = 64;
/// Time for rows in hand above which fewer are taken.
const LONG: Duration = Duration::from_secs(2);

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
        let (pixels, id) = self.read(images, index)?;
        let key = |purpose| Key::new(self.seed, purpose).with(id).with(view as u64);
        Ok(self.view(pixels, view, &key).map_err(|error| error.of_image(images, index))?)
    }

    /// Two views of one image, by their numbers, as they are in one epoch and in no other.
    ///
    /// # Errors
    /// As [`Self::pixels`].
    pub(crate) fn fresh(
        &self,
        images: &Images,
        index: usize,
        numbers: [usize; 2],
        epoch: usize,
    ) -> Result<[RgbImage; 2], DataError> {
        let (pixels, id) = self.read(images, index)?;
        let view = |number: usize, pixels: RgbImage| {
            let key = |purpose| Key::new(self.seed, purpose).with(id).with(number as u64).with(epoch as u64);
            self.view(pixels, number, &key).map_err(|error| error.of_image(images, index))
        };
        Ok([view(numbers[0], pixels.clone())?, view(numbers[1], pixels)?])
    }

    /// The pixels of an image that views are made of, and its identity.
    fn read(&self, images: &Images, index: usize) -> Result<(RgbImage, u64), DataError> {
        let sample = images.get(index)?;
        let pixels = self.preprocess.pixels(&sample.image).map_err(|error| error.of_image(images, index))?;
        Ok((pixels, sample.id))
    }

    fn view(&self, pixels: RgbImage, view: usize, key: &dyn Fn(&'static str) -> Key) -> Result<RgbImage, DataError> {
        if view == 0 {
            return Ok(pixels);
        }
        let moved = self.clean_view.apply(&pixels, key("view geometry"))?;
        Ok(if view < self.clean { moved } else { self.policy.apply(&moved, key("view augmentation")) })
    }
}

/// Who hears how many rows are done, and who says whether to stop.
pub struct Report<'a> {
    /// What the work is called in what is said of it.
    pub name: &'a str,
    /// Asked whether to stop.
    pub watch: &'a dyn Watch,
    /// Told how many rows are done; the caller, who may have more to do, finishes it.
    pub progress: &'a mut dyn Progress,
}

/// Something that is computed for every view of every image, in order: row `image * views + view`. A stop, or a kill, costs the
/// rows of the last moments: whoever asks again, with any number of threads, continues behind the others.
#[derive(Clone, Copy)]
pub struct ViewJob<'a> {
    /// Which views.
    pub spec: &'a ViewSpec,
    /// Of which images.
    pub images: &'a Images,
    /// Who computes.
    pub workers: &'a Workers,
    /// On what.
    pub device: &'a Device,
    /// Where rows are kept while they are computed: in `BASE.….part`, and in `BASE.progress` how many there are.
    pub base: &'a Path,
    /// Identifies everything that determines the rows; rows of another identity begin anew.
    pub identity: &'a str,
}

/// Rows that are all there, in files that do not have their lasting names yet.
pub struct Written {
    /// A model's logits of all views, `[rows * classes]`.
    pub logits: Vec<f32>,
    /// Dimensions of one row of features; none if there are logits alone.
    pub dims: Vec<usize>,
    growing: Growing,
}

/// The place of the logits among the files, and of the features.
const LOGITS: usize = 0;
const FEATURES: usize = 1;

impl Written {
    /// The file of the features.
    pub fn features(&self) -> &Path {
        self.growing.path(FEATURES)
    }

    /// Checksum of the file of the features.
    pub fn sha256(&self) -> String {
        self.growing.sha256(FEATURES)
    }

    /// Gives the file of the features its lasting name, and removes what was kept beside it. Until then the same job finds all rows
    /// done, so whatever else is made of them should be on the disk before.
    ///
    /// # Errors
    /// Files that cannot be renamed or removed.
    pub fn finish(self, path: &Path) -> Result<(), DistillError> {
        self.growing.finish(FEATURES, path)
    }

    /// Removes all that was kept; as in [`Self::finish`], not before it is of no more use.
    ///
    /// # Errors
    /// Files that cannot be removed.
    pub fn discard(self) -> Result<(), DistillError> {
        self.growing.discard()
    }
}

/// Bytes of some rows for every file, and the dimensions of one row.
type Bytes = (Vec<Vec<u8>>, Vec<usize>);

impl ViewJob<'_> {
    /// Writes the features of all views at `cut`, row after row as little-endian floats of the spec's precision, and the original
    /// model's logits.
    ///
    /// # Errors
    /// An image that cannot be read, a feature or a logit that is no number or too large for the precision, a file that cannot be
    /// written, or an interruption.
    pub fn features(&self, original: &Model, cut: CutPoint, report: Report<'_>) -> Result<Written, DistillError> {
        let tail = original.segment(cut, original.last_cut());
        self.write(&["logits", "features"], report, |rows, pixels| {
            let features = original.features(batch::normalised(pixels, &self.spec.preprocess, self.device)?, cut);
            let dims = features.dims()[1..].to_vec();
            let own = host(tail.forward(features.clone(), &Pass::eval()).logits());
            let values = host(features.flatten());
            // Features first: behind a rectifier, what is no number may look like one.
            self.expect_fit(Teacher::Original, "feature", self.spec.precision, &rows, &values)?;
            self.expect_fit(Teacher::Original, "logit", Precision::F32, &rows, &own)?;
            Ok((vec![Precision::F32.encode(&own), self.spec.precision.encode(&values)], dims))
        })
    }

    /// A model's logits of all views; the model sees the same pixels as the large one, through its own preprocessing.
    ///
    /// # Errors
    /// As [`Self::features`].
    pub fn logits(
        &self,
        of: Teacher,
        model: &Model,
        preprocess: &Preprocess,
        report: Report<'_>,
    ) -> Result<Written, DistillError> {
        self.write(&["logits"], report, |rows, pixels| {
            let own = pixels.iter().map(|image| preprocess.pixels(image)).collect::<Result<Vec<_>, _>>()?;
            let said = host(model.forward(batch::normalised(&own, preprocess, self.device)?, &Pass::eval()));
            self.expect_fit(of, "logit", Precision::F32, &rows, &said)?;
            Ok((vec![Precision::F32.encode(&said)], Vec::new()))
        })
    }

    /// Computes what is not there yet. `work` gets some consecutive rows and their pixels, and returns bytes for every file.
    fn write(
        &self,
        columns: &[&str],
        mut report: Report<'_>,
        work: impl Fn(Range<usize>, &[RgbImage]) -> Result<Bytes, DistillError> + Sync,
    ) -> Result<Written, DistillError> {
        let rows = self.images.len() * self.spec.count();
        let mut growing = Growing::open(self.base, self.identity, rows, columns, report.watch)?;
        if (1..rows).contains(&growing.rows()) {
            report.watch.say(&format!("{}: continues at view {} of {rows}", report.name, growing.rows()));
        }
        let computed = self.compute(&mut growing, &mut report, work);
        // However it ended, what is there is whole.
        let kept = growing.keep();
        computed.and(kept)?;
        Ok(Written { logits: growing.floats(LOGITS)?, dims: growing.dims.clone(), growing })
    }

    fn compute(
        &self,
        growing: &mut Growing,
        report: &mut Report<'_>,
        work: impl Fn(Range<usize>, &[RgbImage]) -> Result<Bytes, DistillError> + Sync,
    ) -> Result<(), DistillError> {
        let (rows, watch) = (self.images.len() * self.spec.count(), report.watch);
        let (mut shares, threads) = (1, self.workers.threads());
        while growing.rows() < rows {
            watch.check(Stopped::Saved)?;
            let clock = Instant::now();
            let end = (growing.rows() + ROWS * threads * shares).min(rows);
            let chunks = (growing.rows()..end).step_by(ROWS).map(|first| first..(first + ROWS).min(end)).collect();
            let results = self.workers.map(chunks, |chunk| {
                // Rows that were not begun wait for the next process.
                (!watch.is_stopped())
                    .then(|| (chunk.len(), self.pixels(&chunk).and_then(|pixels| work(chunk, &pixels))))
            });
            for (count, result) in results.into_iter().map_while(|result| result) {
                let (bytes, dims) = result?;
                growing.dims = dims;
                growing.append(count, &bytes.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
            }
            report.progress.set(growing.rows(), "");
            // Several chunks for each thread keep all of them at work, few of them lose less in a kill.
            shares = if clock.elapsed() < LONG { (2 * shares).min(4) } else { (shares / 2).max(1) };
        }
        Ok(())
    }

    fn pixels(&self, rows: &Range<usize>) -> Result<Vec<RgbImage>, DistillError> {
        let views = self.spec.count();
        rows.clone().map(|row| self.spec.pixels(self.images, row / views, row % views)).collect()
    }

    /// An error unless all values of some rows can be stored.
    fn expect_fit(
        &self,
        of: Teacher,
        what: &'static str,
        precision: Precision,
        rows: &Range<usize>,
        values: &[f32],
    ) -> Result<(), DistillError> {
        let Some((at, value)) = precision.misfit(values) else { return Ok(()) };
        let row = rows.start + at * rows.len() / values.len();
        let (origin, view) = (self.images.origin(row / self.spec.count()), row % self.spec.count());
        Err(DistillError::Value { of, what, origin, view, value, remedy: remedy(value) })
    }
}

/// What to do about a value that cannot be stored.
pub(crate) fn remedy(value: f32) -> &'static str {
    if value.is_finite() {
        "16-bit floats end at 65504; store the features of views with views.precision = \"f32\""
    } else {
        "this is no number. Its weights are finite, so they are too large for this network: check that they belong to it and to its \
         preprocessing, or train it again at a lower learning rate"
    }
}

fn host(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_to_vec().expect("converted to f32")
}
