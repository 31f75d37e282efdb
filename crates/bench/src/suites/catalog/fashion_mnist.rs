//! Fashion-MNIST, and its test images under corruptions.

use robustify_augment::{Corruption, Profile};
use robustify_data::idx::FASHION_MNIST_CLASSES;

use super::{Classes, Declaration, Geometry, Kind, Layout, Official};

/// The test images.
pub(super) const SUITE: Declaration = Declaration {
    name: "fashion-mnist",
    title: "Fashion-MNIST",
    about: "10,000 grey test images of clothes, 28 px, in ten classes (Xiao et al. 2017, arXiv:1708.07747)",
    folders: &["fashion-mnist", "FashionMNIST/raw"],
    layouts: &[Layout::Idx, Layout::classes(&["test"])],
    classes: Classes::Named(&FASHION_MNIST_CLASSES),
    geometry: Geometry::Native,
    kind: Kind::Clean,
    metric: "top-1 of ten classes",
    official: Official::exactly(10, 10_000),
    source: "https://github.com/zalandoresearch/fashion-mnist (the four .gz files)",
    notes: &["MIT licence"],
};

/// Under corruptions, made in memory.
pub(super) const CORRUPTED: Declaration = Declaration {
    name: "fashion-mnist-c-generated",
    title: "Fashion-MNIST-C, generated",
    about: "ImageNet-C's corruptions on the test images, made in memory",
    kind: Kind::Generated { corruptions: &Corruption::TEST, profile: Profile::CifarC },
    metric: "mean accuracy of 75 cells",
    notes: &["CIFAR-10-C's constants at 28 px: not a published benchmark"],
    ..SUITE
};
