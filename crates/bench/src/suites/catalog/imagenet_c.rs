//! ImageNet-C and ImageNet-C-bar, as published files and made in memory.

use robustify_augment::{Corruption, Profile};

use super::{Declaration, Geometry, Kind, Layout, Official};

/// As published: 224 px, corrupted and then compressed once more.
pub(super) const ON_DISK: Declaration = Declaration {
    name: "imagenet-c",
    title: "ImageNet-C",
    about: "15 corruptions in five severities, as published (Hendrycks & Dietterich 2019, arXiv:1903.12261)",
    folders: &["imagenet-c"],
    layouts: &[Layout::Cells(&[""])],
    geometry: Geometry::Finished,
    kind: Kind::OnDisk { corruptions: &Corruption::TEST, clean: Some(&super::imagenet::SUITE) },
    metric: "mean accuracy of 75 cells; mCE and relative mCE with AlexNet's errors",
    official: Official::exactly(1_000, 50_000),
    source: "https://zenodo.org/records/2235448 (blur.tar, digital.tar, noise.tar, weather.tar)",
    notes: &[
        "the tars unpack into a folder a group (blur, digital, noise, weather), which may stay",
        "the files were compressed once more after corruption: results differ from those of pixels made in memory",
    ],
    ..super::imagenet::SUITE
};

/// Made in memory from the validation images.
pub(super) const GENERATED: Declaration = Declaration {
    name: "imagenet-c-generated",
    title: "ImageNet-C, generated",
    about: "the same corruptions, made in memory from the validation images at the model's size",
    kind: Kind::Generated { corruptions: &Corruption::TEST, profile: Profile::ImagenetC },
    metric: "mean accuracy of 75 cells; mCE and relative mCE with AlexNet's errors",
    notes: &["not compressed after corruption: results differ from those of the published files"],
    ..super::imagenet::SUITE
};

/// ImageNet-C-bar as files.
pub(super) const BAR: Declaration = Declaration {
    name: "imagenet-c-bar",
    title: "ImageNet-C-bar",
    about: "ten further corruptions in five severities, as files (Mintun et al. 2021, arXiv:2102.11273)",
    folders: &["imagenet-c-bar", "imagenet-cbar"],
    kind: Kind::OnDisk { corruptions: &Corruption::IMAGENET_BAR, clean: Some(&super::imagenet::SUITE) },
    metric: "mean accuracy of its cells",
    source: "https://github.com/facebookresearch/augmentation-corruption (made by its script)",
    notes: &["for corruption error it has no AlexNet constants that everybody shares: accuracies are reported"],
    ..ON_DISK
};

/// ImageNet-C-bar made in memory.
pub(super) const BAR_GENERATED: Declaration = Declaration {
    name: "imagenet-c-bar-generated",
    title: "ImageNet-C-bar, generated",
    about: "the corruptions of ImageNet-C-bar, made in memory from the validation images",
    kind: Kind::Generated { corruptions: &Corruption::IMAGENET_BAR, profile: Profile::ImagenetC },
    metric: "mean accuracy of its cells",
    ..GENERATED
};
