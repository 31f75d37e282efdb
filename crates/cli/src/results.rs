//! Measuring the models of a run, and showing and storing what came out.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use robustify_augment::Corruptor;
use robustify_bench::cells::{self, Timing};
use robustify_bench::metrics;
use robustify_bench::{BenchError, Cell, Entrants};
use robustify_data::Images;
use robustify_report::{Results, Row, Style, Table, write_atomic, write_csv, write_json};
use robustify_watch::{Stopped, Watch as _};

use crate::stages::Context;
use crate::{digest, summary};

/// Total time of every model, and images.
pub type Timings = BTreeMap<&'static str, (Duration, usize)>;

/// Computes the cells that are not there yet, and turns all of them into records.
pub fn measure(
    context: &Context,
    entrants: &Entrants,
    identity: &str,
    images: &Images,
    folder: &Path,
) -> anyhow::Result<(Vec<Row>, Timings)> {
    let suite = &context.config.benchmark;
    let machine = &context.machine;
    let side = context.config.original.network.image_size() as u32;
    if let Some(warning) = suite.profile()?.misfit("the model's input", (side, side), "benchmark.profile=scaled") {
        context.console.warn(&warning);
    }
    let suite_name = suite_name(&context.config.data.path);
    let backend = robustify_device::backend_of(&machine.device);
    let cells = suite.cells()?;
    let [clean, corrupted] = suite.choose(images)?;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut progress = context.console.progress("benchmark", cells.len());
    let (mut rows, mut timings) = (Vec::new(), Timings::new());
    for (done, &id) in cells.iter().enumerate() {
        context.console.check(Stopped::Saved)?;
        let chosen = if id.0.is_none() { &clean } else { &corrupted };
        let determined_by =
            (digest::PROGRAM, identity, &backend, id.name(), &suite.profile, suite.seed, chosen, images.fingerprint());
        let identity = digest::of(&determined_by)?;
        let path = folder.join(format!("{}-{}.safetensors", id.name(), &identity[..12]));
        let cell = match stored(context, &path, &identity)? {
            Some(cell) => cell,
            None => {
                let (cell, times) =
                    cells::compute(id, suite, images, chosen, entrants, &machine.workers, &machine.device)?;
                write_atomic(&path, &cell.to_bytes(&identity))?;
                add(&mut timings, times);
                cell
            }
        };
        rows.extend(metrics::rows(&suite_name, id, &cell, &context.config.select.rule));
        progress.set(done + 1, &id.name());
    }
    progress.finish(&format!("{} cells", cells.len()));
    Ok((rows, timings))
}

/// A cell that was computed before; a damaged one is computed again, with a warning.
fn stored(context: &Context, path: &Path, identity: &str) -> Result<Option<Cell>, BenchError> {
    match Cell::read(path, identity) {
        Err(error @ BenchError::Cell { .. }) => {
            context.console.warn(&format!("{error}; this cell is computed again"));
            Ok(None)
        }
        read => read,
    }
}

/// The data set's folder and `-c`, as in ImageNet-C.
fn suite_name(path: &Path) -> String {
    let folder = path.file_name().unwrap_or(path.as_os_str());
    format!("{}-c", folder.to_string_lossy())
}

fn add(timings: &mut Timings, times: Vec<Timing>) {
    for (model, time, images) in times {
        let entry = timings.entry(model).or_default();
        entry.0 += time;
        entry.1 += images;
    }
}

/// Writes `results.csv`, `results.json` and `summary.json` into a folder.
pub fn write(folder: &Path, context: &Context, identity: &str, rows: &[Row]) -> anyhow::Result<()> {
    let config = &context.config;
    let corruptor = Corruptor::new(config.benchmark.profile()?);
    let meta = [
        ("program", format!("robustify {}", env!("CARGO_PKG_VERSION"))),
        ("run", config.name.clone()),
        ("models", identity.to_owned()),
        ("backend", robustify_device::backend_of(&context.machine.device)),
        ("data", config.data.path.display().to_string()),
        ("part", config.data.test.clone()),
        ("profile", config.benchmark.profile.clone()),
        ("images", "corrupted in memory, not official files".to_owned()),
        ("frost", corruptor.frost_source().name().to_owned()),
        ("rule", config.select.rule.rule.name().to_owned()),
        ("passes", config.select.passes.to_string()),
        ("seed", config.seed.to_string()),
        ("tuning_seed", config.tuning.seed.to_string()),
    ];
    let meta = meta.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    write_csv(&folder.join("results.csv"), rows)?;
    write_json(&folder.join("results.json"), &Results { meta, rows: rows.to_vec() })?;
    summary::Runs::new(&[rows]).write(&folder.join(summary::RUN))
}

/// Time an image, on one thread, of the cells that were computed; nothing when all were there already.
pub fn timing_table(timings: &Timings) -> String {
    if timings.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["inference", "ms an image"]).left(0);
    for (model, (time, images)) in timings {
        table.row([(*model).to_owned(), format!("{:.3}", 1e3 * time.as_secs_f64() / (*images).max(1) as f64)]);
    }
    table.render(Style::Box)
}

/// The stored timings beside the results, where they disturb no comparison of bytes.
pub fn write_timings(folder: &Path, timings: &Timings) -> anyhow::Result<()> {
    if timings.is_empty() {
        return Ok(());
    }
    let milliseconds: BTreeMap<_, _> =
        timings.iter().map(|(model, (time, images))| (*model, 1e3 * time.as_secs_f64() / *images as f64)).collect();
    let path = folder.join("timings.json");
    write_atomic(&path, serde_json::to_string_pretty(&milliseconds)?.as_bytes())
        .with_context(|| path.display().to_string())
}
