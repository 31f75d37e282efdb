//! What a graph says of itself, read without running it: what goes in, what comes out, and what it does at both ends.

use rten_onnx::onnx::{AttributeProto, DataType, GraphProto, NodeProto, TensorProto, ValueInfoProto};

use super::Layout;

/// Most pictures that are computed at once.
const MAX_BATCH: usize = 1024;

/// Where pictures go in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Input {
    /// Its name.
    pub name: String,
    /// Whether it takes levels from 0 to 255 as bytes; floats otherwise.
    pub bytes: bool,
    /// Pictures that it takes at once, if their number is fixed.
    pub batch: Option<usize>,
    /// 3, or 1 of grey pictures.
    pub channels: usize,
    /// Order of its axes.
    pub layout: Layout,
    /// Height, if it is fixed.
    pub height: Option<usize>,
    /// Width, if it is fixed.
    pub width: Option<usize>,
}

/// What a graph does last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nothing that matters: numbers that a softmax may be taken of.
    Plain,
    /// A softmax of the value of this name.
    Softmax(String),
    /// A sigmoid of it.
    Sigmoid(String),
}

/// Pixels in, as `(pixel - mean) / std` of what the graph is given, by channel or once for all.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OwnNormalization {
    pub mean: Vec<f32>,
    pub std: Vec<f32>,
}

/// A shape as people write it: `[batch, 3, 224, 224]`.
pub(super) fn shape_text(value: &ValueInfoProto) -> String {
    let Some(dims) = dims(value) else { return "of no known shape".into() };
    let shown: Vec<String> = dims.into_iter().map(|dim| dim.map_or("?".into(), |size| size.to_string())).collect();
    format!("[{}]", shown.join(", "))
}

/// The sizes of a value's axes, where they are fixed.
fn dims(value: &ValueInfoProto) -> Option<Vec<Option<usize>>> {
    let shape = value.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?;
    let fixed = |size: Option<i64>| size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
    Some(shape.dim.iter().map(|dim| fixed(dim.dim_value)).collect())
}

/// The pictures' way in.
///
/// # Errors
/// A graph that takes something else than pictures: the reason, and the way out.
pub(super) fn input(graph: &GraphProto, layout: Option<Layout>) -> Result<Input, String> {
    let values: Vec<&ValueInfoProto> =
        graph.input.iter().filter(|value| initializer(graph, value.name()).is_none()).collect();
    let [value] = values[..] else {
        let names: Vec<&str> = values.iter().map(|value| value.name()).collect();
        return Err(format!(
            "it takes {} inputs ({}); a classifier takes one, the pictures",
            names.len(),
            names.join(", ")
        ));
    };
    let name = value.name().to_owned();
    let kind = value.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref()).and_then(|tensor| tensor.elem_type);
    let bytes = match kind {
        // What is stored in 16 or 64 bits is computed in 32.
        Some(DataType::FLOAT | DataType::FLOAT16 | DataType::DOUBLE) => false,
        Some(DataType::UINT8) => true,
        other => {
            let other = other.as_ref().and_then(|kind| kind.name()).unwrap_or("values of no known type");
            return Err(format!("its input `{name}` takes {other}; pictures are float32 or uint8: export it so"));
        }
    };
    let picture = "a picture is [batch, 3, height, width] or [batch, height, width, 3], with 1 for 3 if it is grey";
    let Some(&[batch, first, second, last]) = dims(value).as_deref() else {
        return Err(format!("its input `{name}` is {}; {picture}", shape_text(value)));
    };
    let layout = match layout.or_else(|| layout_of(first, last)).or_else(|| layout_by_use(graph, &name)) {
        Some(layout) => layout,
        None if [first, last].contains(&None) => {
            return Err(format!(
                "its input `{name}` is {} and does not say which axis holds the colours; give --layout nchw (PyTorch's) or --layout nhwc",
                shape_text(value)
            ));
        }
        None => return Err(format!("its input `{name}` is {}; {picture}", shape_text(value))),
    };
    let (channels, height, width) = match layout {
        Layout::Nchw => (first, second, last),
        Layout::Nhwc => (last, first, second),
    };
    match channels.or_else(|| channels_by_use(graph, &name)).unwrap_or(3) {
        1 | 3 if batch.is_some_and(|batch| batch > MAX_BATCH) => Err(format!(
            "its input `{name}` is {}: more than {MAX_BATCH} pictures at once; export it with a smaller or free batch",
            shape_text(value)
        )),
        channels @ (1 | 3) => Ok(Input { name, bytes, batch, channels, layout, height, width }),
        other => Err(format!("its input `{name}` is {}, with {other} channels; {picture}", shape_text(value))),
    }
}

/// The layout by which axis has the size of colours.
fn layout_of(first: Option<usize>, last: Option<usize>) -> Option<Layout> {
    let colours = |size: Option<usize>| matches!(size, Some(1 | 3));
    match (colours(first), colours(last)) {
        (true, false) => Some(Layout::Nchw),
        (false, true) => Some(Layout::Nhwc),
        _ => None,
    }
}

/// The layout by what is done to the input first: ONNX convolves in the order of PyTorch.
fn layout_by_use(graph: &GraphProto, name: &str) -> Option<Layout> {
    let node = consumer(graph, name)?;
    match node.op_type.as_deref()? {
        "Conv" => Some(Layout::Nchw),
        "Transpose" if attribute(node, "perm")?.ints == [0, 3, 1, 2] => Some(Layout::Nhwc),
        _ => None,
    }
}

/// The channels that a convolution of the input expects.
fn channels_by_use(graph: &GraphProto, name: &str) -> Option<usize> {
    let node = consumer(graph, name).filter(|node| node.op_type.as_deref() == Some("Conv"))?;
    let weight = initializer(graph, node.input.get(1)?)?;
    usize::try_from(*weight.dims.get(1)?).ok()
}

/// The output of a name, or the only one.
///
/// # Errors
/// Several of them and no name, or a name that none has.
pub(super) fn output<'a>(graph: &'a GraphProto, wanted: Option<&str>) -> Result<&'a ValueInfoProto, String> {
    let listed = || {
        let shown = graph.output.iter().map(|value| format!("`{}` {}", value.name(), shape_text(value)));
        shown.collect::<Vec<_>>().join(", ")
    };
    match (wanted, &graph.output[..]) {
        (None, [only]) => Ok(only),
        (None, []) => Err("it has no output".into()),
        (None, _) => Err(format!("it has several outputs: {}; name the one with the classes: --output NAME", listed())),
        (Some(name), all) => all
            .iter()
            .find(|value| value.name() == name)
            .ok_or_else(|| format!("it has no output `{name}`; it has {}", listed())),
    }
}

/// What is done last before an output.
pub(super) fn ending(graph: &GraphProto, output: &str) -> Ending {
    let mut name = output;
    // No graph of n nodes has a longer way back, unless it is a circle.
    for _ in 0..=graph.node.len() {
        let Some(node) = graph.node.iter().find(|node| node.output.iter().any(|out| out == name)) else { break };
        let Some(before) = node.input.first() else { break };
        match node.op_type.as_deref() {
            Some("Softmax") => return Ending::Softmax(before.clone()),
            Some("Sigmoid") => return Ending::Sigmoid(before.clone()),
            Some("Identity" | "Flatten" | "Reshape" | "Squeeze" | "Cast") => name = before,
            _ => break,
        }
    }
    Ending::Plain
}

/// Numbers that training or the exporter settled: elements of all floating tensors.
pub(super) fn parameters(graph: &GraphProto) -> u64 {
    let floats = [DataType::FLOAT, DataType::FLOAT16, DataType::BFLOAT16, DataType::DOUBLE];
    let counted = graph.initializer.iter().filter(|tensor| tensor.data_type.is_some_and(|kind| floats.contains(&kind)));
    counted.map(elements).fold(0, u64::saturating_add)
}

fn elements(tensor: &TensorProto) -> u64 {
    tensor.dims.iter().map(|size| u64::try_from(*size).unwrap_or(0)).fold(1, u64::saturating_mul)
}

/// The normalisation that a graph begins with: sums with and products by constants of one value or one a channel, before anything else.
pub(super) fn own_normalization(graph: &GraphProto, input: &Input) -> Option<OwnNormalization> {
    let (mut scale, mut shift) = (vec![1.0_f32; input.channels], vec![0.0_f32; input.channels]);
    let (mut name, mut found) = (input.name.as_str(), false);
    for _ in 0..=graph.node.len() {
        let Some(node) = consumer(graph, name) else { break };
        let (Some(op), Some(out)) = (node.op_type.as_deref(), node.output.first()) else { break };
        if !matches!(op, "Cast" | "Identity" | "Transpose") {
            let Some(by) = other_operand(graph, node, name, input.channels) else { break };
            let is_first = node.input.first().is_some_and(|first| first == name);
            for channel in 0..input.channels {
                let by = by[channel % by.len()];
                let (scale, shift) = (&mut scale[channel], &mut shift[channel]);
                match op {
                    "Add" => *shift += by,
                    "Sub" if is_first => *shift -= by,
                    "Mul" => (*scale, *shift) = (*scale * by, *shift * by),
                    "Div" if is_first => (*scale, *shift) = (*scale / by, *shift / by),
                    _ => return None,
                }
            }
            found = true;
        }
        name = out;
    }
    let usable = scale.iter().all(|scale| scale.is_normal()) && shift.iter().all(|shift| shift.is_finite());
    (found && usable).then(|| OwnNormalization {
        mean: scale.iter().zip(&shift).map(|(scale, shift)| -shift / scale + 0.0).collect(),
        std: scale.iter().map(|scale| 1.0 / scale).collect(),
    })
}

/// The constant beside `name` in an operation of two operands: one value, or one for each channel.
fn other_operand(graph: &GraphProto, node: &NodeProto, name: &str, channels: usize) -> Option<Vec<f32>> {
    if !matches!(node.op_type.as_deref()?, "Add" | "Sub" | "Mul" | "Div") {
        return None;
    }
    let other = node.input.iter().find(|input| *input != name)?;
    let values = initializer(graph, other).and_then(floats).or_else(|| {
        let node = graph.node.iter().find(|node| node.output.iter().any(|out| out == other))?;
        (node.op_type.as_deref() == Some("Constant")).then_some(())?;
        match (attribute(node, "value"), attribute(node, "value_float")) {
            (Some(value), _) => value.t.as_ref().and_then(floats),
            (None, Some(value)) => value.f.map(|value| vec![value]),
            (None, None) => None,
        }
    })?;
    [1, channels].contains(&values.len()).then_some(values)
}

/// The values of a small tensor of 32-bit floats.
fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    if tensor.data_type != Some(DataType::FLOAT) || elements(tensor) > 16 {
        return None;
    }
    let raw = tensor.raw_data.as_ref().map(|raw| {
        let raw = raw.borrow();
        raw.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
    });
    Some(raw.unwrap_or_else(|| tensor.float_data.clone())).filter(|values: &Vec<f32>| !values.is_empty())
}

/// The only node that reads a value.
fn consumer<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a NodeProto> {
    let mut readers = graph.node.iter().filter(|node| node.input.iter().any(|input| input == name));
    readers.next().filter(|_| readers.next().is_none())
}

pub(super) fn initializer<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a TensorProto> {
    graph.initializer.iter().find(|tensor| tensor.name.as_deref() == Some(name))
}

pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
}

/// A name that is there in every graph that can be run.
trait Named {
    fn name(&self) -> &str;
}

impl Named for ValueInfoProto {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}
