//! What a folder is taken for: its format, its splits, its classes; and what a person is told of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use image::{Rgb, RgbImage};
use robustify_data::{DataConfig, DataFormat, Layout, Source, Splits, splits};
use robustify_watch::{Progress, Silent, Watch};
use tempfile::TempDir;

/// Twenty pictures in each of the folders.
fn tree(folders: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (red, folder) in folders.iter().enumerate() {
        fill(&dir.path().join(folder), red as u8);
    }
    dir
}

fn fill(folder: &Path, red: u8) {
    fs::create_dir_all(folder).unwrap();
    for index in 0..20 {
        RgbImage::from_pixel(4, 4, Rgb([red, index, 0])).save(folder.join(format!("{index}.png"))).unwrap();
    }
}

fn config(path: &Path, settings: &str) -> DataConfig {
    let text = format!("path = {:?}\n{settings}", path.display().to_string());
    toml::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn opened(dir: &TempDir, settings: &str) -> Splits {
    Splits::open(&config(dir.path(), settings), &Silent).unwrap_or_else(|error| panic!("{settings}: {error}"))
}

fn refused(path: &Path, settings: &str) -> String {
    Splits::open(&config(path, settings), &Silent).err().expect("an error").to_string()
}

/// Where training, validation and test images come from; nothing for those held out.
fn sources(dir: &TempDir, settings: &str) -> [String; 3] {
    let Layout { train, validation, test, .. } = opened(dir, settings).layout;
    [train, validation, test].map(|source| match source {
        Source::Folder(folder) => folder.strip_prefix(dir.path()).unwrap().display().to_string(),
        Source::Validation => "the validation part".to_owned(),
        Source::HeldOut | Source::Files(_) => String::new(),
    })
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Heard {
    fn warnings(&self) -> Vec<String> {
        let all = self.0.lock().unwrap();
        all.iter().filter_map(|line| line.strip_prefix("warning: ").map(str::to_owned)).collect()
    }
}

impl Watch for Heard {
    fn say(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
    fn warn(&self, text: &str) {
        self.say(&format!("warning: {text}"));
    }
    fn progress(&self, _: &str, _: usize) -> Box<dyn Progress> {
        Box::new(Silent)
    }
    fn is_stopped(&self) -> bool {
        false
    }
}

#[test]
fn splits_are_known_by_all_their_names() {
    for (folders, expected) in [
        (["train/a", "train/b", "test/a", "test/b", "validation/a"], ["train", "validation", "test"]),
        (["Train/a", "Train/b", "TEST/a", "TEST/b", "Valid/a"], ["Train", "Valid", "TEST"]),
        (["Training/a", "Training/b", "Testing/a", "Testing/b", "val/a"], ["Training", "val", "Testing"]),
        (["training/a", "training/b", "testing/a", "testing/b", "other/a"], ["training", "", "testing"]),
        // ImageNet's layout.
        (["train/a", "train/b", "val/a", "val/b", "notes/a"], ["train", "", "val"]),
    ] {
        let dir = tree(&folders);
        assert_eq!(sources(&dir, ""), expected, "{folders:?}");
        let splits = opened(&dir, "");
        assert_eq!(splits.train.classes(), ["a", "b"], "{folders:?}");
        assert_eq!(splits.train.len(), if expected[1].is_empty() { 36 } else { 40 }, "{folders:?}");
        // Settings are chosen on the validation part, and never on what is reported on by default.
        let [train, validation, _] = sources(&dir, "test = 'validation'");
        assert_eq!([train.as_str(), &validation], expected[..2], "{folders:?}");
    }
}

#[test]
fn names_in_the_configuration_name_what_they_name() {
    let dir = tree(&["train/a", "Training/a", "val/a", "valid/a", "test/a", "extra/a"]);
    let said = refused(dir.path(), "");
    assert!(said.contains("`val`, `valid`") && said.contains("data.validation=NAME"), "{said}");
    let named = "validation = 'valid'\n";
    assert_eq!(sources(&dir, named), ["train", "valid", "test"]);
    assert_eq!(sources(&dir, &format!("{named}train = 'Training'")), ["Training", "valid", "test"]);
    assert_eq!(sources(&dir, &format!("{named}train = 'extra'\ntest = 'val'")), ["extra", "valid", "val"]);
    let said = refused(dir.path(), &format!("{named}test = 'absent'"));
    assert!(said.contains("no test images") && said.contains("`absent`") && said.contains("`Training`"), "{said}");

    // One that is named for validation does not stand in for the test images.
    let dir = tree(&["train/a", "val/a"]);
    let said = refused(dir.path(), "validation = 'val'");
    assert!(said.contains("no test images") && said.contains("`train`, `val`"), "{said}");
    let [train, test] = splits::train_and_test(&config(dir.path(), ""), &Silent).unwrap();
    assert_eq!([train.len(), test.len()], [20, 20]);
}

#[test]
fn splits_are_never_classes() {
    let dir = tree(&["seg_train/seg_train/a", "seg_test/seg_test/a"]);
    let said = refused(dir.path(), "");
    assert!(said.contains("`seg_test`, `seg_train` look like splits"), "{said}");
    let dir = tree(&["dataset/train/a", "dataset/train/b", "dataset/test/a"]);
    let said = refused(dir.path(), "");
    let way_out = format!("data.path={}", dir.path().join("dataset").display());
    assert!(said.contains("`dataset` holds nothing but splits (`test`, `train`)") && said.contains(&way_out), "{said}");
    let said = refused(tree(&["train/a", "test/a", "train/more/train/a"]).path(), "");
    assert!(said.contains("`more` holds nothing but splits"), "{said}");
    // Without folders of classes in them, nobody knows what is in the pictures.
    let said = refused(tree(&["train", "test"]).path(), "");
    assert!(said.contains("`test`, `train` are splits, and no classes"), "{said}");
    let said = refused(tree(&["train", "val/a"]).path(), "");
    assert!(said.contains("no train images: `train` holds no folders of classes"), "{said}");
    // A class may be called so among others.
    assert_eq!(opened(&tree(&["train", "car", "plane"]), "").train.classes(), ["car", "plane", "train"]);
}

#[test]
fn an_empty_folder_is_no_class_and_is_named_once() {
    let dir = tree(&["train/b", "train/d", "test/b", "test/d"]);
    for empty in ["train/a", "train/c", "test/c"] {
        fs::create_dir_all(dir.path().join(empty)).unwrap();
    }
    let heard = Heard::default();
    let splits = Splits::open(&config(dir.path(), ""), &heard).unwrap();
    assert_eq!(splits.train.classes(), ["b", "d"]);
    assert_eq!(splits.test.labels()[19..21], [0, 1]);
    let warnings = heard.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("2 left out: holds no usable image"), "{warnings:?}");
    // The labels of classes that are named do not move.
    assert_eq!(opened(&dir, "classes = ['a', 'b', 'c', 'd']").test.labels()[19..21], [1, 3]);
}

#[test]
fn what_was_understood_is_said_in_one_line_and_what_was_left_out_by_reasons() {
    let dir = tree(&["a", "b"]);
    for index in 0..7 {
        fs::write(dir.path().join(format!("a/{index}.txt")), "notes").unwrap();
    }
    fs::write(dir.path().join("b/broken.png"), "nothing").unwrap();
    #[cfg(unix)]
    fs::write(dir.path().join("b/x\nerror: all is lost\u{1b}[2J.png"), "nothing").unwrap();
    let (heard, list) = (Heard::default(), dir.path().join("skipped.list"));
    let splits = Splits::open_listing(&config(dir.path(), ""), Some(&list), &heard).unwrap();
    let said = heard.0.lock().unwrap().clone();
    let understood = &said[0];
    assert!(understood.contains("folders of classes without splits, divided 7:1:2: 2 classes"), "{understood}");
    assert!(understood.contains("training 28, validation 4 held out, test 8 held out"), "{understood}");
    let warnings = heard.warnings();
    assert_eq!(warnings.len() + 1, said.len());
    assert_eq!(warnings.len(), 2, "one a reason: {warnings:?}");
    let many = warnings.iter().find(|warning| warning.starts_with("7 left out: is not one of")).unwrap();
    assert!(many.contains("a/4.txt and 2 more") && !many.contains("5.txt"), "{many}");
    assert!(many.contains(&list.display().to_string()), "{many}");
    #[cfg(unix)]
    assert!(warnings.iter().any(|warning| warning.contains("x\\nerror: all is lost\\u{1b}[2J.png")), "{warnings:?}");
    assert_eq!(fs::read_to_string(&list).unwrap().lines().count(), splits.skipped.len());
    // With nothing left out there is no list.
    drop(fs::remove_dir_all(dir.path().join("a")));
    fill(&dir.path().join("c"), 1);
    fs::remove_file(dir.path().join("b/broken.png")).unwrap();
    Splits::open_listing(&config(dir.path(), ""), Some(&list), &Silent).unwrap();
    assert!(!list.exists());
}

fn idx_files(folder: &Path) {
    for (split, count) in [("train", 20u32), ("t10k", 10)] {
        let head = |magic: u32, sizes: &[u32]| -> Vec<u8> {
            [&[magic][..], sizes].concat().iter().flat_map(|word| word.to_be_bytes()).collect()
        };
        let images = [head(0x803, &[count, 2, 2]), vec![7; 4 * count as usize]].concat();
        let labels = [head(0x801, &[count]), vec![3; count as usize]].concat();
        fs::write(folder.join(format!("{split}-images-idx3-ubyte")), images).unwrap();
        fs::write(folder.join(format!("{split}-labels-idx1-ubyte")), labels).unwrap();
    }
}

#[test]
fn the_format_shows_in_the_names_of_files() {
    let dir = tempfile::tempdir().unwrap();
    idx_files(dir.path());
    assert_eq!(opened(&dir, "").layout.format, DataFormat::Idx);
    fs::create_dir(dir.path().join("docs")).unwrap();
    assert_eq!(opened(&dir, "").test.len(), 10);
    fill(&dir.path().join("cat"), 1);
    let said = refused(dir.path(), "");
    assert!(
        said.contains("IDX files (`t10k-images-idx3-ubyte`)") && said.contains("folders of classes (`cat/`)"),
        "{said}"
    );
    assert!(said.contains("data.format=idx or data.format=folder"), "{said}");
    assert_eq!(opened(&dir, "format = 'idx'").test.len(), 10);

    let dir = tempfile::tempdir().unwrap();
    let batches = dir.path().join("cifar-10-batches-bin");
    fs::create_dir(&batches).unwrap();
    fs::write(batches.join("data_batch_1.bin"), "").unwrap();
    assert_eq!(Layout::of(&config(dir.path(), "")).unwrap().format, DataFormat::Cifar);
    let said = refused(dir.path(), "");
    assert!(said.contains("CIFAR folder") && said.contains("batches.meta.txt"), "{said}");
}

#[test]
fn a_folder_that_is_not_there_is_named_as_typed_and_as_meant() {
    let here = std::env::current_dir().unwrap();
    let said = refused(Path::new("absent/images"), "");
    let parts = ["data.path absent/images", "no such file or folder"].map(str::to_owned);
    let places = [here.join("absent/images"), here].map(|path: PathBuf| path.display().to_string());
    assert!(parts.iter().chain(&places).all(|part| said.contains(part)), "{said}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let said = refused(file.path(), "");
    assert!(said.contains("is a file"), "{said}");
}

#[test]
fn a_configuration_is_written_as_it_was_read() {
    let text = "path = \"images\"\ntrain = \"train\"\ntest = \"test\"\nstrict = false\n";
    let read: DataConfig = toml::from_str(text).unwrap();
    assert_eq!(read.format, None);
    assert_eq!(toml::to_string(&read).unwrap(), text);
    let read: DataConfig = toml::from_str(&format!("format = \"idx\"\n{text}")).unwrap();
    assert_eq!(read.format, Some(DataFormat::Idx));
}
