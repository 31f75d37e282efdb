//! What is asked, and what is read from the store: counted with predictors and a suite that say when they are at work.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Tensor;
use image::RgbImage;
use robustify_bench::{AnswerStore, BenchError, Cell, Entrant, Measured, Origin, Shift, Suite, measure};
use robustify_data::DataError;
use robustify_device::Machine;
use robustify_predict::{Answered, Answers, Columns, PredictError, Predictor, Rows};
use robustify_watch::{Progress, Silent, Watch};
use robustify_zoo::Features;

/// Images whose first pixel is their index, in two cells.
struct Counted {
    classes: Vec<String>,
    cells: Vec<Cell>,
    indices: Vec<usize>,
    made: AtomicUsize,
}

impl Counted {
    fn new() -> Self {
        let fog = Shift::Corrupted("fog".parse().unwrap(), 3_u8.try_into().unwrap());
        Self {
            classes: vec!["cat".into(), "dog".into()],
            cells: [Shift::Clean, fog].map(Cell::new).to_vec(),
            indices: (0..100).collect(),
            made: AtomicUsize::new(0),
        }
    }

    fn made(&self) -> usize {
        self.made.swap(0, Ordering::SeqCst)
    }
}

impl Suite for Counted {
    fn name(&self) -> &str {
        "counted"
    }
    fn identity(&self) -> &str {
        "0123456789abcdef of this suite"
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn origin(&self) -> Origin {
        Origin::Generated
    }
    fn cells(&self) -> &[Cell] {
        &self.cells
    }
    fn images(&self, _: &Cell) -> &[usize] {
        &self.indices
    }
    fn label(&self, index: usize) -> Result<(usize, u64), DataError> {
        Ok((index % 2, 1000 + index as u64))
    }
    fn pixels(&self, _: &Cell, index: usize) -> Result<RgbImage, DataError> {
        self.made.fetch_add(1, Ordering::SeqCst);
        Ok(RgbImage::from_pixel(1, 1, image::Rgb([index as u8; 3])))
    }
}

#[derive(Default)]
struct Asked {
    trunks: AtomicUsize,
    heads: AtomicUsize,
}

/// Answers `factor` times the first pixel for the first class, through a trunk that all of its kind share.
struct Scaled {
    identity: String,
    classes: Vec<String>,
    factor: f32,
    asked: Arc<Asked>,
}

impl Predictor for Scaled {
    fn identity(&self) -> &str {
        &self.identity
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn trunk(&self) -> Option<&str> {
        Some("one trunk for all of these")
    }
    fn answer(&self, rows: &Rows<'_>) -> Result<Answered, PredictError> {
        let (features, time) = rows.trunk("one trunk for all of these", || {
            let pixels: Vec<f32> = rows.pixels()?.iter().map(|image| f32::from(image.as_raw()[0])).collect();
            self.asked.trunks.fetch_add(pixels.len(), Ordering::SeqCst);
            Ok(Features::Rows(Tensor::<1>::from_floats(pixels.as_slice(), rows.device()).reshape([pixels.len(), 1])))
        })?;
        let values: Vec<f32> = features.flatten().into_data().try_to_vec().unwrap();
        self.asked.heads.fetch_add(values.len(), Ordering::SeqCst);
        let values = values.into_iter().flat_map(|value| [value * self.factor, 1.0]).collect();
        Ok(Answered {
            answers: Answers::Logits { classes: 2, values },
            time,
            deterministic_time: None,
            beside: Columns::default(),
        })
    }
}

/// Answers the class that most images of a cell have, as somebody else says.
struct Majority(Vec<String>, Vec<Box<dyn Predictor>>, Option<f32>);

impl Predictor for Majority {
    fn identity(&self) -> &str {
        "the majority"
    }
    fn classes(&self) -> &[String] {
        &self.0
    }
    fn trunk(&self) -> Option<&str> {
        None
    }
    fn reads(&self) -> &[Box<dyn Predictor>] {
        &self.1
    }
    fn for_cell(&self, ids: &[u64], told: &[Answers]) -> Result<Option<Box<dyn Predictor>>, PredictError> {
        let second = told[0].probabilities().iter().filter(|p| p[1] > p[0]).count();
        let most = f32::from(u8::from(2 * second > ids.len()));
        Ok(Some(Box::new(Self(self.0.clone(), Vec::new(), Some(most)))))
    }
    fn answer(&self, rows: &Rows<'_>) -> Result<Answered, PredictError> {
        let most = self.2.expect("it is asked for a cell");
        let values = rows.ids().iter().flat_map(|_| [1.0 - most, most]).collect();
        let answers = Answers::Logits { classes: 2, values };
        Ok(Answered { answers, time: Default::default(), deterministic_time: None, beside: Columns::default() })
    }
}

/// Has a trunk whose feature of image 70 is no number, and answers as if it were.
struct Masked(Vec<String>);

impl Predictor for Masked {
    fn identity(&self) -> &str {
        "one that hides it"
    }
    fn classes(&self) -> &[String] {
        &self.0
    }
    fn trunk(&self) -> Option<&str> {
        Some("its trunk")
    }
    fn answer(&self, rows: &Rows<'_>) -> Result<Answered, PredictError> {
        let (_, time) = rows.trunk("its trunk", || {
            let feature = |image: &RgbImage| if image.as_raw()[0] == 70 { f32::NAN } else { 1.0 };
            let features: Vec<f32> = rows.pixels()?.iter().map(feature).collect();
            let count = features.len();
            Ok(Features::Rows(Tensor::<1>::from_floats(features.as_slice(), rows.device()).reshape([count, 1])))
        })?;
        let values = vec![0.5; 2 * rows.ids().len()];
        Ok(Answered {
            answers: Answers::Logits { classes: 2, values },
            time,
            deterministic_time: None,
            beside: Columns::default(),
        })
    }
}

fn entrant(name: &str, factor: f32, asked: &Arc<Asked>) -> Entrant<'static> {
    let (classes, asked) = (vec!["cat".into(), "dog".into()], Arc::clone(asked));
    let identity = format!("{factor} and what else determines a predictor");
    Entrant { name: name.into(), predictor: Box::new(Scaled { identity, classes, factor, asked }) }
}

/// Hears warnings.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Watch for Heard {
    fn say(&self, _: &str) {}
    fn warn(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
    fn progress(&self, _: &str, _: usize) -> Box<dyn Progress> {
        Box::new(Silent)
    }
    fn is_stopped(&self) -> bool {
        false
    }
}

fn run(suite: &Counted, entrants: &[Entrant], folder: &Path, watch: &dyn Watch) -> Result<Vec<Measured>, BenchError> {
    let machine = Machine::open(Some("flex"), Some(2)).unwrap();
    let mut all = Vec::new();
    let store = AnswerStore::new(folder, "flex");
    measure::measure(suite, entrants, &store, &machine, watch, |measured| all.push(measured))?;
    Ok(all)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { found.extend(files(&entry)) } else { found.push(entry) }
    }
    found
}

#[test]
fn nothing_is_asked_twice() {
    let (suite, folder, asked) = (Counted::new(), tempfile::tempdir().unwrap(), Arc::new(Asked::default()));
    let counts = || [&asked.trunks, &asked.heads].map(|count| count.swap(0, Ordering::SeqCst));
    let one = || vec![entrant("one", 2.0, &asked)];
    let first = run(&suite, &one(), folder.path(), &Silent).unwrap();
    assert_eq!((counts(), suite.made()), ([200, 200], 200));
    assert_eq!(first[1].answers[0].1.ids[3], 1003);

    let again = run(&suite, &one(), folder.path(), &Silent).unwrap();
    assert_eq!((counts(), suite.made()), ([0, 0], 0), "stored answers were asked for again");
    assert_eq!(again[1].answers, first[1].answers);

    // Another head on the same trunk: neither pixels nor trunk, and the first is not asked again.
    let both = || vec![entrant("one", 2.0, &asked), entrant("two", 0.5, &asked)];
    let more = run(&suite, &both(), folder.path(), &Silent).unwrap();
    assert_eq!((counts(), suite.made()), ([0, 200], 0));
    assert_eq!(more[0].answers[0], first[0].answers[0]);
    let Answers::Logits { values, .. } = &more[1].answers[1].1.answers else { panic!("one head") };
    assert_eq!(values[2 * 70], 35.0, "the answer belongs to another image");

    // The same in an empty store, where both share the trunk while they are asked.
    let fresh = tempfile::tempdir().unwrap();
    assert_eq!(run(&suite, &both(), fresh.path(), &Silent).unwrap()[1].answers, more[1].answers);
    assert_eq!((counts(), suite.made()), ([200, 400], 200));
}

/// Answers the sum of the first pixels of all images that it was asked about before in the same call.
struct Remembering(Vec<String>);

impl Predictor for Remembering {
    fn identity(&self) -> &str {
        "one that remembers"
    }
    fn classes(&self) -> &[String] {
        &self.0
    }
    fn trunk(&self) -> Option<&str> {
        None
    }
    fn adapts(&self) -> bool {
        true
    }
    fn answer(&self, rows: &Rows<'_>) -> Result<Answered, PredictError> {
        let (mut sum, mut values) = (0.0, Vec::new());
        for position in 0..rows.ids().len() {
            sum += f32::from(rows.pixels_at(&[position])?[0].as_raw()[0]);
            values.extend([sum, 1.0]);
        }
        let answers = Answers::Logits { classes: 2, values };
        Ok(Answered { answers, time: std::time::Duration::ZERO, deterministic_time: None, beside: Columns::default() })
    }
}

#[test]
fn pixels_that_are_made_ahead_change_no_answer() {
    let (suite, asked) = (Counted::new(), Arc::default());
    let entrants = [entrant("one", 1.0, &asked), entrant("two", 2.0, &asked)];
    let on = |makers: usize| {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine { makers, ..Machine::open(Some("flex"), Some(1)).unwrap() };
        let store = AnswerStore::new(folder.path(), "flex");
        let mut answers = Vec::new();
        measure::measure(&suite, &entrants, &store, &machine, &Silent, |measured| answers.push(measured.answers))
            .unwrap();
        (answers, suite.made())
    };
    assert_eq!(on(3), on(0));
}

#[test]
fn a_predictor_that_adapts_is_asked_about_a_whole_cell_in_one_go_beside_others() {
    let (suite, folder, asked) = (Counted::new(), tempfile::tempdir().unwrap(), Arc::new(Asked::default()));
    let adapting = || Entrant { name: "adapting".into(), predictor: Box::new(Remembering(suite.classes.clone())) };
    let found = run(&suite, &[adapting(), entrant("one", 2.0, &asked)], folder.path(), &Silent).unwrap();
    for cell in &found {
        let [(_, adapting), (_, one)] = &cell.answers[..] else { panic!("two entrants") };
        let Answers::Logits { values, .. } = &adapting.answers else { panic!("one head") };
        // Begun anew with each cell, and across what others are asked about at once.
        assert_eq!((values[0], values[2], values[2 * 99]), (0.0, 1.0, 4950.0));
        let Answers::Logits { values, .. } = &one.answers else { panic!("one head") };
        assert_eq!(values[2 * 70], 140.0);
    }
    let again = run(&suite, &[entrant("one", 2.0, &asked), adapting()], folder.path(), &Silent).unwrap();
    assert_eq!(again[1].answers[1], found[1].answers[0]);
}

#[test]
fn whoever_reads_others_is_asked_after_them_about_the_whole_cell() {
    let (suite, folder, asked) = (Counted::new(), tempfile::tempdir().unwrap(), Arc::new(Asked::default()));
    // Of a hundred images one is brighter than the threshold.
    let one = || entrant("one", 0.0101, &asked);
    let majority = || {
        let predictor = Majority(vec!["cat".into(), "dog".into()], vec![one().predictor], None);
        Entrant { name: "majority".into(), predictor: Box::new(predictor) }
    };
    let heads = || asked.heads.swap(0, Ordering::SeqCst);
    let both = run(&suite, &[majority(), one()], folder.path(), &Silent).unwrap();
    assert_eq!(heads(), 200, "the one that is read was asked twice");
    let Answers::Logits { values, .. } = &both[1].answers[0].1.answers else { panic!("one head") };
    assert!(values.chunks(2).all(|row| row == [0.0, 1.0]), "{values:?}");
    // Without the other in the list it is asked, and kept, all the same.
    let alone = tempfile::tempdir().unwrap();
    assert_eq!(run(&suite, &[majority()], alone.path(), &Silent).unwrap()[1].answers[0], both[1].answers[0]);
    assert_eq!(heads(), 200);
    run(&suite, &[one(), majority()], alone.path(), &Silent).unwrap();
    assert_eq!(heads(), 0);
}

#[test]
fn damage_is_named_and_computed_again() {
    let (suite, folder, asked) = (Counted::new(), tempfile::tempdir().unwrap(), Arc::new(Asked::default()));
    let one = || vec![entrant("one", 2.0, &asked)];
    let first = run(&suite, &one(), folder.path(), &Silent).unwrap();
    for file in files(folder.path()) {
        let mut bytes = std::fs::read(&file).unwrap();
        let last = bytes.len() - 3;
        bytes[last] ^= 0x40;
        std::fs::write(&file, bytes).unwrap();
    }
    let heard = Heard::default();
    let again = run(&suite, &one(), folder.path(), &heard).unwrap();
    assert_eq!(again[0].answers, first[0].answers, "a flipped bit went through");
    let heard = heard.0.into_inner().unwrap();
    assert!(heard.iter().all(|text| text.contains("checksum") && text.contains("computed again")), "{heard:?}");
    assert_eq!(heard.len(), 4, "answers and trunk of two cells: {heard:?}");
}

#[test]
fn answers_that_are_no_numbers_and_other_classes_are_errors() {
    let (suite, folder, asked) = (Counted::new(), tempfile::tempdir().unwrap(), Arc::new(Asked::default()));
    let error = |entrant| run(&suite, &[entrant], folder.path(), &Silent).err().unwrap().to_string();
    let said = error(entrant("broken", f32::NAN, &asked));
    assert!(said.starts_with("broken: its answers of image 0 in clean are no finite numbers"), "{said}");
    // What is no number in the trunk may look like one behind a rectifier.
    let said = error(Entrant { name: "masked".into(), predictor: Box::new(Masked(vec!["cat".into(), "dog".into()])) });
    assert!(said.starts_with("masked: its features of image 70 in clean are no finite numbers"), "{said}");
    assert!(files(folder.path()).is_empty(), "something of it was kept");
    let predictor = Scaled {
        identity: "other".into(),
        classes: vec!["dog".into(), "cat".into()],
        factor: 1.0,
        asked: Arc::clone(&asked),
    };
    let said = error(Entrant { name: "swapped".into(), predictor: Box::new(predictor) });
    assert!(said.contains("swapped") && said.contains("class 0 is `cat` in the data and `dog` in the model"), "{said}");
}

/// A folder of answers in which nothing can be made: a link to nowhere.
#[cfg(unix)]
#[test]
fn answers_that_cannot_be_stored_are_one_warning_and_those_that_are_there_are_read() {
    let (suite, folder, asked) = (Counted::new(), tempfile::tempdir().unwrap(), Arc::new(Asked::default()));
    let one = || vec![entrant("one", 2.0, &asked)];
    let first = run(&suite, &one(), folder.path(), &Silent).unwrap();
    let store = AnswerStore::new(folder.path(), "flex");
    let clean = store.path(&suite, &suite.cells[0], one()[0].predictor.identity());
    let fog = store.path(&suite, &suite.cells[1], one()[0].predictor.identity()).parent().unwrap().to_owned();
    std::fs::remove_dir_all(&fog).unwrap();
    std::os::unix::fs::symlink("nowhere", &fog).unwrap();
    suite.made();
    let heard = Heard::default();
    let again = run(&suite, &one(), folder.path(), &heard).unwrap();
    assert_eq!(again[1].answers, first[1].answers);
    assert_eq!(suite.made(), 100, "a stored cell was computed again");
    let heard = heard.0.into_inner().unwrap();
    assert!(matches!(&heard[..], [text] if text.contains("cannot be stored") && text.contains("fog-3")), "{heard:?}");
    assert!(clean.exists());
}

/// What cannot be written for want of room is told from what may not be written.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_measuring() {
    let (suite, folder, asked) = (Counted::new(), tempfile::tempdir().unwrap(), Arc::new(Asked::default()));
    let one = || vec![entrant("one", 2.0, &asked)];
    let store = AnswerStore::new(folder.path(), "flex");
    let file = store.path(&suite, &suite.cells[0], one()[0].predictor.identity());
    std::fs::create_dir_all(file.parent().unwrap().parent().unwrap()).unwrap();
    let Some(full) = Full::mount(file.parent().unwrap()) else { return };
    let said = run(&suite, &one(), folder.path(), &Silent).err().unwrap().to_string();
    assert!(said.starts_with("cannot write ") && said.contains("clean") && said.contains("make room"), "{said}");
    drop(full);
    assert!(run(&suite, &one(), folder.path(), &Silent).is_ok(), "with room it goes on");
}

/// A file system without room, where this process may mount one.
#[cfg(target_os = "linux")]
struct Full(PathBuf);

#[cfg(target_os = "linux")]
impl Full {
    fn mount(folder: &Path) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let mount =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=4k", "full"]).arg(folder).output();
        mount.is_ok_and(|mount| mount.status.success()).then(|| Self(folder.to_owned()))
    }
}

#[cfg(target_os = "linux")]
impl Drop for Full {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}
