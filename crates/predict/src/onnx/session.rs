//! Running a graph: one thread a call, no panic.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rten::{Dimension, Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView};
use rten_onnx::onnx::GraphProto;
use rten_tensor::prelude::*;
use rten_tensor::{Tensor, TensorView};

use super::file::File;
use super::{guard, macs};

/// A graph that is ready to run. Calls may run side by side, each on a thread of its own.
pub(super) struct Session {
    model: Model,
    input: NodeId,
    output: NodeId,
    /// Threads that no call uses now. The runtime would spread a call over all cores otherwise, and sums might depend on it.
    idle: Mutex<Vec<Arc<ThreadPool>>>,
}

/// What goes in: `[batch, ...]`.
pub(super) enum Pixels {
    Floats(Vec<f32>),
    Bytes(Vec<u8>),
}

impl Pixels {
    fn view(&self, shape: [usize; 4]) -> ValueOrView<'_> {
        match self {
            Self::Floats(values) => TensorView::from_data(&shape, values.as_slice()).into(),
            Self::Bytes(values) => TensorView::from_data(&shape, values.as_slice()).into(),
        }
    }
}

/// Files of weights for the runtime, shared by all that is loaded with them.
fn options(weights: Vec<(String, Vec<u8>)>) -> ModelOptions {
    let mut options = ModelOptions::with_all_ops();
    for (name, bytes) in weights {
        options.external_data(&name, bytes);
    }
    options
}

impl Session {
    /// A graph from its file, and the number of its multiply-accumulates for inputs of a shape, if it can be known.
    ///
    /// # Errors
    /// Operations that the runtime does not know, or a damaged graph.
    pub fn open(
        file: File,
        graph: &GraphProto,
        names: [&str; 2],
        shape: [usize; 4],
        bytes: bool,
    ) -> Result<(Self, Option<u64>), String> {
        let mut options = options(file.weights);
        let macs = match macs::countable(graph) {
            true => {
                counted(options.clone().enable_optimization(false), file.bytes.clone(), graph, names[0], shape, bytes)
            }
            false => None,
        };
        let model = guard(|| options.prepack_weights(true).load(file.bytes))?;
        let id = |name: &str| model.find_node(name).ok_or_else(|| format!("the graph has no value `{name}`"));
        let (input, output) = (id(names[0])?, id(names[1])?);
        Ok((Self { model, input, output, idle: Mutex::default() }, macs))
    }

    /// The output for some pixels: its shape and its values.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn run(&self, pixels: &Pixels, shape: [usize; 4]) -> Result<(Vec<usize>, Vec<f32>), String> {
        let thread = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let thread = thread.unwrap_or_else(|| Arc::new(ThreadPool::with_num_threads(1)));
        let asked = RunOptions::default().with_thread_pool(Some(thread.clone()));
        let said = guard(|| self.model.run_n(vec![(self.input, pixels.view(shape))], [self.output], Some(asked)));
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        let [value] = said?;
        let values: Tensor<f32> = value.try_into().map_err(|error| format!("its output holds no floats: {error}"))?;
        Ok((values.shape().to_vec(), values.to_vec()))
    }
}

/// Multiply-accumulates for an image, from the shapes that a blank input leaves in the graph as it was written: the optimised one has
/// other nodes.
fn counted(
    options: &ModelOptions,
    bytes: Vec<u8>,
    graph: &GraphProto,
    input: &str,
    shape: [usize; 4],
    is_bytes: bool,
) -> Option<u64> {
    let model = guard(|| options.load(bytes)).ok()?;
    let count = shape.iter().product();
    let blank = if is_bytes { Pixels::Bytes(vec![0; count]) } else { Pixels::Floats(vec![0.0; count]) };
    let mut shapes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut computed: Vec<(String, NodeId)> = Vec::new();
    for name in macs::asked(graph) {
        let id = model.find_node(&name)?;
        let fixed = |dim: &Dimension| if let Dimension::Fixed(size) = dim { Some(*size) } else { None };
        let known = model.node_info(id)?.shape().and_then(|dims| dims.iter().map(fixed).collect::<Option<Vec<_>>>());
        match known {
            Some(known) => drop(shapes.insert(name, known)),
            None => computed.push((name, id)),
        }
    }
    let ids: Vec<NodeId> = computed.iter().map(|(_, id)| *id).collect();
    let thread = Arc::new(ThreadPool::with_num_threads(1));
    let asked = RunOptions::default().with_thread_pool(Some(thread));
    let values: Vec<Value> = match ids.is_empty() {
        true => Vec::new(),
        false => guard(|| {
            model
                .run(vec![(model.find_node(input).ok_or("no input")?, blank.view(shape))], &ids, Some(asked))
                .map_err(|error| error.to_string())
        })
        .ok()?,
    };
    for ((name, _), value) in computed.into_iter().zip(values) {
        shapes.insert(name, value.shape().to_vec());
    }
    Some(macs::count(graph, |name| shapes.get(name).cloned())? / shape[0] as u64)
}
