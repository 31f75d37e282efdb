//! What Hugging Face's own programs read from the environment, as values: this crate reads no variable itself.

use std::path::PathBuf;

/// Values of environment variables; `None` for one that is not set, or set to nothing.
/// Source: huggingface_hub's documentation, "Environment variables".
#[derive(Clone, Default)]
pub struct Environment {
    /// `HF_HUB_CACHE`: folder of the cache.
    pub hub_cache: Option<String>,
    /// `HF_HOME`: folder of the cache's and the token's folders.
    pub home: Option<String>,
    /// `HF_ENDPOINT`: address of the hub.
    pub endpoint: Option<String>,
    /// `HF_HUB_OFFLINE`: whether nothing may be asked of the hub.
    pub offline: Option<String>,
    /// `HF_TOKEN`: who asks. Never to be printed.
    pub token: Option<String>,
    /// `HF_TOKEN_PATH`: the file that has the token.
    pub token_path: Option<String>,
    /// `XDG_CACHE_HOME`: folder of the user's caches.
    pub user_caches: Option<String>,
    /// The user's home folder.
    pub user_home: Option<PathBuf>,
}

impl Environment {
    /// What a process finds: `variable` gives the value of a variable, or nothing; `user_home` is the user's home folder.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>, user_home: Option<PathBuf>) -> Self {
        let set = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        Self {
            hub_cache: set("HF_HUB_CACHE"),
            home: set("HF_HOME"),
            endpoint: set("HF_ENDPOINT"),
            offline: set("HF_HUB_OFFLINE"),
            token: set("HF_TOKEN"),
            token_path: set("HF_TOKEN_PATH"),
            user_caches: set("XDG_CACHE_HOME"),
            user_home,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_set_to_nothing_is_not_set() {
        let variable = |name: &str| Some(if name == "HF_HOME" { " ~/models " } else { " " }.to_owned());
        let environment = Environment::from_variables(variable, None);
        assert_eq!(environment.home.as_deref(), Some("~/models"));
        assert!(environment.token.is_none() && environment.hub_cache.is_none() && environment.user_home.is_none());
    }
}
