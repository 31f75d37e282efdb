//! The evaluation of a run whose models were measured already: from the answers in its cache.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use robustify_bench::{AnswerStore, ClassMap, Origin, Suite, metrics};
use robustify_device::backend_of;
use robustify_predict::{Made, RobustModel};
use robustify_report::evaluation::{Evaluation, ModelRecord};
use robustify_select::SelectConfig;
use robustify_watch::Watch;
use robustify_zoo::weights;

use crate::engine::{cells, keep_names};
use crate::judge::judge_from;
use crate::pictures::Kept;
use crate::place;
use crate::plan::{Plan, PlannedGroup, PlannedModel, PlannedSuite, WHOLE};

/// Models that were measured on a suite.
pub struct Run<'a> {
    /// A title for people.
    pub title: String,
    /// The command that makes it again.
    pub command: String,
    /// Settings that numbers depend on.
    pub settings: BTreeMap<String, String>,
    /// What a reader has to know of the suite.
    pub notes: Vec<String>,
    /// The suite, whose classes are those of the models.
    pub suite: &'a dyn Suite,
    /// The suite's name for people.
    pub name: String,
    /// The models; the others are compared with the first.
    pub models: &'a [RobustModel],
    /// How three heads answer.
    pub select: SelectConfig,
    /// The cache, in which `answers` are.
    pub cache: &'a Path,
}

impl Run<'_> {
    /// Judges the stored answers, and draws small pictures beside them.
    ///
    /// # Errors
    /// Answers that are missing, a file that cannot be written, or an interruption.
    pub fn evaluation(&self, device: &burn::tensor::Device, threads: usize, watch: &dyn Watch) -> Result<Evaluation> {
        let backend = backend_of(device);
        let records: Vec<ModelRecord> = self.models.iter().map(record).collect::<Result<_>>()?;
        let classes = self.suite.classes().len();
        let planned = records.iter().map(|record| PlannedModel {
            name: record.name.clone(),
            identity: record.identity.clone(),
            map: ClassMap::subset((0..classes).collect()),
            is_whole: false,
        });
        let group = PlannedGroup {
            identity: self.suite.identity().to_owned(),
            geometry: String::new(),
            models: planned.collect(),
            cells: cells(self.suite),
        };
        let suite = PlannedSuite {
            name: self.suite.name().to_owned(),
            title: self.name.clone(),
            origin: if self.suite.origin() == Origin::OnDisk { "on disk" } else { "generated" }.to_owned(),
            classes: self.suite.classes().to_vec(),
            notes: self.notes.clone(),
            is_imagenet: classes == 1000,
            groups: vec![group],
        };
        let has_heads = |record: &&ModelRecord| record.main_route == metrics::SELECTED;
        let plan = Plan {
            schema: Plan::SCHEMA,
            title: self.title.clone(),
            program: format!("robustify {}", env!("CARGO_PKG_VERSION")),
            command: self.command.clone(),
            backend: backend.clone(),
            settings: self.settings.clone(),
            part: WHOLE,
            rules: records.iter().filter(has_heads).map(|record| (record.name.clone(), self.select)).collect(),
            models: records,
            suites: vec![suite],
        };
        let store = || AnswerStore::new(self.cache.join(place::ANSWERS), backend.clone());
        keep_names(self.cache, self.suite)?;
        let kept = Kept { out: self.cache, plan: &plan, group: &plan.suites[0].groups[0], is_whole: false };
        kept.keep(self.suite, true, &store())?;
        Ok(judge_from(store(), &plan, self.cache, threads, watch)?.0)
    }
}

fn record(model: &RobustModel) -> Result<ModelRecord> {
    let predictor = model.predictor().with_context(|| model.method.clone())?;
    let (macs, macs_passes) = model.macs();
    let parameters = weights::parameters(&model.model) as u64;
    let has_heads = matches!(model.made, Made::ThreeHeads(..));
    Ok(ModelRecord {
        name: model.method.clone(),
        about: format!(
            "{}{}, {:.1} M parameters",
            model.network.kind(),
            if has_heads { " with three heads" } else { "" },
            parameters as f64 / 1e6
        ),
        kind: "robust".to_owned(),
        identity: predictor.identity().to_owned(),
        source: format!("models/{}.safetensors", model.method),
        sha256: None,
        preprocess: model.preprocess.to_string(),
        parameters: Some(parameters),
        macs: Some(macs),
        macs_passes,
        main_route: if has_heads { metrics::SELECTED } else { metrics::SINGLE }.to_owned(),
    })
}
