//! What is asked of whom: everything that judging needs besides the answers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use robustify_bench::ClassMap;
use robustify_bench::suites::Part;
use robustify_report::evaluation::ModelRecord;
use robustify_report::write_atomic;
use robustify_select::SelectConfig;
use serde::{Deserialize, Serialize};

use crate::place;

/// An evaluation before its answers are judged. It is the same for every shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The version of the format.
    pub schema: u32,
    /// A title for people.
    pub title: String,
    /// Program and version.
    pub program: String,
    /// The command that makes it again, without the shard and the folder.
    pub command: String,
    /// The backend that answers come from.
    pub backend: String,
    /// Settings that numbers depend on.
    pub settings: BTreeMap<String, String>,
    /// Images of a part.
    pub part: usize,
    /// The models.
    pub models: Vec<ModelRecord>,
    /// The rules that stand for models with three heads, by the model's name; others are not in it.
    pub rules: BTreeMap<String, SelectConfig>,
    /// The suites.
    pub suites: Vec<PlannedSuite>,
}

/// A suite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedSuite {
    /// Its name in records.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// `generated` or `on disk`.
    pub origin: String,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// What a reader has to know.
    pub notes: Vec<String>,
    /// Whether mCE over AlexNet's errors has a meaning: images of ImageNet.
    pub is_imagenet: bool,
    /// Models that see the same pixels of it.
    pub groups: Vec<PlannedGroup>,
}

/// Models of one geometry, and the suite as they see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedGroup {
    /// Hash of what determines the pixels.
    pub identity: String,
    /// What is done to pictures before they are corrupted.
    pub geometry: String,
    /// The models.
    pub models: Vec<PlannedModel>,
    /// The cells, the clean one first where there is one.
    pub cells: Vec<PlannedCell>,
}

/// A model on a suite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedModel {
    /// Its name.
    pub name: String,
    /// Hash of what determines its answers.
    pub identity: String,
    /// For every class of the suite, the model's classes that mean it.
    pub map: ClassMap,
    /// Whether it is asked about a whole cell at once, since its answer about an image depends on the others.
    pub is_whole: bool,
}

/// A cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedCell {
    /// Its name.
    pub name: String,
    /// The corruption or other shift; none of clean images.
    pub shift: Option<String>,
    /// The group of the corruption.
    pub group: Option<String>,
    /// The severity of a corruption.
    pub severity: Option<u8>,
    /// How many images.
    pub images: usize,
}

/// [`Plan::part`] of answers that are not in parts: a run keeps them cell by cell.
pub(crate) const WHOLE: usize = 0;

/// The identity under which answers about a range of a suite's images are kept: of a part of it, or its own.
pub(crate) fn kept_under(suite: &str, range: &Range<usize>, part: usize) -> String {
    if part == WHOLE { suite.to_owned() } else { Part::identity_of(suite, range) }
}

/// What is computed, and kept, at a time: some models about a part of a suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    /// The suite's place.
    pub suite: usize,
    /// The group's place in it.
    pub group: usize,
    /// Whether it is of the models that are asked about whole cells.
    pub is_whole: bool,
    /// Places of images in each cell.
    pub range: Range<usize>,
}

impl PlannedModel {
    /// The ranges that its answers about a cell of so many images are kept in.
    pub(crate) fn parts(&self, images: usize, part: usize) -> Vec<Range<usize>> {
        ranges(images, part, self.is_whole)
    }
}

/// A cell of so many images in parts; a whole one has one part, without an end.
fn ranges(images: usize, part: usize, is_whole: bool) -> Vec<Range<usize>> {
    match is_whole || part == WHOLE {
        true => std::iter::once(0..usize::MAX).filter(|_| images > 0).collect(),
        false => (0..images).step_by(part).map(|start| start..start + part).collect(),
    }
}

impl Plan {
    /// The version of the format. A reader refuses another.
    pub(crate) const SCHEMA: u32 = 1;

    /// All units, in the order that gives them their numbers.
    pub(crate) fn units(&self) -> Vec<Unit> {
        let mut units = Vec::new();
        for (suite, planned) in self.suites.iter().enumerate() {
            for (group, of) in planned.groups.iter().enumerate() {
                let most = of.cells.iter().map(|cell| cell.images).max().unwrap_or_default();
                for is_whole in [false, true] {
                    if of.models.iter().any(|model| model.is_whole == is_whole) {
                        let parts = ranges(most, self.part, is_whole).into_iter();
                        units.extend(parts.map(|range| Unit { suite, group, is_whole, range }));
                    }
                }
            }
        }
        units
    }

    /// Whether all answers of a unit lie in a folder, by the names of the files.
    pub(crate) fn has(&self, unit: &Unit, out: &Path) -> bool {
        let group = &self.suites[unit.suite].groups[unit.group];
        let part = kept_under(&group.identity, &unit.range, self.part);
        let folder = out.join(place::ANSWERS).join(&part[..16]);
        let file =
            |model: &PlannedModel| format!("answers-{}.safetensors", &model.identity[..16.min(model.identity.len())]);
        let models: Vec<String> =
            group.models.iter().filter(|model| model.is_whole == unit.is_whole).map(file).collect();
        self.cells(unit).all(|cell| models.iter().all(|model| folder.join(&cell.name).join(model).is_file()))
    }

    /// A unit for people.
    pub(crate) fn describe(&self, unit: &Unit) -> String {
        let suite = &self.suites[unit.suite];
        let models: Vec<&str> = suite.groups[unit.group]
            .models
            .iter()
            .filter(|model| model.is_whole == unit.is_whole)
            .map(|model| model.name.as_str())
            .collect();
        let images = match unit.is_whole {
            true => "all images".to_owned(),
            false => format!("images {} to {}", unit.range.start + 1, unit.range.end),
        };
        format!("{} of {} by {}", images, suite.name, models.join(", "))
    }

    /// Reads the plan of a folder.
    ///
    /// # Errors
    /// A folder without one, or one of another version.
    pub fn read(out: &Path) -> Result<Self> {
        let path = out.join(place::PLAN);
        let text = std::fs::read(&path).with_context(|| {
            format!(
                "{}: no folder of an evaluation, which `robustify eval … --out {}` makes",
                path.display(),
                out.display()
            )
        })?;
        let plan: Self = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        ensure!(
            plan.schema == Self::SCHEMA,
            "{}: its schema is {}, this program knows {}; evaluate again into another folder",
            path.display(),
            plan.schema,
            Self::SCHEMA
        );
        Ok(plan)
    }

    /// Writes it into a folder, which is made.
    pub(crate) fn write(&self, out: &Path) -> Result<()> {
        std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
        let text = serde_json::to_string_pretty(self)? + "\n";
        Ok(write_atomic(&out.join(place::PLAN), text.as_bytes())?)
    }

    /// The cells that have images in a unit.
    pub(crate) fn cells(&self, unit: &Unit) -> impl Iterator<Item = &PlannedCell> {
        let start = unit.range.start;
        self.suites[unit.suite].groups[unit.group].cells.iter().filter(move |cell| cell.images > start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_cut_into_parts_unless_a_model_reads_it_whole() {
        let cell = |name: &str, images| PlannedCell {
            name: name.to_owned(),
            shift: None,
            group: None,
            severity: None,
            images,
        };
        let model = |name: &str, is_whole| PlannedModel {
            name: name.to_owned(),
            identity: "0123456789abcdef".to_owned(),
            map: ClassMap::subset(vec![0]),
            is_whole,
        };
        let group = PlannedGroup {
            identity: "suite".to_owned(),
            geometry: String::new(),
            models: vec![model("plain", false), model("adapting", true)],
            cells: vec![cell("clean", 25), cell("fog-1", 10), cell("fog-2", 0)],
        };
        let suite = PlannedSuite {
            name: "photos-c".to_owned(),
            title: String::new(),
            origin: String::new(),
            classes: Vec::new(),
            notes: Vec::new(),
            is_imagenet: false,
            groups: vec![group],
        };
        let plan = Plan {
            schema: Plan::SCHEMA,
            title: String::new(),
            program: String::new(),
            command: String::new(),
            backend: String::new(),
            settings: BTreeMap::new(),
            part: 10,
            models: Vec::new(),
            rules: BTreeMap::new(),
            suites: vec![suite],
        };
        let units = plan.units();
        let ranges: Vec<_> = units.iter().map(|unit| (unit.is_whole, unit.range.clone())).collect();
        assert_eq!(ranges, [(false, 0..10), (false, 10..20), (false, 20..30), (true, 0..usize::MAX)]);
        let cells = |unit: &Unit| plan.cells(unit).map(|cell| cell.name.as_str()).collect::<Vec<_>>();
        assert_eq!(
            units.iter().map(cells).collect::<Vec<_>>(),
            [&["clean", "fog-1"][..], &["clean"], &["clean"], &["clean", "fog-1"]]
        );
        assert_eq!(plan.describe(&units[1]), "images 11 to 20 of photos-c by plain");
        assert_eq!(plan.suites[0].groups[0].models[1].parts(25, 10), vec![0..usize::MAX]);
    }
}
