//! Rows on the host to tensors on a device.

use burn::tensor::{Device, Int, Tensor, TensorData};

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

/// Labels as a tensor.
///
/// # Shapes
/// - output: `[batch]`
pub fn labels(labels: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
    Tensor::from_data(TensorData::new(values, [labels.len()]), device)
}
