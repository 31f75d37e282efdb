//! ImageNet's validation images.

use super::{Classes, Declaration, Geometry, Kind, Layout, Official};

/// Places of the validation images in ImageNet's folder, as torchvision, timm and others lay them out.
pub(super) const PLACES: &[&str] =
    &["val", "validation", "val_in_folder", "ILSVRC2012_img_val", "ILSVRC/Data/CLS-LOC/val", "Data/CLS-LOC/val", ""];

/// The suite.
pub(super) const SUITE: Declaration = Declaration {
    name: "imagenet",
    title: "ImageNet",
    about: "the 50,000 validation images of ILSVRC 2012 (Russakovsky et al. 2015, arXiv:1409.0575)",
    folders: &["imagenet", "imagenet-1k", "ilsvrc2012", "ilsvrc"],
    layouts: &[Layout::classes(PLACES), Layout::Shards(&["val", "validation", "test", ""])],
    classes: Classes::ImageNet,
    geometry: Geometry::Model,
    kind: Kind::Clean,
    metric: "top-1 of 1,000 classes",
    official: Official::exactly(1_000, 50_000),
    source: "https://image-net.org/challenges/LSVRC/2012 (ILSVRC2012_img_val.tar, sorted into folders by WordNet id)",
    notes: &["for research alone, by ImageNet's terms"],
};
