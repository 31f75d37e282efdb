//! Forwards over a whole set of images.

use burn::tensor::{Device, Tensor};
use robustify_data::{Images, Preprocess, batch};
use robustify_device::Workers;
use robustify_zoo::{Model, Pass};

use crate::BenchError;

/// Rows that one thread computes at a time.
pub const ROWS: usize = 64;

/// Part of the images whose largest logit is the label's.
///
/// # Errors
/// An image that cannot be read or that the preprocessing cannot take.
pub fn accuracy(
    model: &Model,
    images: &Images,
    preprocess: &Preprocess,
    workers: &Workers,
    device: &Device,
) -> Result<f64, BenchError> {
    let said = predictions(model, images, preprocess, workers, device)?;
    let right = said.iter().zip(images.labels()).filter(|(a, b)| a == b).count();
    Ok(right as f64 / images.len().max(1) as f64)
}

/// The class with the largest logit, image by image.
///
/// # Errors
/// An image that cannot be read or that the preprocessing cannot take.
pub fn predictions(
    model: &Model,
    images: &Images,
    preprocess: &Preprocess,
    workers: &Workers,
    device: &Device,
) -> Result<Vec<usize>, BenchError> {
    let parts = workers.map(chunks(images.len()), |indices| -> Result<Vec<usize>, BenchError> {
        let mut rows = Vec::new();
        for index in indices {
            let sample = images.get(index)?;
            rows.push(preprocess.pixels(&sample.image).map_err(|error| error.of_image(images, index))?);
        }
        Ok(argmax(model.forward(batch::normalised(&rows, preprocess, device)?, &Pass::eval())))
    });
    let parts: Vec<Vec<usize>> = parts.into_iter().collect::<Result<_, _>>()?;
    Ok(parts.concat())
}

/// `0..count` in chunks of [`ROWS`].
pub fn chunks(count: usize) -> Vec<std::ops::Range<usize>> {
    (0..count).step_by(ROWS).map(|start| start..(start + ROWS).min(count)).collect()
}

/// Index of the largest logit of every row; the first of equals.
pub fn argmax(logits: Tensor<2>) -> Vec<usize> {
    let classes = logits.dims()[1];
    let values: Vec<f32> = logits.into_data().convert::<f32>().try_to_vec().expect("converted to f32");
    values.chunks_exact(classes).map(robustify_select::argmax).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use image::RgbImage;
    use robustify_data::MemorySet;

    use super::*;

    #[test]
    fn an_image_that_does_not_fit_is_named() {
        let device = robustify_device::open(Some("flex")).unwrap();
        let config = r#"{"architecture": "vit", "image_size": 16, "patch_size": 8, "width": 8, "depth": 1, "heads": 2,
                         "classes": 2}"#;
        let model = Model::new(&serde_json::from_str(config).unwrap(), 1, &device).unwrap();
        let pictures = vec![RgbImage::new(12, 12); 2];
        let set = MemorySet::from_images("small", &pictures, vec![0, 1], vec!["a".into(), "b".into()]).unwrap();
        let images: Images = Arc::new(set);
        let (preprocess, workers) = ("center_crop(16)".parse().unwrap(), Workers::new(1).unwrap());
        let said = accuracy(&model, &images, &preprocess, &workers, &device).unwrap_err().to_string();
        assert!(said.starts_with("small[0]: center_crop to 16x16"), "{said}");
    }
}
