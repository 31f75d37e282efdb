//! WiSE-FT: weights on the line between the original model and a tuned one, `(1 - alpha) original + alpha tuned`.
//!
//! End to end the tuned one is full fine-tuning, and running statistics of BatchNorm are interpolated as weights are; head
//! only it is the linear probe. Source: Wortsman et al. 2022, arXiv:2109.01903.

use anyhow::Result;
use robustify_report::digest;
use robustify_zoo::weights;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::config::check;
use crate::{Config, Fitted, Lab, Method, Work};

/// Interpolated weights.
pub(crate) struct WiseFt;

/// `[method.wise_ft]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "WiseFtSettings")]
struct Settings {
    /// Shares of the tuned weights, each a row of its own.
    alphas: Vec<f64>,
    /// Whether to interpolate with the linear probe as well (`wise_ft-head-0.5`).
    head_only: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { alphas: (0..=10).map(|tenth| f64::from(tenth) / 10.0).collect(), head_only: false }
    }
}

impl Method for WiseFt {
    fn name(&self) -> &'static str {
        "wise_ft"
    }

    fn title(&self) -> &'static str {
        "WiSE-FT"
    }

    fn about(&self) -> &'static str {
        "weights between the original model and full fine-tuning"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["finetune"]
    }

    fn faults(&self, config: &Config) -> Vec<String> {
        let settings: Settings = match config.settings(self.name()) {
            Ok(settings) => settings,
            Err(error) => return vec![format!("{error:#}")],
        };
        let mut faults = Vec::new();
        let within = settings.alphas.iter().all(|alpha| (0.0..=1.0).contains(alpha)) && !settings.alphas.is_empty();
        check(&mut faults, within, || format!("method.wise_ft.alphas {:?} are not in [0, 1]", settings.alphas));
        check(&mut faults, !settings.head_only || config.original.zero_shot.is_none(), || {
            "method.wise_ft.head_only mixes the classifiers of two models, and with original.zero_shot the classes are texts; leave it out"
                .into()
        });
        faults
    }

    fn work(&self, lab: &Lab<'_>) -> Result<Work> {
        let settings: Settings = lab.settings(self.name())?;
        Ok(Work { answer: settings.alphas.len() as f64, ..Work::default() })
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<Settings>())
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let settings: Settings = lab.settings(self.name())?;
        let mut fitted = Vec::new();
        let tuned = lab.fits("finetune")?;
        for &alpha in &settings.alphas {
            fitted.push(between(lab, &format!("wise_ft-{alpha}"), &tuned[0], alpha)?);
        }
        if settings.head_only {
            let probed = lab.fits("linear_probe")?;
            for &alpha in &settings.alphas {
                fitted.push(between(lab, &format!("wise_ft-head-{alpha}"), &probed[0], alpha)?);
            }
        }
        Ok(fitted)
    }
}

/// The model at `alpha` between the original one and a tuned one, which says whether a trunk can be shared.
fn between(lab: &Lab<'_>, name: &str, tuned: &Fitted, alpha: f64) -> Result<Fitted> {
    let original = lab.original()?;
    let model = weights::between(original.model.clone(), &tuned.model.model, alpha)?;
    let hash = digest::of(&("wise_ft", &original.hash, &tuned.hash, alpha))?;
    let mut fitted = lab.fitted(name, original, model, hash, tuned.cost)?;
    fitted.model.cut = tuned.model.cut;
    Ok(fitted)
}

#[cfg(test)]
mod tests {
    use robustify_zoo::Model;

    use super::*;

    fn model(seed: u64) -> Model {
        let network = r#"{"architecture": "vit", "image_size": 8, "patch_size": 4, "width": 4, "depth": 1, "heads": 1,
            "classes": 2}"#;
        let device = robustify_device::open(Some("flex")).unwrap();
        Model::new(&serde_json::from_str(network).unwrap(), seed, &device).unwrap()
    }

    #[test]
    fn the_ends_of_the_line_are_the_models_to_the_bit_and_the_middle_is_their_mean() {
        let (from, to) = (model(1), model(2));
        let at = |alpha| weights::state(&weights::between(from.clone(), &to, alpha).unwrap());
        let (first, last) = (weights::state(&from), weights::state(&to));
        assert_eq!((at(0.0), at(1.0)), (first.clone(), last.clone()));
        assert_ne!(first, last);
        for (name, entry) in at(0.5) {
            for ((middle, first), last) in entry.values.iter().zip(&first[&name].values).zip(&last[&name].values) {
                assert!((middle - (first + last) / 2.0).abs() < 1e-6, "{name}");
            }
        }
    }
}
