//! ImageNet-Sketch: black and white sketches of ImageNet's classes.

use super::{Classes, Declaration, Geometry, Kind, Layout, Official};

/// The suite.
pub(super) const SUITE: Declaration = Declaration {
    name: "imagenet-sketch",
    title: "ImageNet-Sketch",
    about: "black and white sketches of all 1,000 classes (Wang et al. 2019, arXiv:1905.13549)",
    folders: &["imagenet-sketch", "sketch"],
    layouts: &[Layout::classes(&["", "sketch", "val", "test"]), Layout::Shards(&["", "test"])],
    classes: Classes::ImageNet,
    geometry: Geometry::Model,
    kind: Kind::Collected,
    metric: "top-1 of 1,000 classes",
    official: Official::exactly(1_000, 50_889),
    source: "https://github.com/HaohanWang/ImageNet-Sketch",
    notes: &[
        "50,889 files were published, not the 50,000 that are often written; the pictures' rights are their makers'",
    ],
};
