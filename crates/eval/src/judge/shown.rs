//! What a record shows besides numbers: pictures of flipped images, examples with what everybody says, and parts that stand out.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::Result;
use robustify_bench::{AnswerStore, Cell, Shift, Stored};
use robustify_predict::Answers;
use robustify_report::evaluation::{ExampleRecord, SuiteRecord};
use robustify_select::Head;

use super::cell::Judged;
use crate::engine::Names;
use crate::pictures::{Kept, Look, Pictures, places, said};
use crate::plan::{Plan, PlannedCell, PlannedGroup, PlannedModel, PlannedSuite, kept_under};
use crate::slices::{Tally, slices};

/// Collects while a suite is judged, and fills its record.
pub(super) struct Shown<'a> {
    plan: &'a Plan,
    suite: &'a PlannedSuite,
    out: &'a Path,
    /// By model, how often each image was right.
    right: HashMap<String, Tally>,
    /// Flipped images in the order of the record: model, cell, number in the list, part and place there.
    flipped: Vec<(String, String, usize, [usize; 2])>,
}

impl<'a> Shown<'a> {
    pub fn new(plan: &'a Plan, suite: &'a PlannedSuite, out: &'a Path) -> Self {
        Self { plan, suite, out, right: HashMap::new(), flipped: Vec::new() }
    }

    /// What came of a model in a cell.
    pub fn add(&mut self, model: &str, cell: &PlannedCell, judged: &Judged) {
        let tally = self.right.entry(model.to_owned()).or_default();
        for (id, is_right) in &judged.right {
            let [right, of] = tally.entry(*id).or_default();
            *right += u32::from(*is_right);
            *of += 1;
        }
        let places = judged.places.iter().enumerate();
        self.flipped.extend(places.map(|(number, place)| (model.to_owned(), cell.name.clone(), number, *place)));
    }

    /// Fills a record in which everything else is.
    pub fn fill(self, record: &mut SuiteRecord, store: &AnswerStore) -> Result<()> {
        let mut looks: BTreeMap<u64, Look> = BTreeMap::new();
        for group in &self.suite.groups {
            for is_whole in [false, true] {
                let Some(model) = group.models.iter().find(|model| model.is_whole == is_whole) else { continue };
                let kept = Kept { out: self.out, plan: self.plan, group, is_whole };
                let most = group.cells.iter().map(|cell| cell.images).max().unwrap_or_default();
                // One part at a time, since its pictures are many.
                for (number, range) in model.parts(most, self.plan.part).iter().enumerate() {
                    let pictures = kept.read(&kept_under(&group.identity, range, self.plan.part));
                    looks.extend(&pictures.looks);
                    self.pictures(record, group, is_whole, number, &pictures);
                    if number == 0 && record.examples.is_empty() {
                        record.examples = self.examples(group, is_whole, &pictures, store)?;
                    }
                }
            }
        }
        for model in &self.plan.models {
            let Some(right) = self.right.get(&model.name) else { continue };
            record.slices.extend(slices(&model.name, &record.classes, &looks, right));
        }
        Ok(())
    }

    /// Gives flipped images of a part their pictures.
    fn pictures(
        &self,
        record: &mut SuiteRecord,
        group: &PlannedGroup,
        is_whole: bool,
        part: usize,
        pictures: &Pictures,
    ) {
        let is_of = |name: &str| group.models.iter().any(|model| model.name == name && model.is_whole == is_whole);
        for (model, cell, number, [_, place]) in
            self.flipped.iter().filter(|(model, .., [of, _])| *of == part && is_of(model))
        {
            let Some(picture) = pictures.of(cell, *place) else { continue };
            let results =
                record.cells.iter_mut().filter(|record| record.name == *cell).flat_map(|record| &mut record.results);
            let main = results.into_iter().find(|result| result.model == *model && result.flipped.len() > *number);
            if let Some(flip) = main.and_then(|main| main.flipped.get_mut(*number)) {
                flip.picture = Some(picture.to_owned());
            }
        }
    }

    /// Images at fixed places of the first part, with what every model says of them.
    fn examples(
        &self,
        group: &PlannedGroup,
        is_whole: bool,
        pictures: &Pictures,
        store: &AnswerStore,
    ) -> Result<Vec<ExampleRecord>> {
        let Some(range) = group
            .models
            .iter()
            .find(|model| model.is_whole == is_whole)
            .and_then(|model| model.parts(1, self.plan.part).into_iter().next())
        else {
            return Ok(Vec::new());
        };
        let names = Names::read(self.out, &kept_under(&group.identity, &range, self.plan.part));
        let mut examples = Vec::new();
        for cell in &group.cells {
            let count = cell.images.min(range.end);
            let known: Vec<(usize, &str)> =
                places(count).into_iter().filter_map(|place| Some((place, pictures.of(&cell.name, place)?))).collect();
            if known.is_empty() {
                continue;
            }
            let mut of_cell: Vec<ExampleRecord> = known
                .iter()
                .map(|(place, picture)| ExampleRecord {
                    cell: cell.name.clone(),
                    image: names.of(&cell.name, *place).map_or_else(|| format!("image {}", place + 1), str::to_owned),
                    picture: (*picture).to_owned(),
                    ..Default::default()
                })
                .collect();
            for model in self.suite.groups.iter().flat_map(|group| group.models.iter().map(move |model| (group, model)))
            {
                let Some(stored) = self.stored(model, cell, store)? else { continue };
                for (example, (place, _)) in of_cell.iter_mut().zip(&known) {
                    if let Some(label) = stored.labels.get(*place) {
                        example.label = *label;
                        example.said.extend(self.said(model.1, cell, &stored, *place));
                    }
                }
            }
            examples.extend(of_cell);
        }
        Ok(examples)
    }

    /// A model's answers about the first part of a cell, in the suite's classes.
    fn stored(
        &self,
        (group, model): (&PlannedGroup, &PlannedModel),
        cell: &PlannedCell,
        store: &AnswerStore,
    ) -> Result<Option<Stored>> {
        let Some(range) = model.parts(cell.images, self.plan.part).into_iter().next() else { return Ok(None) };
        let stored =
            store.answers_by_name(&kept_under(&group.identity, &range, self.plan.part), &cell.name, &model.identity)?;
        Ok(stored.map(|stored| model.map.stored(stored)).transpose()?)
    }

    /// What a model and its heads say of an image: model, route or head, class, probability.
    fn said(
        &self,
        model: &PlannedModel,
        cell: &PlannedCell,
        stored: &Stored,
        place: usize,
    ) -> Vec<(String, String, usize, f64)> {
        let rule = self.plan.rules.get(&model.name).copied().unwrap_or_default();
        let keyed = Cell { name: cell.name.clone(), shift: Shift::Clean };
        let mut all = Vec::new();
        let route = self
            .plan
            .models
            .iter()
            .find(|record| record.name == model.name)
            .map(|record| record.main_route.clone())
            .unwrap_or_default();
        if let Some(main) = said(stored, &keyed, &rule).get(place) {
            all.push((model.name.clone(), route, main.class, f64::from(main.confidence)));
        }
        if let Answers::Heads(heads) = &stored.answers
            && let Some(answer) = heads.get(place)
        {
            for head in Head::ALL {
                let class = answer.passes.prediction(head);
                let probability = f64::from(answer.passes.probabilities[head.index()][class]);
                all.push((model.name.clone(), head.name().to_owned(), class, probability));
            }
        }
        all
    }
}
