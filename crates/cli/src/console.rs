//! What a person sees while a command runs: bars with the time left on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use robustify_pictures::Ended;
use robustify_watch::{Progress, Stopped, Watch, printable};

/// The user asked for a stop.
const INTERRUPTED: u8 = 130;
/// The work is done, but some of its inputs were unusable.
const PARTIAL: u8 = 3;

/// The exit code for an error.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Ended>() {
        Some(Ended::Stopped(_)) => INTERRUPTED,
        Some(Ended::Partial(_)) => PARTIAL,
        None if error.chain().any(|cause| cause.is::<Stopped>()) => INTERRUPTED,
        None => 1,
    }
}

/// A message on standard error. A listener that went away is no reason to lose hours of work.
pub fn message(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", shown(text));
}

/// A text as a terminal may have it, whatever the names of files in it hold: nothing moves the cursor, and every line but the
/// first is set in, so that none can look like another message.
fn shown(text: &str) -> String {
    let mut lines = text.split('\n').map(printable);
    let mut shown = lines.next().unwrap_or_default().into_owned();
    for line in lines {
        shown += if line.is_empty() || line.starts_with("  ") { "\n" } else { "\n  " };
        shown += &line;
    }
    shown
}

/// Columns of the terminal that results are read on; no limit where they go to a file or another program.
pub fn width() -> usize {
    let terminal = ::console::Term::stdout();
    terminal.size_checked().map_or(usize::MAX, |(_, columns)| usize::from(columns))
}

/// A time as people say it.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, _) => format!("{:.1} s", time.as_secs_f64()),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Results on standard output. A reader that has seen enough, as `head` has, is no fault.
pub fn result(text: &str) -> anyhow::Result<()> {
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    let mut out = std::io::stdout();
    match out.write_all(lines.join("\n").as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("results are computed, but standard output cannot be written"),
    }
}

/// Where messages go, and whether a stop was asked for. Results go to standard output, everything else to standard error.
#[derive(Clone, Debug)]
pub struct Console {
    quiet: bool,
    terminal: bool,
    /// Set by Ctrl-C and by a polite kill.
    stop: Arc<AtomicBool>,
}

impl Console {
    /// A console that says nothing but results and warnings when `quiet`. What it watches ends at the first signal.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, terminal: std::io::stderr().is_terminal(), stop: Arc::default() }
    }

    /// Catches Ctrl-C: the first asks for a stop that leaves everything resumable, the second ends the process.
    pub fn catching_signals(quiet: bool) -> anyhow::Result<Self> {
        let console = Self::new(quiet);
        let flag = Arc::clone(&console.stop);
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(INTERRUPTED.into());
            }
            message("stopping after this step; once more to stop at once");
        })?;
        Ok(console)
    }
}

impl Watch for Console {
    fn say(&self, text: &str) {
        if !self.quiet {
            message(text);
        }
    }

    fn warn(&self, text: &str) {
        message(&format!("warning: {text}"));
    }

    fn progress(&self, name: &str, total: usize) -> Box<dyn Progress> {
        let bar = (self.terminal && !self.quiet).then(|| {
            let style =
                ProgressStyle::with_template("{prefix:<22} {wide_bar} {pos}/{len} {elapsed_precise} eta {eta} {msg}");
            let bar = ProgressBar::new(total as u64).with_prefix(printable(name).into_owned());
            if let Ok(style) = style { bar.with_style(style) } else { bar }
        });
        Box::new(Bar {
            console: self.clone(),
            name: name.into(),
            total,
            bar,
            start: Instant::now(),
            said: Instant::now(),
            first: None,
        })
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

/// A bar, or a line now and then.
struct Bar {
    console: Console,
    name: String,
    total: usize,
    bar: Option<ProgressBar>,
    start: Instant,
    said: Instant,
    /// How many parts were done when this was told first, and when: some may have been done by an earlier process.
    first: Option<(usize, Instant)>,
}

impl Bar {
    /// Time between plain lines.
    const EVERY: Duration = Duration::from_secs(10);
}

impl Progress for Bar {
    fn set(&mut self, done: usize, message: &str) {
        let (first, since) = *self.first.get_or_insert_with(|| (done, Instant::now()));
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
            bar.set_message(printable(message).into_owned());
        } else if self.said.elapsed() >= Self::EVERY {
            self.said = Instant::now();
            let rate = done.saturating_sub(first) as f64 / since.elapsed().as_secs_f64();
            let left = match rate {
                0.0 => String::new(),
                rate => format!(
                    ", {} left",
                    duration(Duration::from_secs_f64(self.total.saturating_sub(done) as f64 / rate))
                ),
            };
            let space = if message.is_empty() { "" } else { ", " };
            self.console.say(&format!("{}: {done}/{}{space}{message}{left}", self.name, self.total));
        }
    }

    fn finish(self: Box<Self>, message: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.console.say(&format!("{}: {message} ({:.0} s)", self.name, self.start.elapsed().as_secs_f64()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_file_can_look_like_a_message() {
        let name = "a\nerror: all is lost\r\u{1b}[2Jwarning: b\u{202e}gnp.png";
        let lines: Vec<String> = shown(&format!("{name}: cannot be read")).lines().map(str::to_owned).collect();
        assert_eq!(lines, ["a", "  error: all is lost\\r\\u{1b}[2Jwarning: b\\u{202e}gnp.png: cannot be read"]);
        assert_eq!(shown("two pictures:\n  a, b\nÄ"), "two pictures:\n  a, b\n  Ä");
    }
}
