use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation};

use super::VitConfig;
use crate::layers::{Conv2d, Init};

/// Patches to tokens: one projection (`proj`, as timm) or a chain of convolutions (`convs`).
#[derive(Module, Debug)]
pub struct PatchEmbed {
    proj: Option<Conv2d>,
    convs: Vec<Conv2d>,
}

impl PatchEmbed {
    pub(super) fn new(config: &VitConfig, init: &mut Init) -> Self {
        let mut inputs = 3;
        let mut convs = Vec::new();
        for conv in &config.stem {
            convs.push(Conv2d::new(init, [inputs, conv.channels], conv.kernel, conv.stride, conv.kernel / 2, true));
            inputs = conv.channels;
        }
        let patch = config.patch_size;
        let proj = convs.is_empty().then(|| Conv2d::new(init, [3, config.width], patch, patch, 0, !config.pre_norm));
        Self { proj, convs }
    }

    /// # Shapes
    /// - images: `[batch, 3, image_size, image_size]`
    /// - output: `[batch, patches, width]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<3> {
        let mut x = images;
        for (index, conv) in self.convs.iter().enumerate() {
            x = if index == 0 { conv.forward(x) } else { conv.forward(activation::relu(x)) };
        }
        if let Some(proj) = &self.proj {
            x = proj.forward(x);
        }
        x.flatten::<3>(2, 3).swap_dims(1, 2)
    }
}

/// Puts the tokens `prefix` (each `[1, count, width]`) before the patches.
///
/// # Shapes
/// - patches: `[batch, patches, width]`
/// - output: `[batch, prefix + patches, width]`
pub(super) fn with_prefix<'a>(patches: Tensor<3>, prefix: impl IntoIterator<Item = &'a Param<Tensor<3>>>) -> Tensor<3> {
    let batch = patches.dims()[0];
    let expand = |tokens: &Param<Tensor<3>>| {
        let [_, count, width] = tokens.dims();
        tokens.val().expand([batch, count, width])
    };
    let mut parts: Vec<Tensor<3>> = prefix.into_iter().map(expand).collect();
    if parts.is_empty() {
        return patches;
    }
    parts.push(patches);
    Tensor::cat(parts, 1)
}
