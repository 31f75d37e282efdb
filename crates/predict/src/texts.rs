//! A CLIP with both towers, and the label sets that its text tower makes.

use std::path::Path;
use std::result;

use burn::tensor::{Device, Tensor};
use robustify_device::Workers;
use robustify_report::digest;
use robustify_tokenizer::{Tokenizer, Vocabulary, prompts};
use robustify_zoo::clip::{Clip, ClipConfig, TextConfig, TextMatrix};
use robustify_zoo::weights::{self, Checkpoint, LoadOptions, Partial, State};
use robustify_zoo::{ModelConfig, registry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{LabelSet, PredictError, Prompts};

type Result<T> = result::Result<T, PredictError>;

/// The key of [`ClipDescription`] in the header of a file that `pretrain` wrote.
const KEY: &str = "robustify_clip";

/// What the file of a CLIP says about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipDescription {
    /// The shape of both towers.
    pub clip: ClipConfig,
    /// The tokenizer's ids that the text tower has embeddings for, in their order; empty for all of them.
    pub vocabulary: Vec<u32>,
    /// From files to the image tower's input.
    pub preprocess: String,
}

impl ClipDescription {
    /// What a file says of itself; none of one that `pretrain` did not write, or that is no CLIP.
    ///
    /// # Errors
    /// A file that cannot be read, or whose description is damaged.
    pub fn of(file: &Path) -> Result<Option<Self>> {
        let checkpoint = Checkpoint::open(file)?;
        let said = checkpoint.metadata().get(KEY).map(|said| serde_json::from_str(said));
        said.transpose().map_err(|error| broken(format!("the description in its header: {error}")))
    }
}

/// Zero-shot classes: the names of the data's classes, in sentences.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ZeroShotConfig {
    /// Sentences that a name is put into at `{}`; features of all of them are averaged. Default: the 80 of OpenAI's CLIP.
    pub templates: Vec<String>,
    /// What classes are called in sentences, for those that are called something else than in the data: pairs of both names, as in
    /// `names=[["T-shirt/top","t-shirt"]]`.
    pub names: Vec<[String; 2]>,
    /// Classes beside those of the data and of `benchmark.classes` that the models shall know by a text.
    pub classes: Vec<String>,
    /// The name in the registry by which the text tower's shape is found, where the file of the weights does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl ZeroShotConfig {
    /// Faults, each with its key behind `at`.
    pub fn faults(&self, at: &str) -> Vec<String> {
        let without = self.templates.iter().filter(|template| !template.contains("{}"));
        without.map(|template| format!("{at}.templates: `{template}` has no {{}} for the class")).collect()
    }

    /// The sentences.
    pub fn templates(&self) -> Vec<&str> {
        match self.templates.is_empty() {
            true => prompts::OPENAI_IMAGENET.to_vec(),
            false => self.templates.iter().map(String::as_str).collect(),
        }
    }

    /// What a class is called in sentences.
    pub fn name<'a>(&'a self, class: &'a str) -> &'a str {
        self.names.iter().find(|[own, _]| own == class).map_or(class, |[_, called]| called)
    }
}

/// Reads text for a text tower.
pub struct Texts {
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    context_length: usize,
}

impl Texts {
    /// A reader for a tower with these ids.
    pub fn new(vocabulary: Vocabulary, context_length: usize) -> Self {
        Self { tokenizer: Tokenizer::new(), vocabulary, context_length }
    }

    /// The ids of a text.
    ///
    /// # Errors
    /// A word that the text tower does not know.
    pub fn row(&self, text: &str) -> Result<Vec<u32>> {
        self.vocabulary.row(&self.tokenizer, text, self.context_length).map_err(|unknown| broken(unknown.to_string()))
    }

    /// The ids that the tower knows.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }
}

/// A CLIP, what is needed to read text for it, and the sentences of its classes.
pub struct Towers {
    /// Both towers.
    pub clip: Clip,
    /// Their shape.
    pub config: ClipConfig,
    /// Reads text for the text tower.
    pub texts: Texts,
    /// The sentences.
    pub zero_shot: ZeroShotConfig,
    /// SHA-256 of the file.
    sha256: String,
}

impl Towers {
    /// Reads a whole CLIP whose image tower is `network`. The text tower's shape is in the header of a file that `pretrain` wrote, or
    /// that of `zero_shot.model` in the registry.
    ///
    /// # Errors
    /// A file that cannot be read or has no text tower, and a text tower whose shape nothing says.
    pub fn read(
        network: &ModelConfig,
        zero_shot: &ZeroShotConfig,
        file: &Path,
        from: Option<&str>,
        device: &Device,
    ) -> Result<Self> {
        let checkpoint = Checkpoint::open(file)?;
        let (text, vocabulary) = match (checkpoint.metadata().get(KEY), &zero_shot.model) {
            (Some(said), _) => {
                let said: ClipDescription = serde_json::from_str(said)
                    .map_err(|error| broken(format!("the description in its header: {error}")))?;
                let vocabulary = match said.vocabulary {
                    ids if ids.is_empty() => Vocabulary::whole(),
                    ids => Vocabulary::from_ids(ids)
                        .ok_or_else(|| broken("the vocabulary in its header is not in order"))?,
                };
                if let Some(name) = &zero_shot.model
                    && registered(name)? != said.clip.text
                {
                    return Err(broken(format!(
                        "original.zero_shot.model: the text tower of {name} has another shape than the header of the file says; leave \
                             the setting out"
                    )));
                }
                (said.clip.text, vocabulary)
            }
            (None, Some(name)) => (registered(name)?, Vocabulary::whole()),
            (None, None) => {
                return Err(broken(
                    "nothing says the shape of its text tower; name the model in original.zero_shot.model, as in \
                     original.zero_shot={model=\"ViT-B-32-quickgelu.openai\"}",
                ));
            }
        };
        if text.vocabulary != vocabulary.size() {
            let (embeddings, ids) = (text.vocabulary, vocabulary.size());
            return Err(broken(format!("a text tower with {embeddings} embeddings and a vocabulary of {ids} ids")));
        }
        let config = ClipConfig { image: network.clone(), text };
        let options = LoadOptions { from, partial: Partial::Refuse };
        let (clip, _) = weights::load_from(Clip::blank(&config, device)?, &checkpoint, options)?;
        let texts = Texts::new(vocabulary, config.text.context_length);
        let sha256 = digest::of_file(file).map_err(|source| PredictError::Io { path: file.into(), source })?;
        Ok(Self { clip, config, texts, zero_shot: zero_shot.clone(), sha256 })
    }

    /// What makes the texts of classes, for the file of a model.
    pub fn prompts(&self) -> Prompts {
        let templates = self.zero_shot.templates().into_iter().map(str::to_owned).collect();
        Prompts { templates, called: self.zero_shot.names.clone(), clip: self.sha256.clone() }
    }

    /// The label set of some classes by the text tower of `clip`, which is this one or one that was tuned from it.
    ///
    /// # Errors
    /// A name or template with a word that the text tower does not know.
    pub fn label_set(&self, clip: &Clip, classes: &[String], workers: &Workers) -> Result<LabelSet> {
        let texts = text_matrix(clip, &self.texts, classes, &self.zero_shot, workers)?;
        Ok(LabelSet { names: classes.to_vec(), texts, prompts: self.prompts() })
    }
}

/// The text matrix that the text tower of `clip` makes of some classes.
///
/// # Errors
/// As [`Towers::label_set`].
pub fn text_matrix(
    clip: &Clip,
    texts: &Texts,
    classes: &[String],
    zero_shot: &ZeroShotConfig,
    workers: &Workers,
) -> Result<TextMatrix> {
    let rows = |class: &String| -> Result<Vec<Vec<u32>>> {
        let filled = zero_shot.templates().into_iter().map(|template| prompts::fill(template, zero_shot.name(class)));
        filled
            .map(|text| texts.row(&text))
            .collect::<Result<_>>()
            .map_err(|error| PredictError::Texts(format!("class `{class}`: {error}")))
    };
    let filled = classes.iter().map(rows).collect::<Result<Vec<_>>>()?;
    let parts = workers.map(filled, |rows| clip.encode_text(&rows).map(Tensor::unsqueeze::<3>));
    let embeddings = parts.into_iter().collect::<result::Result<Vec<_>, _>>()?;
    let logit_scale = clip.logit_scale.val().into_scalar::<f32>();
    Ok(TextMatrix::new(Tensor::cat(embeddings, 0), logit_scale))
}

/// The text tower of a model in the registry.
fn registered(name: &str) -> Result<TextConfig> {
    let entry = registry::find(name).map_err(|error| broken(format!("original.zero_shot.model: {error}")))?;
    let text = entry.text.ok_or_else(|| broken(format!("original.zero_shot.model: {name} has no text tower")))?;
    Ok(text())
}

/// The file of a CLIP: its tensors, and in the header what they are.
pub fn clip_bytes(state: &State, half: bool, description: &ClipDescription) -> Vec<u8> {
    let description = serde_json::to_string(description).expect("numbers and strings have a JSON form");
    weights::to_described_bytes(state, half, KEY, description)
}

fn broken(reason: impl Into<String>) -> PredictError {
    PredictError::Texts(reason.into())
}
