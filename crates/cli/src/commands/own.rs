//! One's own images and model: from paths and names to a configuration.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use robustify_data::Splits;
use robustify_experiment::own::{self, Asked, Derived, Early, Weights};
use robustify_watch::Watch as _;
use robustify_zoo::registry;

use crate::args::OwnModel;
use crate::console::Console;
use crate::hub;

/// A configuration as a commented TOML file, the images, and the file or folder of the weights.
///
/// Of the settings beside it, those are looked at that say how the images lie, and what network it is.
pub fn derived(
    data: &Path,
    asked: &OwnModel,
    given: &[String],
    console: &Console,
) -> anyhow::Result<(String, Splits, PathBuf)> {
    let Some(model) = &asked.model else {
        bail!(
            "--model is missing: a file of weights, a folder of timm's, `hf-hub:OWNER/REPO`, or a name that `models list` shows"
        )
    };
    let early = Early::of(data, given)?;
    let (named, model) = place(model, asked.weights.as_deref())?;
    let weights = hub::image_weights(Path::new(&named), console).with_context(|| format!("--model {named}"))?;
    let described = Weights {
        named,
        path: weights.clone(),
        model,
        network: early.original.network,
        from: early.original.from,
        image_size: asked.image_size,
    };
    let asked = Asked { data: data.into(), weights: described, classes: asked.num_classes };
    let splits = Splits::open(&early.data, console)?;
    let device = robustify_device::open(None)?;
    let Derived { text, model } =
        own::derive(&asked, &splits, &device).with_context(|| format!("--model {}", asked.weights.named))?;
    console.say(&format!("model: {}; {}", model.about, model.preprocess));
    if let Some(doubt) = &model.doubt {
        console.warn(doubt);
    }
    Ok((text, splits, weights))
}

/// Where the weights of `--model` and `--weights` are, and the name in the registry if one was given.
pub(super) fn place(model: &str, weights: Option<&Path>) -> anyhow::Result<(String, Option<String>)> {
    if let Some(weights) = weights {
        let entry = registry::find(model).context("--model, beside --weights, is a name that `models list` shows")?;
        return Ok((weights.display().to_string(), Some(entry.name())));
    }
    if Path::new(model).exists() || model.starts_with("hf-hub:") || model.starts_with("hf_hub:") {
        return Ok((model.to_owned(), None));
    }
    // What looks like a path is one that is not there, and no name.
    if model.contains('/')
        || Path::new(model).extension().is_some_and(|extension| FILES.iter().any(|known| extension == *known))
    {
        bail!("--model {model}: there is no such file or folder");
    }
    let entry = registry::find(model)
        .with_context(|| format!("--model {model}: neither a file or folder, nor a model by name"))?;
    match entry.hub {
        Some(repository) => Ok((format!("hf-hub:{repository}"), Some(entry.name()))),
        None => bail!("--model {model}: the hub has no weights of it; name their file in --weights"),
    }
}

/// Extensions of files of weights.
const FILES: [&str; 5] = ["safetensors", "pth", "pt", "bin", "ckpt"];
