//! Many evaluations in one table, beside published numbers.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::evaluation::{Evaluation, ModelRecord};
use crate::page::{self, Column, Grid, Look, Place, read};
use crate::{ReportError, write_atomic};

/// Top-1 accuracies of published models. Source: huggingface/pytorch-image-models, `results/results-*.csv`.
const TIMM: &str = include_str!("golden_timm.csv");
/// What stands beside numbers of timm.
const REFERENCE: &str = "reference, timm results, on disk";
/// How timm's sets are called here.
const SETS: [(&str, &str); 5] = [
    ("imagenet", "imagenet"),
    ("imagenetv2-matched-frequency", "imagenet-v2"),
    ("imagenet-a", "imagenet-a"),
    ("imagenet-r", "imagenet-r"),
    ("sketch", "imagenet-sketch"),
];

/// An evaluation and the folder it is in.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The folder, below the one that was searched.
    pub folder: String,
    /// What was read there.
    pub evaluation: Evaluation,
}

/// What a folder holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Evaluations, by the names of their folders.
    pub entries: Vec<Entry>,
    /// Files that are called like one and cannot be used, with the reason.
    pub passed_over: Vec<String>,
}

/// Finds every `evaluation.json` below a folder. Links are not followed.
///
/// # Errors
/// The folder cannot be read.
pub fn find(folder: &Path) -> Result<Found, ReportError> {
    let mut files = Vec::new();
    search(folder, &mut files)?;
    files.sort();
    let mut found = Found::default();
    for file in files {
        match Evaluation::read(&file) {
            Ok(evaluation) => {
                let place = file.parent().and_then(|parent| parent.strip_prefix(folder).ok());
                let name = place.map(|place| place.display().to_string()).filter(|name| !name.is_empty());
                found.entries.push(Entry { folder: name.unwrap_or_else(|| ".".to_owned()), evaluation });
            }
            Err(error) => found.passed_over.push(error.to_string()),
        }
    }
    Ok(found)
}

fn search(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), ReportError> {
    let fault = |source| ReportError::reading(folder, source);
    for entry in std::fs::read_dir(folder).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let kind = entry.file_type().map_err(fault)?;
        if kind.is_dir() {
            search(&entry.path(), files)?;
        } else if kind.is_file() && entry.file_name() == EVALUATION {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// The file of an evaluation.
pub const EVALUATION: &str = "evaluation.json";

/// A column: suite, origin, and the cells that it is the mean of; none where the suite is one cell. Means of other cells are other columns.
type Key = (String, String, Vec<String>);

/// A row before it is shown.
struct Row {
    model: String,
    from: String,
    values: Vec<(Key, f64)>,
}

/// All models of some evaluations, and published numbers of the suites that they were measured on: the best of the column that most have,
/// or of the one whose name is given, first. Only numbers of the same suite and origin are in one column.
///
/// # Errors
/// [`LeaderboardError::NoColumn`].
pub fn table(entries: &[Entry], sort: Option<&str>) -> Result<Grid, LeaderboardError> {
    let mut rows: Vec<Row> =
        entries.iter().flat_map(|entry| entry.evaluation.models.iter().map(|model| row(entry, model))).collect();
    let keys: Vec<Key> = read::distinct(rows.iter().flat_map(|row| row.values.iter().map(|(key, _)| key.clone())));
    rows.extend(published(&keys));
    let by = match sort {
        Some(name) => {
            let named = keys.iter().find(|(suite, origin, _)| suite == name || title(suite, origin) == name);
            let known = || keys.iter().map(|(suite, origin, _)| title(suite, origin)).collect::<Vec<_>>().join(", ");
            Some(named.ok_or_else(|| LeaderboardError::NoColumn { name: name.to_owned(), known: known() })?)
        }
        None => {
            let count = |key: &&Key| rows.iter().filter(|row| row.value(key).is_some()).count();
            keys.iter().rev().max_by_key(count)
        }
    };
    if let Some(by) = by {
        let rank = |row: &Row| row.value(by).unwrap_or(f64::NEG_INFINITY);
        rows.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
    }
    let mut columns = vec![Column::text("model"), Column::text("from")];
    columns.extend(keys.iter().map(|(suite, origin, cells)| {
        let others = keys.iter().filter(|(other, from, _)| other == suite && from == origin).count() > 1;
        let of = match cells.len() {
            0 => "accuracy".to_owned(),
            _ if !others => "mean over shifts".to_owned(),
            1..=3 => format!("mean over {}", cells.join(", ")),
            count => format!("mean over {count} shifts"),
        };
        Column::percent(&format!("{suite}, {origin}: {of}"), &title(suite, origin))
    }));
    let line = |row: &Row| -> Vec<Place> {
        let values = keys.iter().map(|key| row.value(key).into());
        [row.model.clone().into(), row.from.clone().into()].into_iter().chain(values).collect()
    };
    let caption = match by {
        Some((suite, origin, _)) => format!("Accuracy in %, by {suite} ({origin}). Bold: the highest of a column."),
        None => "No evaluation has a number yet.".to_owned(),
    };
    Ok(Grid { file: "leaderboard".into(), caption, columns, rows: rows.iter().map(line).collect() })
}

fn title(suite: &str, origin: &str) -> String {
    format!("{suite} ({origin})")
}

impl Row {
    fn value(&self, key: &Key) -> Option<f64> {
        self.values.iter().find(|(known, _)| known == key).map(|(_, value)| *value)
    }
}

fn row(entry: &Entry, model: &ModelRecord) -> Row {
    let values = entry.evaluation.suites.iter().filter_map(|suite| {
        let cells = read::shifted(suite).map(|cell| cell.name.clone());
        let cells = if read::is_mean(suite) { cells.collect() } else { Vec::new() };
        let key = (suite.name.clone(), suite.origin.clone(), cells);
        Some((key, read::headline(suite, model)?))
    });
    Row { model: model.name.clone(), from: entry.folder.clone(), values: values.collect() }
}

/// Rows of published numbers that have any of the columns.
fn published(keys: &[Key]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for line in TIMM.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [set, model, side, top1, ..] = fields[..] else { continue };
        let Some((_, suite)) = SETS.iter().find(|(known, _)| *known == set) else { continue };
        let key = ((*suite).to_owned(), "on disk".to_owned(), Vec::new());
        let (true, Ok(top1)) = (keys.contains(&key), top1.parse::<f64>()) else { continue };
        let name = format!("{model}, {side} px");
        match rows.iter_mut().find(|row| row.model == name) {
            Some(row) => row.values.push((key, top1 / 100.0)),
            None => rows.push(Row { model: name, from: REFERENCE.to_owned(), values: vec![(key, top1 / 100.0)] }),
        }
    }
    rows
}

/// Accuracies of published models, fractions: on ImageNet's validation images, and on a suite of that name. Nothing of other suites.
#[must_use]
pub fn references(suite: &str) -> Vec<[f64; 2]> {
    let key = |name: &str| (name.to_owned(), "on disk".to_owned(), Vec::new());
    let keys = [key("imagenet"), key(suite)];
    let both = |row: Row| {
        let of = |key: &Key| row.values.iter().find(|(known, _)| known == key).map(|(_, value)| *value);
        Some([of(&keys[0])?, of(&keys[1])?])
    };
    if suite == "imagenet" { Vec::new() } else { published(&keys).into_iter().filter_map(both).collect() }
}

/// Why a table cannot be drawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaderboardError {
    /// A column to sort by that is not there.
    #[error("there is no column `{name}` to sort by; there are {known}")]
    NoColumn {
        /// The name.
        name: String,
        /// Those that are there.
        known: String,
    },
}

/// What the template is given.
#[derive(Serialize)]
struct View<'a> {
    title: &'a str,
    evaluations: usize,
    published: bool,
    table: page::Shape,
}

/// Writes `leaderboard.html`, `.md` and `.csv` into a folder, and gives the page's path.
///
/// # Errors
/// Files that cannot be written, and templates as in [`page::render`].
pub fn write(folder: &Path, grid: &Grid, evaluations: usize, look: &Look) -> Result<PathBuf, ReportError> {
    let is_published = |row: &Vec<Place>| row.get(1) == Some(&REFERENCE.into());
    let published = grid.rows.iter().any(is_published);
    let view = View { title: "Leaderboard", evaluations, published, table: page::Shape::of(grid, usize::MAX) };
    let text = page::rendered(page::LEADERBOARD, view, look)?;
    std::fs::create_dir_all(folder).map_err(|source| ReportError::writing(folder, 0, source))?;
    write_atomic(&folder.join("leaderboard.md"), grid.markdown().as_bytes())?;
    write_atomic(&folder.join("leaderboard.csv"), grid.csv().as_bytes())?;
    let path = folder.join(page::LEADERBOARD);
    write_atomic(&path, text.as_bytes())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::{CellRecord, ResultRecord, SuiteRecord};

    fn entry(folder: &str, model: &str, suites: &[(&str, &str, f64)]) -> Entry {
        let suite = |(name, origin, value): &(&str, &str, f64)| {
            let metrics = [("accuracy".to_owned(), *value)].into();
            let result = ResultRecord { model: model.into(), route: "single".into(), metrics, ..Default::default() };
            let cell = CellRecord { name: "clean".into(), images: 10, results: vec![result], ..Default::default() };
            SuiteRecord { name: (*name).into(), origin: (*origin).into(), cells: vec![cell], ..Default::default() }
        };
        let model = ModelRecord { name: model.into(), main_route: "single".into(), ..Default::default() };
        let evaluation =
            Evaluation { models: vec![model], suites: suites.iter().map(suite).collect(), ..Default::default() };
        Entry { folder: folder.into(), evaluation }
    }

    #[test]
    fn means_of_other_shifts_are_in_columns_of_their_own() {
        let under = |folder: &str, shifts: &[&str]| {
            let mut entry = entry(folder, "a", &[("photos-c", "generated", 0.5)]);
            let suite = &mut entry.evaluation.suites[0];
            for shift in shifts {
                let cell =
                    CellRecord { name: format!("{shift}-3"), shift: Some((*shift).into()), ..suite.cells[0].clone() };
                suite.cells.push(cell);
            }
            let metrics = [("mean_accuracy".to_owned(), 0.4)].into();
            suite.totals =
                vec![ResultRecord { model: "a".into(), route: "single".into(), metrics, ..Default::default() }];
            entry
        };
        let grid = table(&[under("one", &["fog"]), under("two", &["fog", "snow"])], None).unwrap();
        let titles: Vec<&str> = grid.columns.iter().map(|column| column.title.as_str()).collect();
        assert_eq!(
            titles[2..],
            ["photos-c, generated: mean over fog-3", "photos-c, generated: mean over fog-3, snow-3"]
        );
        let alike = table(&[under("one", &["fog"]), under("two", &["fog"])], None).unwrap();
        assert_eq!(alike.columns[2].title, "photos-c, generated: mean over shifts");
    }

    #[test]
    fn suites_of_one_name_and_origin_share_a_column_with_published_numbers() {
        let entries = [
            entry("one", "mine", &[("imagenet-r", "on disk", 0.6), ("photos", "on disk", 0.9)]),
            entry("two", "other", &[("imagenet-r", "generated", 0.99)]),
        ];
        let grid = table(&entries, None).unwrap();
        let keys: Vec<&str> = grid.columns.iter().map(|column| column.key.as_str()).collect();
        assert_eq!(keys, ["model", "from", "imagenet-r (on disk)", "photos (on disk)", "imagenet-r (generated)"]);
        let csv = grid.csv();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(
            lines[1],
            "\"vit_large_patch16_224.augreg_in21k_ft_in1k, 224 px\",\"reference, timm results, on disk\",0.643670,,"
        );
        assert_eq!(lines[2], "mine,one,0.600000,0.900000,");
        assert!(lines.last().unwrap().starts_with("other,two,,,0.990000"));
        let by = table(&entries, Some("imagenet-r (generated)")).unwrap();
        assert!(by.csv().lines().nth(1).unwrap().starts_with("other"));
        let error = table(&entries, Some("imagenet-c")).unwrap_err().to_string();
        assert!(
            error.starts_with("there is no column `imagenet-c` to sort by; there are imagenet-r (on disk), "),
            "{error}"
        );
    }

    #[test]
    fn evaluations_are_found_below_a_folder_and_damaged_ones_named() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("a/b");
        std::fs::create_dir_all(&place).unwrap();
        let one = entry("a/b", "mine", &[("photos", "on disk", 0.9)]);
        one.evaluation.write(&place.join(EVALUATION)).unwrap();
        std::fs::write(folder.path().join(EVALUATION), "no").unwrap();
        let found = find(folder.path()).unwrap();
        assert_eq!(found.entries, std::slice::from_ref(&one));
        assert!(
            found.passed_over.len() == 1 && found.passed_over[0].contains("no evaluation"),
            "{:?}",
            found.passed_over
        );
        let page = write(folder.path(), &table(&[one], None).unwrap(), 1, &Look::default()).unwrap();
        let text = std::fs::read_to_string(page).unwrap();
        assert!(text.contains("<bdi>mine</bdi>") && !text.contains("timm"), "{text}");
        assert!(find(&folder.path().join("absent")).is_err());
    }
}
