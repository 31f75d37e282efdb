//! Convolutions by name. A network here is such a table and a function over it: the names of the original PyTorch modules
//! (`body.3.body.0`) are no names of Rust fields, and a perturbation replaces a few entries.

use std::collections::BTreeMap;

use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{Device, Tensor};

use crate::state::{Entry, State};

/// What a layer's tensors must look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub name: String,
    /// `[outputs, inputs, kernel, kernel]`; a transposed convolution has inputs first.
    pub weight: [usize; 4],
    /// Length of the bias.
    pub bias: usize,
}

impl Shape {
    /// A convolution from `inputs` to `outputs` channels.
    pub(crate) fn conv(name: impl Into<String>, [inputs, outputs]: [usize; 2], kernel: usize) -> Self {
        Self { name: name.into(), weight: [outputs, inputs, kernel, kernel], bias: outputs }
    }

    /// A transposed convolution from `inputs` to `outputs` channels.
    pub(crate) fn transposed(name: impl Into<String>, [inputs, outputs]: [usize; 2], kernel: usize) -> Self {
        Self { name: name.into(), weight: [inputs, outputs, kernel, kernel], bias: outputs }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub weight: Tensor<4>,
    pub bias: Tensor<1>,
}

/// Layers by name, to compute with.
pub(crate) type Table = BTreeMap<String, Layer>;

/// A network's weights on the host, and on a device.
#[derive(Clone, Debug)]
pub(crate) struct Layers {
    pub state: State,
    pub table: Table,
    pub device: Device,
}

impl Layers {
    /// Puts weights on a device.
    ///
    /// # Errors
    /// Every missing, unexpected and misshapen tensor.
    pub(crate) fn new(shapes: &[Shape], state: State, device: &Device) -> Result<Self, Vec<String>> {
        let faults = faults(shapes, &state);
        if !faults.is_empty() {
            return Err(faults);
        }
        let layer = |shape: &Shape| {
            let tensor = |part: &str| &state[&format!("{}.{part}", shape.name)];
            Layer { weight: tensor("weight").tensor(device), bias: tensor("bias").tensor(device) }
        };
        let table = shapes.iter().map(|shape| (shape.name.clone(), layer(shape))).collect();
        Ok(Self { state, table, device: device.clone() })
    }

    /// The layers with some tensors replaced by others of the same shapes; names that there are not are passed over.
    pub(crate) fn table_with(&self, changed: &State) -> Table {
        let mut table = self.table.clone();
        for (name, entry) in changed {
            match name.rsplit_once('.').and_then(|(layer, part)| Some((table.get_mut(layer)?, part))) {
                Some((layer, "weight")) => layer.weight = entry.tensor(&self.device),
                Some((layer, "bias")) => layer.bias = entry.tensor(&self.device),
                _ => {}
            }
        }
        table
    }
}

/// A convolution with padding as PyTorch counts it.
///
/// # Shapes
/// - x: `[batch, inputs, height, width]`
/// - output: `[batch, outputs, height', width']`
pub(crate) fn conv(layer: &Layer, x: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
    let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
    burn::tensor::module::conv2d(x, layer.weight.clone(), Some(layer.bias.clone()), options)
}

/// A transposed convolution of stride 2 without padding.
///
/// # Shapes
/// - x: `[batch, inputs, height, width]`
/// - output: `[batch, outputs, 2 * height, 2 * width]` for a kernel of 2
pub(crate) fn conv_transposed(layer: &Layer, x: Tensor<4>) -> Tensor<4> {
    let options = ConvTransposeOptions::new([2; 2], [0; 2], [0; 2], [1; 2], 1);
    burn::tensor::module::conv_transpose2d(x, layer.weight.clone(), Some(layer.bias.clone()), options)
}

/// Moves groups of four channels into squares of 2x2 pixels. Source: Shi et al. 2016, arXiv:1609.05158.
///
/// # Shapes
/// - x: `[batch, 4 * channels, height, width]`
/// - output: `[batch, channels, 2 * height, 2 * width]`
pub(crate) fn pixel_shuffle(x: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let x = x.reshape([batch, channels / 4, 2, 2, height, width]).permute([0, 1, 4, 2, 5, 3]);
    x.reshape([batch, channels / 4, 2 * height, 2 * width])
}

fn faults(shapes: &[Shape], state: &State) -> Vec<String> {
    let expected: BTreeMap<String, Vec<usize>> = shapes
        .iter()
        .flat_map(|shape| {
            [
                (format!("{}.weight", shape.name), shape.weight.to_vec()),
                (format!("{}.bias", shape.name), vec![shape.bias]),
            ]
        })
        .collect();
    let mut faults = Vec::new();
    for (name, shape) in &expected {
        match state.get(name) {
            None => faults.push(format!("missing tensor {name} {shape:?}")),
            Some(Entry { shape: found, .. }) if found != shape => {
                faults.push(format!("tensor {name} has shape {found:?}, the network needs {shape:?}"));
            }
            Some(_) => {}
        }
    }
    let unexpected = state.keys().filter(|name| !expected.contains_key(*name));
    faults.extend(unexpected.map(|name| format!("unexpected tensor {name}")));
    faults
}
