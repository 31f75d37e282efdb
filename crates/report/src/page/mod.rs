//! The page of an evaluation: one HTML file that loads nothing and needs no script.
//!
//! [`render`] gives the page, [`write()`] puts it into a folder with its tables as CSV, Markdown and LaTeX and a model card. All of it is a
//! function of the record (and of times, if there are any): equal records are equal bytes. Whatever is missing in a record is a gap in
//! the page.
//!
//! ```
//! use robustify_report::evaluation::Evaluation;
//! use robustify_report::page::{Look, render};
//!
//! let page = render(&Evaluation { title: "Coats & <hats>".into(), ..Default::default() }, None, &Look::default())?;
//! assert!(page.contains("<h1><bdi>Coats &amp; &lt;hats&gt;</bdi></h1>"));
//! # Ok::<(), robustify_report::ReportError>(())
//! ```

mod card;
mod curves;
mod grid;
mod heat;
pub(crate) mod number;
pub(crate) mod read;
mod summary;
mod verdict;
mod view;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind};

pub(crate) use curves::{Key, key};
pub use grid::{Better, Column, Grid, Place, Shown};
pub(crate) use view::Shape;

use crate::evaluation::{Evaluation, Times};
use crate::{ReportError, write_atomic};

/// The page in its folder.
pub const PAGE: &str = "report.html";
/// The page of a table of models.
pub(crate) const LEADERBOARD: &str = "leaderboard.html";
/// The folder of its tables.
pub const TABLES: &str = "tables";
/// The model card.
pub const CARD: &str = "card.md";

/// The templates that a page is made of, and that a folder may replace.
const TEMPLATES: [(&str, &str); 7] = [
    (PAGE, include_str!("templates/report.html")),
    (LEADERBOARD, include_str!("templates/leaderboard.html")),
    ("suite.html", include_str!("templates/suite.html")),
    ("diagnosis.html", include_str!("templates/diagnosis.html")),
    ("head.html", include_str!("templates/head.html")),
    ("macros.html", include_str!("templates/macros.html")),
    ("style.css", include_str!("templates/style.css")),
];

/// How a page looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// A folder whose files replace the program's templates of the same name, in the language of Jinja: `report.html`, `suite.html`,
    /// `leaderboard.html`, `head.html`, `macros.html`, `style.css`. What it does not have is the program's.
    pub templates: Option<PathBuf>,
}

/// What [`write()`] left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The page.
    pub page: PathBuf,
    /// The folder of the tables.
    pub tables: PathBuf,
    /// The model card.
    pub card: PathBuf,
}

/// The page as HTML.
///
/// # Errors
/// A template that is replaced cannot be read, or is wrong: the message names file and line.
pub fn render(evaluation: &Evaluation, times: Option<&Times>, look: &Look) -> Result<String, ReportError> {
    rendered(PAGE, view::view(evaluation, times), look)
}

/// A template with its values.
pub(crate) fn rendered(name: &str, values: impl serde::Serialize, look: &Look) -> Result<String, ReportError> {
    let environment = environment(look)?;
    let fault = |error: minijinja::Error| {
        let place = error.name().unwrap_or(name);
        let line = error.line().map(|line| format!(":{line}")).unwrap_or_default();
        ReportError::Template { place: format!("{place}{line}"), reason: error.to_string() }
    };
    let page = environment.get_template(name).map_err(fault)?.render(minijinja::value::Serde(values)).map_err(fault)?;
    Ok(page)
}

fn environment(look: &Look) -> Result<Environment<'static>, ReportError> {
    if let Some(folder) = look.templates.as_deref().filter(|folder| !folder.is_dir()) {
        return Err(ReportError::NoFolder { folder: folder.to_owned() });
    }
    let mut environment = Environment::new();
    environment
        .set_auto_escape_callback(|name| if name.ends_with(".html") { AutoEscape::Html } else { AutoEscape::None });
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the usual delimiters are apart"));
    let folder = look.templates.clone();
    environment.set_loader(move |name: &str| {
        // Names of templates are those of the list or of files right in the folder.
        let own =
            folder.as_ref().filter(|_| !name.contains(['/', '\\']) && name != "..").map(|folder| folder.join(name));
        match own.map(std::fs::read_to_string) {
            Some(Ok(text)) => return Ok(Some(text)),
            Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(minijinja::Error::new(ErrorKind::InvalidOperation, format!("cannot read {name}"))
                    .with_source(error));
            }
            _ => {}
        }
        Ok(TEMPLATES.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned()))
    });
    Ok(environment)
}

/// The tables of an evaluation, each with a file name of its own.
#[must_use]
pub fn tables(evaluation: &Evaluation, times: Option<&Times>) -> Vec<Grid> {
    let mut grids: Vec<Grid> = summary::overview(evaluation).into_iter().collect();
    for suite in &evaluation.suites {
        grids.push(summary::summary(evaluation, suite));
        grids.push(summary::cells(evaluation, suite));
        grids.extend(summary::routes(evaluation, suite));
        grids.extend(summary::classes(evaluation, suite));
        grids.extend(summary::slices(suite));
    }
    grids.push(summary::costs(evaluation, times));
    let mut taken = BTreeSet::new();
    for grid in &mut grids {
        let name = grid.file.clone();
        let mut number = 2;
        while !taken.insert(grid.file.to_lowercase()) {
            grid.file = format!("{name}-{number}");
            number += 1;
        }
    }
    grids
}

/// Writes page, tables and card into a folder.
///
/// # Errors
/// Files that cannot be written; as [`render`].
pub fn write(
    folder: &Path,
    evaluation: &Evaluation,
    times: Option<&Times>,
    look: &Look,
) -> Result<Written, ReportError> {
    let written = Written { page: folder.join(PAGE), tables: folder.join(TABLES), card: folder.join(CARD) };
    let page = render(evaluation, times, look)?;
    std::fs::create_dir_all(&written.tables).map_err(|source| ReportError::writing(&written.tables, 0, source))?;
    for grid in tables(evaluation, times) {
        for (extension, text) in [("csv", grid.csv()), ("md", grid.markdown()), ("tex", grid.latex())] {
            write_atomic(&written.tables.join(format!("{}.{extension}", grid.file)), text.as_bytes())?;
        }
    }
    write_atomic(&written.card, card::card(evaluation).as_bytes())?;
    write_atomic(&written.page, page.as_bytes())?;
    Ok(written)
}
