use burn::module::Module as _;
use burn::tensor::Device;
use robustify_data::Preprocess;
use robustify_report::digest;
use robustify_select::{DropoutFrom, Head, McConfig, SplitConfig, ThreeHeads};
use robustify_zoo::clip::TextMatrix;
use robustify_zoo::weights::{self, Entry, State};
use robustify_zoo::{Model, ModelConfig, ZooError};
use serde::{Deserialize, Serialize};

use crate::adapting::{Adaptation, Adapting};
use crate::classifier::{Body, Classifier, Trunk};
use crate::pair::{Fused, Interpolating, Pair, PairSettings, Together};
use crate::three_heads::ThreeHeaded;
use crate::{Attached, PredictError, Predictor};

/// What the names of a pair's tuned network begin with.
pub(crate) const TUNED: &str = "tuned.";

/// Everything that answers for an image: what [`RobustModel::write`] puts into one file.
#[derive(Clone, Debug)]
pub struct RobustModel {
    /// Name of the method that made it, as in tables: `original`, `robustify`, `wise_ft-0.5`.
    pub method: String,
    /// The network of `model`.
    pub network: ModelConfig,
    /// The network with all its weights; under three heads, the frozen backbone's with the original classifier.
    pub model: Model,
    /// From a picture to the network's input.
    pub preprocess: Preprocess,
    /// From pixels that a benchmark has already cropped (and corrupted) to the network's input.
    pub seen: Preprocess,
    /// Names of the classes, in the order of the logits.
    pub classes: Vec<String>,
    /// Where the part begins that was tuned; what lies before it can be shared with other models that have the same weights there.
    pub cut: Option<SplitConfig>,
    /// What comes behind the cut.
    pub made: Made,
    /// What was fitted to it afterwards, and is asked with it.
    pub attached: Attached,
    /// The images that it was made with, if somebody wrote it down.
    pub trained_on: Option<TrainedOn>,
    /// The texts that it can be asked about, if its classes are texts.
    pub label_set: Option<LabelSet>,
}

/// The images that a model was made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainedOn {
    /// How many.
    pub images: usize,
    /// Their fingerprint, see `robustify_data::ImageSet::fingerprint`.
    pub fingerprint: String,
}

/// Classes that a model can be asked about, whether it was tuned on them or not: each is a row in the space of images and texts.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelSet {
    /// Their names.
    pub names: Vec<String>,
    /// A row for each, by the text tower that goes with the model.
    pub texts: TextMatrix,
    /// What made them.
    pub prompts: Prompts,
}

/// What made the texts of classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompts {
    /// Sentences, with `{}` for the class; the features of all of them were averaged.
    pub templates: Vec<String>,
    /// Classes that are called something else in them than in the data, with both names.
    pub called: Vec<[String; 2]>,
    /// SHA-256 of the file of the CLIP; a method may have tuned its text tower further.
    pub clip: String,
}

impl LabelSet {
    /// The rows of some classes.
    ///
    /// # Errors
    /// A class that is not among them; the message lists all.
    pub fn of(&self, classes: &[String]) -> Result<TextMatrix, String> {
        let width = self.texts.rows.shape[1];
        let mut values = Vec::with_capacity(classes.len() * width);
        for class in classes {
            let place = self.names.iter().position(|name| name == class).ok_or_else(|| {
                format!(
                    "there is no text for the class `{class}`, only for {}; name it in original.zero_shot.classes and train again",
                    self.names.join(", ")
                )
            })?;
            values.extend(&self.texts.rows.values[place * width..(place + 1) * width]);
        }
        Ok(TextMatrix { rows: Entry { shape: vec![classes.len(), width], values }, ..self.texts })
    }
}

/// What answers behind the trunk.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "there are few of them, and each lies beside a network")]
pub enum Made {
    /// The network itself.
    Classifier,
    /// The network itself, which goes on learning while it answers; without a cut, for nothing of it is shared.
    Adapting(Adaptation),
    /// Three heads on the network's backbone; needs a cut. Where they preserve the original, it is the network's that answers for
    /// the clean head.
    ThreeHeads(ThreeHeads, McConfig),
    /// The network beside a tuned one, see [`Pair`].
    Pair(Pair),
}

impl RobustModel {
    /// All tensors: the network's under timm's names, those of three heads under `shared.`, `clean.`, `combined.` and `robust.`,
    /// a pair's tuned network under `tuned.`, and those of attached parts under `laplace.` and `neighbours.`.
    pub fn state(&self) -> State {
        let mut state = weights::state(&self.model);
        match &self.made {
            Made::Classifier | Made::Adapting(_) => {}
            Made::ThreeHeads(heads, _) => state.extend(weights::state(heads)),
            Made::Pair(pair) => {
                let tuned = weights::state(&pair.tuned).into_iter();
                state.extend(tuned.map(|(name, entry)| (format!("{TUNED}{name}"), entry)));
            }
        }
        state.extend(self.attached.state());
        state
    }

    /// The same model for other classes of its label set: their texts take the place of its own, and all else stays.
    ///
    /// # Errors
    /// A model without a label set, and a class that is not in it.
    pub fn with_classes(self, classes: &[String], device: &Device) -> Result<Self, PredictError> {
        let misfit = |reason: String| ZooError::Config(format!("{}: {reason}", self.method));
        let Some(set) = &self.label_set else {
            return Err(misfit("its classes are no texts, so it cannot tell others apart".into()).into());
        };
        let texts = set.of(classes).map_err(misfit)?;
        let made = match self.made {
            made @ (Made::Classifier | Made::Adapting(_)) => made,
            Made::ThreeHeads(heads, mc) => Made::ThreeHeads(heads.with_texts(&texts, device)?, mc),
            Made::Pair(Pair { tuned, settings }) => {
                Made::Pair(Pair { tuned: tuned.with_texts(Some(&texts), device)?, settings })
            }
        };
        let network = self.network.with_classes(classes.len());
        Ok(Self {
            network,
            model: self.model.with_texts(Some(&texts), device)?,
            made,
            classes: classes.to_vec(),
            ..self
        })
    }

    /// Multiply-accumulates for an image, counted: in one pass, and with all Monte Carlo passes of a model that makes them. No row that
    /// nobody reads is computed, nor counted.
    pub fn macs(&self) -> (u64, Option<u64>) {
        let network = &self.network;
        let end = network.unit_macs().len();
        match (&self.made, self.cut) {
            (Made::ThreeHeads(heads, mc), Some(split)) => {
                let head = end - 1 - split.head_blocks;
                let cut = head - split.shared_blocks;
                // The original keeps a shared part of its own, where it is preserved.
                let shared = if heads.is_preserving() { 2 } else { 1 };
                let dropped = if split.dropout_from == DropoutFrom::Shared { mc.passes } else { 1 };
                let of = |shared_passes, passes| {
                    let (before, behind) =
                        (network.segment_macs(cut..head, shared_passes), network.segment_macs(head..end, passes));
                    network.segment_macs(0..cut, 1) + shared * before + 3 * behind
                };
                (of(1, 1), Some(of(dropped, mc.passes)))
            }
            // Both forwards, and one of mixed weights.
            (Made::Pair(pair), _) => {
                let forwards = if pair.settings.by == Together::Vrf { 2 } else { 3 };
                (forwards * network.segment_macs(0..end, 1), None)
            }
            _ => (network.segment_macs(0..end, 1), None),
        }
    }

    /// Hash of everything that determines its answers.
    pub fn identity(&self) -> String {
        self.identity_of(&self.state())
    }

    fn identity_of(&self, state: &State) -> String {
        let mc = match &self.made {
            Made::Classifier | Made::Adapting(_) | Made::Pair(_) => None,
            Made::ThreeHeads(_, mc) => Some(mc),
        };
        let model = (tensors(state), &self.network, self.seen.to_string(), self.cut, mc);
        match &self.made {
            Made::Adapting(adaptation) => digest_of(&(model, adaptation)),
            Made::Pair(pair) => digest_of(&(model, pair.settings)),
            Made::Classifier | Made::ThreeHeads(..) => digest_of(&model),
        }
    }

    /// The model as something to ask.
    ///
    /// # Errors
    /// A cut that the network does not have.
    pub fn predictor(&self) -> Result<Box<dyn Predictor>, PredictError> {
        let (identity, classes, attached) = (self.identity(), self.classes.clone(), self.attached.clone());
        Ok(match (&self.made, self.cut) {
            (Made::Classifier, None) => {
                let body = Body::Whole(self.model.clone(), self.seen.clone());
                Box::new(Classifier { identity, classes, body, attached })
            }
            (Made::Classifier, Some(split)) => {
                let trunk = self.trunk(split)?;
                let tail = self.model.segment(trunk.cut, self.model.last_cut());
                Box::new(Classifier { identity, classes, body: Body::Tail(trunk, tail), attached })
            }
            (Made::Adapting(adaptation), _) => {
                let seen = self.seen.clone();
                Box::new(Adapting::new(identity, classes, &self.model, seen, *adaptation)?)
            }
            (Made::Pair(pair), _) => self.together(pair, identity)?,
            (Made::ThreeHeads(heads, mc), split) => {
                let split = split.ok_or_else(|| {
                    ZooError::Config(format!("{}: three heads without the place of their cut", self.method))
                })?;
                let trunk = self.trunk(split)?;
                Box::new(ThreeHeaded { identity, classes, trunk, heads: heads.clone(), mc: *mc, attached })
            }
        })
    }

    /// Two models as one to ask.
    fn together(&self, pair: &Pair, identity: String) -> Result<Box<dyn Predictor>, PredictError> {
        let alone = |model: &Model, cut| Self {
            model: model.clone(),
            cut,
            made: Made::Classifier,
            attached: Attached::default(),
            ..self.clone()
        };
        let PairSettings { tuned_cut, temperatures, by } = pair.settings;
        let (classes, seen) = (self.classes.clone(), self.seen.clone());
        let original = alone(&self.model, self.cut).predictor()?;
        Ok(match by {
            Together::Vrf => {
                let lacks = || ZooError::Config(format!("{}: no neighbours to be near to", self.method));
                let neighbours = self.attached.neighbours.clone().ok_or_else(lacks)?;
                Box::new(Fused {
                    identity,
                    classes,
                    original,
                    tuned: pair.tuned.clone(),
                    seen,
                    neighbours,
                    temperatures,
                })
            }
            Together::Dawin { clusters } => {
                let members = vec![original, alone(&pair.tuned, tuned_cut).predictor()?];
                let models = [self.model.clone(), pair.tuned.clone()];
                Box::new(Interpolating { identity, classes, members, models, seen, temperatures, clusters })
            }
        })
    }

    /// The network that answers for clean images, without its classifier: what it gives for an image are the pooled features. Of three
    /// heads it is the clean one.
    ///
    /// # Errors
    /// A cut that the network does not have, or weights that do not fit it.
    pub fn features(&self) -> Result<Model, PredictError> {
        let whole = match (&self.made, self.cut) {
            (Made::ThreeHeads(heads, _), Some(split)) if !heads.is_preserving() => {
                heads.one(Head::Clean).into_model(self.model.clone(), split)?
            }
            _ => self.model.clone(),
        };
        let device = whole.devices().into_iter().next().unwrap_or_default();
        let bare = Model::blank(&self.network.with_classes(0), &device)?;
        let (mut state, wanted) = (weights::state(&whole), weights::shapes(&bare));
        state.retain(|name, _| wanted.contains_key(name));
        let misfit = |faults: Vec<String>| ZooError::Config(faults.join("; "));
        Ok(weights::with_state(bare, state).map_err(misfit)?)
    }

    /// The part before the cut. Its identity is of its own weights alone, so that models which tuned different things behind
    /// the same backbone share it.
    fn trunk(&self, split: SplitConfig) -> Result<Trunk, PredictError> {
        let cut = split.backbone_end(&self.model)?;
        let behind = weights::names_in(&self.model, &self.model.segment(cut, self.model.last_cut()));
        let mut state = weights::state(&self.model);
        for name in behind.values() {
            state.remove(name);
        }
        // The classifier's width is no part of the trunk.
        let network = self.network.with_classes(0);
        let depth = split.shared_blocks + split.head_blocks;
        let identity = digest_of(&("trunk", tensors(&state), network, self.seen.to_string(), depth));
        Ok(Trunk { identity, model: self.model.clone(), cut, seen: self.seen.clone() })
    }
}

/// Hash of named tensors.
fn tensors(state: &State) -> String {
    digest::of_bytes(&weights::to_bytes(state))
}

fn digest_of<T: Serialize>(value: &T) -> String {
    digest::of(value).expect("settings and strings have a JSON form")
}
