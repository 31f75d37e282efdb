use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::AttentionLayer;
use crate::swin::windows::Windows;

/// Width of the hidden layer of version 2's network of positions.
pub(super) const POSITION_HIDDEN: usize = 512;
/// What a norm counts for an element.
const NORM_MACS: usize = 5;

/// Which of the two papers a network follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// Norms before attention and MLP, a table of relative position biases.
    V1,
    /// Norms after attention and MLP, cosine attention, position biases computed by a small network.
    V2,
}

/// A Swin Transformer's shape. `depths`, `heads` and `windows` have one number a layer (a stage, in the paper's words).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwinConfig {
    /// Which of the two papers.
    pub version: Version,
    /// Side of the square input in pixels.
    pub image_size: usize,
    /// Side of a patch in pixels.
    #[serde(default = "default_patch_size")]
    pub patch_size: usize,
    /// Channels of the first layer; every further one has twice as many.
    pub width: usize,
    /// Number of blocks.
    pub depths: Vec<usize>,
    /// Attention heads.
    pub heads: Vec<usize>,
    /// Side of an attention window in tokens. A layer with a smaller map has one window, the map.
    pub windows: Vec<usize>,
    /// Version 2: side of the windows that the network of positions was trained with, where it is not `windows`. Relative
    /// positions are measured in windows of that size, so what it learned holds for others. Empty: that of `windows`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pretrained_windows: Vec<usize>,
    /// Hidden width of the MLP over that of the layer.
    #[serde(default = "default_mlp_ratio")]
    pub mlp_ratio: f64,
    /// Version 2: a third norm after every so many blocks of a layer, as the giant has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm_every: Option<usize>,
    /// Version 2: whether all blocks of a layer share one network of positions, as an option of Feature Distillation's students.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(!skip_serializing_if)]
    pub shared_positions: bool,
    /// Version 2: what the weights of a new block's norms begin with. Feature Distillation's students: 1e-5.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(!skip_serializing_if)]
    pub norm_start: f64,
    /// Number of classes; 0 for a network without a classifier, whose output are the pooled features.
    pub classes: usize,
}

fn default_patch_size() -> usize {
    4
}

fn default_mlp_ratio() -> f64 {
    4.0
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// What one layer works on.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerShape {
    pub index: usize,
    pub width: usize,
    pub depth: usize,
    pub heads: usize,
    /// Side of the map in tokens.
    pub grid: usize,
    window: usize,
}

impl LayerShape {
    /// The windows of a block; those of every second block are shifted.
    pub(super) fn windows(&self, block: usize) -> Windows {
        Windows::new(self.grid, self.window, block % 2 == 1)
    }
}

impl SwinConfig {
    /// A network of four layers with windows of one size, for 1000 classes of images of 224 pixels.
    pub fn plain(version: Version, window: usize, width: usize, depths: [usize; 4], heads: [usize; 4]) -> Self {
        Self {
            version,
            image_size: 224,
            patch_size: default_patch_size(),
            width,
            depths: depths.to_vec(),
            heads: heads.to_vec(),
            windows: vec![window; 4],
            pretrained_windows: Vec::new(),
            mlp_ratio: default_mlp_ratio(),
            norm_every: None,
            shared_positions: false,
            norm_start: 0.0,
            classes: 1000,
        }
    }

    /// SwinV2-G as it was pre-trained, three billion parameters (section 3.6 of the second paper, heads of 32 channels). No
    /// weights of it are public, so the registry does not have it; a configuration has its sizes:
    ///
    /// ```toml
    /// [original.network]
    /// architecture = "swin"
    /// version = "v2"
    /// image_size = 192
    /// width = 512
    /// depths = [2, 2, 42, 4]
    /// heads = [16, 32, 64, 128]
    /// windows = [12, 12, 12, 12]
    /// norm_every = 6
    /// classes = 1000
    /// ```
    pub fn giant() -> Self {
        let plain = Self::plain(Version::V2, 12, 512, [2, 2, 42, 4], [16, 32, 64, 128]);
        Self { image_size: 192, norm_every: Some(6), ..plain }
    }

    /// A student of Feature Distillation: version 2 without a classifier, its norms beginning at 1e-5. `shared_positions` is the
    /// reference's option. Source: Wei et al. 2022, arXiv:2205.14141, and SwinTransformer/Feature-Distillation,
    /// `models/swin_transformer_v2.py`.
    pub fn student(window: usize, width: usize, depths: [usize; 4], heads: [usize; 4]) -> Self {
        let plain = Self::plain(Version::V2, window, width, depths, heads);
        Self { norm_start: 1e-5, classes: 0, ..plain }
    }

    /// The same network for another input, its windows scaled with the map, as timm's `set_input_size` does. To keep the
    /// windows, change `image_size` alone.
    #[must_use]
    pub fn resized(&self, image_size: usize) -> Self {
        let (old, new) = (self.image_size / self.patch_size.max(1), image_size / self.patch_size.max(1));
        let windows = self.windows.iter().map(|window| (window * new / old.max(1)).max(1)).collect();
        Self { image_size, windows, ..self.clone() }
    }

    /// Faults of the shape, as sentences; empty when it can be built.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |ok: bool, fault: String| {
            if !ok {
                faults.push(fault);
            }
        };
        let layers = self.depths.len();
        check(layers > 0, "depths names no layer".into());
        for (name, list) in [("heads", &self.heads), ("windows", &self.windows)] {
            check(list.len() == layers, format!("{name} has {} numbers, depths {layers}", list.len()));
        }
        let pretrained = self.pretrained_windows.len();
        check(pretrained == 0 || pretrained == layers, {
            format!("pretrained_windows has {pretrained} numbers, depths {layers}")
        });
        let v2 = self.version == Version::V2;
        check(v2 || (pretrained == 0 && self.norm_every.is_none()), {
            "pretrained_windows and norm_every belong to version v2".into()
        });
        check(v2 || (!self.shared_positions && self.norm_start == 0.0), {
            "shared_positions and norm_start belong to version v2".into()
        });
        check(self.norm_start.is_finite(), format!("norm_start {} is no finite number", self.norm_start));
        let lists = [&self.depths, &self.heads, &self.windows, &self.pretrained_windows];
        let mut numbers = lists.into_iter().flatten().chain([&self.image_size, &self.patch_size, &self.width]);
        check(numbers.all(|&number| number > 0) && self.norm_every != Some(0), {
            "image_size, patch_size, width, norm_every and every depth, head and window are at least 1".into()
        });
        check(self.image_size.is_multiple_of(self.patch_size.max(1)), {
            format!("image_size {} is not a multiple of patch_size {}", self.image_size, self.patch_size)
        });
        check(
            self.mlp_ratio > 0.0 && self.mlp_ratio.is_finite(),
            format!("mlp_ratio {} is not positive", self.mlp_ratio),
        );
        let widths = std::iter::successors(Some(self.width), |width| width.checked_mul(2));
        check(widths.clone().nth(layers.saturating_sub(1)).is_some(), format!("{layers} layers are too many"));
        for (width, &heads) in widths.zip(&self.heads) {
            check(width.is_multiple_of(heads.max(1)), format!("width {width} is not a multiple of heads {heads}"));
        }
        faults
    }

    /// Channels of the last layer, which the classifier reads.
    pub fn features(&self) -> usize {
        self.width << (self.depths.len() - 1)
    }

    /// Multiplications with addition of one image's forward, as fvcore counts them: five for an element of a norm, none for
    /// softmax and activations, attention included.
    pub fn macs(&self) -> u64 {
        self.unit_macs().iter().sum()
    }

    /// The same by units: embedding, every block (the first of a layer with the merging before it), norm and classifier.
    pub(crate) fn unit_macs(&self) -> Vec<u64> {
        let (mut units, mut last) = (Vec::new(), 0);
        for shape in self.layers() {
            let (width, tokens) = (shape.width, shape.grid * shape.grid);
            let mut before = 0;
            if shape.index == 0 {
                units.push(tokens * width * 3 * self.patch_size * self.patch_size + NORM_MACS * tokens * width);
            } else {
                let normed = if self.version == Version::V1 { tokens * 2 * width } else { tokens * width };
                before = tokens * 2 * width * width + NORM_MACS * normed;
            }
            for block in 0..shape.depth {
                let windows = shape.windows(block);
                let padded = windows.count() * windows.area();
                let mut own = padded * (4 * width * width + 2 * windows.area() * width);
                own += tokens * 2 * width * self.hidden(width);
                if self.version == Version::V2 && (block == 0 || !self.shared_positions) {
                    own += windows.positions() * POSITION_HIDDEN * (2 + shape.heads);
                }
                own += NORM_MACS * tokens * width * (2 + usize::from(self.has_third_norm(block)));
                units.push(own + std::mem::take(&mut before));
            }
            last = NORM_MACS * tokens * width;
        }
        units.push(last + self.features() * self.classes);
        units.into_iter().map(|macs| macs as u64).collect()
    }

    /// Scalars in matrices and kernels; tables of positions are left out.
    pub(crate) fn weights(&self) -> f64 {
        let layers = self.layers().map(|shape| {
            let width = shape.width as f64;
            let block = width * (4.0 * width + 2.0 * self.hidden(shape.width) as f64);
            let merge = if shape.index == 0 { 0.0 } else { 2.0 * width * width };
            merge + shape.depth as f64 * block
        });
        let patch = (3 * self.patch_size * self.patch_size) as f64 * self.width as f64;
        patch + layers.sum::<f64>() + self.features() as f64 * self.classes as f64
    }

    /// The layers of attention, see [`ModelConfig::attention`](crate::ModelConfig::attention).
    pub(crate) fn attention(&self) -> Vec<AttentionLayer> {
        let mut layers = Vec::new();
        for shape in self.layers() {
            for block in 0..shape.depth {
                let windows = shape.windows(block);
                layers.push(AttentionLayer {
                    name: format!("layers.{}.blocks.{block}.attn", shape.index),
                    heads: shape.heads,
                    pixels: self.patch_size << shape.index,
                    prefix: 0,
                    window: [windows.side(); 2],
                    places: windows.places(),
                });
            }
        }
        layers
    }

    pub(super) fn hidden(&self, width: usize) -> usize {
        (width as f64 * self.mlp_ratio) as usize
    }

    pub(super) fn has_third_norm(&self, block: usize) -> bool {
        self.norm_every.is_some_and(|every| (block + 1).is_multiple_of(every))
    }

    /// What each layer works on. A map with an odd side is merged as if it had one more row and column.
    pub(super) fn layers(&self) -> impl Iterator<Item = LayerShape> + '_ {
        let mut grid = self.image_size / self.patch_size;
        (0..self.depths.len()).map(move |index| {
            if index > 0 {
                grid = grid.div_ceil(2);
            }
            let (depth, heads, window) = (self.depths[index], self.heads[index], self.windows[index]);
            LayerShape { index, width: self.width << index, depth, heads, grid, window }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_told_at_once() {
        let sound = SwinConfig::plain(Version::V1, 7, 96, [2, 2, 6, 2], [3, 6, 12, 24]);
        assert_eq!(sound.faults(), Vec::<String>::new());
        let faulty = SwinConfig {
            image_size: 225,
            heads: vec![3, 6, 12],
            windows: vec![7, 0, 7, 7],
            pretrained_windows: vec![7; 4],
            width: 97,
            ..sound
        };
        assert_eq!(
            faulty.faults(),
            [
                "heads has 3 numbers, depths 4",
                "pretrained_windows and norm_every belong to version v2",
                "image_size, patch_size, width, norm_every and every depth, head and window are at least 1",
                "image_size 225 is not a multiple of patch_size 4",
                "width 97 is not a multiple of heads 3",
                "width 194 is not a multiple of heads 6",
                "width 388 is not a multiple of heads 12",
            ]
        );
    }

    #[test]
    fn windows_grow_with_the_map() {
        let config = SwinConfig { windows: vec![7, 7, 14, 7], ..SwinConfig::plain(Version::V1, 7, 96, [2; 4], [3; 4]) };
        assert_eq!(config.resized(384).windows, [12, 12, 24, 12]);
        assert_eq!(config.resized(32).windows, [1, 1, 2, 1]);
        assert_eq!(config.resized(224), config);
    }
}
