//! What the tests share: a device, random tensors, and goldens from PyTorch.

use burn::tensor::{Device, Tensor, TensorData};
use robustify_rng::Key;

use crate::state::{self, Entry, State};

pub fn device() -> Device {
    robustify_device::open(Some("flex")).unwrap()
}

/// Standard normal.
pub fn random<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    let mut stream = Key::new(seed, "test").stream();
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// A file of `goldens`.
pub struct Golden(pub State);

impl Golden {
    pub fn read(bytes: &[u8]) -> Self {
        Self(state::from_bytes(bytes).unwrap())
    }

    pub fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        self.0.get(name).unwrap_or_else(|| panic!("the golden has no {name}")).tensor(device)
    }

    /// The tensors under a prefix, without it.
    pub fn under(&self, prefix: &str) -> State {
        let entries = self.0.iter();
        entries.filter_map(|(name, entry)| Some((name.strip_prefix(prefix)?.to_owned(), entry.clone()))).collect()
    }

    /// Panics where an element differs by more than `tolerance`.
    pub fn compare<const D: usize>(&self, name: &str, found: Tensor<D>, tolerance: f32) {
        let expected = &self.0[name];
        assert_eq!(found.dims().to_vec(), expected.shape, "{name}");
        let found = values(found);
        let worst = found.iter().zip(&expected.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= tolerance && found.iter().all(|value| value.is_finite()), "{name}: off by {worst}");
    }
}

/// Standard normal numbers on the host.
pub fn filled(shape: &[usize], seed: u64) -> Entry {
    let mut stream = Key::new(seed, "test").stream();
    let values = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
    Entry { shape: shape.to_vec(), values }
}
