//! Weights on the host, by name, and safetensors files of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, View};

use crate::DeepAugmentError;

/// Tensors by name.
pub type State = BTreeMap<String, Entry>;

/// One tensor on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Elements in row-major order.
    pub values: Vec<f32>,
}

impl Entry {
    /// The tensor on a device, if it has `D` dimensions.
    pub(crate) fn tensor<const D: usize>(&self, device: &Device) -> Tensor<D> {
        Tensor::from_data(TensorData::new(self.values.clone(), self.shape.clone()), device)
    }

    /// A copy of a tensor on the host.
    pub(crate) fn of<const D: usize>(tensor: &Tensor<D>) -> Self {
        let values = tensor.clone().into_data().convert::<f32>().try_to_vec().expect("converted to f32");
        Self { shape: tensor.dims().to_vec(), values }
    }
}

impl View for &Entry {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>().into()
    }
    fn data_len(&self) -> usize {
        self.values.len() * 4
    }
}

/// Parses a safetensors file; floats of other widths become 32-bit ones.
///
/// # Errors
/// What is wrong, as a sentence.
pub fn from_bytes(bytes: &[u8]) -> Result<State, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut state = State::new();
    for (name, view) in tensors.iter() {
        let dtype = match view.dtype() {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F64 => DType::F64,
            other => return Err(format!("tensor {name} has type {other:?}, floats are expected")),
        };
        let data = TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype);
        let values = data.convert::<f32>().try_to_vec::<f32>().map_err(|error| format!("tensor {name}: {error:?}"))?;
        state.insert(name.to_owned(), Entry { shape: view.shape().to_vec(), values });
    }
    Ok(state)
}

/// The bytes of a safetensors file. Equal states with the same, at most one, entry of metadata give equal bytes.
pub(crate) fn to_bytes(state: &State, metadata: (&str, String)) -> Vec<u8> {
    let metadata = HashMap::from([(metadata.0.to_owned(), metadata.1)]);
    safetensors::serialize(state, Some(metadata)).expect("names are unique and sizes match the shapes")
}

/// An entry of the metadata of a safetensors file.
pub(crate) fn metadata(bytes: &[u8], name: &str) -> Result<Option<String>, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    Ok(header.metadata().as_ref().and_then(|metadata| metadata.get(name).cloned()))
}

/// Reads a whole file.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, DeepAugmentError> {
    std::fs::read(path).map_err(|source| DeepAugmentError::Io { path: path.into(), source })
}

/// Reads a safetensors file; `expected` says in errors what it should be.
pub(crate) fn load(path: &Path, expected: &'static str) -> Result<State, DeepAugmentError> {
    let bytes = read_file(path)?;
    let origin = || path.display().to_string();
    from_bytes(&bytes).map_err(|reason| DeepAugmentError::Format { origin: origin(), expected, reason })
}
