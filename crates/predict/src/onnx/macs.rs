//! Multiply-accumulates of a graph, counted from the shapes of what flows through it.

use rten_onnx::onnx::{GraphProto, NodeProto};

use super::graph::{attribute, initializer};

/// Operations with products that are not counted here: a graph with one of them has no known number.
const UNKNOWN: [&str; 20] = [
    "Attention",
    "ConvInteger",
    "DynamicQuantizeMatMul",
    "DeformConv",
    "Einsum",
    "FusedConv",
    "FusedMatMul",
    "GRU",
    "GroupQueryAttention",
    "If",
    "LSTM",
    "Loop",
    "MatMulInteger",
    "MatMulNBits",
    "MultiHeadAttention",
    "QLinearConv",
    "QLinearMatMul",
    "RNN",
    "Scan",
    "STFT",
];

/// Whether it is known how many multiply-accumulates a graph has once shapes are.
pub(super) fn countable(graph: &GraphProto) -> bool {
    !graph.node.iter().any(|node| node.op_type.as_deref().is_some_and(|op| UNKNOWN.contains(&op)))
}

/// The values whose shapes [`count`] asks for.
pub(super) fn asked(graph: &GraphProto) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for node in graph.node.iter().filter(|node| counts(node)) {
        let computed = node.input.iter().take(2).filter(|name| initializer(graph, name).is_none());
        names.extend(node.output.first().into_iter().chain(computed).cloned());
    }
    names.sort();
    names.dedup();
    names
}

fn counts(node: &NodeProto) -> bool {
    matches!(node.op_type.as_deref(), Some("Conv" | "ConvTranspose" | "Gemm" | "MatMul"))
}

/// Multiply-accumulates of convolutions and matrix products, biases and all else left out; none if a shape is missing.
pub(super) fn count(graph: &GraphProto, shape: impl Fn(&str) -> Option<Vec<usize>>) -> Option<u64> {
    let shape = |name: &String| match initializer(graph, name) {
        Some(tensor) => tensor.dims.iter().map(|size| usize::try_from(*size).ok()).collect(),
        None => shape(name),
    };
    let mut sum = 0_u64;
    for node in graph.node.iter().filter(|node| counts(node)) {
        let [first, second] = [shape(node.input.first()?)?, shape(node.input.get(1)?)?];
        let each = match node.op_type.as_deref()? {
            // Weights are `[out, in, ...]`, or `[in, out, ...]` of a transposed one: what follows the first axis is met once.
            "Conv" | "ConvTranspose" => second.get(1..)?.iter().product(),
            "Gemm" if attribute(node, "transA").and_then(|found| found.i) == Some(1) => *first.first()?,
            _ => *first.last()?,
        };
        let times = match node.op_type.as_deref()? {
            "ConvTranspose" => first,
            _ => shape(node.output.first()?)?,
        };
        sum += times.iter().product::<usize>() as u64 * each as u64;
    }
    Some(sum)
}
