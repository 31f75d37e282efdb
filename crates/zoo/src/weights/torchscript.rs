//! TorchScript archives, as OpenAI publishes CLIP: programs whose pickle holds modules as objects instead of dictionaries.
//!
//! An object is pickled as its class, an instance made of no arguments, and the dictionary of its attributes. With an empty
//! dictionary in place of the instance, the same pickle holds nested dictionaries, and their paths are the names of the
//! state dict. The reader of pickles takes a file, so a copy of the archive is made for it, with the pickle so changed and
//! without the program.

use std::fs::File;
use std::io::{BufReader, Cursor};

use pytorch_reader::OpCode;
use tempfile::NamedTempFile;
use zip::ZipArchive;

use super::archive::{Part, copy};
use super::pytorch::pass_argument;

/// A copy of an archive that holds a state dict in the system's folder for temporary files; it goes away when dropped.
pub(super) fn state_dict(archive: &mut ZipArchive<BufReader<File>>) -> Result<NamedTempFile, String> {
    copy(archive, |name, pickle| {
        // Relative to the folder that the archive has everything in.
        Ok(match name.split_once('/').map(|(_, name)| name) {
            Some("data.pkl") => Part::Becomes(dictionaries(pickle.all()?)?),
            Some(inner) if inner.starts_with("data/") || inner == "byteorder" => Part::Stays,
            _ => Part::Goes,
        })
    })
}

/// The pickle with an empty dictionary in place of every instance made of no arguments.
fn dictionaries(pickle: Vec<u8>) -> Result<Vec<u8>, String> {
    const INSTANCE: [u8; 2] = [OpCode::EmptyTuple as u8, OpCode::NewObj as u8];
    const DICTIONARY: [u8; 2] = [OpCode::Pop as u8, OpCode::EmptyDict as u8];
    let mut changed = pickle.clone();
    let mut rest = Cursor::new(pickle.as_slice());
    loop {
        let at = rest.position() as usize;
        let code = pickle.get(at).and_then(|&byte| OpCode::try_from(byte).ok());
        rest.set_position(at as u64 + 1);
        match code {
            None => return Err(format!("the pickle is damaged at byte {at}; copy or download the file again")),
            Some(OpCode::Stop) => return Ok(changed),
            Some(OpCode::EmptyTuple) if pickle[at..].starts_with(&INSTANCE) => {
                changed[at..at + 2].copy_from_slice(&DICTIONARY);
                rest.set_position(at as u64 + 2);
            }
            Some(code) => pass_argument(code, &mut rest).map_err(|error| format!("the pickle is damaged: {error}"))?,
        }
    }
}
