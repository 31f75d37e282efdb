//! DaWin, weight form: for every image weights between the original and the fine-tuned model, by how certain both are of it. The images of
//! a cell are clustered by their coefficients, so that each cluster is answered by one interpolated network. Nothing is trained beyond
//! fine-tuning; every image takes three forwards, and its answer depends on the other images of its cell.
//!
//! Source: Oh et al. 2025, arXiv:2410.03782; naver-ai/dawin, `dawin_rft/main_dawin.py`: temperatures, offset over the test set, three clusters.
//! Here temperatures are fitted on validation images, and the offset is that of a cell.

use anyhow::Result;
use robustify_predict::{Made, Pair, PairSettings, Together};
use robustify_report::digest;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::config::check;
use crate::{Config, Fitted, Lab, Method, Work};

/// Weights by clusters of images.
pub(crate) struct Dawin;

/// `[method.dawin]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "DawinSettings")]
struct Settings {
    /// Clusters of the images of a cell, each answered by weights of its own.
    #[schemars(range(min = 1, max = PairSettings::MOST))]
    clusters: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { clusters: 3 }
    }
}

impl Method for Dawin {
    fn name(&self) -> &'static str {
        "dawin"
    }

    fn title(&self) -> &'static str {
        "DaWin"
    }

    fn about(&self) -> &'static str {
        "weights between original and fine-tuned model for clusters of test images, by the entropies of both; the answer for an image \
         depends on the others of its cell"
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
        check(&mut faults, (1..=PairSettings::MOST).contains(&settings.clusters), || {
            format!("method.dawin.clusters {} is not in 1 to {}", settings.clusters, PairSettings::MOST)
        });
        faults
    }

    fn work(&self, _: &Lab<'_>) -> Result<Work> {
        Ok(Work { answer: 1.0, ..Work::default() })
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<Settings>())
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let Settings { clusters } = lab.settings(self.name())?;
        let (original, tuned) = (lab.fits("original")?, lab.fits("finetune")?);
        let (original, tuned) = (&original[0], &tuned[0]);
        let temperatures = lab.temperatures([original, tuned])?;
        let settings = PairSettings { tuned_cut: tuned.model.cut, temperatures, by: Together::Dawin { clusters } };
        let hash = digest::of(&("dawin", &original.hash, &tuned.hash, settings))?;
        let mut fitted = original.clone();
        (fitted.hash, fitted.cost) = (hash, tuned.cost);
        fitted.model.method = self.name().into();
        fitted.model.made = Made::Pair(Pair { tuned: tuned.model.model.clone(), settings });
        Ok(vec![fitted])
    }
}
