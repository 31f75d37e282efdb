//! What an experiment came to: tables as Markdown and CSV, figures as SVG, all numbers as JSON, and a page that shows them.

use std::path::Path;

use anyhow::Context as _;
use robustify_bench::Interval;
use robustify_report::{Style, Table, write_atomic};
use serde_json::{Value, json};

use super::columns::{Unit, heading, is_accuracy, shown, unit};
use super::numbers::{Line, Mean, Numbers};
use super::{Grid, Job, TableConfig, figures};

/// Everything that is written into a folder.
pub(super) struct Page {
    /// Name of a file and its text.
    pub files: Vec<(String, String)>,
    /// The page itself.
    text: String,
    /// What a terminal shows.
    terminal: String,
    json: Vec<Value>,
}

/// Draws all tables and figures into `folders`; returns what to show in a terminal.
pub(super) fn draw(grid: &Grid, job: &Job<'_>, folders: &[&Path]) -> anyhow::Result<String> {
    let numbers = Numbers::read(grid)?;
    let (mut page, name) = (
        Page { files: Vec::new(), text: head(&numbers, job), terminal: String::new(), json: Vec::new() },
        &grid.config.name,
    );
    for config in &grid.config.tables {
        table(&numbers, config, &mut page).with_context(|| format!("table {}", config.name))?;
    }
    for config in &grid.config.figures {
        let svg = figures::draw(&numbers, config).with_context(|| format!("figure {}", config.name))?;
        let file = format!("{name}-{}.svg", config.name);
        page.text += &format!("## {}\n\n![{}]({file})\n\n", config.title, config.title);
        page.terminal += &format!("{}: {}\n", config.title, folders[0].join(&file).display());
        page.files.push((file, svg));
    }
    let results = json!({
        "experiment": name,
        "about": grid.config.about,
        "size": job.size.name(),
        "program": format!("robustify {}", env!("CARGO_PKG_VERSION")),
        "seeds": grid.seeds,
        "runs": grid.runs.iter().map(|run| json!({"name": run.name, "title": run.title, "settings": run.config})).collect::<Vec<_>>(),
        "tables": page.json,
        "figures": grid.config.figures,
    });
    page.files.push((format!("{name}.md"), page.text));
    page.files.push((format!("{name}.json"), serde_json::to_string_pretty(&results)? + "\n"));
    for folder in folders {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        for (file, text) in &page.files {
            write_atomic(&folder.join(file), text.as_bytes())?;
        }
    }
    Ok(format!(
        "{}{}\n",
        page.terminal,
        folders
            .iter()
            .map(|folder| folder.join(format!("{name}.md")).display().to_string())
            .collect::<Vec<_>>()
            .join("\n")
    ))
}

/// The top of the page: the question, the command, and what was measured.
fn head(numbers: &Numbers<'_>, job: &Job<'_>) -> String {
    let (grid, facts) = (numbers.grid, numbers.facts(0));
    let levels: Vec<String> = facts.severities.iter().map(u8::to_string).collect();
    let size = if job.size == super::Size::Mini { String::new() } else { format!(" --size {}", job.size.name()) };
    let settings: String = job.settings.iter().map(|pair| format!(" {pair}")).collect();
    let interval = match grid.seeds {
        1 => "one seed, so without intervals over seeds".to_owned(),
        seeds => format!("mean ± half of Student's interval of 95 % over {seeds} seeds"),
    };
    format!(
        "# {}\n\n{}\n\n`cargo xtask experiment {}{size} --seeds {}{settings}`; program {}, size {}.\n\nAccuracy in percent on {} clean images of the part \
         `{}`, and on {} of them under each of {} corruptions at severity {} (made in memory, frost `{}`); {interval}. Differences have \
         intervals of 95 % from a paired bootstrap over images and seeds.\n\n",
        grid.config.name,
        grid.config.about,
        job.file.display(),
        grid.seeds,
        env!("CARGO_PKG_VERSION"),
        job.size.name(),
        facts.clean_images,
        facts.part,
        facts.images,
        facts.corruptions.len(),
        levels.join(", "),
        facts.frost
    )
}

fn table(numbers: &Numbers<'_>, config: &TableConfig, page: &mut Page) -> anyhow::Result<()> {
    let lines = numbers.lines(&config.rows)?;
    let means: Vec<Vec<Option<Mean>>> =
        lines.iter().map(|line| config.columns.iter().map(|column| numbers.value(line, column)).collect()).collect();
    let differences = against(numbers, config, &lines)?;
    let mut header: Vec<String> =
        std::iter::once(String::new()).chain(config.columns.iter().map(|column| heading(column))).collect();
    if let Some(against) = &config.against {
        let title = against.title.clone().unwrap_or_else(|| robustify_methods::title(&against.model));
        header.extend(differences.columns.iter().map(|column| format!("{} over {title}", heading(column))));
    }
    let mut drawn = Table::new(header);
    let mut csv = String::from("run,model,route,column,mean,low,high,seeds\n");
    for ((line, means), different) in lines.iter().zip(&means).zip(&differences.rows) {
        let cell = |(column, mean): (&String, &Option<Mean>)| {
            mean.as_ref().map_or_else(|| "–".to_owned(), |mean| shown(unit(column), mean.mean, mean.half()))
        };
        let cells = config
            .columns
            .iter()
            .zip(means)
            .map(cell)
            .chain(different.iter().map(|found| found.map_or("–".into(), |found| found.in_points())));
        drawn.row(std::iter::once(line.title.clone()).chain(cells));
        for (column, mean) in config.columns.iter().zip(means) {
            csv += &record(numbers, line, column, mean.as_ref());
        }
    }
    let sentences = sentences(numbers, config, &lines)?;
    page.text += &format!("## {}\n\n{}\n", config.title, drawn.render(Style::Markdown));
    page.text += &sentences.iter().map(|(said, _)| format!("- {said}\n")).collect::<String>();
    page.text += if sentences.is_empty() { "" } else { "\n" };
    page.terminal += &format!("{}\n{}\n", config.title, drawn.render(Style::Plain));
    page.terminal += &sentences.iter().map(|(said, _)| format!("{said}\n")).collect::<String>();
    page.terminal += "\n";
    page.files.push((format!("{}-{}.csv", numbers.grid.config.name, config.name), csv));
    page.json.push(json!({
        "name": config.name,
        "title": config.title,
        "rows": lines.iter().zip(&means).zip(&differences.rows).map(|((line, means), different)| json!({
            "run": numbers.grid.runs[line.run].name,
            "model": line.model,
            "route": line.route,
            "title": line.title,
            "columns": config.columns.iter().zip(means).map(|(column, mean)| (column.clone(), of_mean(mean.as_ref()))).collect::<serde_json::Map<_, _>>(),
            "against": differences.columns.iter().zip(different).map(|(column, found)| (column.clone(), found.map_or(Value::Null, of_interval))).collect::<serde_json::Map<_, _>>(),
        })).collect::<Vec<_>>(),
        "comparisons": sentences.into_iter().map(|(said, found)| json!({"sentence": said, "differences": found})).collect::<Vec<_>>(),
    }));
    Ok(())
}

/// Differences of every row to another of its own run.
struct Against {
    columns: Vec<String>,
    rows: Vec<Vec<Option<Interval>>>,
}

fn against(numbers: &Numbers<'_>, config: &TableConfig, lines: &[Line]) -> anyhow::Result<Against> {
    let Some(row) = &config.against else {
        return Ok(Against { columns: Vec::new(), rows: vec![Vec::new(); lines.len()] });
    };
    // That the row is there at all is said once, not once for each run.
    numbers.lines(std::slice::from_ref(row))?;
    let columns: Vec<String> = config.columns.iter().filter(|column| is_percent(column)).cloned().collect();
    let of = |line: &Line| {
        let other = numbers.of_run(line.run, row);
        columns.iter().map(|column| numbers.difference(line, other.as_ref()?, column)).collect()
    };
    Ok(Against { rows: lines.iter().map(of).collect(), columns })
}

fn is_percent(column: &str) -> bool {
    unit(column) == Unit::Percent
}

/// How the row of reference compares with each other, of every accuracy that is a column.
fn sentences(numbers: &Numbers<'_>, config: &TableConfig, lines: &[Line]) -> anyhow::Result<Vec<(String, Value)>> {
    let Some(reference) = &config.reference else { return Ok(Vec::new()) };
    let reference = numbers.lines(std::slice::from_ref(reference))?.swap_remove(0);
    // The mean over corruptions says which is better, where it is a column.
    let mut columns: Vec<&String> = config.columns.iter().filter(|column| is_percent(column)).collect();
    columns.sort_by_key(|column| *column != "mean");
    let same =
        |line: &&Line| (line.run, &line.model, &line.route) != (reference.run, &reference.model, &reference.route);
    let of = |line: &Line| {
        let found: Vec<(&String, Interval)> = columns
            .iter()
            .filter_map(|column| Some((*column, numbers.difference(&reference, line, column)?)))
            .collect();
        let (first, interval) = found.first()?;
        let is = match interval {
            Interval { low, .. } if *low > 0.0 => "is better than",
            Interval { high, .. } if *high < 0.0 => "is worse than",
            _ => "is not shown to differ from",
        };
        let each: Vec<String> =
            found.iter().map(|(column, interval)| format!("{} {}", heading(column), interval.in_points())).collect();
        let said = format!("{} {is} {} in {}: {}", reference.title, line.title, heading(first), each.join("; "));
        let json = found.iter().map(|(column, interval)| ((*column).clone(), of_interval(*interval)));
        Some((said, json.collect::<serde_json::Map<_, _>>().into()))
    };
    Ok(lines.iter().filter(same).filter_map(of).collect())
}

fn of_interval(Interval { estimate, low, high, .. }: Interval) -> Value {
    json!({"estimate": estimate, "low": low, "high": high})
}

fn of_mean(mean: Option<&Mean>) -> Value {
    mean.map_or(Value::Null, |mean| {
        json!({"mean": mean.mean, "low": mean.interval.map(|i| i.low), "high": mean.interval.map(|i| i.high), "seeds": mean.values})
    })
}

/// A line of the CSV: one number, with what it is of.
fn record(numbers: &Numbers<'_>, line: &Line, column: &str, mean: Option<&Mean>) -> String {
    let Some(mean) = mean else { return String::new() };
    let end = |value: Option<f64>| value.map(|value| format!("{value:.6}")).unwrap_or_default();
    let (low, high) = (mean.interval.map(|interval| interval.low), mean.interval.map(|interval| interval.high));
    let run = &numbers.grid.runs[line.run].name;
    let digits = if is_accuracy(column) { 6 } else { 3 };
    format!(
        "{run},{},{},{column},{:.digits$},{},{},{}\n",
        line.model,
        line.route,
        mean.mean,
        end(low),
        end(high),
        mean.values.len()
    )
}
