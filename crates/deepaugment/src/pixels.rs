//! Between 8-bit images and tensors.

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;

use crate::DeepAugmentError;

/// A window of an image as a tensor; beyond the right and lower edge, the edge is repeated.
///
/// # Shapes
/// - from: left and upper edge of the window, inside the image
/// - size: its width and height
/// - output: `[1, 3, height, width]` in `[0, 1]`
///
/// # Errors
/// An image without pixels.
pub(crate) fn tensor(
    image: &RgbImage,
    from: [u32; 2],
    size: [u32; 2],
    device: &Device,
) -> Result<Tensor<4>, DeepAugmentError> {
    let (width, height) = image.dimensions();
    if width == 0 || height == 0 {
        return Err(DeepAugmentError::Shape { found: [1, 3, height as usize, width as usize] });
    }
    let mut values = Vec::with_capacity(3 * size[0] as usize * size[1] as usize);
    for channel in 0..3 {
        for y in 0..size[1] {
            let row = (from[1] + y).min(height - 1);
            values.extend((0..size[0]).map(|x| {
                let pixel = image.get_pixel((from[0] + x).min(width - 1), row);
                f32::from(pixel.0[channel]) / 255.0
            }));
        }
    }
    Ok(Tensor::from_data(TensorData::new(values, [1, 3, size[1] as usize, size[0] as usize]), device))
}

/// The upper left part of a tensor as an image, clamped and rounded; what is no number becomes black.
///
/// # Shapes
/// - tensor: `[1, 3, height, width]` in `[0, 1]`
/// - size: width and height of the image, at most those of the tensor
pub(crate) fn image(tensor: Tensor<4>, size: [u32; 2]) -> RgbImage {
    let [_, _, height, width] = tensor.dims();
    let values: Vec<f32> = tensor.into_data().convert::<f32>().try_to_vec().expect("converted to f32");
    RgbImage::from_fn(size[0], size[1], |x, y| {
        let at = y as usize * width + x as usize;
        let level = |channel: usize| (values[channel * height * width + at] * 255.0 + 0.5).clamp(0.0, 255.0) as u8;
        image::Rgb([level(0), level(1), level(2)])
    })
}
