//! Where the hub and its cache are, by the environment variables of Hugging Face's own programs.
//! Source: huggingface_hub's documentation, "Environment variables".

use std::path::PathBuf;

use anyhow::Context;

use super::client::Client;

/// The hub, its cache, and who asks.
pub struct Place {
    /// Folder of the cache.
    pub cache: PathBuf,
    /// Address without a slash behind it.
    pub endpoint: String,
    /// Whether nothing may be asked of the hub.
    pub offline: bool,
    /// Never to be printed.
    token: Option<String>,
}

impl Place {
    /// Reads `HF_HUB_CACHE`, `HF_HOME`, `HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN` and `HF_TOKEN_PATH`.
    pub fn from_env() -> anyhow::Result<Self> {
        let home = || {
            let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache")));
            let home = variable("HF_HOME").map(expanded).or_else(|| Some(cache?.join("huggingface")));
            home.context("there is no home folder for the cache of the Hugging Face hub; name a folder in HF_HOME")
        };
        let cache = match variable("HF_HUB_CACHE") {
            Some(cache) => expanded(cache),
            None => home()?.join("hub"),
        };
        let file = cache.ancestors().find(|path| path.exists()).filter(|path| !path.is_dir());
        if let Some(file) = file {
            anyhow::bail!(
                "the cache of the Hugging Face hub is to be in {}, but {} is a file; name a folder in HF_HOME or HF_HUB_CACHE",
                cache.display(),
                file.display()
            );
        }
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let offline = variable("HF_HUB_OFFLINE")
            .is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str()));
        let file = match variable("HF_TOKEN_PATH") {
            Some(path) => expanded(path),
            None => home()?.join("token"),
        };
        let stored = || std::fs::read_to_string(file).ok().map(|text| text.trim().to_owned());
        let token = variable("HF_TOKEN").or_else(stored).filter(|token| !token.is_empty());
        let is_printable = |token: &String| token.chars().all(|c| c.is_ascii_graphic());
        anyhow::ensure!(
            token.as_ref().is_none_or(is_printable),
            "the token for the Hugging Face hub has characters that no token has; check HF_TOKEN, or the file that `hf auth \
             login` wrote"
        );
        Ok(Self { cache, endpoint: endpoint.trim_end_matches('/').to_owned(), offline, token })
    }

    /// Whether the hub is told who asks.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// What asks the hub.
    pub fn client(&self) -> Client {
        Client::new(self.endpoint.clone(), self.token.clone())
    }
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// A path with `~` for the user's home folder, which Hugging Face's programs take.
fn expanded(path: String) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(below), Some(home)) => home.join(below),
        _ => path.into(),
    }
}
