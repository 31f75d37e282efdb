//! The loop over the pictures.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError, mpsc};

use anyhow::{Context, ensure};
use image::RgbImage;
use robustify_augment::Scratch;
use robustify_data::Preprocess;
use robustify_watch::{Stopped, Watch, shown};
use serde_json::json;

use crate::output::{Format, NotWritten, Output};
use crate::{Ended, Inputs, Work};

/// How the work is done.
pub struct Options {
    /// Folder of the results.
    pub folder: PathBuf,
    pub format: Format,
    /// Applied to every picture first.
    pub preprocess: Preprocess,
    /// Threads; results do not depend on them. None: all cores.
    pub jobs: Option<NonZeroUsize>,
    /// Whether an unusable picture is an error.
    pub strict: bool,
    /// Whether results are deleted whose picture is gone.
    pub prune: bool,
}

/// What a run did.
#[derive(Debug, Default)]
pub struct Summary {
    pub pictures: usize,
    /// Files, array rows or archive members made, and found to be made already.
    pub made: usize,
    pub kept: usize,
    pub unusable: usize,
    /// Results whose picture is gone or was another one; deleted, if that was asked for. None are known while a folder
    /// cannot be listed.
    pub outdated: usize,
}

/// Works on all pictures and keeps what comes out.
///
/// # Errors
/// If results cannot be written, on a stop by the user, and with `strict` if a picture is unusable. What is finished stays,
/// and the same call goes on from there.
pub fn run(inputs: &Inputs, work: &dyn Work, options: &Options, watch: &dyn Watch) -> anyhow::Result<Summary> {
    name_missing(inputs, options, watch)?;
    let mut settings = work.settings();
    settings["format"] = json!(options.format.name());
    settings["preprocess"] = json!(options.preprocess.to_string());
    let mut output = Output::open(settings, inputs, work, options, watch)
        .map_err(|error| stopped(error, || "interrupted; nothing was begun".to_owned()))?;
    let mut pictures = output.pictures(inputs);
    let mut summary = Summary { pictures: inputs.len(), unusable: inputs.len() - pictures.len(), ..Summary::default() };
    if output.is_complete() {
        summary.kept = pictures.len() * work.variants().len();
        pictures.clear();
    }
    let mut progress = watch.progress("pictures", pictures.len());
    let maker = output.maker();
    let make = |row: usize, scratch: &mut Scratch, buffer: &mut RgbImage| {
        maker.make((row, pictures[row]), inputs, work, &options.preprocess, scratch, buffer)
    };
    // An array without one of its rows would be of no use.
    let strict = options.strict || output.is_packed();
    let done = each(pictures.len(), options.jobs, watch, make, |row, made| {
        let worked = match made {
            Ok(mut made) => {
                let fault = made.fault.take();
                summary.made += made.made;
                summary.kept += made.kept;
                output.take(made)?;
                fault.map_or(Ok(()), Err)
            }
            Err(error) => Err(error),
        };
        match worked {
            Err(error) if strict || error.is::<NotWritten>() => return Err(error),
            Err(error) => {
                summary.unusable += 1;
                watch.warn(&format!("{error:#}"));
            }
            Ok(()) => {}
        }
        progress.set(row + 1, "");
        Ok(())
    });
    done.map_err(|error| stopped(error, || output.stopped()))?;
    drop(maker);
    let outdated = output.finish(inputs, options.prune)?;
    summary.outdated = if inputs.unlisted.is_empty() { outdated } else { 0 };
    progress.finish(&format!("{} done", summary.pictures - summary.unusable));
    Ok(summary)
}

/// Names what was found and is no picture, or could not be looked into.
fn name_missing(inputs: &Inputs, options: &Options, watch: &dyn Watch) -> anyhow::Result<()> {
    for (path, reason) in &inputs.skipped {
        watch.warn(&format!("{}: passed over: {reason}", shown(path)));
    }
    for (folder, reason) in &inputs.unlisted {
        watch.warn(&format!("{}: cannot be listed, its pictures are left out: {reason}", shown(folder)));
    }
    ensure!(
        !options.strict || inputs.skipped.is_empty() && inputs.unlisted.is_empty(),
        "files or folders were passed over, and --strict was given"
    );
    ensure!(
        !options.prune || inputs.unlisted.is_empty(),
        "--prune: which pictures are gone is not known while a folder cannot be listed; nothing was done"
    );
    Ok(())
}

/// Says of a stop by the user what it means here.
pub fn stopped(error: anyhow::Error, what: impl FnOnce() -> String) -> anyhow::Error {
    if error.is::<Stopped>() { Ended::Stopped(what()).into() } else { error }
}

/// How many pictures, for each thread, may be finished before one that was begun earlier.
const AHEAD: usize = 4;

/// Calls `make` for every index on several threads, and `take` in order on this one.
pub fn each<T: Send>(
    count: usize,
    jobs: Option<NonZeroUsize>,
    watch: &dyn Watch,
    make: impl Fn(usize, &mut Scratch, &mut RgbImage) -> T + Sync,
    mut take: impl FnMut(usize, T) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let jobs = jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let (next, stop, gate) = (AtomicUsize::new(0), AtomicBool::new(false), Gate::default());
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(count.max(1)) {
            let sender = sender.clone();
            let (next, stop, gate, make) = (&next, &stop, &gate, &make);
            scope.spawn(move || {
                let (mut scratch, mut buffer) = (Scratch::new(), RgbImage::new(0, 0));
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count || !gate.wait(index, AHEAD * jobs, stop) {
                        return;
                    }
                    let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        make(index, &mut scratch, &mut buffer)
                    }));
                    if sender.send((index, made)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let result = in_order(count, &receiver, &gate, watch, &mut take);
        stop.store(true, Ordering::Relaxed);
        gate.open(count);
        result
    })
}

fn in_order<T>(
    count: usize,
    receiver: &mpsc::Receiver<(usize, std::thread::Result<T>)>,
    gate: &Gate,
    watch: &dyn Watch,
    take: &mut impl FnMut(usize, T) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut waiting = BTreeMap::new();
    for index in 0..count {
        let made = loop {
            if let Some(made) = waiting.remove(&index) {
                break made;
            }
            let (other, made) = receiver.recv().context("a worker thread ended early; please report it")?;
            waiting.insert(other, made);
        };
        let made = made.map_err(|_| anyhow::anyhow!("picture {index} made a worker panic; please report it"))?;
        take(index, made)?;
        gate.open(index + 1);
        if index + 1 < count {
            watch.check(Stopped::Saved)?;
        }
    }
    Ok(())
}

/// Keeps workers from running far ahead of what is taken.
#[derive(Default)]
struct Gate {
    taken: Mutex<usize>,
    moved: Condvar,
}

impl Gate {
    /// Waits until `index` is less than `ahead` beyond what is taken. False on a stop.
    fn wait(&self, index: usize, ahead: usize, stop: &AtomicBool) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while index >= *taken + ahead && !stop.load(Ordering::Relaxed) {
            taken = self.moved.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        !stop.load(Ordering::Relaxed)
    }

    fn open(&self, taken: usize) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = taken;
        self.moved.notify_all();
    }
}
