//! The derivatives that tch 0.22 does not export, called through TorchScript.
//!
//! The bindings leave out every op with an array of booleans, and with them the derivatives of convolutions and normalisations,
//! which are told by one which gradients are wanted. LibTorch's interpreter of TorchScript has all ops: `backward.py` calls
//! these three, and is loaded from an archive made in memory.

use std::io::{Cursor, Write};
use std::sync::OnceLock;

use tch::{CModule, IValue, Tensor};
use zip::write::{SimpleFileOptions, ZipWriter};

/// A module without parameters whose methods are the derivatives.
const CODE: &str = include_str!("backward.py");

/// What else LibTorch expects in an archive: a pickle of the module, `Backward()` with an empty dictionary, and one of its
/// constants, an empty tuple. Source: `torch/csrc/jit/serialization/` and `caffe2/serialize/versions.h` of PyTorch 2.9.0.
const FILES: [(&str, &[u8]); 4] = [
    ("backward/version", b"3\n"),
    ("backward/constants.pkl", b"\x80\x02)."),
    ("backward/data.pkl", b"\x80\x02c__torch__\nBackward\n)\x81}b."),
    ("backward/code/__torch__.py", CODE.as_bytes()),
];

/// The gradients of the first three inputs of an op of `backward.py`, `None` for those that are not wanted.
pub(super) fn gradients(op: &str, arguments: Vec<IValue>) -> [Option<Tensor>; 3] {
    static MODULE: OnceLock<CModule> = OnceLock::new();
    let found = tch::no_grad(|| MODULE.get_or_init(load).method_is(op, &arguments));
    let found: (Tensor, Tensor, Tensor) = match found.and_then(TryInto::try_into) {
        Ok(found) => found,
        Err(error) => panic!("LibTorch refused the backward pass `{op}`: {error}"),
    };
    // LibTorch returns a tensor that is not defined for a gradient that it was not asked for.
    <[Tensor; 3]>::from(found).map(|tensor| Some(tensor).filter(Tensor::defined))
}

fn load() -> CModule {
    let loaded = archive().map_err(|error| error.to_string());
    match loaded.and_then(|bytes| CModule::load_data(&mut Cursor::new(bytes)).map_err(|error| error.to_string())) {
        Ok(module) => module,
        Err(error) => unreachable!("LibTorch 2.9.0 reads the archive of `backward.py`: {error}"),
    }
}

fn archive() -> zip::result::ZipResult<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in FILES {
        archive.start_file(name, options)?;
        archive.write_all(content)?;
    }
    Ok(archive.finish()?.into_inner())
}

/// An argument.
pub(super) fn tensor(tensor: &Tensor) -> IValue {
    IValue::Tensor(tensor.shallow_clone())
}

/// An argument that may be missing.
pub(super) fn optional(given: Option<&Tensor>) -> IValue {
    given.map_or(IValue::None, tensor)
}
