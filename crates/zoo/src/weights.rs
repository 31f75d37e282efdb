//! Weights in and out: safetensors whose keys are the paths of the parameters, which are timm's names.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, View};

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

/// All parameters of a module by path.
pub fn state<M: Module>(module: &M) -> State {
    let mut reader = Reader::default();
    module.visit(&mut reader);
    reader.state
}

/// The module with the parameters of `state`; keys that end in `num_batches_tracked` are passed over.
///
/// # Errors
/// Every missing, unexpected and misshapen tensor, by name and with both shapes.
pub fn with_state<M: Module>(module: M, state: State) -> Result<M, Vec<String>> {
    let mut writer = Writer { path: ParameterPath::default(), state, faults: Vec::new() };
    let module = module.map(&mut writer);
    let unexpected = writer.state.keys().filter(|key| !key.ends_with("num_batches_tracked"));
    writer.faults.extend(unexpected.map(|key| format!("unexpected tensor {key}")));
    if writer.faults.is_empty() { Ok(module) } else { Err(writer.faults) }
}

/// Loads a safetensors file into a module.
///
/// # Errors
/// A file that cannot be read, is no safetensors file, or does not fit the module.
pub fn load<M: Module>(module: M, path: &Path) -> Result<M, ZooError> {
    let state = read(path)?;
    with_state(module, state).map_err(|faults| ZooError::Mismatch { path: path.into(), faults })
}

/// Reads a safetensors file; 16-bit and 64-bit floats become 32-bit ones.
///
/// # Errors
/// A file that cannot be read or is no safetensors file.
pub fn read(path: &Path) -> Result<State, ZooError> {
    let bytes = std::fs::read(path).map_err(|source| ZooError::Io { path: path.into(), source })?;
    from_bytes(&bytes).map_err(|reason| ZooError::Format { path: path.into(), reason })
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

/// The bytes of a safetensors file: equal states give equal bytes.
pub fn to_bytes(state: &State) -> Vec<u8> {
    safetensors::serialize(state, None).expect("names are unique and sizes match the shapes")
}

/// The path of the parameter that a visitor or mapper is at. Variants of an enum add no level to a name.
#[derive(Clone, Debug, Default)]
pub struct ParameterPath(Vec<Option<String>>);

impl ParameterPath {
    /// To be called from `enter_module`.
    pub fn enter(&mut self, name: &str, container: &str) {
        self.0.push((!container.starts_with("Enum")).then(|| name.to_owned()));
    }

    /// To be called from `exit_module`.
    pub fn exit(&mut self) {
        self.0.pop();
    }

    /// The name, with dots between the levels.
    pub fn name(&self) -> String {
        self.0.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(".")
    }
}

#[derive(Default)]
struct Reader {
    path: ParameterPath,
    state: State,
}

impl ModuleVisitor for Reader {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let data = param.val().into_data();
        let shape = data.shape().to_vec();
        let values = data.convert::<f32>().try_to_vec::<f32>().expect("converted to f32");
        self.state.insert(self.path.name(), Entry { shape, values });
    }
}

struct Writer {
    path: ParameterPath,
    state: State,
    faults: Vec<String>,
}

impl ModuleMapper for Writer {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        let expected = param.dims().to_vec();
        match self.state.remove(&name) {
            Some(entry) if entry.shape == expected => param.map(|old| {
                let device = old.device();
                Tensor::from_data(TensorData::new(entry.values, entry.shape), &device)
            }),
            Some(entry) => {
                self.faults.push(format!("tensor {name} has shape {:?}, the model needs {expected:?}", entry.shape));
                param
            }
            None => {
                self.faults.push(format!("missing tensor {name} {expected:?}"));
                param
            }
        }
    }
}
