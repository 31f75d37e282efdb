//! Names of the Hugging Face hub, which may stand wherever a checkpoint's path does: `hf-hub:OWNER/REPO`, as timm and
//! open_clip write them, `hf-hub:OWNER/REPO/FILE` for one file, and either with `@REVISION` behind it.
//!
//! [`local`] and [`image_weights`] turn either into a path. With the feature `download` a name is downloaded into the cache that Hugging
//! Face's own programs use, by the [`Environment`] that those programs read; without it a name is an error that says so.
//!
//! ```
//! use robustify_hub::{Environment, HubName, local};
//! use robustify_watch::Silent;
//! use robustify_zoo::weights::HubKind;
//!
//! let name: HubName = "timm/vit_small_patch16_224.augreg_in1k@main".parse()?;
//! assert_eq!((name.repository.as_str(), name.revision.as_deref()), ("timm/vit_small_patch16_224.augreg_in1k", Some("main")));
//! // A path stands for itself, and nothing is asked of the hub.
//! let path = local("weights/model.safetensors".as_ref(), HubKind::Image, &Environment::default(), &Silent)?;
//! assert_eq!(path.to_str(), Some("weights/model.safetensors"));
//! # Ok::<(), anyhow::Error>(())
//! ```
#![deny(missing_docs)]

#[cfg(feature = "download")]
mod client;
mod environment;
#[cfg(feature = "download")]
mod fetch;
#[cfg(feature = "download")]
mod place;
#[cfg(feature = "download")]
mod transfer;

pub use environment::Environment;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use robustify_watch::Watch;
use robustify_zoo::weights::{HubFolder, HubKind};

/// What a path of a checkpoint stands for: itself, or the local copy of what a name of the hub means.
///
/// # Errors
/// A name that is none, or that cannot be downloaded.
pub fn local(path: &Path, kind: HubKind, environment: &Environment, watch: &dyn Watch) -> anyhow::Result<PathBuf> {
    match path.to_str().and_then(name_of) {
        Some(name) => obtain(&name.parse::<HubName>()?, kind, environment, watch),
        None => Ok(path.to_owned()),
    }
}

/// The file with the weights of an image model, by the path of a file or folder, or a name of the hub.
///
/// # Errors
/// As [`local`], and a folder without a model.
pub fn image_weights(path: &Path, environment: &Environment, watch: &dyn Watch) -> anyhow::Result<PathBuf> {
    let path = local(path, HubKind::Image, environment, watch)?;
    Ok(if path.is_dir() { HubFolder::open_as(&path, HubKind::Image)?.weights } else { path })
}

#[cfg(feature = "download")]
use fetch::obtain;

#[cfg(not(feature = "download"))]
fn obtain(name: &HubName, _: HubKind, _: &Environment, _: &dyn Watch) -> anyhow::Result<PathBuf> {
    anyhow::bail!(
        "{name}: this program was built without access to the Hugging Face hub. `cargo xtask SUBCOMMAND --hub …` builds it in; \
         or download the files of https://huggingface.co/{} and give their path",
        name.repository
    )
}

/// What stands behind `hf-hub:`, or `hf_hub:`, which timm takes too.
fn name_of(text: &str) -> Option<&str> {
    text.strip_prefix("hf-hub:").or_else(|| text.strip_prefix("hf_hub:"))
}

/// A model on the hub, or one of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubName {
    /// `OWNER/REPO`.
    pub repository: String,
    /// One file, by its path in the repository.
    pub file: Option<String>,
    /// A branch, a tag or a commit.
    pub revision: Option<String>,
}

impl FromStr for HubName {
    type Err = anyhow::Error;

    /// Reads a name without its `hf-hub:`. Whatever is read is safe as a part of a path and of an address.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (path, revision) = match text.split_once('@') {
            Some((path, revision)) => (path, Some(revision)),
            None => (text, None),
        };
        let plain = |part: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
            !part.is_empty() && !part.starts_with('.') && part.chars().all(known)
        };
        let parts: Vec<&str> = path.split('/').collect();
        let sound = parts.len() >= 2 && parts.iter().copied().all(plain);
        anyhow::ensure!(
            sound && revision.is_none_or(|revision| revision.split('/').all(plain)),
            "`hf-hub:{text}` is no name of the Hugging Face hub: expected hf-hub:OWNER/REPO, hf-hub:OWNER/REPO/FILE, or either with \
             @REVISION behind it, as in hf-hub:timm/vit_small_patch16_224.augreg_in1k"
        );
        let file = parts[2..].join("/");
        Ok(Self {
            repository: parts[..2].join("/"),
            file: (!file.is_empty()).then_some(file),
            revision: revision.map(str::to_owned),
        })
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf-hub:{}", self.repository)?;
        self.file.iter().try_for_each(|file| write!(f, "/{file}"))?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_an_owner_and_perhaps_a_file_and_a_revision() {
        for text in ["timm/a.b", "timm/a.b@v1.0", "o/r/model.safetensors", "o/r/folder/model.bin@refs/pr/1"] {
            let name: HubName = text.parse().unwrap();
            assert_eq!(name.to_string(), format!("hf-hub:{text}"));
            assert_eq!(name.repository.matches('/').count(), 1);
        }
        let name: HubName = "o/r/folder/model.bin@refs/pr/1".parse().unwrap();
        assert_eq!((name.file.as_deref(), name.revision.as_deref()), (Some("folder/model.bin"), Some("refs/pr/1")));
    }

    #[test]
    fn what_is_no_name_or_leaves_the_cache_is_refused() {
        for text in [
            "",
            "timm",
            "timm/",
            "/x",
            "o/..",
            "../x",
            "o/r/../../x",
            "o/r@",
            "o/r@../x",
            "o/r@a@b",
            "o/r?x",
            "o r/x",
            "o/r/",
        ] {
            let error = text.parse::<HubName>().unwrap_err().to_string();
            assert!(error.contains("OWNER/REPO") && error.contains(text), "{error}");
        }
        assert_eq!(name_of("hf_hub:timm/x"), Some("timm/x"));
        assert_eq!(name_of("models/hf-hub:x"), None);
    }
}
