//! Food-101: dishes.

use std::path::Path;
use std::sync::Arc;

use robustify_data::{DataError, ImageList, Images, listed};

use super::{Classes, Declaration, Geometry, Kind, Layout, Official, Own, Part, numbered};

/// The suite.
pub(super) const SUITE: Declaration = Declaration {
    name: "food-101",
    title: "Food-101",
    about: "25,250 test images of dishes in 101 classes (Bossard et al. 2014)",
    folders: &["food-101", "food101"],
    layouts: &[
        Layout::Own(&OFFICIAL),
        Layout::Classes { test: &["test", "val"], train: &["train"] },
        Layout::Shards(&["test"]),
    ],
    classes: Classes::Own,
    geometry: Geometry::Model,
    kind: Kind::Transfer,
    metric: "top-1 of 101 classes, by linear probe or zero-shot",
    official: Official::exactly(101, 25_250).trained_on(75_750),
    source: "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101 (food-101.tar.gz)",
    notes: &["the pictures' rights are their makers'; its training labels are noisy on purpose"],
};

const OFFICIAL: Own = Own {
    about: "images/<class>/….jpg, meta/classes.txt, meta/train.txt, meta/test.txt",
    marks: &["images", "meta/classes.txt", "meta/test.txt"],
    open,
};

fn open(folder: &Path, part: Part) -> Result<Images, DataError> {
    let classes = listed::lines(&folder.join("meta/classes.txt"))?;
    let list = folder.join(if part == Part::Test { "meta/test.txt" } else { "meta/train.txt" });
    let mut files = Vec::new();
    for (number, line) in listed::lines(&list)?.iter().enumerate() {
        let class = line.split('/').next().unwrap_or_default();
        let label = classes.iter().position(|known| known == class);
        let label =
            label.ok_or_else(|| numbered(&list, number, "an image of a class of classes.txt", &format!("`{line}`")))?;
        files.push((format!("{line}.jpg"), label));
    }
    let names = classes.iter().map(|class| class.replace('_', " ")).collect();
    Ok(Arc::new(ImageList::open(&folder.join("images"), names, files)?))
}
