//! Which tensors a pickle describes, under which names, and where their elements lie.
//!
//! Names are the keys and attributes on the way to a tensor, with dots between them. A module of PyTorch is named as its state dict
//! names it: what lies in its `_parameters`, `_buffers` and `_modules` has no level of its own. Sources: PyTorch's `torch/_utils.py`
//! (what rebuilds tensors, and from which arguments) and `torch/serialization.py` (how storages are named).

use std::collections::{BTreeMap, BTreeSet};

use super::pickle::{Node, Object, Pickle, Value};
use super::raw::Dtype;

/// Levels of keys that a name may have.
const MAX_DEPTH: usize = 64;

/// Places of a pickle that are looked at; a container with tensors that it has twice counts twice.
const MAX_PLACES: usize = 1 << 22;

/// Calls that make a tensor: a storage, the first element, sizes, strides, and what does not matter here.
const TENSORS: [&str; 2] = ["torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"];

/// The same with a type of elements of its own, behind two arguments that do not matter.
const TYPED_TENSOR: &str = "torch._utils._rebuild_tensor_v3";

/// Calls whose first argument is the tensor.
const PARAMETERS: [&str; 2] = ["torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"];

/// A subclass of tensors: what is called, of which type, with which arguments.
const SUBCLASS: &str = "torch._tensor._rebuild_from_type_v2";

/// Parts of a module that are no level of its names, and the names of buffers that its state dict does not have.
const PARTS: [&str; 3] = ["_parameters", "_buffers", "_modules"];
const PASSING: &str = "_non_persistent_buffers_set";

/// A tensor in a file of PyTorch.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Laid {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Steps between neighbours along each dimension, in elements.
    pub strides: Vec<usize>,
    /// The first element, counted from the storage's.
    pub first: usize,
    /// The storage by its name.
    pub storage: String,
}

/// All tensors of a pickle by name, and the types of the elements of all storages that it names, those of no tensor included.
#[derive(Debug, Default)]
pub(super) struct State {
    pub tensors: BTreeMap<String, Laid>,
    pub storages: BTreeMap<String, Dtype>,
}

impl State {
    pub(super) fn of(pickle: &Pickle) -> Result<Self, String> {
        let mut walk = Walk {
            pickle,
            state: Self::default(),
            path: Vec::new(),
            places: 0,
            barren: BTreeSet::new(),
            open: BTreeSet::new(),
        };
        walk.value(pickle.root)?;
        Ok(walk.state)
    }
}

struct Walk<'a> {
    pickle: &'a Pickle,
    state: State,
    path: Vec<String>,
    places: usize,
    /// Nodes below which no tensor is.
    barren: BTreeSet<u32>,
    /// Nodes on the way to the present one: an object may hold itself.
    open: BTreeSet<u32>,
}

impl<'a> Walk<'a> {
    fn value(&mut self, value: Value) -> Result<(), String> {
        let (pickle, Value::Node(number)) = (self.pickle, value) else { return Ok(()) };
        let Some(node) = pickle.node(value).filter(|_| !self.barren.contains(&number)) else { return Ok(()) };
        if !self.open.insert(number) {
            return Ok(());
        }
        self.places += 1;
        if self.places > MAX_PLACES {
            return Err("the pickle has too many places for tensors; save the state dict alone".into());
        }
        let before = self.state.tensors.len();
        let result = match node {
            Node::Text(_) | Node::Name(_) => Ok(()),
            Node::Outside(name) => {
                self.storage(*name);
                Ok(())
            }
            Node::List(values) => self.elements(values),
            Node::Tuple(values) => self.elements(values),
            Node::Dict(items) => self.items(items),
            Node::Object(object) => self.object(object),
        };
        self.open.remove(&number);
        if self.state.tensors.len() == before {
            self.barren.insert(number);
        }
        result
    }

    /// Goes on below a key.
    fn below(&mut self, key: String, value: Value) -> Result<(), String> {
        if self.pickle.node(value).is_none() {
            return Ok(());
        }
        if self.path.len() >= MAX_DEPTH {
            return Err(format!("the pickle nests more than {MAX_DEPTH} levels; save the state dict alone"));
        }
        self.path.push(key);
        let result = self.value(value);
        self.path.pop();
        result
    }

    fn elements(&mut self, values: &[Value]) -> Result<(), String> {
        values.iter().enumerate().try_for_each(|(index, value)| self.below(index.to_string(), *value))
    }

    fn items(&mut self, items: &[(Value, Value)]) -> Result<(), String> {
        items.iter().try_for_each(|&(key, value)| match self.key(key) {
            Some(key) => self.below(key, value),
            None => Ok(()),
        })
    }

    fn key(&self, key: Value) -> Option<String> {
        match key {
            Value::Int(number) => Some(number.to_string()),
            key => self.pickle.text(key).map(str::to_owned),
        }
    }

    fn object(&mut self, object: &Object) -> Result<(), String> {
        let pickle = self.pickle;
        let arguments = pickle.sequence(object.arguments).unwrap_or_default();
        let name = pickle.name(object.callee).unwrap_or_default();
        if TENSORS.contains(&name) || name == TYPED_TENSOR {
            return self.tensor(name, arguments);
        }
        if PARAMETERS.contains(&name) {
            return arguments.first().map_or(Ok(()), |&tensor| self.value(tensor));
        }
        if name == SUBCLASS {
            let made = [0, 2].map(|index| arguments.get(index).copied());
            if let [Some(callee), Some(inner)] = made
                && let (Some(name), Some(arguments)) = (pickle.name(callee), pickle.sequence(inner))
                && (TENSORS.contains(&name) || name == TYPED_TENSOR)
            {
                return self.tensor(name, arguments);
            }
            return Ok(());
        }
        // A dictionary may be made of a list of pairs; what else is given to a class is no part of what it holds.
        if name == "collections.OrderedDict"
            && let Some(pairs) = arguments.first().and_then(|&pairs| pickle.sequence(pairs))
        {
            let pairs: Vec<(Value, Value)> = pairs
                .iter()
                .filter_map(|&pair| {
                    <[Value; 2]>::try_from(pickle.sequence(pair)?).ok().map(|[key, value]| (key, value))
                })
                .collect();
            self.items(&pairs)?;
        }
        self.items(&object.items)?;
        self.elements(&object.elements)?;
        self.state(object.state)
    }

    /// What an object's attributes hold: a dictionary, or a pair of one and of slots. Of a module's attributes those count that its state
    /// dict has.
    fn state(&mut self, state: Value) -> Result<(), String> {
        let pickle = self.pickle;
        let attributes = match pickle.node(state) {
            Some(Node::Dict(attributes)) => attributes,
            Some(Node::Tuple(parts)) if parts.len() == 2 => {
                return parts.iter().try_for_each(|part| match pickle.node(*part) {
                    Some(Node::Dict(attributes)) => self.items(attributes),
                    _ => Ok(()),
                });
            }
            _ => return Ok(()),
        };
        let attribute = |wanted: &str| {
            attributes.iter().find(|(key, _)| pickle.text(*key) == Some(wanted)).map(|(_, value)| *value)
        };
        let parts = PARTS.map(attribute);
        if parts.iter().any(Option::is_none) {
            return self.items(attributes);
        }
        let passing = attribute(PASSING).map(|names| self.texts(names)).unwrap_or_default();
        for part in parts.into_iter().flatten() {
            let items = match pickle.node(part) {
                Some(Node::Dict(items)) => items,
                Some(Node::Object(object)) => &object.items,
                _ => continue,
            };
            let kept: Vec<_> = items
                .iter()
                .copied()
                .filter(|(key, _)| !pickle.text(*key).is_some_and(|key| passing.contains(key)))
                .collect();
            self.items(&kept)?;
        }
        Ok(())
    }

    /// The texts of a set, which is a list or made of one.
    fn texts(&self, set: Value) -> BTreeSet<&'a str> {
        let pickle = self.pickle;
        let of = |value: Value| pickle.sequence(value).unwrap_or_default();
        let values = match pickle.node(set) {
            Some(Node::Object(object)) => of(object.arguments).first().map(|&list| of(list)).unwrap_or_default(),
            _ => of(set),
        };
        values.iter().filter_map(|&value| pickle.text(value)).collect()
    }

    fn tensor(&mut self, name: &str, arguments: &[Value]) -> Result<(), String> {
        let [storage, first, shape, strides, rest @ ..] = arguments else { return Ok(()) };
        let Some(Node::Outside(storage)) = self.pickle.node(*storage) else { return Ok(()) };
        let Some((storage, mut dtype)) = self.storage(*storage) else { return Ok(()) };
        if name == TYPED_TENSOR {
            dtype = rest.get(2).and_then(|&dtype| of_type(self.pickle.name(dtype)?));
        }
        let laid = (|| {
            let (shape, strides) = (self.sizes(*shape)?, self.sizes(*strides)?);
            let Value::Int(first) = *first else { return None };
            (shape.len() == strides.len()).then_some(Laid {
                dtype: dtype?,
                shape,
                strides,
                first: first.try_into().ok()?,
                storage,
            })
        })();
        if let Some(laid) = laid {
            self.state.tensors.insert(self.path.join("."), laid);
        }
        Ok(())
    }

    fn sizes(&self, value: Value) -> Option<Vec<usize>> {
        let values = match self.pickle.node(value)? {
            // `torch.Size`, or lists of integers as TorchScript has them.
            Node::Object(object) => {
                let arguments = self.pickle.sequence(object.arguments)?;
                self.pickle.sequence(*arguments.first()?)?
            }
            _ => self.pickle.sequence(value)?,
        };
        let size = |value: &Value| match value {
            Value::Int(size) => usize::try_from(*size).ok(),
            _ => None,
        };
        values.iter().map(size).collect()
    }

    /// A storage's name and the type of its elements: `('storage', type, name, place, count, …)`.
    fn storage(&mut self, name: Value) -> Option<(String, Option<Dtype>)> {
        let pickle = self.pickle;
        let [kind, class, name, ..] = pickle.sequence(name)? else { return None };
        if pickle.text(*kind) != Some("storage") {
            return None;
        }
        let (name, dtype) = (self.key(*name)?, pickle.name(*class).and_then(of_storage));
        if let Some(dtype) = dtype {
            self.state.storages.insert(name.clone(), dtype);
        }
        Some((name, dtype))
    }
}

/// The type of a storage's elements by its class, as in `torch.FloatStorage`.
fn of_storage(class: &str) -> Option<Dtype> {
    Some(match class.rsplit('.').next()?.strip_suffix("Storage")? {
        "Double" => Dtype::F64,
        "Float" => Dtype::F32,
        "Half" => Dtype::F16,
        "BFloat16" => Dtype::BF16,
        "Long" => Dtype::I64,
        "Int" => Dtype::I32,
        "Short" => Dtype::I16,
        "Char" => Dtype::I8,
        "Byte" | "Untyped" => Dtype::U8,
        "Bool" => Dtype::BOOL,
        _ => return None,
    })
}

/// A type of elements by its name, as in `torch.uint16`.
fn of_type(name: &str) -> Option<Dtype> {
    Some(match name.rsplit('.').next()? {
        "float64" => Dtype::F64,
        "float32" => Dtype::F32,
        "float16" => Dtype::F16,
        "bfloat16" => Dtype::BF16,
        "float8_e4m3fn" => Dtype::F8_E4M3,
        "float8_e5m2" => Dtype::F8_E5M2,
        "int64" => Dtype::I64,
        "int32" => Dtype::I32,
        "int16" => Dtype::I16,
        "int8" => Dtype::I8,
        "uint64" => Dtype::U64,
        "uint32" => Dtype::U32,
        "uint16" => Dtype::U16,
        "uint8" => Dtype::U8,
        "bool" => Dtype::BOOL,
        _ => return None,
    })
}
