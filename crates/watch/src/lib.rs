//! What long work tells whoever started it, and asks: progress, warnings, whether to stop.
//!
//! A library that works for minutes takes a [`Watch`] and knows no terminal. The program gives it one that draws bars and
//! listens to Ctrl-C; a test gives it [`Silent`]. Work that finds [`Watch::is_stopped`] set keeps what was done so far, and ends
//! with [`Stopped`].
//!
//! ```
//! use robustify_watch::{Silent, Stopped, Watch};
//!
//! fn count(watch: &dyn Watch) -> Result<usize, Stopped> {
//!     let mut progress = watch.progress("counting", 3);
//!     for done in 1..=3 {
//!         watch.check(Stopped::Saved)?;
//!         progress.set(done, "");
//!     }
//!     progress.finish("three");
//!     Ok(3)
//! }
//! assert_eq!(count(&Silent), Ok(3));
//! ```
#![deny(missing_docs)]

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

/// A text as it can be shown to a person: what is no letter but moves the cursor, colours, or turns the writing round is
/// spelled out (`\\n`, `\\u{1b}`). A file's name may hold all of that, and would be able to look like a message of the program.
///
/// ```
/// use robustify_watch::printable;
///
/// assert_eq!(printable("a.png\nerror: gone"), "a.png\\nerror: gone");
/// assert_eq!(printable("straße.png"), "straße.png");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        if is_control(letter) {
            let _ = write!(shown, "{}", letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    Cow::Owned(shown)
}

/// A path as it can be shown to a person, see [`printable`].
pub fn shown(path: &Path) -> String {
    printable(&path.display().to_string()).into_owned()
}

/// Control characters, separators of lines, and marks that change the direction of writing.
fn is_control(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Who watches long work.
pub trait Watch: Send + Sync {
    /// Something worth knowing, which a person who asked for quiet does not see.
    fn say(&self, text: &str);

    /// Something that a person should look at.
    fn warn(&self, text: &str);

    /// Progress of something with `total` parts, shown until it is finished or dropped.
    fn progress(&self, name: &str, total: usize) -> Box<dyn Progress>;

    /// Whether the work should stop at the next place where that loses nothing.
    fn is_stopped(&self) -> bool;

    /// An error when the work should stop; `kept` says what becomes of it.
    ///
    /// # Errors
    /// `kept`, when a stop was asked for.
    fn check(&self, kept: Stopped) -> Result<(), Stopped> {
        if self.is_stopped() { Err(kept) } else { Ok(()) }
    }
}

/// Progress of one piece of work.
pub trait Progress {
    /// `done` parts are done; `message` is what to show beside the number, or empty.
    fn set(&mut self, done: usize, message: &str);

    /// The work is done; `message` says how it went.
    fn finish(self: Box<Self>, message: &str);
}

/// The work ended early since [`Watch::is_stopped`] was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The state is saved, and the same work continues from it.
    #[error("interrupted; the state is saved, run the same command again to continue")]
    Saved,
}

/// Hears nothing and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Watch for Silent {
    fn say(&self, _: &str) {}
    fn warn(&self, _: &str) {}
    fn progress(&self, _: &str, _: usize) -> Box<dyn Progress> {
        Box::new(Self)
    }
    fn is_stopped(&self) -> bool {
        false
    }
}

impl Progress for Silent {
    fn set(&mut self, _: usize, _: &str) {}
    fn finish(self: Box<Self>, _: &str) {}
}
