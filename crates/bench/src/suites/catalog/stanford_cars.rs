//! Stanford Cars.

use std::path::Path;
use std::sync::Arc;

use robustify_data::{DataError, ImageList, Images, mat};

use super::{Classes, Declaration, Geometry, Kind, Layout, Official, Own, Part, unlike};

/// The suite.
pub(super) const SUITE: Declaration = Declaration {
    name: "stanford-cars",
    title: "Stanford Cars",
    about: "8,041 test images of cars in 196 classes (Krause et al. 2013)",
    folders: &["stanford-cars", "cars", "cars196"],
    layouts: &[
        Layout::Own(&OFFICIAL),
        Layout::Classes {
            test: &["test", "car_data/test", "cars_test"],
            train: &["train", "car_data/train", "cars_train"],
        },
        Layout::Shards(&["test"]),
    ],
    classes: Classes::Own,
    geometry: Geometry::Model,
    kind: Kind::Transfer,
    metric: "top-1 of 196 classes, by linear probe or zero-shot",
    official: Official::exactly(196, 8_041).trained_on(8_144),
    source: "the original site is gone; copies in folders of classes (train/, test/) are read as well",
    notes: &[
        "labels are counted from 1 in the annotations",
        "those of the test images are a file of their own, cars_test_annos_withlabels.mat",
    ],
};

const OFFICIAL: Own = Own {
    about: "cars_train/, cars_test/, devkit/cars_meta.mat, devkit/cars_train_annos.mat, cars_test_annos_withlabels.mat",
    marks: &["devkit/cars_meta.mat", "cars_test_annos_withlabels.mat|devkit/cars_test_annos_withlabels.mat"],
    open,
};

fn open(folder: &Path, part: Part) -> Result<Images, DataError> {
    let meta = folder.join("devkit/cars_meta.mat");
    let names = mat::read(&meta)?.get("class_names").and_then(mat::Value::texts);
    let names = names.ok_or_else(|| unlike(&meta, "`class_names`, a cell array of texts", "no such variable"))?;
    let (images, lists): (_, &[&str]) = match part {
        Part::Test => ("cars_test", &["cars_test_annos_withlabels.mat", "devkit/cars_test_annos_withlabels.mat"]),
        Part::Train => ("cars_train", &["devkit/cars_train_annos.mat"]),
    };
    let list = lists.iter().map(|list| folder.join(list)).find(|list| list.is_file());
    let list = list.unwrap_or_else(|| folder.join(lists[0]));
    let read = mat::read(&list)?;
    let annotations = read.get("annotations");
    let fields = annotations.and_then(|all| all.field("fname").zip(all.field("class")));
    let expected = "`annotations` with `fname` and `class`";
    let (files, labels) =
        fields.ok_or_else(|| unlike(&list, expected, "no such structures; the file without labels?"))?;
    let pair = |(file, label): (&mat::Value, &mat::Value)| {
        let number = label.numbers()?.first().copied()?;
        let label = (number >= 1.0 && number <= names.len() as f64 && number.fract() == 0.0).then_some(number as usize);
        Some((file.text()?.to_owned(), label? - 1))
    };
    let pairs = files.iter().zip(labels).map(pair).collect::<Option<Vec<_>>>();
    let expected = format!("a file and a class from 1 to {} of every image", names.len());
    let pairs = pairs.ok_or_else(|| unlike(&list, &expected, "others"))?;
    Ok(Arc::new(ImageList::open(&folder.join(images), names, pairs)?))
}
