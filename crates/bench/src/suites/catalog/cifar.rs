//! CIFAR-10 and CIFAR-100, and their corrupted twins as arrays and made in memory.

use robustify_augment::{Corruption, Profile};

use super::{Classes, Declaration, Geometry, Kind, Layout, Official};

/// CIFAR-10's test images.
pub(super) const TEN: Declaration = Declaration {
    name: "cifar-10",
    title: "CIFAR-10",
    about: "10,000 test images of 32 px in ten classes (Krizhevsky 2009)",
    folders: &["cifar-10-batches-bin", "cifar-10", "cifar10"],
    layouts: &[Layout::Cifar(10), Layout::classes(&["test", "val"]), Layout::Shards(&["test", ""])],
    classes: Classes::Named(&CIFAR_10),
    geometry: Geometry::Native,
    kind: Kind::Clean,
    metric: "top-1 of ten classes",
    official: Official::exactly(10, 10_000),
    source: "https://www.cs.toronto.edu/~kriz/cifar.html (the binary version)",
    notes: &["the version for Python is made of pickles, which are not read: fetch the binary one"],
};

/// CIFAR-10-C's arrays.
pub(super) const TEN_C: Declaration = Declaration {
    name: "cifar-10-c",
    title: "CIFAR-10-C",
    about: "15 corruptions in five severities, as published (Hendrycks & Dietterich 2019, arXiv:1903.12261)",
    folders: &["cifar-10-c"],
    layouts: &[Layout::Arrays],
    kind: Kind::OnDisk { corruptions: &Corruption::TEST, clean: Some(&TEN) },
    metric: "mean accuracy of 75 cells",
    source: "https://zenodo.org/records/2535967 (CIFAR-10-C.tar)",
    notes: &["an array holds the five severities one after the other, the same 10,000 images in each"],
    ..TEN
};

/// CIFAR-10-C made in memory.
pub(super) const TEN_C_GENERATED: Declaration = Declaration {
    name: "cifar-10-c-generated",
    title: "CIFAR-10-C, generated",
    about: "the same corruptions, made in memory from the test images at 32 px",
    kind: Kind::Generated { corruptions: &Corruption::TEST, profile: Profile::CifarC },
    metric: "mean accuracy of 75 cells",
    ..TEN
};

/// CIFAR-100's test images.
pub(super) const HUNDRED: Declaration = Declaration {
    name: "cifar-100",
    title: "CIFAR-100",
    about: "10,000 test images of 32 px in a hundred classes (Krizhevsky 2009)",
    folders: &["cifar-100-binary", "cifar-100", "cifar100"],
    layouts: &[Layout::Cifar(100), Layout::classes(&["test", "val"]), Layout::Shards(&["test", ""])],
    classes: Classes::Named(&CIFAR_100),
    metric: "top-1 of a hundred classes",
    official: Official::exactly(100, 10_000),
    ..TEN
};

/// CIFAR-100-C's arrays.
pub(super) const HUNDRED_C: Declaration = Declaration {
    name: "cifar-100-c",
    title: "CIFAR-100-C",
    about: "15 corruptions in five severities, as published (Hendrycks & Dietterich 2019, arXiv:1903.12261)",
    folders: &["cifar-100-c"],
    layouts: &[Layout::Arrays],
    kind: Kind::OnDisk { corruptions: &Corruption::TEST, clean: Some(&HUNDRED) },
    metric: "mean accuracy of 75 cells",
    source: "https://zenodo.org/records/3555552 (CIFAR-100-C.tar)",
    notes: TEN_C.notes,
    ..HUNDRED
};

/// CIFAR-100-C made in memory.
pub(super) const HUNDRED_C_GENERATED: Declaration = Declaration {
    name: "cifar-100-c-generated",
    title: "CIFAR-100-C, generated",
    about: "the same corruptions, made in memory from the test images at 32 px",
    kind: Kind::Generated { corruptions: &Corruption::TEST, profile: Profile::CifarC },
    metric: "mean accuracy of 75 cells",
    ..HUNDRED
};

/// Source: batches.meta.txt of the binary version.
const CIFAR_10: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Source: fine_label_names.txt of the binary version.
#[rustfmt::skip]
const CIFAR_100: [&str; 100] = [
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
    "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
    "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
    "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
    "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
];
