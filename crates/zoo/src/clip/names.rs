//! What open_clip, OpenAI and timm call the tensors of CLIP's towers, and the intermediates of a forward.
//!
//! Ours are `visual.*`, `text.*` and `logit_scale`, where `visual` is a ViT under timm's names or CLIP's residual network under
//! open_clip's, and `text` has open_clip's. open_clip (and OpenAI, whose names are the same) writes no `text.` and names its
//! ViT in its own way; timm names the residual network in its own way, as a `ByobNet`. The tables serve
//! [`weights`](crate::weights).

use crate::weights::table::{Change, Pair, changed, numbered, same};
use crate::{Features, Model};

/// A ViT with this in front of its names. Source: open_clip 3.3.0, `transformer.py`.
macro_rules! vit {
    ($prefix:literal, $($more:expr),*) => {
        &[
            changed(concat!($prefix, "cls_token"), concat!($prefix, "class_embedding"), Change::Squeeze(2)),
            changed(concat!($prefix, "pos_embed"), concat!($prefix, "positional_embedding"), Change::Squeeze(1)),
            changed(concat!($prefix, "head.weight"), concat!($prefix, "proj"), Change::Transpose),
            same(concat!($prefix, "patch_embed.proj"), concat!($prefix, "conv1")),
            same(concat!($prefix, "norm_pre"), concat!($prefix, "ln_pre")),
            same(concat!($prefix, "norm"), concat!($prefix, "ln_post")),
            same(concat!($prefix, "blocks.*.norm1"), concat!($prefix, "transformer.resblocks.*.ln_1")),
            same(concat!($prefix, "blocks.*.norm2"), concat!($prefix, "transformer.resblocks.*.ln_2")),
            same(concat!($prefix, "blocks.*.attn.qkv.weight"), concat!($prefix, "transformer.resblocks.*.attn.in_proj_weight")),
            same(concat!($prefix, "blocks.*.attn.qkv.bias"), concat!($prefix, "transformer.resblocks.*.attn.in_proj_bias")),
            same(concat!($prefix, "blocks.*.attn.proj"), concat!($prefix, "transformer.resblocks.*.attn.out_proj")),
            same(concat!($prefix, "blocks.*.mlp.fc1"), concat!($prefix, "transformer.resblocks.*.mlp.c_fc")),
            same(concat!($prefix, "blocks.*.mlp.fc2"), concat!($prefix, "transformer.resblocks.*.mlp.c_proj")),
            $($more),*
        ]
    };
}

const TOKENS: Pair = same("text.token_embedding", "token_embedding");
const POSITIONS: Pair = same("text.positional_embedding", "positional_embedding");
const BLOCKS: Pair = same("text.transformer", "transformer");
const NORM: Pair = same("text.ln_final", "ln_final");
const PROJECTION: Pair = same("text.text_projection", "text_projection");
const SCALE: Pair = changed("logit_scale", "logit_scale", Change::Squeeze(1));

/// An image tower alone, a ViT.
pub(crate) const VIT: &[Pair] = vit!("",);

/// A whole CLIP whose image tower is a ViT.
pub(crate) const CLIP_VIT: &[Pair] = vit!("visual.", TOKENS, POSITIONS, BLOCKS, NORM, PROJECTION, SCALE);

/// A whole CLIP whose image tower is CLIP's residual network.
pub(crate) const CLIP_RESNET: &[Pair] = &[same("visual", "visual"), TOKENS, POSITIONS, BLOCKS, NORM, PROJECTION, SCALE];

/// CLIP's residual network alone, in timm; stages count from 1 here and from 0 there. Source: timm 1.0.31, `byobnet.py`.
pub(crate) const TIMM_RESNET: &[Pair] = &[
    same("conv1", "stem.conv1.conv"),
    same("bn1", "stem.conv1.bn"),
    same("conv2", "stem.conv2.conv"),
    same("bn2", "stem.conv2.bn"),
    same("conv3", "stem.conv3.conv"),
    same("bn3", "stem.conv3.bn"),
    numbered("layer*.*.conv1", "stages.*.*.conv1_1x1.conv", 1, -1),
    numbered("layer*.*.bn1", "stages.*.*.conv1_1x1.bn", 1, -1),
    numbered("layer*.*.conv2", "stages.*.*.conv2_kxk.conv", 1, -1),
    numbered("layer*.*.bn2", "stages.*.*.conv2_kxk.bn", 1, -1),
    numbered("layer*.*.conv3", "stages.*.*.conv3_1x1.conv", 1, -1),
    numbered("layer*.*.bn3", "stages.*.*.conv3_1x1.bn", 1, -1),
    numbered("layer*.*.downsample.0", "stages.*.*.shortcut.conv.conv", 1, -1),
    numbered("layer*.*.downsample.1", "stages.*.*.shortcut.conv.bn", 1, -1),
    same("attnpool.positional_embedding", "head.pos_embed"),
    same("attnpool.q_proj", "head.q"),
    same("attnpool.k_proj", "head.k"),
    same("attnpool.v_proj", "head.v"),
    same("attnpool.c_proj", "head.proj"),
];

/// An intermediate of CLIP's image tower under the name, and in the shape, of open_clip's module; `None` for one that
/// open_clip has no module for. Those of the residual network have these names already.
pub fn open_clip_step(visual: &Model, name: &str, features: Features) -> Option<(String, Features)> {
    let Model::Vit(vit) = visual else { return Some((name.to_owned(), features)) };
    let name = match name {
        "patch_embed" => {
            let Features::Tokens(tokens) = features else { return None };
            let ([rows, _, width], [height, columns]) = (tokens.dims(), vit.config.grid());
            let map = tokens.swap_dims(1, 2).reshape([rows, width, height, columns]);
            return Some(("conv1".into(), Features::Map(map)));
        }
        "norm_pre" => "ln_pre".into(),
        "norm" => "ln_post".into(),
        name => format!("transformer.resblocks.{}", name.strip_prefix("blocks.")?),
    };
    Some((name, features))
}
