//! The optimizer beyond PyTorch's: clipping many parameters.

use burn::tensor::Tensor;
use robustify_distill::optimizer::{self, Gradients};
use robustify_rng::Key;

use crate::common::flex;

fn vector(name: &str, count: usize) -> Vec<f32> {
    let mut stream = Key::new(1, name).stream();
    (0..count).map(|_| stream.normal() as f32).collect()
}

#[test]
fn the_norm_is_that_of_all_parameters_to_the_bit() {
    let named: Vec<(String, Vec<f32>)> = (1..40).map(|n| (format!("p{n:02}"), vector("gradient", n * n))).collect();
    let tensor = |values: &Vec<f32>| Tensor::<1>::from_data(values.as_slice(), &flex());
    let gradients: Gradients = named.iter().map(|(name, values)| (name.clone(), tensor(values))).collect();
    let sums = gradients.values().map(|g| f64::from((g.clone() * g.clone()).sum().into_scalar::<f32>()));
    let expected = sums.sum::<f64>().sqrt();
    let (kept, norm) = optimizer::clip(gradients.clone(), expected);
    assert_eq!(norm, expected);
    let of = |all: &Gradients| all["p39"].clone().into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(of(&kept), of(&gradients));
    let (clipped, norm) = optimizer::clip(gradients, expected / 2.0);
    let (_, after) = optimizer::clip(clipped, f64::INFINITY);
    assert!(norm == expected && (after / expected - 0.5).abs() < 1e-6, "{after} of {expected}");
    assert_eq!(optimizer::clip(Gradients::new(), 1.0).1, 0.0);
}
