//! The tables of a page: all are [`Grid`]s, so that the same numbers are in the page and in files beside it.

use super::grid::{Column, Grid, Place};
use super::number::{count, large, points};
use super::read::{self, ACCURACY, MEAN, class, metric, words};
use super::verdict::{compared, title};
use crate::evaluation::{Evaluation, ModelRecord, ResultRecord, SliceRecord, SuiteRecord, Times};

/// Metrics beside accuracy that a table has a column for: name in records, title, whether small is good, factor, decimals.
const METRICS: [(&str, &str, bool, f64, usize); 14] = [
    ("top5", "top-5", false, 100.0, 1),
    ("mce", "mCE", true, 1.0, 1),
    ("relative_mce", "rel. mCE", true, 1.0, 1),
    ("effective_robustness", "eff. robustness", false, 100.0, 1),
    ("worst_class", "worst class", false, 100.0, 1),
    ("f1", "F1", false, 100.0, 1),
    ("ece", "ECE", true, 100.0, 1),
    ("ace", "adaptive ECE", true, 100.0, 1),
    ("nll", "NLL", true, 1.0, 3),
    ("brier", "Brier", true, 1.0, 3),
    ("aurc", "AURC", true, 1.0, 3),
    ("f_correct", "F_correct", false, 100.0, 1),
    ("right_choice", "right choice", false, 100.0, 1),
    ("oracle", "oracle", false, 100.0, 1),
];

/// A metric over a suite, by its own name or as a mean.
fn total(result: Option<&ResultRecord>, name: &str) -> Option<f64> {
    metric(result, name).or_else(|| metric(result, &format!("mean_{name}")))
}

fn columns_of(metrics: &[&str]) -> Vec<Column> {
    let known = METRICS.iter().filter(|known| metrics.contains(&known.0));
    known
        .map(|&(key, title, low, factor, decimals)| {
            let column = Column { factor, ..Column::percent(title, key) };
            let column = Column { decimals, ..column };
            if low { column.low() } else { column }
        })
        .collect()
}

/// Models by suites, where there are several suites.
pub fn overview(evaluation: &Evaluation) -> Option<Grid> {
    if evaluation.suites.len() < 2 {
        return None;
    }
    let mut columns = vec![Column::text("model")];
    for suite in &evaluation.suites {
        let of = if read::is_mean(suite) { "mean" } else { "accuracy" };
        let name = format!("{}, {of}, {}", title(suite), suite.origin);
        columns.push(Column::percent(&name, &format!("{} ({})", suite.name, suite.origin)));
    }
    let row = |model: &ModelRecord| {
        let numbers = evaluation.suites.iter().map(|suite| read::headline(suite, model).into());
        [model.name.clone().into()].into_iter().chain(numbers).collect()
    };
    Some(Grid {
        file: "overview".into(),
        caption: "Accuracy in %: the mean over shifts, or that of the one cell of a suite. Bold: the highest.".into(),
        columns,
        rows: evaluation.models.iter().map(row).collect(),
    })
}

/// Models by clean images, groups of corruptions and metrics over all of a suite.
pub fn summary(evaluation: &Evaluation, suite: &SuiteRecord) -> Grid {
    let first = evaluation.models.first();
    let groups = read::distinct(read::shifted(suite).filter_map(|cell| cell.group.clone()));
    let is_mean = read::is_mean(suite);
    let mut columns = vec![Column::text("model")];
    if is_mean {
        columns.push(Column::percent("clean", "clean"));
        columns.extend(groups.iter().map(|group| Column::percent(&words(group), group)));
    }
    let (name, key) = if is_mean { ("mean", MEAN) } else { (ACCURACY, ACCURACY) };
    columns.extend([Column::percent(name, key), Column::percent("Δ", "difference").neutral().signed()]);
    let metrics: Vec<&str> = METRICS.iter().map(|(name, ..)| *name).collect();
    columns.extend(columns_of(&metrics));
    let rows = evaluation.models.iter().map(|model| {
        let result =
            if is_mean { read::main(&suite.totals, model) } else { read::main(&suite.cells[0].results, model) };
        let mut row: Vec<Place> = vec![model.name.clone().into()];
        if is_mean {
            row.push(read::clean(suite).and_then(|cell| read::accuracy(cell, model)).into());
            row.extend(groups.iter().map(|group| of_group(suite, group, model).into()));
        }
        row.push(read::headline(suite, model).into());
        let difference = first
            .filter(|first| first.name != model.name)
            .and_then(|first| compared(evaluation, suite, [model, first]));
        row.push(match difference {
            Some((value, [low, high], _)) => Place::Number(Some(value), format!("{} to {}", points(low), points(high))),
            None => None.into(),
        });
        row.extend(columns_of(&metrics).iter().map(|column| total(result, &column.key).into()));
        row
    });
    let rows = rows.collect();
    let mut caption = format!("{}, {}: accuracy in %", title(suite), suite.origin);
    if is_mean {
        caption += ", the mean of cells for groups and for all";
    }
    if let Some(first) = first.filter(|_| evaluation.models.len() > 1) {
        caption += &format!("; Δ in points against {}, with its interval of 95 %", first.name);
    }
    Grid { file: format!("{}-summary", stem(suite)), caption: caption + ".", columns, rows }.without_empty_columns()
}

/// Mean accuracy of a model over the cells of a group.
fn of_group(suite: &SuiteRecord, group: &str, model: &ModelRecord) -> Option<f64> {
    read::mean(
        read::shifted(suite)
            .filter(|cell| cell.group.as_deref() == Some(group))
            .map(|cell| read::accuracy(cell, model)),
    )
}

/// Accuracy in every cell, models as columns.
pub fn cells(evaluation: &Evaluation, suite: &SuiteRecord) -> Grid {
    let mut columns = vec![Column::text("cell"), Column::number("images", "images", 0)];
    columns.extend(evaluation.models.iter().map(|model| Column::percent(&model.name, &model.name).neutral()));
    let rows = suite.cells.iter().map(|cell| {
        let mut row: Vec<Place> = vec![cell.name.clone().into(), Some(cell.images as f64).into()];
        row.extend(evaluation.models.iter().map(|model| read::accuracy(cell, model).into()));
        row
    });
    let caption = format!("{}, {}: accuracy in % by cell.", title(suite), suite.origin);
    Grid { file: format!("{}-cells", stem(suite)), caption, columns, rows: rows.collect() }
}

/// Every way to answer of models that have several.
pub fn routes(evaluation: &Evaluation, suite: &SuiteRecord) -> Option<Grid> {
    let mut columns = vec![Column::text("model"), Column::text("route")];
    columns.extend([Column::percent("clean", "clean"), Column::percent("mean", MEAN)]);
    let metrics = ["f_correct", "right_choice", "ece"];
    columns.extend(columns_of(&metrics));
    // An oracle is among them, which would be the best of every column.
    let columns = columns.into_iter().map(Column::neutral).collect();
    let mut rows: Vec<Vec<Place>> = Vec::new();
    for model in &evaluation.models {
        let all = suite.totals.iter().chain(suite.cells.iter().flat_map(|cell| &cell.results));
        let names = read::distinct(all.filter(|result| result.model == model.name).map(|result| &result.route));
        if names.len() < 2 {
            continue;
        }
        for route in names {
            let of_all = read::result(&suite.totals, &model.name, route);
            let clean = read::clean(suite).and_then(|cell| read::result(&cell.results, &model.name, route));
            let name = if *route == model.main_route { format!("{} (main)", words(route)) } else { words(route) };
            let mut row: Vec<Place> = vec![model.name.clone().into(), name.into()];
            row.extend([metric(clean, ACCURACY).into(), metric(of_all, MEAN).into()]);
            row.extend(columns_of(&metrics).iter().map(|column| total(of_all, &column.key).into()));
            rows.push(row);
        }
    }
    let caption = "Every way to an answer, in %. F_correct: images sent to the head that is meant for them; right choice: of images on which exactly one of the two heads is right.";
    let grid = Grid { file: format!("{}-routes", stem(suite)), caption: caption.into(), columns, rows };
    (!grid.rows.is_empty()).then(|| grid.without_empty_columns())
}

/// Accuracy by class over shifted cells, the worst of the best model first; clean accuracy behind it.
pub fn classes(evaluation: &Evaluation, suite: &SuiteRecord) -> Option<Grid> {
    let tallies: Vec<(&ModelRecord, [Vec<[u64; 2]>; 2])> = evaluation
        .models
        .iter()
        .map(|model| (model, [tally(read::clean(suite).into_iter(), model), tally(read::shifted(suite), model)]))
        .filter(|(_, [clean, shifted])| !clean.is_empty() || !shifted.is_empty())
        .collect();
    let is_shifted = tallies.iter().any(|(_, [_, shifted])| !shifted.is_empty());
    let count = tallies.iter().flat_map(|(_, both)| both).map(Vec::len).max()?;
    let share = |tally: &[[u64; 2]], class: usize| {
        tally.get(class).filter(|[_, of]| *of > 0).map(|[right, of]| *right as f64 / *of as f64)
    };
    let main = read::best(evaluation, suite).map(|(model, _)| model);
    let ranked =
        tallies.iter().find(|(model, _)| main.is_some_and(|main| main.name == model.name)).or(tallies.first())?;
    let mut order: Vec<usize> = (0..count).collect();
    let key = |class: &usize| share(&ranked.1[usize::from(is_shifted)], *class).unwrap_or(2.0);
    order.sort_by(|a, b| key(a).total_cmp(&key(b)));
    let mut columns = vec![Column::text("class")];
    columns.extend(tallies.iter().map(|(model, _)| Column::percent(&model.name, &model.name).neutral()));
    let rows = order.into_iter().map(|index| {
        let mut row: Vec<Place> = vec![class(suite, index).into()];
        row.extend(tallies.iter().map(|(_, [clean, shifted])| {
            let note = share(clean, index)
                .filter(|_| is_shifted)
                .map(|clean| format!("clean {}", super::number::percent(clean)));
            Place::Number(share(if is_shifted { shifted } else { clean }, index), note.unwrap_or_default())
        }));
        row
    });
    let over = if is_shifted { "over all shifted cells, that on clean images in small type" } else { "on its images" };
    let caption = format!("Accuracy in % by class, {over}; the worst of {} first.", ranked.0.name);
    Some(Grid { file: format!("{}-classes", stem(suite)), caption, columns, rows: rows.collect() })
}

/// How many images of each class were right, and how many there are, over some cells.
fn tally<'a>(cells: impl Iterator<Item = &'a crate::evaluation::CellRecord>, model: &ModelRecord) -> Vec<[u64; 2]> {
    let mut sums: Vec<[u64; 2]> = Vec::new();
    for counts in cells.filter_map(|cell| read::main(&cell.results, model)).map(|result| &result.per_class) {
        sums.resize(sums.len().max(counts.len()), [0; 2]);
        for (sum, [right, of]) in sums.iter_mut().zip(counts) {
            *sum = [sum[0].saturating_add(*right), sum[1].saturating_add(*of)];
        }
    }
    sums
}

/// Parts of the images, those first that differ most from the rest.
pub fn slices(suite: &SuiteRecord) -> Option<Grid> {
    let difference = |slice: &SliceRecord| slice.accuracy - slice.rest;
    let mut slices: Vec<&SliceRecord> = suite.slices.iter().filter(|slice| difference(slice).is_finite()).collect();
    slices.sort_by(|a, b| difference(a).total_cmp(&difference(b)));
    let columns = vec![
        Column::text("part of the images"),
        Column::text("model"),
        Column::number("images", "images", 0),
        Column::percent("accuracy", ACCURACY).neutral(),
        Column::percent("rest", "rest").neutral(),
        Column::percent("difference", "difference").neutral().signed(),
    ];
    let rows: Vec<Vec<Place>> = slices
        .into_iter()
        .map(|slice| {
            let [low, high] = slice.interval;
            let range = format!("{} to {}", points(low), points(high));
            vec![
                slice.about.clone().into(),
                slice.model.clone().into(),
                Some(slice.images as f64).into(),
                Some(slice.accuracy).into(),
                Some(slice.rest).into(),
                Place::Number(Some(difference(slice)), range),
            ]
        })
        .collect();
    let caption = "Parts on which a model is worse or better than on all other images, over all cells; differences in points with intervals of 95 % that allow for all parts that were looked at.";
    (!rows.is_empty()).then(|| Grid { file: format!("{}-slices", stem(suite)), caption: caption.into(), columns, rows })
}

/// Size and cost of the models.
pub fn costs(evaluation: &Evaluation, times: Option<&Times>) -> Grid {
    let columns = vec![
        Column::text("model"),
        Column::text("what it is"),
        Column { text: false, ..Column::text("parameters") },
        Column::number("GMACs", "gmacs", 2).neutral(),
        Column::number("GMACs, all passes", "gmacs_passes", 2).neutral(),
        Column::number("ms an image", "ms_per_image", 2).neutral(),
        Column::number("ms, one pass", "ms_per_image_one_pass", 2).neutral(),
    ];
    let giga = |macs: Option<u64>| macs.map(|macs| macs as f64 / 1e9);
    let rows = evaluation.models.iter().map(|model| {
        let time = |of: fn(&Times) -> &std::collections::BTreeMap<String, f64>| {
            times.and_then(|times| of(times).get(&model.name).copied())
        };
        vec![
            model.name.clone().into(),
            model.about.clone().into(),
            model.parameters.map(large).unwrap_or_default().into(),
            giga(model.macs).into(),
            giga(model.macs_passes).into(),
            time(|times| &times.ms_per_image).into(),
            time(|times| &times.ms_per_image_one_pass).into(),
        ]
    });
    let caption = "Size and cost of an image: multiply-accumulates, and milliseconds of one thread on the machine of the evaluation.";
    Grid { file: "costs".into(), caption: caption.into(), columns, rows: rows.collect() }.without_empty_columns()
}

/// How many images a suite's cells have: `1,000 images a cell`.
pub fn sizes(suite: &SuiteRecord) -> String {
    let sizes = || suite.cells.iter().map(|cell| cell.images);
    let (Some(low), Some(high)) = (sizes().min(), sizes().max()) else { return "no cells".to_owned() };
    let cells = if suite.cells.len() == 1 { "1 cell".to_owned() } else { format!("{} cells", suite.cells.len()) };
    let images = if low == high { count(low) } else { format!("{} to {}", count(low), count(high)) };
    format!("{cells} of {images} images")
}

/// A suite's name as the beginning of a file's.
pub fn stem(suite: &SuiteRecord) -> String {
    let origin = if suite.origin.is_empty() { String::new() } else { format!("-{}", suite.origin) };
    let kept =
        |letter: char| if letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-') { letter } else { '-' };
    let stem: String = format!("{}{origin}", suite.name).chars().map(kept).take(80).collect();
    stem.trim_matches(['-', '.']).to_owned()
}
