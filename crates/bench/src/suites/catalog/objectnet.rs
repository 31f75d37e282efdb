//! ObjectNet: household objects, photographed from unusual sides in unusual rooms; and under corruptions.

use robustify_augment::{Corruption, Profile};

use super::{Classes, Declaration, Geometry, Kind, Layout, Official};

/// The suite.
pub(super) const SUITE: Declaration = Declaration {
    name: "objectnet",
    title: "ObjectNet",
    about: "household objects from unusual sides; the 113 of 313 classes that ImageNet has (Barbu et al. 2019)",
    folders: &["objectnet-1.0", "objectnet"],
    layouts: &[Layout::classes(&["images", "objectnet-1.0/images", ""]), Layout::Shards(&["", "test"])],
    classes: Classes::ObjectNet,
    geometry: Geometry::WithoutBorder(2),
    kind: Kind::Collected,
    metric: "top-1 of the 113 classes that ImageNet has, among their images alone",
    // 18,514 images in the results of imagenet-testbed (Taori et al. 2020), 18,574 in those of CLIP_benchmark.
    official: Official::about(113, 18_574),
    source: "https://objectnet.dev (objectnet-1.0.zip, password objectnetisatestset)",
    notes: &[
        "by its licence it is for testing alone: no model may be trained or tuned on it",
        "the red border of 1 px, which compression smears, is cut off at 2 px",
    ],
};

/// The same under ImageNet-C's corruptions, made in memory.
pub(super) const CORRUPTED: Declaration = Declaration {
    name: "objectnet-c-generated",
    title: "ObjectNet-C, generated",
    about: "ImageNet-C's corruptions on ObjectNet, made in memory: border off, the model's geometry, then the corruption",
    kind: Kind::Generated { corruptions: &Corruption::TEST, profile: Profile::ImagenetC },
    metric: "mean accuracy of 75 cells, among the 113 classes that ImageNet has",
    ..SUITE
};
