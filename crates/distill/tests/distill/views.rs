//! Cached features: what cannot be stored is an error that names the image, and 32-bit floats are a way out.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use robustify_device::Workers;
use robustify_distill::views::Report;
use robustify_distill::{DistillError, Precision, Teacher, ViewCache, ViewJob, ViewSpec};
use robustify_watch::{Progress, Silent, Stopped, Watch};
use robustify_zoo::Model;
use robustify_zoo::weights::{self, State};
use tempfile::TempDir;

use crate::common::{Cached, flex, images, stirred, vit};

/// The model with everything that its second block adds multiplied.
fn loud(factor: f32) -> Model {
    let model = stirred(vit(1));
    let mut state: State = weights::state(&model);
    for name in ["blocks.1.mlp.fc2.weight", "blocks.1.mlp.fc2.bias"] {
        state.get_mut(name).unwrap().values.iter_mut().for_each(|value| *value *= factor);
    }
    weights::with_state(model, state).unwrap()
}

/// A model whose second block overflows, though its weights are finite.
fn overflowing() -> Model {
    let model = stirred(vit(1));
    let mut state: State = weights::state(&model);
    for (name, entry) in state.iter_mut().filter(|(name, _)| name.starts_with("blocks.1.mlp.")) {
        assert!(name.contains("fc"), "{name}");
        entry.values.iter_mut().for_each(|value| *value *= 1e25);
    }
    weights::with_state(model, state).unwrap()
}

/// The features of all views of eight images before the last block, as they come back from the file.
fn through_the_file(model: &Model, precision: Precision) -> Result<Vec<f32>, DistillError> {
    let (device, folder) = (flex(), TempDir::new().unwrap());
    let spec = ViewSpec { precision, ..Cached::new(vit(1), [0, 1], 1).spec };
    let (images, base, workers) = (images(8), &folder.path().join("features"), Workers::new(2).unwrap());
    let cut = model.cut_before_last(1).unwrap();
    let report = Report { name: "features", watch: &Silent, progress: &mut Silent };
    let job = ViewJob { spec: &spec, images: &images, workers: &workers, device: &device, base, identity: "views" };
    let written = job.features(model, cut, report)?;
    let rows: Vec<usize> = (0..8 * spec.count()).collect();
    let cache = ViewCache::read(written.features(), &spec, images.labels().to_vec(), written.dims.clone(), [])?;
    Ok(cache.features(&rows, &device).flatten().into_data().try_to_vec().unwrap())
}

#[test]
fn a_feature_beyond_16_bits_is_an_error_that_names_image_and_setting() {
    let error = through_the_file(&loud(1e6), Precision::F16).unwrap_err();
    assert!(matches!(error, DistillError::Value { .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.starts_with("noise[0]: view 0 has a feature of ") && said.contains("precision = \"f32\""), "{said}");

    let large = through_the_file(&loud(1e6), Precision::F32).unwrap();
    assert!(large.iter().all(|value| value.is_finite()) && large.iter().any(|value| value.abs() > 65504.0));

    for precision in [Precision::F16, Precision::F32] {
        // Finite weights, whose products are not.
        let said = through_the_file(&overflowing(), precision).unwrap_err().to_string();
        assert!(said.starts_with("noise[0]: view 0 has a feature of "), "{said}");
        assert!(
            said.contains("from the original model: this is no number") && said.contains("learning rate"),
            "{said}"
        );
    }
}

#[test]
fn the_image_named_is_the_one_whose_feature_does_not_fit() {
    // Features grow in proportion, so only some images are beyond the edge at the right factor.
    let (largest, per_image) = {
        let values = through_the_file(&loud(1e4), Precision::F32).unwrap();
        let per_image: Vec<f32> =
            values.chunks(values.len() / 8).map(|image| image.iter().fold(0.0, |m: f32, v| m.max(v.abs()))).collect();
        (per_image.iter().copied().fold(0.0, f32::max), per_image)
    };
    let last = per_image.iter().position(|&value| value == largest).unwrap();
    let factor = 1e4 * 65504.0 / largest * 1.001;
    let first_beyond = per_image.iter().position(|&value| value * factor / 1e4 > 65504.0 * 1.0005).unwrap();
    assert_eq!(first_beyond, last, "another image is as large");
    let said = through_the_file(&loud(factor), Precision::F16).unwrap_err().to_string();
    assert!(said.starts_with(&format!("noise[{last}]: ")), "{said}");
}

#[test]
fn floats_of_32_bits_come_back_as_they_were_and_take_twice_the_room() {
    let model = stirred(vit(1));
    let [halves, whole] =
        [Precision::F16, Precision::F32].map(|precision| through_the_file(&model, precision).unwrap());
    assert_ne!(halves, whole);
    assert!(halves.iter().zip(&whole).all(|(half, whole)| half::f16::from_f32(*whole).to_f32() == *half));
    assert_eq!([Precision::F16, Precision::F32].map(Precision::bytes), [2, 4]);

    // A file of the other precision is not read as if it were.
    let cached = Cached::new(vit(1), [0, 1], 1);
    let spec = ViewSpec { precision: Precision::F32, ..cached.spec.clone() };
    let path = cached.folder.path().join("features.f16");
    let labels = cached.images.labels().to_vec();
    assert!(ViewCache::read(&path, &spec, labels, cached.dims.clone(), []).is_err());
}

/// Stops when some pieces of work have asked, and keeps what it hears.
struct Stopping {
    after: usize,
    asked: AtomicUsize,
    heard: Mutex<Vec<String>>,
}

impl Stopping {
    fn after(after: usize) -> Self {
        Self { after, asked: AtomicUsize::new(0), heard: Mutex::default() }
    }

    fn heard(self) -> String {
        self.heard.into_inner().unwrap().join("\n")
    }
}

impl Watch for Stopping {
    fn say(&self, text: &str) {
        self.heard.lock().unwrap().push(text.to_owned());
    }
    fn warn(&self, text: &str) {
        self.say(&format!("warning: {text}"));
    }
    fn progress(&self, _: &str, _: usize) -> Box<dyn Progress> {
        Box::new(Silent)
    }
    fn is_stopped(&self) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst) >= self.after
    }
}

/// The bytes of the features, the logits, and what was said.
type Written = (Vec<u8>, Vec<f32>, Vec<String>);

/// What comes of 720 views: features, logits, and the names of the files that are left.
fn many(folder: &TempDir, threads: usize, watch: &dyn Watch) -> Result<Written, DistillError> {
    let (device, images, workers) = (flex(), images(240), Workers::new(threads).unwrap());
    let (spec, model) = (Cached::new(vit(1), [0, 1], 1).spec, stirred(vit(1)));
    let (base, cut) = (&folder.path().join("views"), model.cut_before_last(1).unwrap());
    let job = ViewJob { spec: &spec, images: &images, workers: &workers, device: &device, base, identity: "views" };
    let written = job.features(&model, cut, Report { name: "features", watch, progress: &mut Silent })?;
    let (path, logits) = (folder.path().join("features"), written.logits.clone());
    written.finish(&path)?;
    let left = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    Ok((std::fs::read(path).unwrap(), logits, left.collect()))
}

#[test]
fn interrupted_features_go_on_where_they_stopped_to_the_same_bytes_on_any_number_of_threads() {
    let folder = || TempDir::new().unwrap();
    let whole = many(&folder(), 2, &Silent).unwrap();
    assert_eq!(whole.2, ["features"], "files are left beside the features");
    let broken = folder();
    let mut before = 0;
    for (threads, after) in [(1, 3), (3, 4), (2, 2), (1, 0)] {
        let watch = Stopping::after(after);
        let error = many(&broken, threads, &watch).unwrap_err();
        assert!(matches!(error, DistillError::Stopped(Stopped::Saved)), "{error:?}");
        let said = watch.heard();
        let rows: usize = said.split(' ').nth(4).map_or(0, |word| word.parse().unwrap());
        assert!(rows >= before, "{said}: not behind {before}");
        before = rows;
    }
    assert!(before >= 128, "every process started over");
    // What was written behind the last note, and not whole, is cut off.
    let part = broken.path().join("views.features.part");
    let mut bytes = std::fs::read(&part).unwrap();
    bytes.extend([7; 99]);
    std::fs::write(&part, bytes).unwrap();
    let last = Stopping::after(usize::MAX);
    assert!(many(&broken, 2, &last).unwrap() == whole, "other bytes than without a break");
    let said = last.heard();
    assert!(said.starts_with("features: continues at view ") && said.ends_with(" of 720"), "{said}");
}

#[test]
fn rows_that_were_damaged_in_between_are_named_and_computed_again() {
    let whole = many(&TempDir::new().unwrap(), 2, &Silent).unwrap();
    for file in ["views.features.part", "views.logits.part", "views.progress"] {
        let broken = TempDir::new().unwrap();
        many(&broken, 1, &Stopping::after(5)).unwrap_err();
        let path = broken.path().join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[9] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
        let watch = Stopping::after(usize::MAX);
        assert!(many(&broken, 2, &watch).unwrap() == whole, "{file}: a flipped bit went through");
        let said = watch.heard();
        assert_eq!(said.contains("warning") && said.contains(file), file.ends_with("part"), "{file}: {said}");
    }
}

#[test]
fn a_logit_that_is_no_number_is_an_error_that_names_model_and_image() {
    let (device, folder) = (flex(), TempDir::new().unwrap());
    let spec = Cached::new(vit(1), [0, 1], 1).spec;
    let (images, base, workers) = (images(8), &folder.path().join("logits"), Workers::new(2).unwrap());
    let job = ViewJob { spec: &spec, images: &images, workers: &workers, device: &device, base, identity: "views" };
    let report = Report { name: "logits", watch: &Silent, progress: &mut Silent };
    let error = job.logits(Teacher::Robust, &overflowing(), &spec.preprocess, report).err().unwrap();
    let said = error.to_string();
    assert!(said.starts_with("noise[0]: view 0 has a logit of ") && said.contains("the robust teacher"), "{said}");
}
