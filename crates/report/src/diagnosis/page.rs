//! The page of a diagnosis, in the style of that of an evaluation.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Diagnosis;
use super::figures::{Figure, figures, names};
use super::tables::{summary, tables};
use crate::chart::sheet;
use crate::page::{Key, Look, PAGE, Shape, TABLES, key, rendered};
use crate::{ReportError, write_atomic};

/// The record in the folder of a diagnosis.
pub const RECORD: &str = "diagnosis.json";
/// The folder of the figures.
pub const FIGURES: &str = "figures";

/// What a page is drawn from.
#[derive(Serialize)]
struct View<'a> {
    title: &'a str,
    program: &'a str,
    command: &'a str,
    settings: Vec<(&'a str, &'a str)>,
    summary: Shape,
    models: Vec<Model<'a>>,
    sections: Vec<Section>,
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct Model<'a> {
    name: &'a str,
    notes: &'a [String],
    facts: Vec<(&'static str, &'a str)>,
}

#[derive(Serialize)]
struct Section {
    anchor: &'static str,
    title: &'static str,
    caption: String,
    kind: &'static str,
    legend: bool,
    figures: Vec<Picture>,
}

#[derive(Serialize)]
struct Picture {
    title: String,
    svg: String,
}

/// The page as HTML.
///
/// # Errors
/// A template that is replaced cannot be read, or is wrong.
pub fn render(diagnosis: &Diagnosis, look: &Look) -> Result<String, ReportError> {
    let section = |figure: Figure| Section {
        anchor: figure.file,
        title: figure.title,
        caption: figure.caption,
        kind: if figure.across == 1 { "wide" } else { "" },
        legend: figure.legend,
        figures: figure.pieces.into_iter().map(|piece| Picture { title: piece.name, svg: piece.svg }).collect(),
    };
    let view = View {
        title: &diagnosis.title,
        program: &diagnosis.program,
        command: &diagnosis.command,
        settings: diagnosis.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        summary: Shape::of(&summary(diagnosis), usize::MAX),
        models: diagnosis
            .models
            .iter()
            .map(|model| Model {
                name: &model.name,
                notes: &model.notes,
                facts: vec![("what", &model.about), ("source", &model.source), ("identity", &model.identity)],
            })
            .collect(),
        sections: figures(diagnosis).into_iter().map(section).collect(),
        keys: names(diagnosis).iter().enumerate().map(|(style, name)| key(style, name)).collect(),
    };
    rendered("diagnosis.html", view, look)
}

/// Writes record, page, figures and tables into a folder, and says where the page is.
///
/// # Errors
/// Files that cannot be written.
pub fn write(folder: &Path, diagnosis: &Diagnosis) -> Result<PathBuf, ReportError> {
    let (of_figures, of_tables) = (folder.join(FIGURES), folder.join(TABLES));
    for made in [&of_figures, &of_tables] {
        std::fs::create_dir_all(made).map_err(|source| ReportError::writing(made, 0, source))?;
    }
    diagnosis.write(&folder.join(RECORD))?;
    let all = names(diagnosis);
    for figure in figures(diagnosis) {
        let legend: &[String] = if figure.legend { &all } else { &[] };
        let svg = sheet(figure.title, &figure.pieces, figure.across, legend);
        write_atomic(&of_figures.join(format!("{}.svg", figure.file)), svg.as_bytes())?;
    }
    for grid in tables(diagnosis) {
        write_atomic(&of_tables.join(format!("{}.csv", grid.file)), grid.csv().as_bytes())?;
    }
    let page = folder.join(PAGE);
    write_atomic(&page, render(diagnosis, &Look::default())?.as_bytes())?;
    Ok(page)
}
