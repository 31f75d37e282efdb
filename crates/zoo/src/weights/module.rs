//! Parameters of a module by path, out and in.

use std::collections::{BTreeMap, HashMap};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};

use super::names::Shapes as NamedShapes;
use super::sound::NonFinite;
use super::{Entry, State};
use crate::ZooError;

/// All parameters of a module by path.
pub fn state<M: Module>(module: &M) -> State {
    let mut reader = Reader::default();
    module.visit(&mut reader);
    reader.state
}

/// Dimensions of all parameters of a module by path. Nothing is initialised for it.
pub fn shapes<M: Module>(module: &M) -> NamedShapes {
    let mut reader = Shapes::default();
    module.visit(&mut reader);
    reader.shapes
}

/// The names in a whole of the parameters of a part that was cloned from it, by their names in the part.
pub fn names_in<M: Module, P: Module>(whole: &M, part: &P) -> BTreeMap<String, String> {
    let mut all = Identities::default();
    whole.visit(&mut all);
    let names: HashMap<ParamId, String> = all.found.into_iter().map(|(name, id)| (id, name)).collect();
    let mut own = Identities::default();
    part.visit(&mut own);
    own.found.into_iter().filter_map(|(name, id)| Some((name, names.get(&id)?.clone()))).collect()
}

/// Number of scalars in the weights of a module, as PyTorch counts parameters: without BatchNorm's running statistics.
/// Nothing is initialised for it.
pub fn parameters<M: Module>(module: &M) -> usize {
    let is_statistic = |name: &str| name.ends_with(".running_mean") || name.ends_with(".running_var");
    let counted = shapes(module).into_iter().filter(|(name, _)| !is_statistic(name));
    counted.map(|(_, shape)| shape.iter().product::<usize>()).sum()
}

/// The module with the parameters of `state`; keys that end in `num_batches_tracked` are passed over.
///
/// # Errors
/// Every missing, unexpected and misshapen tensor, by name and with both shapes, and every one with values that are not finite.
pub fn with_state<M: Module>(module: M, mut state: State) -> Result<M, Vec<String>> {
    let mut faults = Vec::new();
    let module = fill(module, |name, expected| match state.remove(name) {
        Some(entry) if entry.shape == expected => {
            let found = NonFinite::find(&entry.values);
            faults.extend(found.map(|found| format!("tensor {name}: {found}")));
            found.is_none().then_some(entry)
        }
        Some(entry) => {
            faults.push(misshapen(name, &entry.shape, expected));
            None
        }
        None => {
            faults.push(missing(name, expected));
            None
        }
    });
    let unexpected = state.iter().filter(|(key, _)| !key.ends_with("num_batches_tracked"));
    faults.extend(unexpected.map(|(key, entry)| unexpected_tensor(key, &entry.shape)));
    if faults.is_empty() { Ok(module) } else { Err(faults) }
}

/// The module at `share` of the way between two of one kind, `(1 - share) from + share to`, tensor by tensor; 0 and 1 are the ends to the
/// bit.
///
/// # Errors
/// Tensors that are not of one shape in both, by name.
pub fn between<M: Module>(from: M, to: &M, share: f64) -> Result<M, ZooError> {
    let mut mixed = state(&from);
    let other = state(to);
    for (name, entry) in &mut mixed {
        let misfit = || ZooError::Config(format!("tensor {name} is not of one shape in both models"));
        let to = other.get(name).filter(|to| to.shape == entry.shape).ok_or_else(misfit)?;
        for (value, &to) in entry.values.iter_mut().zip(&to.values) {
            *value = ((1.0 - share) * f64::from(*value) + share * f64::from(to)) as f32;
        }
    }
    with_state(from, mixed).map_err(|faults| ZooError::Config(faults.join("; ")))
}

pub(super) fn missing(name: &str, expected: &[usize]) -> String {
    format!("missing tensor {name} {expected:?}")
}

pub(super) fn misshapen(name: &str, found: &[usize], expected: &[usize]) -> String {
    format!("tensor {name} has shape {found:?}, the model needs {expected:?}")
}

pub(super) fn unexpected_tensor(name: &str, found: &[usize]) -> String {
    format!("unexpected tensor {name} {found:?}")
}

/// The module with the parameters that `provide` has for their name and dimensions; the others stay. One is asked for at a
/// time, and parameters that are still blank take no memory in between.
pub(super) fn fill<M: Module>(module: M, provide: impl FnMut(&str, &[usize]) -> Option<Entry>) -> M {
    module.map(&mut Writer { path: ParameterPath::default(), provide })
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

#[derive(Default)]
struct Shapes {
    path: ParameterPath,
    shapes: NamedShapes,
}

impl ModuleVisitor for Shapes {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.shapes.insert(self.path.name(), param.lazy_shape().to_vec());
    }
}

#[derive(Default)]
struct Identities {
    path: ParameterPath,
    found: Vec<(String, ParamId)>,
}

impl ModuleVisitor for Identities {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push((self.path.name(), param.id));
    }
}

struct Writer<F> {
    path: ParameterPath,
    provide: F,
}

impl<F: FnMut(&str, &[usize]) -> Option<Entry>> ModuleMapper for Writer<F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(entry) = (self.provide)(&self.path.name(), &param.lazy_shape().to_vec()) else { return param };
        let (id, device) = (param.id, param.lazy_device());
        param.transform_for_load(Tensor::from_data(TensorData::new(entry.values, entry.shape), &device), id)
    }
}
