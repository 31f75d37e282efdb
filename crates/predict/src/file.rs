//! The file of a robust model: safetensors whose metadata holds, under `robustify`, what the tensors mean, as JSON.

use std::collections::HashMap;
use std::path::Path;

use burn::tensor::Device;
use robustify_data::Preprocess;
use robustify_report::{digest, write_atomic};
use robustify_select::{McConfig, SplitConfig, ThreeHeads};
use robustify_zoo::clip::TextMatrix;
use robustify_zoo::weights::{self, Checkpoint, Entry, State};
use robustify_zoo::{Model, ModelConfig};
use serde::{Deserialize, Serialize};

use crate::model::TUNED;
use crate::{Adaptation, Attached, LabelSet, Made, Pair, PairSettings, PredictError, Prompts, RobustModel, TrainedOn};

/// The key of the description in the metadata.
const KEY: &str = "robustify";
/// The version of the format.
const FORMAT: u32 = 1;
/// What the names of the tensors of three heads begin with.
const HEADS: [&str; 4] = ["shared.", "clean.", "combined.", "robust."];

/// What the tensors mean.
#[derive(Serialize, Deserialize)]
struct Description {
    format: u32,
    method: String,
    network: ModelConfig,
    preprocess: Preprocess,
    seen: Preprocess,
    classes: Vec<String>,
    cut: Option<SplitConfig>,
    /// Present for three heads.
    mc: Option<McConfig>,
    /// Present for a network that learns while it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adapts: Option<Adaptation>,
    /// Whether the network's own weights answer for the clean head, of which there are no tensors then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    preserve_original: bool,
    /// Present for a pair of models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pair: Option<PairSettings>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trained_on: Option<TrainedOn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    texts: Option<Texts>,
    /// Hash of all tensors.
    sha256: String,
}

/// What the rows of [`TEXTS`] are.
#[derive(Serialize, Deserialize)]
struct Texts {
    names: Vec<String>,
    logit_scale: f32,
    prompts: Prompts,
}

/// The tensor of a label set.
const TEXTS: &str = "texts.weight";

impl Description {
    /// Why it cannot be one of a model that this program reads.
    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("format {}, this program reads format {FORMAT}", self.format));
        }
        let (network, names) = (self.network.classes(), self.classes.len());
        if network != names {
            return Err(format!("a network of {network} classes, and names of {names}"));
        }
        if let Some(mc) = self.mc.filter(|mc| mc.passes == 0 || !(0.0..1.0).contains(&mc.dropout)) {
            return Err(format!("{} passes with a dropout of {}", mc.passes, mc.dropout));
        }
        match self.pair.filter(|pair| !pair.is_sound()) {
            Some(pair) => Err(format!("a pair of models with settings that have no meaning: {pair:?}")),
            None => Ok(()),
        }
    }

    /// What comes behind, or stands beside, the network `model`, from the tensors that are not its own.
    fn made(
        &self,
        model: &Model,
        own: State,
        device: &Device,
        broken: &dyn Fn(String) -> PredictError,
    ) -> Result<Made, PredictError> {
        let misfit = |faults: Vec<String>| broken(faults.join("; "));
        Ok(match (self.mc, self.cut, self.pair) {
            (None, _, None) => self.adapts.map_or(Made::Classifier, Made::Adapting),
            (None, _, Some(settings)) => {
                let plain = |name: &str| name.strip_prefix(TUNED).unwrap_or(name).to_owned();
                let own = own.into_iter().map(|(name, entry)| (plain(&name), entry)).collect();
                let tuned = weights::with_state(Model::blank(&self.network, device)?, own).map_err(misfit)?;
                Made::Pair(Pair { tuned, settings })
            }
            (Some(mc), Some(cut), _) => {
                let blank = ThreeHeads::new(model, cut)?;
                let blank = if self.preserve_original { blank.preserving(model, cut)? } else { blank };
                Made::ThreeHeads(weights::with_state(blank, own).map_err(misfit)?, mc)
            }
            (Some(_), None, _) => return Err(broken("three heads without the place of their cut".into())),
        })
    }
}

/// What stands at the end of a description, before its own checksum.
const SEALED: &str = r#","described":""#;

/// A description, a JSON object, with the checksum of its text as its last field.
fn sealed(text: &str) -> String {
    let sum = digest::of_bytes(text.as_bytes());
    format!("{}{SEALED}{sum}\"}}", text.strip_suffix('}').unwrap_or(text))
}

/// Whether a description is as it was when it was sealed; older versions did not seal it.
fn is_sound(text: &str) -> bool {
    match text.rsplit_once(SEALED) {
        Some((before, _)) => sealed(&format!("{before}}}")) == text,
        None => !text.contains(r#""described":"#),
    }
}

fn owned((name, entry): (&String, &Entry)) -> (String, Entry) {
    (name.clone(), entry.clone())
}

impl RobustModel {
    /// The bytes of its file: equal models give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (mut mc, mut adapts, mut pair, mut preserve_original) = (None, None, None, false);
        match &self.made {
            Made::Classifier => {}
            Made::Adapting(adaptation) => adapts = Some(*adaptation),
            Made::Pair(both) => pair = Some(both.settings),
            Made::ThreeHeads(heads, sampled) => (mc, preserve_original) = (Some(*sampled), heads.is_preserving()),
        };
        let mut state = self.state();
        let texts = self.label_set.as_ref().map(|set| {
            state.insert(TEXTS.into(), set.texts.rows.clone());
            Texts { names: set.names.clone(), logit_scale: set.texts.logit_scale, prompts: set.prompts.clone() }
        });
        let description = Description {
            format: FORMAT,
            method: self.method.clone(),
            network: self.network.clone(),
            preprocess: self.preprocess.clone(),
            seen: self.seen.clone(),
            classes: self.classes.clone(),
            cut: self.cut,
            mc,
            adapts,
            preserve_original,
            pair,
            trained_on: self.trained_on.clone(),
            texts,
            sha256: digest::of_bytes(&weights::to_bytes(&state)),
        };
        let text = serde_json::to_string(&description).expect("settings and strings have a JSON form");
        let metadata = HashMap::from([(KEY.to_owned(), sealed(&text))]);
        safetensors::serialize(&state, Some(metadata)).expect("names are unique and sizes match the shapes")
    }

    /// Writes the file; it is the old or the new one at any moment, whole. One that is as it should be stays: a new one would need
    /// as much room beside it.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), PredictError> {
        let bytes = self.to_bytes();
        if std::fs::read(path).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        Ok(write_atomic(path, &bytes)?)
    }

    /// Whether a file is one of a robust model, and not just a checkpoint of a network.
    ///
    /// # Errors
    /// A file that cannot be read or is no checkpoint.
    pub fn is_one(path: &Path) -> Result<bool, PredictError> {
        Ok(Checkpoint::open(path)?.metadata().contains_key(KEY))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read, is not of this format, or whose tensors are not those that it describes or are not finite.
    pub fn read(path: &Path, device: &Device) -> Result<Self, PredictError> {
        let broken = |reason: String| PredictError::Format { path: path.into(), reason };
        let checkpoint = Checkpoint::open(path)?;
        let text = checkpoint.metadata().get(KEY).ok_or_else(|| {
            broken("no description in its header; `train` writes such files into the folder `models` of a run".into())
        })?;
        if !is_sound(text) {
            return Err(broken("the checksum of its description is not that of its text; train it again".into()));
        }
        let mut said: Description = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
        said.check().map_err(broken)?;
        let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
        let (mut body, mut tuned, mut attached) = (State::new(), State::new(), State::new());
        for name in names {
            let entry = weights::read_weights(&checkpoint, &name)?;
            let part = match HEADS.iter().chain([&TUNED]).any(|prefix| name.starts_with(prefix)) {
                true => &mut tuned,
                false if Attached::owns(&name) => &mut attached,
                false => &mut body,
            };
            part.insert(name, entry);
        }
        if said.sha256
            != digest::of_bytes(&weights::to_bytes(&body.iter().chain(&tuned).chain(&attached).map(owned).collect()))
        {
            return Err(broken("its checksum is not that of its tensors; train it again".into()));
        }
        if said.mc.is_none() && said.pair.is_none() && !tuned.is_empty() {
            return Err(broken("tensors of three heads, but nothing that says how they are sampled".into()));
        }
        let rows = body.remove(TEXTS);
        let label_set = match (said.texts.take(), rows) {
            (None, None) => None,
            (Some(Texts { names, logit_scale, prompts }), Some(rows)) if rows.shape.first() == Some(&names.len()) => {
                Some(LabelSet { names, texts: TextMatrix { rows, logit_scale }, prompts })
            }
            _ => return Err(broken("its texts are not those that it names".into())),
        };
        let heads = if said.mc.is_some() { 3 } else { 1 };
        let attached = Attached::from_state(attached, heads, said.classes.len()).map_err(broken)?;
        let misfit = |faults: Vec<String>| broken(faults.join("; "));
        let model = weights::with_state(Model::blank(&said.network, device)?, body).map_err(misfit)?;
        let made = said.made(&model, tuned, device, &broken)?;
        Ok(Self {
            method: said.method,
            network: said.network,
            model,
            preprocess: said.preprocess,
            seen: said.seen,
            classes: said.classes,
            cut: said.cut,
            made,
            attached,
            trained_on: said.trained_on,
            label_set,
        })
    }
}
