//! From stored answers to the record of an evaluation.
//!
//! Answers are read part after part and cell after cell, so that memory does not grow with the number of images but for a few numbers
//! of each. Everything runs in the order of the plan, so the record is the same bytes on any number of threads.

mod cell;
mod shown;
mod totals;

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use robustify_bench::AnswerStore;
use robustify_device::Workers;
use robustify_report::Row;
use robustify_report::evaluation::{CellRecord, EVALUATION_SCHEMA, Evaluation, SuiteRecord};
use robustify_select::SelectConfig;
use robustify_watch::{Stopped, Watch};

use crate::place;
use crate::plan::{Plan, PlannedCell, PlannedGroup, PlannedModel, PlannedSuite};
use cell::{Asked, Judged};
use shown::Shown;
use totals::Effects;

/// Judges the answers in a folder: the record, and its numbers as rows.
///
/// # Errors
/// Answers that are missing or damaged, a rule that reads what no answer has, or an interruption.
pub fn judge(plan: &Plan, out: &Path, threads: usize, watch: &dyn Watch) -> Result<(Evaluation, Vec<Row>)> {
    let store = AnswerStore::compact(out.join(place::ANSWERS), &plan.backend);
    judge_from(store, plan, out, threads, watch)
}

/// The same of answers in another store; `out` has the names and pictures of images.
pub(crate) fn judge_from(
    store: AnswerStore,
    plan: &Plan,
    out: &Path,
    threads: usize,
    watch: &dyn Watch,
) -> Result<(Evaluation, Vec<Row>)> {
    let workers = Workers::new(threads).context("threads")?;
    let judge = Judge { plan, out, store, workers, watch };
    let mut evaluation = Evaluation {
        schema: EVALUATION_SCHEMA,
        title: plan.title.clone(),
        program: plan.program.clone(),
        command: plan.command.clone(),
        settings: plan.settings.clone(),
        models: plan.models.clone(),
        ..Default::default()
    };
    evaluation.settings.insert("backend".to_owned(), plan.backend.clone());
    for model in plan.rules.keys() {
        let rule = judge.rule(model);
        let passes = if rule.deterministic { " in one pass" } else { "" };
        evaluation.settings.insert(format!("rule of {model}"), format!("{}{passes}", rule.rule.name()));
    }
    let mut rows = Vec::new();
    for suite in &plan.suites {
        let (record, own, effects) = judge.suite(suite)?;
        evaluation.comparisons.extend(totals::comparisons(plan, suite, &effects)?);
        evaluation.suites.push(record);
        rows.extend(own);
    }
    totals::effective(&mut evaluation.suites);
    Ok((evaluation, rows))
}

struct Judge<'a> {
    plan: &'a Plan,
    out: &'a Path,
    store: AnswerStore,
    workers: Workers,
    watch: &'a dyn Watch,
}

impl Judge<'_> {
    fn rule(&self, model: &str) -> SelectConfig {
        self.plan.rules.get(model).copied().unwrap_or_default()
    }

    fn suite(&self, suite: &PlannedSuite) -> Result<(SuiteRecord, Vec<Row>, HashMap<String, Effects>)> {
        let identities: Vec<&str> = suite.groups.iter().map(|group| group.identity.as_str()).collect();
        let mut record = SuiteRecord {
            name: suite.name.clone(),
            title: suite.title.clone(),
            origin: suite.origin.clone(),
            identity: identities.join("+"),
            classes: suite.classes.clone(),
            notes: suite.notes.clone(),
            ..Default::default()
        };
        for cell in suite.groups.iter().flat_map(|group| &group.cells) {
            if record.cells.iter().all(|known| known.name != cell.name) {
                record.cells.push(empty(cell));
            }
        }
        let (mut rows, mut effects) = (Vec::new(), HashMap::new());
        let mut shown = Shown::new(self.plan, suite, self.out);
        // In the order of the models, whatever group they are in.
        for name in self.plan.models.iter().map(|model| &model.name) {
            let find = |group: &'_ &PlannedGroup| group.models.iter().any(|model| model.name == *name);
            let Some(group) = suite.groups.iter().find(find) else { continue };
            let Some(model) = group.models.iter().find(|model| model.name == *name) else { continue };
            let mut own = Effects::default();
            self.model(suite, group, model, |cell, judged| {
                own.add(&group.cells, cell, &judged.right);
                shown.add(name, cell, &judged);
                if let Some(record) = record.cells.iter_mut().find(|record| record.name == cell.name) {
                    record.results.extend(judged.results);
                }
                rows.extend(judged.rows);
            })?;
            effects.insert(name.clone(), own);
        }
        record.totals = totals::totals(self.plan, suite, &rows, &effects)?;
        shown.fill(&mut record, &self.store)?;
        Ok((record, rows, effects))
    }

    /// All cells of a model, the clean one first, for it says which images a shift flipped.
    fn model(
        &self,
        suite: &PlannedSuite,
        group: &PlannedGroup,
        model: &PlannedModel,
        mut take: impl FnMut(&PlannedCell, Judged),
    ) -> Result<()> {
        let asked = Asked {
            store: &self.store,
            out: self.out,
            suite: &group.identity,
            name: &suite.name,
            classes: suite.classes.len(),
            part: self.plan.part,
            model,
            rule: self.rule(&model.name),
        };
        let mut right: Option<HashMap<u64, bool>> = None;
        let (clean, others): (Vec<&PlannedCell>, _) = group.cells.iter().partition(|cell| cell.shift.is_none());
        for cell in clean {
            let judged = cell::judged(&asked, cell, None)?;
            right.get_or_insert_with(|| judged.right.iter().copied().collect());
            take(cell, judged);
        }
        // A few at a time: what is known of every image is held for them alone.
        for some in others.chunks(self.workers.threads()) {
            self.watch.check(Stopped::Saved)?;
            let judged = self.workers.map(some.to_vec(), |cell| cell::judged(&asked, cell, right.as_ref()));
            for (cell, judged) in some.iter().zip(judged) {
                take(cell, judged?);
            }
        }
        Ok(())
    }
}

fn empty(cell: &PlannedCell) -> CellRecord {
    CellRecord {
        name: cell.name.clone(),
        shift: cell.shift.clone(),
        group: cell.group.clone(),
        severity: cell.severity,
        images: cell.images as u64,
        results: Vec::new(),
    }
}
