//! Rows on the host to tensors on a device.

use burn::tensor::{Device, Int, Tensor, TensorData};
use image::RgbImage;

use crate::Preprocess;
use crate::error::{DataError, Result};

/// Stacks images into one tensor.
///
/// # Shapes
/// - rows: each `[channels, height, width]`, flattened, as [`crate::Preprocess::write_chw`] writes them
/// - output: `[batch, channels, height, width]`
///
/// # Errors
/// [`DataError::Shape`] when there is no row or one has another length.
pub fn images<R: AsRef<[f32]>>(
    rows: &[R],
    [channels, height, width]: [usize; 3],
    device: &Device,
) -> Result<Tensor<4>> {
    let len = channels * height * width;
    let odd = rows.iter().position(|row| row.as_ref().len() != len);
    if rows.is_empty() || odd.is_some() {
        return Err(DataError::Shape {
            op: "batch".to_owned(),
            expected: format!("rows of {len} values ({channels}x{height}x{width})"),
            found: odd.map_or("no rows".to_owned(), |at| format!("{} values in row {at}", rows[at].as_ref().len())),
            remedy: "end the preprocessing in one size, with center_crop(n) or resize(h,w)",
        });
    }
    let mut values = Vec::with_capacity(rows.len() * len);
    rows.iter().for_each(|row| values.extend_from_slice(row.as_ref()));
    Ok(Tensor::from_data(TensorData::new(values, [rows.len(), channels, height, width]), device))
}

/// A model's normalised input from pixels of one size.
///
/// # Shapes
/// - output: `[images, 3, height, width]`
///
/// # Errors
/// Images of different sizes.
pub fn normalised(pixels: &[RgbImage], preprocess: &Preprocess, device: &Device) -> Result<Tensor<4>> {
    let (width, height) = pixels.first().map_or((0, 0), RgbImage::dimensions);
    let mut rows = Vec::with_capacity(pixels.len());
    for image in pixels {
        let mut row = vec![0.0; 3 * (image.width() * image.height()) as usize];
        preprocess.write_chw(image, &mut row)?;
        rows.push(row);
    }
    images(&rows, [3, height as usize, width as usize], device)
}

/// Labels as a tensor.
///
/// # Shapes
/// - output: `[batch]`
pub fn labels(labels: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
    Tensor::from_data(TensorData::new(values, [labels.len()]), device)
}
