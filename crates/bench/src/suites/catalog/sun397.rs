//! SUN397: scenes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use robustify_data::{DataError, ImageList, Images, listed};

use super::{Classes, Declaration, Geometry, Kind, Layout, Official, Own, Part, numbered, unlike};

/// The suite.
pub(super) const SUITE: Declaration = Declaration {
    name: "sun397",
    title: "SUN397",
    about: "19,850 test images of scenes in 397 classes, the first official partition (Xiao et al. 2010)",
    folders: &["sun397"],
    layouts: &[
        Layout::Own(&OFFICIAL),
        Layout::Classes { test: &["test", "val"], train: &["train"] },
        Layout::Shards(&["test"]),
    ],
    classes: Classes::Own,
    geometry: Geometry::Model,
    kind: Kind::Transfer,
    metric: "top-1 of 397 classes, by linear probe or zero-shot",
    official: Official::exactly(397, 19_850).trained_on(19_850),
    source: "https://vision.princeton.edu/projects/2010/SUN (SUN397.tar.gz, and Partitions.zip for the split)",
    notes: &[
        "the images come without a split: the partitions are files of their own, and without them there is no test set",
    ],
};

const OFFICIAL: Own = Own {
    about: "ClassName.txt, a/abbey/sun_….jpg, and Training_01.txt and Testing_01.txt of Partitions.zip",
    marks: &["ClassName.txt"],
    open,
};

fn open(folder: &Path, part: Part) -> Result<Images, DataError> {
    let name = if part == Part::Test { "Testing_01.txt" } else { "Training_01.txt" };
    let around = folder.parent().unwrap_or(folder);
    let places = [folder.to_owned(), folder.join("Partitions"), around.to_owned(), around.join("Partitions")];
    let list = places.iter().map(|place| place.join(name)).find(|path| path.is_file());
    let list = list.ok_or_else(|| {
        unlike(&folder.join(name), "the first partition", "no such file; unpack Partitions.zip there")
    })?;
    let paths = listed::lines(&folder.join("ClassName.txt"))?;
    let places: HashMap<&str, usize> =
        paths.iter().enumerate().map(|(label, path)| (path.trim_matches('/'), label)).collect();
    let mut files = Vec::new();
    for (number, line) in listed::lines(&list)?.iter().enumerate() {
        let file = line.trim_start_matches('/');
        let label = file.rsplit_once('/').and_then(|(class, _)| places.get(class).copied());
        let label = label
            .ok_or_else(|| numbered(&list, number, "an image of a class of ClassName.txt", &format!("`{line}`")))?;
        files.push((file.to_owned(), label));
    }
    // `/a/apartment_building/outdoor` is an apartment building, outdoor.
    let name = |path: &String| {
        let path = path.trim_matches('/');
        path.split_once('/').map_or(path, |(_, name)| name).replace(['_', '/'], " ")
    };
    let names = paths.iter().map(name).collect();
    Ok(Arc::new(ImageList::open(folder, names, files)?))
}
