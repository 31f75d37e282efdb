//! Flowers-102.

use std::path::Path;
use std::sync::Arc;

use robustify_data::{DataError, ImageList, Images, mat};

use super::{Classes, Declaration, Geometry, Kind, Layout, Official, Own, Part, unlike};

/// The suite.
pub(super) const SUITE: Declaration = Declaration {
    name: "flowers-102",
    title: "Flowers-102",
    about: "6,149 test images of flowers in 102 classes (Nilsback & Zisserman 2008)",
    folders: &["flowers-102", "flowers102", "oxford-flowers-102"],
    layouts: &[Layout::Own(&OFFICIAL), Layout::Shards(&["test"])],
    classes: Classes::Own,
    geometry: Geometry::Model,
    kind: Kind::Transfer,
    metric: "top-1 of 102 classes, by linear probe or zero-shot",
    official: Official::exactly(102, 6_149).trained_on(2_040),
    source: "https://www.robots.ox.ac.uk/~vgg/data/flowers/102 (102flowers.tgz, imagelabels.mat, setid.mat)",
    notes: &[
        "labels are counted from 1 in imagelabels.mat",
        "a probe learns from the training and validation images together",
    ],
};

const OFFICIAL: Own = Own {
    about: "jpg/image_00001.jpg, imagelabels.mat, setid.mat",
    marks: &["jpg", "imagelabels.mat", "setid.mat"],
    open,
};

/// Names of the classes, from the first on.
fn names() -> Vec<String> {
    include_str!("flowers.txt").lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

fn open(folder: &Path, part: Part) -> Result<Images, DataError> {
    let (labels_file, sets_file) = (folder.join("imagelabels.mat"), folder.join("setid.mat"));
    let (labels, sets) = (mat::read(&labels_file)?, mat::read(&sets_file)?);
    let whole = |path: &Path, found: Option<&mat::Value>, what: &str| -> Result<Vec<usize>, DataError> {
        let numbers = found.and_then(mat::Value::numbers).ok_or_else(|| unlike(path, what, "no such variable"))?;
        let number = |&number: &f64| (number >= 1.0 && number.fract() == 0.0).then_some(number as usize);
        numbers.iter().map(number).collect::<Option<_>>().ok_or_else(|| unlike(path, what, "numbers below 1"))
    };
    let labels = whole(&labels_file, labels.get("labels"), "`labels`, a number from 1 for every image")?;
    let mut ids = Vec::new();
    for name in if part == Part::Test { &["tstid"][..] } else { &["trnid", "valid"] } {
        ids.extend(whole(&sets_file, sets.get(*name), "`trnid`, `valid` and `tstid`, numbers of images from 1")?);
    }
    let names = names();
    let mut files = Vec::with_capacity(ids.len());
    for id in ids {
        let label = labels.get(id - 1).copied().unwrap_or_default();
        if !(1..=names.len()).contains(&label) {
            let expected = format!("labels from 1 to {}", names.len());
            return Err(unlike(&labels_file, &expected, &format!("{label} for image {id} of {}", labels.len())));
        }
        files.push((format!("image_{id:05}.jpg"), label - 1));
    }
    Ok(Arc::new(ImageList::open(&folder.join("jpg"), names, files)?))
}
