//! A whole CLIP: its classes are texts, those of the data that it is asked about.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use robustify_data::Preprocess;
use robustify_device::Machine;
use robustify_predict::texts::{ClipDescription, Towers, ZeroShotConfig};
use robustify_predict::{Attached, Made, Predictor, RobustModel, preprocess_line};
use robustify_report::digest;
use robustify_report::evaluation::ModelRecord;
use robustify_zoo::{ModelConfig, registry};

use super::{Asked, Body, Opened, Opener, stem};

/// A CLIP as its file, or the registry, describes it.
struct Described {
    network: ModelConfig,
    preprocess: String,
    name: String,
    config: ZeroShotConfig,
}

impl Opener<'_> {
    /// A whole CLIP; none if the file is none, or only its image tower is asked for.
    pub(super) fn clip(&self, named: &Path, file: &Path, name: Option<&str>, asked: &Asked) -> Result<Option<Opened>> {
        let Some(Described { network, preprocess, name, config }) = described(named, file, name, asked)? else {
            return Ok(None);
        };
        let preprocess: Preprocess = asked.preprocess.as_ref().unwrap_or(&preprocess).parse()?;
        let towers = Towers::read(&network, &config, file, asked.from.as_deref(), self.device)?;
        let sentences = config.templates().len();
        let identity = digest::of(&("zero-shot", towers.prompts(), &network, preprocess.to_string()))?;
        let parameters = robustify_zoo::weights::parameters(&towers.clip) as u64;
        let end = network.unit_macs().len();
        let about = format!(
            "CLIP with {}, {:.1} M parameters, zero-shot: {sentences} sentences a class",
            network.kind(),
            parameters as f64 / 1e6
        );
        Ok(Some(Opened {
            record: ModelRecord {
                name,
                about,
                kind: "zero-shot".to_owned(),
                identity,
                source: named.display().to_string(),
                sha256: Some(digest::of_file(file).with_context(|| file.display().to_string())?),
                preprocess: preprocess.to_string(),
                parameters: Some(parameters),
                macs: Some(network.segment_macs(0..end, 1)),
                macs_passes: None,
                main_route: robustify_bench::metrics::SINGLE.to_owned(),
            },
            geometry: preprocess.geometry(),
            side: network.image_size() as u32,
            known: None,
            body: Body::Texts(Box::new(towers), preprocess),
            select: None,
            doubt: None,
        }))
    }
}

/// What a file is that says itself a CLIP, or that somebody named as one.
fn described(named: &Path, file: &Path, name: Option<&str>, asked: &Asked) -> Result<Option<Described>> {
    let config = asked.zero_shot.clone().unwrap_or_default();
    if let Some(ClipDescription { clip, preprocess, .. }) = ClipDescription::of(file)? {
        let preprocess = preprocess.clone();
        return Ok(Some(Described { network: clip.image, preprocess, name: stem(named), config }));
    }
    let said = name.or(config.model.as_deref()).map(registry::find).transpose()?;
    let Some(entry) = said.filter(|entry| entry.text.is_some()) else { return Ok(None) };
    let network = (entry.config)();
    let network = asked.image_size.map_or(network.clone(), |side| network.with_image_size(side));
    let preprocess =
        preprocess_line(&registry::Preprocessing { image_size: network.image_size(), ..entry.preprocessing });
    let config = ZeroShotConfig { model: Some(entry.name()), ..config };
    Ok(Some(Described { network, preprocess, name: entry.name(), config }))
}

/// The image tower with the texts of some classes behind it.
pub(super) fn predictor(
    towers: &Towers,
    preprocess: &Preprocess,
    classes: &[String],
    machine: &Machine,
) -> Result<Arc<dyn Predictor>> {
    let label_set = towers.label_set(&towers.clip, classes, &machine.workers)?;
    let texts = label_set.of(classes).map_err(anyhow::Error::msg)?;
    let network = towers.config.image.with_texts(classes.len()).context("no image tower of CLIP's")?;
    let model = RobustModel {
        method: "zero_shot".to_owned(),
        model: towers.clip.visual.clone().with_texts(Some(&texts), &machine.device)?,
        network,
        seen: preprocess.normalisation_only(),
        preprocess: preprocess.clone(),
        classes: classes.to_vec(),
        cut: None,
        made: Made::Classifier,
        attached: Attached::default(),
        trained_on: None,
        label_set: None,
    };
    Ok(model.predictor()?.into())
}
