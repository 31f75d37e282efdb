//! Names of the hub in this process's environment.

use std::path::{Path, PathBuf};

use robustify_hub::Environment;
use robustify_watch::Watch;
use robustify_zoo::weights::HubKind;

/// As [`robustify_hub::local`].
pub fn local(path: &Path, kind: HubKind, watch: &dyn Watch) -> anyhow::Result<PathBuf> {
    robustify_hub::local(path, kind, &environment(), watch)
}

/// As [`robustify_hub::image_weights`].
pub fn image_weights(path: &Path, watch: &dyn Watch) -> anyhow::Result<PathBuf> {
    robustify_hub::image_weights(path, &environment(), watch)
}

/// What the variables of this process say of the hub.
pub fn environment() -> Environment {
    Environment::from_variables(|name| std::env::var(name).ok(), std::env::home_dir())
}
