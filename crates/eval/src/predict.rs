//! What a model says of pictures, one after the other: `robustify predict`.
//!
//! Pictures stream: a few for every thread are decoded and answered, and handed on in their order, so that memory does not grow with
//! their number. One that cannot be used is told with its reason, and the others go on.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use image::RgbImage;
use robustify_bench::HeadRoute;
use robustify_data::{decode, folder};
use robustify_device::Machine;
use robustify_predict::{Answers, Columns, HeadAnswer, Predictor, Rows};
use robustify_report::digest;
use robustify_select::{Head, SelectConfig, Uncertainty};
use robustify_watch::{Stopped, Watch};

use crate::models::Opened;

/// Pictures that one thread answers at a time.
const ROWS: usize = 32;

/// A model, and how its answers are given.
pub struct Asking<'a> {
    /// The model.
    pub opened: &'a Opened,
    /// The classes that it is asked about, where its classes are texts; empty for a model with classes of its own.
    pub classes: &'a [String],
    /// What stands for a model with three heads, where it is not the rule that belongs to it.
    pub rule: Option<SelectConfig>,
    /// How many classes are given, the likeliest first.
    pub top: usize,
    /// The probability of the likeliest class below which the model abstains.
    pub abstain: Option<f32>,
}

/// What was said of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The picture.
    pub path: PathBuf,
    /// The answer, or why there is none.
    pub answer: std::result::Result<Answer, String>,
}

/// An answer about a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The likeliest classes with their probabilities, in `[0, 1]`; the first is the answer.
    pub top: Vec<(usize, f32)>,
    /// The head that was chosen, of a model with three heads whose rule chooses one.
    pub head: Option<&'static str>,
    /// Uncertainty of the head that was chosen, or the mean of all three, as the rule measures it.
    pub uncertainty: Option<f32>,
    /// The likeliest classes of each head by its name, of a model with three heads.
    pub heads: Vec<(&'static str, Vec<(usize, f32)>)>,
    /// Whether the likeliest class is not likely enough.
    pub abstains: bool,
}

/// How many pictures there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that were answered.
    pub answered: usize,
    /// Those that could not be used.
    pub unusable: usize,
}

/// Answers for pictures, in their order, and hands each answer to `take`.
///
/// # Errors
/// A model whose answer for a picture depends on others, a rule that reads what the model does not have, what `take` says, or an
/// interruption.
pub fn predict(
    asking: &Asking<'_>,
    paths: impl Iterator<Item = PathBuf>,
    machine: &Machine,
    watch: &dyn Watch,
    mut take: impl FnMut(Told) -> Result<()>,
) -> Result<Counts> {
    let Opened { record, select, .. } = asking.opened;
    ensure!(
        !asking.opened.has_texts() || !asking.classes.is_empty(),
        "{}: its classes are texts, and none is named; give them in a file, one a line, with --classes",
        record.name
    );
    let predictor = asking.opened.predictor(asking.classes, machine)?;
    ensure!(
        !predictor.adapts() && predictor.reads().is_empty(),
        "{}: what it says of a picture depends on the others beside it, so it cannot be asked about one; `eval` measures it on a set",
        record.name
    );
    let rule = asking.rule.or(*select).unwrap_or_default();
    let route = HeadRoute::selected("selected", &rule);
    let (mut counts, mut paths) = (Counts::default(), paths);
    let several = ROWS * machine.workers.threads();
    loop {
        watch.check(Stopped::Saved)?;
        let batch: Vec<PathBuf> = paths.by_ref().take(several).collect();
        if batch.is_empty() {
            return Ok(counts);
        }
        let shards: Vec<&[PathBuf]> = batch.chunks(ROWS).collect();
        for told in machine.workers.map(shards, |shard| asking.shard(shard, &*predictor, &route, &rule, machine)) {
            for told in told? {
                match told.answer {
                    Ok(_) => counts.answered += 1,
                    Err(_) => counts.unusable += 1,
                }
                take(told)?;
            }
        }
    }
}

impl Asking<'_> {
    /// Answers for a few pictures on one thread.
    fn shard(
        &self,
        paths: &[PathBuf],
        predictor: &dyn Predictor,
        route: &HeadRoute,
        rule: &SelectConfig,
        machine: &Machine,
    ) -> Result<Vec<Told>> {
        let (mut ids, mut pixels) = (Vec::new(), Vec::new());
        let read = paths.iter().map(|path| {
            let (id, picture) = self.picture(path)?;
            ids.push(id);
            pixels.push(picture);
            Ok(())
        });
        let read: Vec<std::result::Result<(), String>> = read.collect();
        let mut answers = Vec::new();
        if !ids.is_empty() {
            let rows = Rows::new(ids.clone(), &machine.device, || Ok(pixels.clone()));
            let answered = predictor.answer(&rows)?;
            let broken = answered.answers.non_finite();
            for (index, id) in ids.iter().enumerate() {
                answers.push(match broken {
                    Some(at) if at == index => Err("the model says what is no number".to_owned()),
                    _ => self.answer(&answered.answers, &answered.beside, index, *id, route, rule),
                });
            }
        }
        let mut answers = answers.into_iter();
        let told = paths.iter().zip(read).map(|(path, read)| Told {
            path: path.clone(),
            answer: read.and_then(|()| answers.next().unwrap_or_else(|| Err("it was not answered".into()))),
        });
        Ok(told.collect())
    }

    /// A picture as the model's geometry wants it, and its identity, which keys dropout: that of the file's bytes, so that the same file
    /// has the same answer wherever it lies.
    fn picture(&self, path: &Path) -> std::result::Result<(u64, RgbImage), String> {
        // The reason stands behind the path, in one line.
        let reason = |error: robustify_data::DataError| {
            let text = error.to_string();
            let named = format!("{}: ", robustify_watch::shown(path));
            text.strip_prefix(&named).unwrap_or(&text).split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let bytes = decode::read(path).map_err(reason)?;
        let image = decode::decode_bytes(&bytes, path).map_err(reason)?;
        let id = u64::from_str_radix(&digest::of_bytes(&bytes)[..16], 16).unwrap_or_default();
        let pixels = self.opened.geometry.pixels(&image).map_err(reason)?;
        Ok((id, pixels))
    }

    fn answer(
        &self,
        answers: &Answers,
        beside: &Columns,
        index: usize,
        id: u64,
        route: &HeadRoute,
        rule: &SelectConfig,
    ) -> std::result::Result<Answer, String> {
        let (head, probabilities, heads) = match answers {
            Answers::Logits { .. } => (None, answers.probabilities_of(index), None),
            Answers::Heads(heads) => {
                if rule.uncertainty == Uncertainty::Laplace && beside.row(Columns::SPREAD, index).is_none() {
                    return Err("the rule reads the posterior of the last layers, which the model does not have; take another, as \
                                select.rule.uncertainty=mean_std"
                        .into());
                }
                // No class is the label of a picture that nobody labelled: only the oracle, which no rule is here, would read it.
                let (head, probabilities) = route.respond(heads, beside, index, usize::MAX, id);
                (head, probabilities, Some(&heads[index]))
            }
        };
        let top = likeliest(&probabilities, self.top);
        let confidence = top.first().map_or(0.0, |(_, probability)| *probability);
        Ok(Answer {
            head: head.map(Head::name),
            uncertainty: heads.map(|answer| uncertainty(answer, beside.row(Columns::SPREAD, index), head, rule)),
            heads: heads.map(|answer| self.of_heads(answer, rule)).unwrap_or_default(),
            abstains: self.abstain.is_some_and(|least| confidence < least),
            top,
        })
    }

    fn of_heads(&self, answer: &HeadAnswer, rule: &SelectConfig) -> Vec<(&'static str, Vec<(usize, f32)>)> {
        let said = |head: Head| {
            let all = if rule.deterministic { &answer.deterministic } else { &answer.passes.probabilities };
            (head.name(), likeliest(&all[head.index()], self.top))
        };
        Head::ALL.map(said).to_vec()
    }
}

fn uncertainty(answer: &HeadAnswer, spread: Option<&[f32]>, head: Option<Head>, rule: &SelectConfig) -> f32 {
    let of = |head: Head| match (rule.uncertainty, spread) {
        (Uncertainty::Laplace, Some(spread)) => spread.get(head.index()).copied().unwrap_or_default(),
        (kind, _) => answer.passes.uncertainty[head.index()][kind as usize],
    };
    match head {
        Some(head) => of(head),
        None => Head::ALL.map(of).iter().sum::<f32>() / 3.0,
    }
}

/// The largest probabilities with their classes, the first of equals first.
fn likeliest(probabilities: &[f32], count: usize) -> Vec<(usize, f32)> {
    let mut all: Vec<(usize, f32)> = probabilities.iter().copied().enumerate().collect();
    all.sort_by(|(first, one), (second, other)| other.total_cmp(one).then(first.cmp(second)));
    all.truncate(count);
    all
}

/// The pictures of files and folders, each folder's in the order of their names and with those of its own folders. What is named itself is
/// taken for a picture whatever it is called; in folders, what is called like one.
///
/// # Errors
/// A path that leads nowhere.
pub fn pictures(named: &[PathBuf]) -> Result<impl Iterator<Item = PathBuf> + use<>> {
    for path in named {
        ensure!(path.exists(), "{}: there is no such file or folder", path.display());
    }
    // The next one last.
    let mut waiting: Vec<(PathBuf, bool)> = named.iter().rev().map(|path| (path.clone(), true)).collect();
    Ok(std::iter::from_fn(move || {
        while let Some((path, is_named)) = waiting.pop() {
            // A link to a folder is not followed, or a loop of them would have no end.
            let is_link = !is_named && path.is_symlink();
            if !path.is_dir() {
                if is_named || folder::is_picture(&path) {
                    return Some(path);
                }
            } else if !is_link {
                let entries = std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path());
                let mut entries: Vec<PathBuf> = entries.filter(|path| !is_hidden(path)).collect();
                entries.sort_unstable_by(|one, other| other.cmp(one));
                waiting.extend(entries.into_iter().map(|path| (path, false)));
            }
        }
        None
    }))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_come_first_and_equals_in_the_order_of_their_classes() {
        assert_eq!(likeliest(&[0.1, 0.4, 0.1, 0.4], 3), [(1, 0.4), (3, 0.4), (0, 0.1)]);
        assert_eq!(likeliest(&[1.0], 5), [(0, 1.0)]);
    }

    #[test]
    fn pictures_of_folders_come_in_order_and_links_to_folders_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("b/c")).unwrap();
        for name in ["b/2.png", "b/c/1.JPG", "a.webp", "b/notes.txt", ".hidden.png", "odd"] {
            std::fs::write(at(name), b"").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path(), at("b/loop")).unwrap();
        let found: Vec<PathBuf> = pictures(&[folder.path().to_owned(), at("odd")]).unwrap().collect();
        assert_eq!(found, [at("a.webp"), at("b/2.png"), at("b/c/1.JPG"), at("odd")]);
        assert!(pictures(&[at("absent")]).is_err());
    }
}
