//! Oxford-IIIT Pets: breeds of cats and dogs.

use std::path::Path;
use std::sync::Arc;

use robustify_data::{DataError, ImageList, Images, listed};

use super::{Classes, Declaration, Geometry, Kind, Layout, Official, Own, Part, numbered};

/// The suite.
pub(super) const SUITE: Declaration = Declaration {
    name: "pets",
    title: "Oxford-IIIT Pets",
    about: "3,669 test images of 37 breeds of cats and dogs (Parkhi et al. 2012)",
    folders: &["oxford-iiit-pet", "pets", "oxford-pets"],
    layouts: &[
        Layout::Own(&OFFICIAL),
        Layout::Classes { test: &["test", "val"], train: &["train"] },
        Layout::Shards(&["test"]),
    ],
    classes: Classes::Own,
    geometry: Geometry::Model,
    kind: Kind::Transfer,
    metric: "top-1 of 37 classes, by linear probe or zero-shot",
    official: Official::exactly(37, 3_669).trained_on(3_680),
    source: "https://www.robots.ox.ac.uk/~vgg/data/pets (images.tar.gz, annotations.tar.gz)",
    notes: &["CC BY-SA 4.0", "some files that end in .jpg are no JPEGs; what cannot be read is named"],
};

const OFFICIAL: Own = Own {
    about: "images/Abyssinian_1.jpg, annotations/trainval.txt, annotations/test.txt",
    marks: &["images", "annotations/test.txt", "annotations/trainval.txt"],
    open,
};

fn open(folder: &Path, part: Part) -> Result<Images, DataError> {
    let mut names: Vec<String> = Vec::new();
    let mut files = Vec::new();
    // The names of all classes are in the names of files, of which either list has some of each.
    for (name, wanted) in [("trainval.txt", part == Part::Train), ("test.txt", part == Part::Test)] {
        let list = folder.join("annotations").join(name);
        for (number, line) in listed::lines(&list)?.iter().enumerate().filter(|(_, line)| !line.starts_with('#')) {
            let mut fields = line.split_whitespace();
            let file = fields.next().unwrap_or_default();
            let label =
                fields.next().and_then(|label| label.parse::<usize>().ok()).filter(|label| (1..=1_000).contains(label));
            let pair = label.zip(file.rsplit_once('_'));
            let (label, (breed, _)) = pair.ok_or_else(|| {
                numbered(&list, number, "`Breed_1 1 1 1`, classes counted from 1", &format!("`{line}`"))
            })?;
            if names.len() < label {
                names.resize(label, String::new());
            }
            names[label - 1] = breed.replace('_', " ");
            if wanted {
                files.push((format!("{file}.jpg"), label - 1));
            }
        }
    }
    Ok(Arc::new(ImageList::open(&folder.join("images"), names, files)?))
}
