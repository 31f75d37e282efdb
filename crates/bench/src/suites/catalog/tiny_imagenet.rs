//! Tiny-ImageNet: 200 classes at 64 px.

use std::path::Path;
use std::sync::Arc;

use robustify_data::folder::{Options, Verify};
use robustify_data::{DataError, ImageFolder, ImageList, Images, Relabelled, listed};

use super::classes::{self, distinct};
use super::{Classes, Declaration, Geometry, Kind, Layout, Official, Own, Part, numbered};

/// The suite.
pub(super) const SUITE: Declaration = Declaration {
    name: "tiny-imagenet",
    title: "Tiny-ImageNet",
    about: "10,000 validation images of 64 px in 200 classes of WordNet (Le & Yang 2015)",
    folders: &["tiny-imagenet-200", "tiny-imagenet"],
    layouts: &[Layout::Own(&ANNOTATED), Layout::Own(&SORTED)],
    classes: Classes::Own,
    geometry: Geometry::Model,
    kind: Kind::Transfer,
    metric: "top-1 of 200 classes, by linear probe or zero-shot",
    official: Official::exactly(200, 10_000).trained_on(100_000),
    source: "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    notes: &["its test images have no published labels: the validation images are reported"],
};

const ANNOTATED: Own = Own {
    about: "wnids.txt, train/<wnid>/images/, val/images/ with val/val_annotations.txt",
    marks: &["wnids.txt", "val/val_annotations.txt", "val/images"],
    open: annotated,
};

const SORTED: Own = Own {
    about: "wnids.txt, train/<wnid>/images/, val/<wnid>/",
    marks: &["wnids.txt", "val"],
    open: |folder, part| class_folders(folder, if part == Part::Test { "val" } else { "train" }),
};

fn annotated(folder: &Path, part: Part) -> Result<Images, DataError> {
    if part == Part::Train {
        return class_folders(folder, "train");
    }
    let wnids = wnids(folder)?;
    let list = folder.join("val/val_annotations.txt");
    let mut files = Vec::new();
    for (number, line) in listed::lines(&list)?.iter().enumerate() {
        let mut fields = line.split('\t');
        let (file, wnid) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default().trim());
        let label = wnids.binary_search_by(|known| known.as_str().cmp(wnid)).map_err(|_| {
            numbered(&list, number, "a class of wnids.txt behind the file's name", &format!("`{wnid}`"))
        })?;
        files.push((file.trim().to_owned(), label));
    }
    Ok(Arc::new(ImageList::open(&folder.join("val/images"), names(folder, &wnids)?, files)?))
}

fn class_folders(folder: &Path, split: &str) -> Result<Images, DataError> {
    let wnids = wnids(folder)?;
    let options = Options { verify: Verify::Listing, classes: Some(wnids.clone()), ..Options::default() };
    let images: Images = Arc::new(ImageFolder::open(&folder.join(split), options)?);
    let places = (0..wnids.len()).collect();
    Ok(Arc::new(Relabelled::new(images, names(folder, &wnids)?, places)?))
}

/// The classes, sorted as folders are.
fn wnids(folder: &Path) -> Result<Vec<String>, DataError> {
    let mut wnids = listed::lines(&folder.join("wnids.txt"))?;
    wnids.sort();
    Ok(wnids)
}

/// Names of classes: ImageNet's where it has them, else those of words.txt.
fn names(folder: &Path, wnids: &[String]) -> Result<Vec<String>, DataError> {
    let words = match folder.join("words.txt") {
        path if path.is_file() => listed::lines(&path)?,
        _ => Vec::new(),
    };
    let of = |wnid: &String| {
        let known = classes::imagenet().iter().find(|class| class.wnid == wnid).map(|class| class.name.to_owned());
        let word = || words.iter().find_map(|line| line.strip_prefix(wnid.as_str())).map(|word| word.trim().to_owned());
        known.or_else(word).unwrap_or_else(|| wnid.clone())
    };
    Ok(distinct(wnids.iter().map(of).collect(), wnids))
}
