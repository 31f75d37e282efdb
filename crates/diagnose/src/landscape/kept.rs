//! Points of a landscape as they are found, a line each, so that a killed program loses those under way alone.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::loss::Said;

/// The points of one model, images and seed, by their place.
pub struct Kept {
    path: PathBuf,
    points: HashMap<[u64; 2], Said>,
}

impl Kept {
    /// Reads what is there. A line that was not written to its end is passed over, and cut off.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub fn open(path: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            robustify_report::write_atomic(path, &text.as_bytes()[..whole])?;
        }
        let points = text[..whole].lines().filter_map(parsed).map(|(at, said)| (at.map(key), said)).collect();
        Ok(Self { path: path.to_owned(), points })
    }

    /// What was found at a place.
    pub fn get(&self, at: [f64; 2]) -> Option<Said> {
        self.points.get(&at.map(key)).copied()
    }

    /// Keeps what was found at some places.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn add(&mut self, found: &[([f64; 2], Said)]) -> Result<()> {
        let line = |([a, b], said): &([f64; 2], Said)| format!("{a},{b},{},{}\n", said.loss, said.correct);
        let lines: String = found.iter().map(line).collect();
        let write = || {
            let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            file.write_all(lines.as_bytes())
        };
        write().with_context(|| format!("cannot write {}", self.path.display()))?;
        self.points.extend(found.iter().map(|(at, said)| (at.map(key), *said)));
        Ok(())
    }
}

/// Minus zero is zero.
fn key(place: f64) -> u64 {
    (place + 0.0).to_bits()
}

fn parsed(line: &str) -> Option<([f64; 2], Said)> {
    let mut fields = line.split(',');
    let mut number = || fields.next()?.parse::<f64>().ok();
    let (a, b, loss) = (number()?, number()?, number()?);
    Some(([a, b], Said { loss, correct: fields.next()?.parse().ok()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_come_back_to_the_bit_and_half_a_line_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("points.csv");
        let found = [
            ([0.1 + 0.2, 0.0], Said { loss: 1.0 / 3.0, correct: 4 }),
            ([-1.0, 1.0], Said { loss: f64::INFINITY, correct: 0 }),
        ];
        Kept::open(&path).unwrap().add(&found).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"0.5,0,1.2").unwrap();
        let mut kept = Kept::open(&path).unwrap();
        assert_eq!((kept.get(found[0].0), kept.get([0.5, 0.0])), (Some(found[0].1), None));
        assert_eq!(kept.get([-1.0, 1.0]), Some(found[1].1));
        kept.add(&[([0.5, 0.0], found[0].1)]).unwrap();
        assert_eq!(Kept::open(&path).unwrap().get([0.5, -0.0]), Some(found[0].1));
    }
}
