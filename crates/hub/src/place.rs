//! Where the hub and its cache are, by what Hugging Face's own programs read from the environment.
//! Source: huggingface_hub's documentation, "Environment variables".

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::Environment;
use crate::client::Client;

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
    /// Where Hugging Face's own programs would look in this environment.
    pub fn of(environment: &Environment) -> anyhow::Result<Self> {
        let Environment { user_home, .. } = environment;
        let expanded = |path: &String| expanded(path, user_home.as_deref());
        let home = || {
            let cache = environment.user_caches.as_ref().map(PathBuf::from);
            let cache = cache.or_else(|| Some(user_home.as_ref()?.join(".cache")));
            let home = environment.home.as_ref().map(expanded).or_else(|| Some(cache?.join("huggingface")));
            home.context("there is no home folder for the cache of the Hugging Face hub; name a folder in HF_HOME")
        };
        let cache = match &environment.hub_cache {
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
        let endpoint = environment.endpoint.clone().unwrap_or_else(|| "https://huggingface.co".into());
        let offline = environment.offline.as_ref();
        let offline = offline.is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str()));
        let file = match &environment.token_path {
            Some(path) => expanded(path),
            None => home()?.join("token"),
        };
        let stored = || std::fs::read_to_string(file).ok().map(|text| text.trim().to_owned());
        let token = environment.token.clone().or_else(stored).filter(|token| !token.is_empty());
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

/// A path with `~` for the user's home folder, which Hugging Face's programs take.
fn expanded(path: &str, user_home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~/"), user_home) {
        (Some(below), Some(home)) => home.join(below),
        _ => path.into(),
    }
}
