//! ImageNet-V2: new photographs, collected as ImageNet's were, in three selections.

use super::{Classes, Declaration, Geometry, Kind, Layout, Official};

/// The suite that is reported where one stands for all.
pub(super) const MATCHED: Declaration = Declaration {
    name: "imagenet-v2",
    title: "ImageNet-V2, matched frequency",
    about: "10,000 new photographs, matched to ImageNet's by how many annotators chose them (Recht et al. 2019, arXiv:1902.10811)",
    folders: &[
        "imagenetv2-matched-frequency-format-val",
        "imagenetv2-matched-frequency",
        "imagenet-v2/imagenetv2-matched-frequency-format-val",
        "imagenet-v2/imagenetv2-matched-frequency",
        "imagenetv2/imagenetv2-matched-frequency-format-val",
        "imagenetv2/imagenetv2-matched-frequency",
    ],
    layouts: &[Layout::classes(&["", "imagenetv2-matched-frequency-format-val"]), Layout::Shards(&["", "test"])],
    classes: Classes::ImageNet,
    geometry: Geometry::Model,
    kind: Kind::Collected,
    metric: "top-1 of 1,000 classes",
    official: Official::exactly(1_000, 10_000),
    source: "https://huggingface.co/datasets/vaishaal/ImageNetV2 (imagenetv2-matched-frequency.tar.gz)",
    notes: &["its folders are numbers and are sorted as such: sorted as texts, `10` would come before `2`"],
};

/// Photographs that at least seven of ten annotators chose.
pub(super) const THRESHOLD: Declaration = Declaration {
    name: "imagenet-v2-threshold",
    title: "ImageNet-V2, threshold 0.7",
    about: "10,000 new photographs that at least 70 % of the annotators chose (Recht et al. 2019, arXiv:1902.10811)",
    folders: &[
        "imagenetv2-threshold0.7-format-val",
        "imagenetv2-threshold0.7",
        "imagenet-v2/imagenetv2-threshold0.7-format-val",
        "imagenet-v2/imagenetv2-threshold0.7",
        "imagenetv2/imagenetv2-threshold0.7-format-val",
        "imagenetv2/imagenetv2-threshold0.7",
    ],
    layouts: &[Layout::classes(&["", "imagenetv2-threshold0.7-format-val"]), Layout::Shards(&["", "test"])],
    source: "https://huggingface.co/datasets/vaishaal/ImageNetV2 (imagenetv2-threshold0.7.tar.gz)",
    ..MATCHED
};

/// The photographs that most annotators chose.
pub(super) const TOP: Declaration = Declaration {
    name: "imagenet-v2-top-images",
    title: "ImageNet-V2, top images",
    about: "the 10,000 new photographs that most annotators chose (Recht et al. 2019, arXiv:1902.10811)",
    folders: &[
        "imagenetv2-top-images-format-val",
        "imagenetv2-top-images",
        "imagenet-v2/imagenetv2-top-images-format-val",
        "imagenet-v2/imagenetv2-top-images",
        "imagenetv2/imagenetv2-top-images-format-val",
        "imagenetv2/imagenetv2-top-images",
    ],
    layouts: &[Layout::classes(&["", "imagenetv2-top-images-format-val"]), Layout::Shards(&["", "test"])],
    source: "https://huggingface.co/datasets/vaishaal/ImageNetV2 (imagenetv2-top-images.tar.gz)",
    ..MATCHED
};
