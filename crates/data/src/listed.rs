//! Images that a list names, with their labels: data sets whose classes are not their folders.

use std::fs;
use std::path::{Component, Path, PathBuf};

use burn_dataset::Dataset;
use rayon::prelude::*;
use robustify_watch::shown;
use sha2::{Digest, Sha256};

use crate::decode;
use crate::error::{DataError, Result};
use crate::folder::{identity, is_picture};
use crate::place::{self, what_is};
use crate::set::{ImageSet, Sample, Skipped, hex};

/// Images below a folder, by a list of their paths and labels, in its order. No file is opened before it is asked for.
///
/// The identity of an image is a hash of its path below the folder, as for [`ImageFolder`](crate::ImageFolder).
#[derive(Clone, Debug)]
pub struct ImageList {
    root: PathBuf,
    name: String,
    classes: Vec<String>,
    files: Vec<Box<str>>,
    labels: Vec<usize>,
    skipped: Vec<Skipped>,
    fingerprint: String,
}

impl ImageList {
    /// The images of `root` at relative paths (with `/` between the parts), each with its label. What is named and not there is listed in
    /// [`ImageSet::skipped`].
    ///
    /// # Errors
    /// [`DataError::Settings`] for a label without a class, or a path that leads out of the folder; [`DataError::Empty`] when no image is there.
    pub fn open(root: &Path, classes: Vec<String>, list: Vec<(String, usize)>) -> Result<Self> {
        if let Some((file, label)) = list.iter().find(|(_, label)| *label >= classes.len()) {
            let classes = classes.len();
            return Err(DataError::Settings(format!(
                "{}: {file} has label {label}, of classes numbered 0 to {}; the list belongs to another data set",
                shown(root),
                classes.saturating_sub(1)
            )));
        }
        let leads_out = |file: &str| !Path::new(file).components().all(|part| matches!(part, Component::Normal(_)));
        if let Some((file, _)) = list.iter().find(|(file, _)| leads_out(file)) {
            return Err(DataError::Settings(format!(
                "{}: the list names `{file}`, which is no path below that folder; repair the list",
                shown(root)
            )));
        }
        let sizes: Vec<Option<u64>> = list.par_iter().map(|(file, _)| size(&root.join(file))).collect();
        let mut hash = Sha256::new();
        hash.update(format!("list {classes:?}\n"));
        let (mut files, mut labels, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        for ((file, label), size) in list.into_iter().zip(sizes) {
            let Some(bytes) = size else {
                let path = root.join(&file);
                skipped.push(Skipped { reason: format!("is in the list, and {}", what_is(&path)), path });
                continue;
            };
            hash.update(format!("{file:?} {bytes} {label}\n"));
            files.push(file.into_boxed_str());
            labels.push(label);
        }
        if files.is_empty() {
            let reason = format!("none of the {} files that its list names is there", skipped.len());
            return Err(DataError::Empty { path: root.to_owned(), reason, remedy: "unpack the images there" });
        }
        let name = root.file_name().unwrap_or(root.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { root: root.to_owned(), name, classes, files, labels, skipped, fingerprint: hex(hash) })
    }

    fn relative(&self, index: usize) -> Result<&str> {
        let past = || DataError::Index { set: self.name.clone(), index, len: self.files.len() };
        self.files.get(index).map(|file| &**file).ok_or_else(past)
    }
}

/// Bytes of a file that is a picture by its name.
fn size(path: &Path) -> Option<u64> {
    let about = fs::metadata(path).ok()?;
    (about.is_file() && is_picture(path)).then_some(about.len())
}

impl Dataset<Sample, DataError> for ImageList {
    fn get(&self, index: usize) -> Result<Sample> {
        let file = self.relative(index)?;
        Ok(Sample { image: decode::decode(&self.root.join(file))?, label: self.labels[index], id: identity(file) })
    }

    fn len(&self) -> usize {
        self.files.len()
    }
}

impl ImageSet for ImageList {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    fn labels(&self) -> &[usize] {
        &self.labels
    }

    fn id(&self, index: usize) -> Result<u64> {
        Ok(identity(self.relative(index)?))
    }

    fn dimensions(&self, index: usize) -> Result<(u32, u32)> {
        decode::dimensions(&self.root.join(self.relative(index)?))
    }

    fn origin(&self, index: usize) -> String {
        self.relative(index).map(|file| shown(&self.root.join(file))).unwrap_or_default()
    }
}

/// What the lines of a list say: a path and, behind the last comma, semicolon, tab or blank, a label, which is a number or a name.
/// Empty lines, a heading and quotes around either are left out.
///
/// # Errors
/// [`DataError::Io`], and [`DataError::Format`] for a line without a label.
pub fn pairs(path: &Path) -> Result<Vec<(String, String)>> {
    let text = place::read_text(path)?;
    let bare = |part: &str| part.trim().trim_matches('"').to_owned();
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let pair = line.trim().rsplit_once([',', ';', '\t', ' ']).map(|(file, label)| (bare(file), bare(label)));
        match pair {
            Some((file, _)) if number == 0 && !is_picture(Path::new(&file)) => {}
            Some((file, label)) if !file.is_empty() && !label.is_empty() => found.push((file, label)),
            _ => {
                return Err(DataError::Format {
                    path: path.to_owned(),
                    what: "list of images",
                    expected: "a path and a label in every line, as in `cat/1.jpg,0`".to_owned(),
                    found: format!("`{}` in line {}", line.chars().take(60).collect::<String>(), number + 1),
                    remedy: "repair the line, or remove it",
                });
            }
        }
    }
    Ok(found)
}

/// The lines of a list of names, without empty ones.
///
/// # Errors
/// [`DataError::Io`].
pub fn lines(path: &Path) -> Result<Vec<String>> {
    let text = place::read_text(path)?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_which_images_there_are_and_names_those_that_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list.csv");
        fs::write(&list, "path,label\n\"b 1.png\",1\na.png 0\n\ngone.png;1\n").unwrap();
        let found = pairs(&list).unwrap();
        let given: Vec<(&str, &str)> = found.iter().map(|(file, label)| (file.as_str(), label.as_str())).collect();
        assert_eq!(given, [("b 1.png", "1"), ("a.png", "0"), ("gone.png", "1")]);
        for (name, level) in [("a.png", 10), ("b 1.png", 20)] {
            image::RgbImage::from_pixel(3, 2, image::Rgb([level; 3])).save(folder.path().join(name)).unwrap();
        }
        let classes = vec!["x".to_owned(), "y".to_owned()];
        let files: Vec<(String, usize)> =
            found.into_iter().map(|(file, label)| (file, label.parse().unwrap())).collect();
        let set = ImageList::open(folder.path(), classes.clone(), files.clone()).unwrap();
        assert_eq!((set.labels(), set.dimensions(1).unwrap()), (&[1, 0][..], (3, 2)));
        assert_eq!(set.get(0).unwrap().image.get_pixel(0, 0).0, [20; 3]);
        assert!(set.skipped()[0].reason.contains("there is no such file"), "{:?}", set.skipped());
        let error = ImageList::open(folder.path(), vec!["x".to_owned()], files).unwrap_err().to_string();
        assert!(error.contains("has label 1"), "{error}");
        for file in ["../a.png", "/etc/a.png", "a/../../b.png"] {
            let error = ImageList::open(folder.path(), classes.clone(), vec![(file.to_owned(), 0)]).unwrap_err();
            assert!(error.to_string().contains("no path below"), "{error}");
        }
        fs::write(&list, "a.png 0\nlonely.png\n").unwrap();
        assert!(pairs(&list).unwrap_err().to_string().contains("`lonely.png` in line 2"));
    }
}
