//! What people call a model, opened as something to ask.

mod onnx;
mod zero_shot;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use burn::tensor::Device;
use robustify_data::{Preprocess, place};
use robustify_device::Machine;
use robustify_hub::Environment;
use robustify_predict::classes::KnownClasses;
use robustify_predict::texts::{Towers, ZeroShotConfig};
use robustify_predict::{Made, Predictor, RobustModel};
use robustify_report::digest;
use robustify_report::evaluation::ModelRecord;
use robustify_select::SelectConfig;
use robustify_watch::Watch;
use robustify_zoo::weights::{self, Beside, Checkpoint, LoadOptions, Partial};
use robustify_zoo::{ModelConfig, registry};
use serde::Deserialize;

use crate::checkpoint::{Model, Weights};

/// A model as somebody named it.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// A file of a robust model, of weights or in ONNX's format, a folder of timm's, a run's folder, `hf-hub:OWNER/REPO`, or `NAME=FILE` with a name that
    /// `models list` shows.
    pub named: String,
    /// Names of its classes in the order of its outputs, where they were given.
    pub classes: Option<Vec<String>>,
    /// How pictures are prepared, where that was given.
    pub preprocess: Option<String>,
    /// Another side of the input in pixels.
    pub image_size: Option<usize>,
    /// The network, where weights are of one that no list has.
    pub network: Option<ModelConfig>,
    /// The key under which the state dict lies in the file.
    pub from: Option<String>,
    /// The sentences of a CLIP whose classes are texts.
    pub zero_shot: Option<ZeroShotConfig>,
    /// The order of the input's axes, of an ONNX file that does not say it: `nchw` or `nhwc`.
    pub layout: Option<String>,
    /// The output with the classes, of an ONNX file with several.
    pub output: Option<String>,
}

/// A model that can be asked.
pub struct Opened {
    /// What it is, for the record. Its name is its own among several models once [`open`] returns.
    pub record: ModelRecord,
    /// What is done to a picture before it is corrupted: the geometry that the model's input wants.
    pub geometry: Preprocess,
    /// Side of the input in pixels.
    pub side: u32,
    /// What they are called, where something says it.
    pub known: Option<KnownClasses>,
    body: Body,
    /// The rule that stands for it, where the run that it belongs to says one.
    pub select: Option<SelectConfig>,
    /// What else the file may be, where that would change numbers.
    pub doubt: Option<String>,
}

/// What answers.
enum Body {
    /// A model with classes of its own.
    Whole(Arc<dyn Predictor>),
    /// A CLIP, whose classes are texts: those of whatever it is asked about.
    Texts(Box<Towers>, Preprocess),
}

impl Opened {
    /// Whether its classes are texts, which have to be named.
    pub fn has_texts(&self) -> bool {
        matches!(self.body, Body::Texts(..))
    }

    /// The model as something to ask about `classes`; one with classes of its own has these.
    ///
    /// # Errors
    /// Texts with words that the text tower does not know.
    pub fn predictor(&self, classes: &[String], machine: &Machine) -> Result<Arc<dyn Predictor>> {
        match &self.body {
            Body::Whole(predictor) => Ok(Arc::clone(predictor)),
            Body::Texts(towers, preprocess) => zero_shot::predictor(towers, preprocess, classes, machine),
        }
    }
}

/// Opens models, in their order; names that two of them share get numbers.
///
/// # Errors
/// Names that lead nowhere, and files that are no models.
pub fn open(asked: &[Asked], environment: &Environment, device: &Device, watch: &dyn Watch) -> Result<Vec<Opened>> {
    let opener = Opener { environment, device, watch };
    let mut all: Vec<Opened> = Vec::new();
    for asked in asked {
        for mut opened in opener.open(asked).with_context(|| format!("model {}", asked.named))? {
            let name = opened.record.name.clone();
            let taken = |name: &str| all.iter().any(|other| other.record.name == name);
            if let Some(free) = (2..).map(|number| format!("{name}-{number}")).find(|free| !taken(free))
                && taken(&name)
            {
                opened.record.name = free;
            }
            all.push(opened);
        }
    }
    ensure!(!all.is_empty(), "no model is named: a file, a folder or a run is expected");
    Ok(all)
}

struct Opener<'a> {
    environment: &'a Environment,
    device: &'a Device,
    watch: &'a dyn Watch,
}

/// What a run's folder says of its models.
#[derive(Deserialize)]
struct Run {
    #[serde(default)]
    models: Vec<String>,
}

/// What a run's configuration says of the rule.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RunConfig {
    select: RunSelect,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RunSelect {
    rule: Option<SelectConfig>,
}

impl Opener<'_> {
    fn open(&self, asked: &Asked) -> Result<Vec<Opened>> {
        let path = Path::new(&asked.named);
        if path.join("run.json").is_file() {
            return self.run(path, asked);
        }
        if !path.exists()
            && let Some((name, file)) = asked.named.split_once('=')
        {
            let entry = registry::find(name)?;
            return Ok(vec![self.file(Path::new(file), Some(entry.name()), asked)?]);
        }
        let is_hub = asked.named.starts_with("hf-hub:") || asked.named.starts_with("hf_hub:");
        if !is_hub && !path.exists() {
            if registry::find(&asked.named).is_ok() {
                bail!(
                    "weights are missing: {0}=FILE names the file that has them, --weights FILE where it is the only model",
                    asked.named
                );
            }
            bail!("{}: {}; a file, a folder, a run or NAME=FILE is expected", asked.named, place::what_is(path));
        }
        Ok(vec![self.file(path, None, asked)?])
    }

    /// All models of a finished run.
    fn run(&self, folder: &Path, asked: &Asked) -> Result<Vec<Opened>> {
        let file = folder.join("run.json");
        let run: Run = serde_json::from_str(&place::read_text(&file)?).with_context(|| file.display().to_string())?;
        ensure!(!run.models.is_empty(), "no finished run: `train` writes the names of its models when all are fitted");
        let path = |name: &String| folder.join("models").join(format!("{name}.safetensors"));
        run.models.iter().map(|name| self.file(&path(name), None, asked)).collect()
    }

    /// One file, by the name of the registry if one was given.
    fn file(&self, path: &Path, name: Option<String>, asked: &Asked) -> Result<Opened> {
        if onnx::is_one(path) {
            ensure!(name.is_none(), "{}: an ONNX file holds its network; leave the name out", path.display());
            return onnx::open(path, asked, self.watch);
        }
        let of_onnx = [("--layout", asked.layout.is_some()), ("--output", asked.output.is_some())];
        if let Some((option, _)) = of_onnx.into_iter().find(|(_, given)| *given) {
            bail!("{}: {option} is for ONNX files; leave it out", path.display());
        }
        let file = robustify_hub::image_weights(path, self.environment, self.watch)?;
        if RobustModel::is_one(&file)? {
            ensure!(
                name.is_none(),
                "{}: a model that this program wrote says itself what it is; leave the name out",
                file.display()
            );
            return self.robust(&file, asked);
        }
        match self.clip(path, &file, name.as_deref(), asked)? {
            Some(clip) => Ok(clip),
            None => self.weights(path, file, name, asked),
        }
    }

    /// A model that this program wrote.
    fn robust(&self, file: &Path, asked: &Asked) -> Result<Opened> {
        let ignored = [("--image-size", asked.image_size.is_some()), ("--preprocess", asked.preprocess.is_some())];
        if let Some((option, _)) = ignored.into_iter().find(|(_, given)| *given) {
            bail!("{}: its header says how pictures are prepared; leave {option} out", file.display());
        }
        let model = RobustModel::read(file, self.device)?;
        let known = KnownClasses::new(asked.classes.as_ref().unwrap_or(&model.classes), "the header of the file");
        let opened = self.opened(model, file, "robust", known.into())?;
        Ok(Opened { select: rule_of_run(file)?, ..opened })
    }

    /// Weights of a network: what it is comes from the name, from what stands beside them, or from their tensors.
    fn weights(&self, named: &Path, file: PathBuf, name: Option<String>, asked: &Asked) -> Result<Opened> {
        if let Some(name) = name.as_ref().filter(|_| asked.network.is_some()) {
            bail!("{name} and original.network both say what the network is; leave one out");
        }
        let described = Weights {
            named: named.display().to_string(),
            path: file.clone(),
            model: name,
            image_size: asked.image_size,
            network: asked.network.clone(),
            from: asked.from.clone(),
        };
        let found = Model::of(&described, self.device)?;
        ensure!(
            found.network.classifier() > 0,
            "{}: {}, which has no classifier, so there is nothing to evaluate",
            file.display(),
            found.about
        );
        let count = found.network.classes();
        let (names, known) = self.names(&file, count, asked)?;
        let checkpoint = Checkpoint::open(&file)?;
        let blank = robustify_zoo::Model::blank(&found.network, self.device)?;
        let options = LoadOptions { from: asked.from.as_deref(), partial: Partial::Refuse };
        let (network, loaded) = weights::load_from(blank, &checkpoint, options)?;
        if !loaded.resized.is_empty() || !loaded.others.is_empty() {
            self.watch.say(&loaded.to_string());
        }
        let preprocess: Preprocess = asked.preprocess.as_ref().unwrap_or(&found.preprocess).parse()?;
        let stem = found.name.clone().unwrap_or_else(|| stem(named));
        let model = RobustModel {
            method: stem,
            network: found.network,
            model: network,
            seen: preprocess.normalisation_only(),
            preprocess,
            classes: names,
            cut: None,
            made: Made::Classifier,
            attached: Default::default(),
            trained_on: None,
            label_set: None,
        };
        let mut opened = self.opened(model, &file, "zoo", known)?;
        opened.record.source = named.display().to_string();
        opened.record.about = format!("{}; {}", opened.record.about, found.about);
        opened.doubt = found.doubt;
        Ok(opened)
    }

    /// Names of the classes of weights, and what is known of them.
    fn names(&self, file: &Path, count: usize, asked: &Asked) -> Result<(Vec<String>, Option<KnownClasses>)> {
        if let Some(names) = &asked.classes {
            ensure!(names.len() == count, "{} classes are named, and the model has {count}", names.len());
            return Ok((names.clone(), Some(KnownClasses::new(names, "--classes"))));
        }
        let numbers = || (0..count).map(|class| class.to_string()).collect();
        let Some(beside) = Beside::read(file)? else { return Ok((numbers(), None)) };
        match beside.classes.filter(|names| names.len() == count) {
            Some(names) => {
                let first = names.iter().map(|names| names.first().cloned().unwrap_or_default()).collect();
                Ok((first, Some(KnownClasses { names, from: beside.path.display().to_string() })))
            }
            None => Ok((numbers(), None)),
        }
    }

    fn opened(&self, model: RobustModel, file: &Path, kind: &str, known: Option<KnownClasses>) -> Result<Opened> {
        let predictor: Arc<dyn Predictor> = model.predictor()?.into();
        let (macs, macs_passes) = model.macs();
        let parameters = weights::parameters(&model.model) as u64;
        let heads = match model.made {
            Made::ThreeHeads(..) => " with three heads",
            _ => "",
        };
        let about = format!("{}{heads}, {:.1} M parameters", model.network.kind(), parameters as f64 / 1e6);
        let main_route = if matches!(model.made, Made::ThreeHeads(..)) { "selected" } else { "single" };
        let side = model.network.image_size() as u32;
        Ok(Opened {
            record: ModelRecord {
                name: model.method.clone(),
                about,
                kind: kind.to_owned(),
                identity: predictor.identity().to_owned(),
                source: file.display().to_string(),
                sha256: Some(digest::of_file(file).with_context(|| file.display().to_string())?),
                preprocess: model.preprocess.to_string(),
                parameters: Some(parameters),
                macs: Some(macs),
                macs_passes,
                main_route: main_route.to_owned(),
            },
            geometry: before(&model.preprocess, &model.seen),
            side,
            known,
            body: Body::Whole(predictor),
            select: None,
            doubt: None,
        })
    }
}

/// What is done to a picture before it is corrupted: all steps but those that the model makes of pixels that it is given.
fn before(whole: &Preprocess, seen: &Preprocess) -> Preprocess {
    let mut geometry = whole.geometry();
    if whole.steps().ends_with(seen.steps()) {
        geometry = geometry.first_steps(whole.steps().len() - seen.steps().len());
    }
    geometry
}

/// The rule of the run that a file belongs to; none of a file elsewhere.
fn rule_of_run(file: &Path) -> Result<Option<SelectConfig>> {
    let config = file.parent().and_then(Path::parent).map(|folder| folder.join("config.toml"));
    let Some(config) = config.filter(|config| config.is_file()) else { return Ok(None) };
    let said: RunConfig = toml::from_str(&place::read_text(&config)?).with_context(|| config.display().to_string())?;
    Ok(said.select.rule)
}

fn stem(path: &Path) -> String {
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    name.map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}
