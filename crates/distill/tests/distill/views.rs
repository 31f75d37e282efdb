//! Cached features: what cannot be stored is an error that names the image, and 32-bit floats are a way out.

use robustify_device::Workers;
use robustify_distill::views;
use robustify_distill::views::Report;
use robustify_distill::{DistillError, Precision, ViewCache, ViewSpec};
use robustify_watch::Silent;
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
    let (images, path, workers) = (images(8), folder.path().join("features"), Workers::new(2).unwrap());
    let cut = model.cut_before_last(1).unwrap();
    let report = Report { watch: &Silent, progress: &mut Silent };
    let (_, dims) = views::write_features(&spec, &images, model, cut, &path, &workers, &device, report)?;
    let rows: Vec<usize> = (0..8 * spec.count()).collect();
    let cache = ViewCache::read(&path, &spec, images.labels().to_vec(), dims, [])?;
    Ok(cache.features(&rows, &device).flatten().into_data().try_to_vec().unwrap())
}

#[test]
fn a_feature_beyond_16_bits_is_an_error_that_names_image_and_setting() {
    let error = through_the_file(&loud(1e6), Precision::F16).unwrap_err();
    assert!(matches!(error, DistillError::Feature { .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.starts_with("noise[0]: view 0 has a feature of ") && said.contains("precision = \"f32\""), "{said}");

    let large = through_the_file(&loud(1e6), Precision::F32).unwrap();
    assert!(large.iter().all(|value| value.is_finite()) && large.iter().any(|value| value.abs() > 65504.0));

    for precision in [Precision::F16, Precision::F32] {
        let said = through_the_file(&overflowing(), precision).unwrap_err().to_string();
        assert!(said.starts_with("noise[0]: view 0") && said.contains("no number"), "{said}");
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
