//! Maps of another size. Both ways are linear along each axis, so that a small matrix an axis does it, forward and backward.

use burn::tensor::{Tensor, TensorData};

/// Bilinear, as PyTorch's `interpolate` has it with `align_corners=False` and no antialiasing.
///
/// # Shapes
/// - maps: `[batch, channels, height, width]`
/// - size: height and width of the output
pub fn resize_bilinear(maps: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [_, _, height, width] = maps.dims();
    if [height, width] == size {
        return maps;
    }
    along_both(maps, [between(height, size[0]), between(width, size[1])], size)
}

/// The means of `side` by `side` parts, as PyTorch's `AdaptiveAvgPool2d` has them: parts overlap where `side` does not divide a map, and
/// repeat where it is larger.
///
/// # Shapes
/// - maps: `[batch, channels, height, width]`
/// - output: `[batch, channels, side, side]`
pub fn average_pool(maps: Tensor<4>, side: usize) -> Tensor<4> {
    let [_, _, height, width] = maps.dims();
    along_both(maps, [parts(height, side), parts(width, side)], [side; 2])
}

/// What each of `to` places takes of `from`, row by row.
fn between(from: usize, to: usize) -> Vec<f32> {
    let mut matrix = vec![0.0; to * from];
    for place in 0..to {
        let at = ((place as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
        let first = (at as usize).min(from - 1);
        let part = (at - first as f64) as f32;
        matrix[place * from + first] += 1.0 - part;
        matrix[place * from + (first + 1).min(from - 1)] += part;
    }
    matrix
}

fn parts(from: usize, to: usize) -> Vec<f32> {
    let mut matrix = vec![0.0; to * from];
    for part in 0..to {
        let range = part * from / to..((part + 1) * from).div_ceil(to);
        let share = 1.0 / range.len() as f32;
        range.for_each(|place| matrix[part * from + place] = share);
    }
    matrix
}

fn along_both(maps: Tensor<4>, [rows, columns]: [Vec<f32>; 2], [high, wide]: [usize; 2]) -> Tensor<4> {
    let [batch, channels, height, width] = maps.dims();
    let device = maps.device().without_autodiff();
    let matrix = |values: Vec<f32>, to: usize, from: usize| {
        Tensor::<2>::from_data(TensorData::new(values, [to, from]), &device).transpose()
    };
    let maps = maps.reshape([batch * channels * height, width]).matmul(matrix(columns, wide, width));
    let maps = maps.reshape([batch * channels, height, wide]).swap_dims(1, 2);
    let maps = maps.reshape([batch * channels * wide, height]).matmul(matrix(rows, high, height));
    maps.reshape([batch * channels, wide, high]).swap_dims(1, 2).reshape([batch, channels, high, wide])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_maps_are_resized_as_by_hand() {
        // Centres of four places over two lie at -0.25 (held at 0), 0.25, 0.75 and 1.25.
        assert_eq!(between(2, 4), [1.0, 0.0, 0.75, 0.25, 0.25, 0.75, 0.0, 1.0]);
        assert_eq!(parts(3, 2), [0.5, 0.5, 0.0, 0.0, 0.5, 0.5]);
        assert_eq!(parts(2, 3), [1.0, 0.0, 0.5, 0.5, 0.0, 1.0]);
        let device = robustify_device::open(Some("flex")).unwrap();
        let map = Tensor::<4>::from_data([[[[0.0_f32, 4.0], [8.0, 12.0]]]], &device);
        let wider = resize_bilinear(map.clone(), [1, 4]);
        assert_eq!(wider.into_data().try_to_vec::<f32>().unwrap(), [4.0, 5.0, 7.0, 8.0]);
        assert_eq!(average_pool(map, 1).into_data().try_to_vec::<f32>().unwrap(), [6.0]);
    }
}
