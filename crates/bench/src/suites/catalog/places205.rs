//! Places205: scenes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use robustify_data::{DataError, ImageList, Images, listed};

use super::{Classes, Declaration, Geometry, Kind, Layout, Official, Own, Part, unlike};

/// The suite.
pub(super) const SUITE: Declaration = Declaration {
    name: "places205",
    title: "Places205",
    about: "20,500 validation images of scenes in 205 classes (Zhou et al. 2014)",
    folders: &["places205", "places-205"],
    layouts: &[
        Layout::Own(&LISTS),
        Layout::Classes { test: &["val", "validation", "test"], train: &["train"] },
        Layout::Shards(&["val", "test"]),
    ],
    classes: Classes::Own,
    geometry: Geometry::Model,
    kind: Kind::Transfer,
    metric: "top-1 of 205 classes, by linear probe or zero-shot",
    official: Official::exactly(205, 20_500).trained_on(2_448_873),
    source: "http://places.csail.mit.edu/downloadData.html (images 256x256, and the lists of the split)",
    notes: &["not Places365, whose classes and images are others"],
};

const LISTS: Own = Own {
    about: "val_places205.csv, train_places205.csv (`path label` a line) and the images",
    marks: &["val_places205.csv|trainvalsplit_places205/val_places205.csv"],
    open,
};

/// Where the images of the lists are found.
const IMAGES: [&str; 4] = ["", "images256", "images", "data/vision/torralba/deeplearning/images256"];

fn open(folder: &Path, part: Part) -> Result<Images, DataError> {
    let name = if part == Part::Test { "val_places205.csv" } else { "train_places205.csv" };
    let lists = [folder.to_owned(), folder.join("trainvalsplit_places205")];
    let place = lists.iter().find(|place| place.join(name).is_file()).unwrap_or(&lists[0]);
    let list = place.join(name);
    let mut files = Vec::new();
    for (file, label) in listed::pairs(&list)? {
        let number = label.parse().ok().filter(|&label| label < 205);
        let number = number.ok_or_else(|| unlike(&list, "labels from 0 to 204", &format!("`{label}` for {file}")))?;
        files.push((file.trim_start_matches('/').to_owned(), number));
    }
    let holds = |root: &PathBuf| files.iter().take(100).any(|(file, _)| root.join(file).is_file());
    let root = IMAGES.iter().map(|below| folder.join(below)).find(holds).unwrap_or_else(|| folder.to_owned());
    let classes = names(place, &files)?;
    Ok(Arc::new(ImageList::open(&root, classes, files)?))
}

/// Names of the classes: those of their list, else the folders of their images, else numbers.
fn names(place: &Path, files: &[(String, usize)]) -> Result<Vec<String>, DataError> {
    let plain = |path: &str| {
        // `/a/abbey` is an abbey; `/a/apartment_building/outdoor` one from outside.
        let path = path.trim_matches('/');
        let name = path.split_once('/').map_or(path, |(_, name)| name);
        name.replace(['_', '/'], " ")
    };
    let mut known: BTreeMap<usize, String> = BTreeMap::new();
    let index = place.join("categoryIndex_places205.csv");
    if index.is_file() {
        for line in listed::lines(&index)? {
            if let Some((path, label)) = line.rsplit_once([' ', ',', '\t'])
                && let Ok(label) = label.trim().parse()
            {
                known.insert(label, plain(path.trim()));
            }
        }
    }
    for (file, label) in files {
        let folder = || file.rsplit_once('/').map_or_else(|| label.to_string(), |(folder, _)| plain(folder));
        known.entry(*label).or_insert_with(folder);
    }
    Ok((0..205).map(|label| known.remove(&label).unwrap_or_else(|| label.to_string())).collect())
}
