//! Weights in and out.
//!
//! [`load`] fills a module from a checkpoint that timm, torchvision, Microsoft's Swin, MAE, DINO or DeiT wrote: it finds the
//! state dict inside of the file ([`Checkpoint`]), renames what other programs name differently ([`Naming`]), and fits what
//! depends on the size of the input. [`convert`] writes a checkpoint under another program's names, [`HubFolder`] is a folder
//! as the Hugging Face hub has them. Our own files are safetensors under the paths of the parameters, which are timm's
//! names: [`state`] and [`to_bytes`] make them, [`read`] and [`with_state`] take them. Weights that are no floats, or no finite
//! numbers, are refused wherever they enter a module.

mod beside;
mod checkpoint;
mod convert;
mod folder;
mod guess;
mod load;
mod locate;
mod module;
mod names;
mod pickle;
mod place;
mod pytorch;
mod raw;
mod recognise;
mod resize;
mod safetensors;
mod sound;
mod state;
mod training;
mod transformers;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use ::safetensors::tensor::{SafeTensors, View};

pub use beside::Beside;
pub use checkpoint::Checkpoint;
pub use convert::{Existing, convert};
pub use folder::{HubFolder, HubKind, HubModel};
pub(crate) use load::has_pooled_norm;
pub use load::{LoadOptions, Loaded, Partial, classes, load, load_from};
pub use module::{ParameterPath, between, names_in, parameters, shapes, state, with_state};
pub use names::{Naming, Shapes, passed_over, recognised, renamed};
pub use raw::{Dtype, RawTensor};
pub use recognise::{Fitting, recognise};
pub use resize::Resized;
pub(crate) use resize::fitted;
pub use sound::{NonFinite, non_finite, read_weights};
pub use training::{changed, gradients, norm_affines, tuned_only};

/// What tables of names are written in.
pub(crate) mod table {
    pub(crate) use super::names::{Pair, changed, numbered, same};
    pub(crate) use super::raw::Change;
}

use crate::ZooError;

/// Parameters by name, as 32-bit floats with their shapes.
pub type State = BTreeMap<String, Entry>;

/// One parameter on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Elements in row-major order.
    pub values: Vec<f32>,
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

/// Reads all tensors of a file, safetensors or PyTorch's, as 32-bit floats under the names they have in it.
///
/// # Errors
/// A file that cannot be read or is no checkpoint.
pub fn read(path: &Path) -> Result<State, ZooError> {
    let checkpoint = Checkpoint::open(path)?;
    let names = checkpoint.names().filter(|name| !name.ends_with("num_batches_tracked"));
    names.map(|name| Ok((name.to_owned(), checkpoint.read(name)?))).collect()
}

/// Parses the bytes of a safetensors file.
///
/// # Errors
/// What is wrong with them, as a sentence.
pub fn from_bytes(bytes: &[u8]) -> Result<State, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut state = State::new();
    for (name, view) in tensors.iter() {
        if name.ends_with("num_batches_tracked") {
            continue;
        }
        let raw = RawTensor { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() };
        state.insert(name.to_owned(), raw.into_entry().map_err(|reason| format!("tensor {name}: {reason}"))?);
    }
    Ok(state)
}

/// One parameter that is written as 16-bit floats.
struct Half<'a>(&'a Entry);

impl View for Half<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F16
    }
    fn shape(&self) -> &[usize] {
        &self.0.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        self.0.values.iter().flat_map(|&value| half::f16::from_f32(value).to_le_bytes()).collect::<Vec<_>>().into()
    }
    fn data_len(&self) -> usize {
        self.0.values.len() * 2
    }
}

/// The bytes of a safetensors file whose header says more under `key`: of 16-bit floats if `half`, else of 32-bit ones.
pub fn to_described_bytes(state: &State, half: bool, key: &str, description: String) -> Vec<u8> {
    let metadata = Some(HashMap::from([(key.to_owned(), description)]));
    let bytes = if half {
        ::safetensors::serialize(state.iter().map(|(name, entry)| (name.as_str(), Half(entry))), metadata)
    } else {
        ::safetensors::serialize(state, metadata)
    };
    bytes.expect("names are unique and sizes match the shapes")
}

/// The bytes of a safetensors file of 16-bit floats: half the size, three significant digits.
pub fn to_half_bytes(state: &State) -> Vec<u8> {
    let halves: BTreeMap<&str, Half<'_>> = state.iter().map(|(name, entry)| (name.as_str(), Half(entry))).collect();
    ::safetensors::serialize(halves, None).expect("names are unique and sizes match the shapes")
}

/// The bytes of a safetensors file: equal states give equal bytes.
pub fn to_bytes(state: &State) -> Vec<u8> {
    ::safetensors::serialize(state, None).expect("names are unique and sizes match the shapes")
}
