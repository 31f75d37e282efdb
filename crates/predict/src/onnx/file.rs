//! The bytes of an ONNX file and of those beside it that hold its weights.

use std::io::Read;
use std::path::{Component, Path};

use robustify_data::place;
use robustify_report::digest::Running;
use rten_onnx::onnx::{DataLocation, ModelProto, TensorProto};

use super::guard;
use crate::PredictError;

/// An ONNX model as it lies on the disk.
pub(super) struct File {
    /// What the file itself holds.
    pub bytes: Vec<u8>,
    /// Files of weights beside it, by the names that it calls them.
    pub weights: Vec<(String, Vec<u8>)>,
    /// SHA-256 of the file, or of it and its files of weights, one after the other.
    pub sha256: String,
}

impl File {
    /// Reads all of it, and what it says of its graph.
    pub fn read(path: &Path) -> Result<(Self, ModelProto), PredictError> {
        let bytes = whole(path)?;
        let model = parsed(path, &bytes)?;
        let mut digest = Running::default();
        digest.update(&bytes);
        let mut weights = Vec::new();
        for name in outside(path, &model)? {
            let found = whole(&path.with_file_name(&name)).map_err(|error| PredictError::Onnx {
                path: path.into(),
                reason: format!(
                    "its weights lie in the file `{name}`, which belongs beside it: {error}; copy both, or export with \
                     external_data=False"
                ),
            })?;
            digest.update(&found);
            weights.push((name, found));
        }
        Ok((Self { bytes, weights, sha256: digest.so_far() }, model))
    }
}

fn whole(path: &Path) -> Result<Vec<u8>, PredictError> {
    let mut bytes = Vec::new();
    let mut file = place::open(path)?;
    file.read_to_end(&mut bytes).map_err(|source| PredictError::Io { path: path.into(), source })?;
    Ok(bytes)
}

/// The model in some bytes; for what is none, what it is instead.
fn parsed(path: &Path, bytes: &[u8]) -> Result<ModelProto, PredictError> {
    let stranger = |reason: String| PredictError::Onnx { path: path.into(), reason };
    let known: [(&[u8], &str); 5] = [
        (
            b"PK\x03\x04",
            "it is an archive as torch.save writes it, no ONNX model; export the model with torch.onnx.export",
        ),
        (b"\x80\x02", "it is a pickle as torch.save writes it, no ONNX model; export the model with torch.onnx.export"),
        (b"\x89HDF", "it is an HDF5 file as Keras writes it, no ONNX model; convert it with tf2onnx"),
        (b"version https://git-lfs", "it is Git LFS's note of a file, not the file; fetch it with `git lfs pull`"),
        (b"RTEN", "it is a model of rten, no ONNX model; give the ONNX file that it was made of"),
    ];
    if bytes.is_empty() {
        return Err(stranger("the file is empty; export or copy the model again".into()));
    }
    if let Some((_, reason)) = known.into_iter().find(|(start, _)| bytes.starts_with(start)) {
        return Err(stranger(reason.into()));
    }
    let broken =
        |reason: &str| stranger(format!("no ONNX model, or a part of one ({reason}); export or copy it again"));
    let model = guard(|| ModelProto::parse_buf(bytes)).map_err(|reason| broken(&reason))?;
    match (&model.graph, model.ir_version) {
        (Some(graph), Some(_)) if !graph.node.is_empty() && !model.opset_import.is_empty() => Ok(model),
        (Some(graph), Some(_)) if !graph.node.is_empty() => Err(broken("it ends before it says its opset")),
        (Some(_), Some(_)) => Err(broken("its graph has no nodes")),
        _ => Err(broken("there is no graph in it")),
    }
}

/// Names of the files in which some of the weights lie, each once. One that is not beside the model is refused: a model is no reason to
/// read files from elsewhere.
fn outside(path: &Path, model: &ModelProto) -> Result<Vec<String>, PredictError> {
    let graph = model.graph.iter();
    let mut names: Vec<String> = graph.flat_map(|graph| &graph.initializer).filter_map(location).collect();
    names.sort();
    names.dedup();
    for name in &names {
        let mut parts = Path::new(name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            let reason = format!("its weights are said to lie in `{name}`; they have to lie beside it, in one folder");
            return Err(PredictError::Onnx { path: path.into(), reason });
        }
    }
    Ok(names)
}

/// The file that holds a tensor, if that is another one.
fn location(tensor: &TensorProto) -> Option<String> {
    let entry = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some("location"));
    entry.filter(|_| tensor.data_location == Some(DataLocation::EXTERNAL)).and_then(|entry| entry.value.clone())
}
