//! Grids of another size: images, and tokens of a grid.

use burn::tensor::{Device, Tensor, TensorData};

/// A grid at another size, bilinear, with a filter that widens where the grid shrinks (as Pillow's).
///
/// # Shapes
/// - x: `[rows, height, width, channels]`
/// - output: `[rows, to[0], to[1], channels]`
pub(super) fn resampled(x: Tensor<4>, to: [usize; 2]) -> Tensor<4> {
    let [rows, height, width, channels] = x.dims();
    if [height, width] == to {
        return x;
    }
    let device = x.device().without_autodiff();
    let tall = weights(height, to[0], &device).unsqueeze::<3>().matmul(x.reshape([rows, height, width * channels]));
    let lines = tall.reshape([rows * to[0], width, channels]);
    weights(width, to[1], &device).unsqueeze::<3>().matmul(lines).reshape([rows, to[0], to[1], channels])
}

/// For each of `to` places the weights of `from` ones, `[to, from]`.
fn weights(from: usize, to: usize, device: &Device) -> Tensor<2> {
    let scale = from as f64 / to as f64;
    let support = scale.max(1.0);
    let mut values = Vec::with_capacity(to * from);
    for place in 0..to {
        let centre = (place as f64 + 0.5) * scale;
        let weight = |at: usize| (1.0 - ((at as f64 + 0.5 - centre) / support).abs()).max(0.0);
        let sum: f64 = (0..from).map(weight).sum();
        values.extend((0..from).map(|at| (weight(at) / sum) as f32));
    }
    Tensor::from_data(TensorData::new(values, [to, from]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_grows_and_shrinks() {
        let device = robustify_device::open(Some("flex")).unwrap();
        let row = |values: &[f32]| Tensor::<1>::from_floats(values, &device).reshape([1, 1, values.len() as i32, 1]);
        let got = |x: Tensor<4>, to| resampled(x, to).into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(got(row(&[0.0, 1.0]), [1, 4]), [0.0, 0.25, 0.75, 1.0]);
        assert_eq!(got(row(&[0.0, 1.0, 2.0, 3.0]), [2, 2]).len(), 4);
        let halved = got(row(&[0.0, 1.0, 2.0, 3.0]), [1, 2]);
        assert!((halved[0] - 5.0 / 7.0).abs() < 1e-6 && (halved[0] + halved[1] - 3.0).abs() < 1e-6, "{halved:?}");
    }
}
