//! What rules and mixtures need to know before they judge: fitted on validation images.

use robustify_bench::suites::Rendered;
use robustify_bench::{AnswerStore, Blend, Calibrations, Cell, Entrant, Shift, Stored, Suite, measure};
use robustify_data::{DataError, Images, Preprocess};
use robustify_device::Machine;
use robustify_distill::{DistillError, ViewSpec};
use robustify_methods::Config;
use robustify_methods::lab::{clean_validation, policy, policy_identity};
use robustify_predict::{Made, RobustModel};
use robustify_report::digest;
use robustify_select::Uncertainty;
use robustify_watch::Watch;

/// Who is asked about validation images, and on what.
pub(crate) struct Fitting<'a> {
    pub config: &'a Config,
    pub entrants: &'a [Entrant<'a>],
    pub blends: &'a [Blend],
    pub store: &'a AnswerStore,
    pub machine: &'a Machine,
    pub watch: &'a dyn Watch,
}

impl Fitting<'_> {
    /// Fits everything: on clean validation images, and gates, where they are asked for, on views of them under the training policy as well.
    /// Corruptions of the benchmark have no part in it.
    pub fn fit(&self, validation: &Images) -> anyhow::Result<Calibrations> {
        let clean = self.ask(&clean_validation(self.config, validation)?)?;
        let views = if self.config.select.gate { self.views(validation)? } else { Vec::new() };
        let clean = clean.into_iter().next().unwrap_or_default();
        Ok(Calibrations::fit(&clean, &views, self.blends, &self.config.select.rule))
    }

    /// What everybody says about each augmented view of all images.
    fn views(&self, images: &Images) -> anyhow::Result<Vec<Vec<(String, Stored)>>> {
        let (config, device) = (self.config, &self.machine.device);
        let spec = ViewSpec {
            preprocess: config.original.preprocess.parse::<Preprocess>()?.geometry(),
            clean_view: config.views.clean_view.parse()?,
            policy: policy(&config.views.policy, device)?,
            clean: config.views.clean,
            augmented: config.views.augmented,
            seed: config.views_seed(),
            precision: config.views.precision,
        };
        let cell = |view: usize| Cell { name: format!("view-{view}"), shift: Shift::Clean };
        let cells: Vec<Cell> = (spec.clean..spec.count()).map(cell).collect();
        let identity = digest::of(&(
            "views",
            robustify_augment::REVISION,
            policy_identity(&config.views.policy, device)?,
            (&config.views.clean_view, spec.clean, spec.augmented, spec.seed),
            spec.preprocess.to_string(),
            images.fingerprint(),
        ))?;
        let pixels = |place: usize, index: usize| match spec.pixels(images, index, spec.clean + place) {
            Err(DistillError::Data(error)) => Err(error),
            Err(other) => Err(DataError::Settings(other.to_string())),
            Ok(pixels) => Ok(pixels),
        };
        self.ask(&Rendered::new("validation views", identity, images.clone(), cells, pixels))
    }

    /// Answers about each cell of a suite.
    fn ask(&self, suite: &dyn Suite) -> anyhow::Result<Vec<Vec<(String, Stored)>>> {
        let Self { entrants, store, machine, watch, .. } = *self;
        let mut answers = Vec::new();
        measure::measure(suite, entrants, store, machine, watch, |measured| answers.push(measured.answers))?;
        Ok(answers)
    }
}

/// An error if the configured rule reads an uncertainty that a model with three heads does not have.
pub(crate) fn expect_uncertainty(config: &Config, models: &[RobustModel]) -> anyhow::Result<()> {
    let lacks = |model: &&RobustModel| matches!(model.made, Made::ThreeHeads(..)) && model.attached.laplace.is_none();
    let model = models.iter().find(lacks).filter(|_| config.select.rule.uncertainty == Uncertainty::Laplace);
    match model {
        Some(model) => anyhow::bail!(
            "select.rule.uncertainty is laplace, and {} has no posterior of its last layers; select.laplace=diagonal fits one when it is \
             trained",
            model.method
        ),
        None => Ok(()),
    }
}
