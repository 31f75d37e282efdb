//! What Hugging Face transformers calls the tensors of the models that carry timm's names here.
//!
//! It has a matrix each for queries, keys and values, which are one here, and names the parts of a block in two ways: as its files have
//! them, and as its modules do since version 5. Both are read. Sources: transformers 5.24, `models/vit`, `deit`,
//! `dinov2`, `dinov2_with_registers`, `swin`, `swinv2`, `resnet` and `clip`, `modeling_*.py`, and `conversion_mapping.py`.

use std::collections::BTreeMap;

use super::names::{Pair, Recipe, Recipes, Shapes, changed, numbered, same, separate_registers};
use super::raw::Change;

/// What stands before the names of a network that has a classifier beside it.
const BASES: [&str; 7] = ["vit.", "deit.", "dinov2.", "dinov2_with_registers.", "swin.", "swinv2.", "resnet."];

/// What marks the third of a joint matrix or bias that queries (0), keys (1) or values (2) take.
const THIRD: char = '#';

/// The projection of CLIP's image tower, which has no bias.
pub(super) const PROJECTION: &str = "visual_projection.weight";

/// One family: a name, without its base, that shows it, and what its names are here.
struct Family {
    mark: &'static str,
    pairs: &'static [&'static [Pair]],
}

/// The blocks of a Vision Transformer or of a Swin Transformer, as files name them and as modules do.
macro_rules! blocks {
    ($ours:literal, $theirs:literal, $attention:literal) => {
        &[
            same(concat!($ours, ".norm1"), concat!($theirs, ".layernorm_before")),
            same(concat!($ours, ".norm2"), concat!($theirs, ".layernorm_after")),
            same(concat!($ours, ".norm1"), concat!($theirs, ".norm1")),
            same(concat!($ours, ".norm2"), concat!($theirs, ".norm2")),
            same(concat!($ours, ".attn.qkv#0"), concat!($theirs, ".attention.", $attention, ".query")),
            same(concat!($ours, ".attn.qkv#1"), concat!($theirs, ".attention.", $attention, ".key")),
            same(concat!($ours, ".attn.qkv#2"), concat!($theirs, ".attention.", $attention, ".value")),
            same(concat!($ours, ".attn.proj"), concat!($theirs, ".attention.output.dense")),
            same(concat!($ours, ".attn.qkv#0"), concat!($theirs, ".attention.q_proj")),
            same(concat!($ours, ".attn.qkv#1"), concat!($theirs, ".attention.k_proj")),
            same(concat!($ours, ".attn.qkv#2"), concat!($theirs, ".attention.v_proj")),
            same(concat!($ours, ".attn.proj"), concat!($theirs, ".attention.o_proj")),
            same(concat!($ours, ".mlp.fc1"), concat!($theirs, ".intermediate.dense")),
            same(concat!($ours, ".mlp.fc2"), concat!($theirs, ".output.dense")),
            same(concat!($ours, ".mlp"), concat!($theirs, ".mlp")),
            same(concat!($ours, ".ls1.gamma"), concat!($theirs, ".layer_scale1.lambda1")),
            same(concat!($ours, ".ls2.gamma"), concat!($theirs, ".layer_scale2.lambda1")),
        ]
    };
}

/// A Vision Transformer's ends: ViT, DeiT, DINOv2.
const VIT: &[Pair] = &[
    same("cls_token", "embeddings.cls_token"),
    same("dist_token", "embeddings.distillation_token"),
    same("reg_token", "embeddings.register_tokens"),
    same("mask_token", "embeddings.mask_token"),
    same("pos_embed", "embeddings.position_embeddings"),
    same("patch_embed.proj", "embeddings.patch_embeddings.projection"),
    same("norm", "layernorm"),
    same("head", "classifier"),
    same("head", "cls_classifier"),
    same("head_dist", "distillation_classifier"),
];

/// A Swin Transformer's ends, and the biases of its positions; patches are merged at the end of a layer.
const SWIN: &[Pair] = &[
    same("patch_embed.proj", "embeddings.patch_embeddings.projection"),
    same("patch_embed.norm", "embeddings.norm"),
    same("mask_token", "embeddings.mask_token"),
    numbered("layers.*.downsample", "encoder.layers.*.downsample", 1, -1),
    same("norm", "layernorm"),
    same("head.fc", "classifier"),
];

/// What attention in windows has besides.
const WINDOWS: &[Pair] = &[
    same("layers.*.blocks.*.attn", "encoder.layers.*.blocks.*.attention.relative_position_bias"),
    same("layers.*.blocks.*.attn.cpb_mlp", "encoder.layers.*.blocks.*.attention.self.continuous_position_bias_mlp"),
    same("layers.*.blocks.*.attn", "encoder.layers.*.blocks.*.attention.self"),
];

const RESNET: &[Pair] = &[
    same("conv1", "embedder.embedder.convolution"),
    same("bn1", "embedder.embedder.normalization"),
    numbered("layer*.*.downsample.0", "encoder.stages.*.layers.*.shortcut.convolution", 1, -1),
    numbered("layer*.*.downsample.1", "encoder.stages.*.layers.*.shortcut.normalization", 1, -1),
    numbered("layer*.*.conv1", "encoder.stages.*.layers.*.layer.0.convolution", 1, -1),
    numbered("layer*.*.bn1", "encoder.stages.*.layers.*.layer.0.normalization", 1, -1),
    numbered("layer*.*.conv2", "encoder.stages.*.layers.*.layer.1.convolution", 1, -1),
    numbered("layer*.*.bn2", "encoder.stages.*.layers.*.layer.1.normalization", 1, -1),
    numbered("layer*.*.conv3", "encoder.stages.*.layers.*.layer.2.convolution", 1, -1),
    numbered("layer*.*.bn3", "encoder.stages.*.layers.*.layer.2.normalization", 1, -1),
    same("fc", "classifier.1"),
];

/// Both towers of CLIP. Ours are a ViT under timm's names below `visual.`, and open_clip's text tower below `text.`.
const CLIP: &[Pair] = &[
    changed("visual.cls_token", "vision_model.embeddings.class_embedding", Change::Squeeze(2)),
    changed("visual.pos_embed", "vision_model.embeddings.position_embedding.weight", Change::Squeeze(1)),
    same("visual.patch_embed.proj", "vision_model.embeddings.patch_embedding"),
    same("visual.norm_pre", "vision_model.pre_layrnorm"),
    same("visual.norm", "vision_model.post_layernorm"),
    same("visual.head", "visual_projection"),
    same("visual.blocks.*.norm1", "vision_model.encoder.layers.*.layer_norm1"),
    same("visual.blocks.*.norm2", "vision_model.encoder.layers.*.layer_norm2"),
    same("visual.blocks.*.attn.qkv#0", "vision_model.encoder.layers.*.self_attn.q_proj"),
    same("visual.blocks.*.attn.qkv#1", "vision_model.encoder.layers.*.self_attn.k_proj"),
    same("visual.blocks.*.attn.qkv#2", "vision_model.encoder.layers.*.self_attn.v_proj"),
    same("visual.blocks.*.attn.proj", "vision_model.encoder.layers.*.self_attn.out_proj"),
    same("visual.blocks.*.mlp", "vision_model.encoder.layers.*.mlp"),
    same("text.token_embedding", "text_model.embeddings.token_embedding"),
    same("text.positional_embedding", "text_model.embeddings.position_embedding.weight"),
    same("text.ln_final", "text_model.final_layer_norm"),
    changed("text.text_projection", "text_projection.weight", Change::Transpose),
    same("text.transformer.resblocks.*.ln_1", "text_model.encoder.layers.*.layer_norm1"),
    same("text.transformer.resblocks.*.ln_2", "text_model.encoder.layers.*.layer_norm2"),
    same("text.transformer.resblocks.*.attn.in_proj#0", "text_model.encoder.layers.*.self_attn.q_proj"),
    same("text.transformer.resblocks.*.attn.in_proj#1", "text_model.encoder.layers.*.self_attn.k_proj"),
    same("text.transformer.resblocks.*.attn.in_proj#2", "text_model.encoder.layers.*.self_attn.v_proj"),
    same("text.transformer.resblocks.*.attn.out_proj", "text_model.encoder.layers.*.self_attn.out_proj"),
    same("text.transformer.resblocks.*.mlp.c_fc", "text_model.encoder.layers.*.mlp.fc1"),
    same("text.transformer.resblocks.*.mlp.c_proj", "text_model.encoder.layers.*.mlp.fc2"),
    changed("logit_scale", "logit_scale", Change::Squeeze(1)),
];

/// The families; a mark may be in a later one as well.
const FAMILIES: [Family; 4] = [
    Family {
        mark: "embeddings.cls_token",
        pairs: &[
            VIT,
            blocks!("blocks.*", "encoder.layer.*", "attention"),
            blocks!("blocks.*", "layers.*", "attention"),
        ],
    },
    Family {
        mark: "embeddings.patch_embeddings.projection.weight",
        pairs: &[SWIN, blocks!("layers.*.blocks.*", "encoder.layers.*.blocks.*", "self"), WINDOWS],
    },
    Family { mark: "embedder.embedder.convolution.weight", pairs: &[RESNET] },
    Family { mark: "vision_model.embeddings.class_embedding", pairs: &[CLIP] },
];

/// Recipes for our tensors, if these are names of transformers. `expected` are the shapes of the model.
pub(super) fn import(shapes: &Shapes, expected: &Shapes) -> Option<Recipes> {
    let plain =
        |name: &'_ str| -> String { BASES.iter().find_map(|base| name.strip_prefix(base)).unwrap_or(name).to_owned() };
    let plain: BTreeMap<String, &String> = shapes.keys().map(|name| (plain(name), name)).collect();
    let family = FAMILIES.iter().find(|family| plain.contains_key(family.mark))?;
    let mut recipes = Recipes::new();
    let mut thirds: BTreeMap<String, [Option<String>; 3]> = BTreeMap::new();
    for (plain, &name) in &plain {
        let found =
            family.pairs.iter().copied().flatten().find_map(|pair| Some((pair.ours_of(plain)?, pair.undone()?)));
        let (ours, change) = found.unwrap_or_else(|| (plain.clone(), Change::Keep));
        match third(&ours) {
            Some((joint, index)) => thirds.entry(joint).or_default()[index] = Some(name.clone()),
            None => drop(recipes.insert(ours, Recipe { from: vec![name.clone()], change })),
        }
    }
    join(thirds, expected, &mut recipes);
    separate_registers(expected, &mut recipes);
    Some(recipes)
}

/// The joint tensor that a name is a third of, and which one: `blocks.0.attn.qkv#1.weight` is the second of `blocks.0.attn.qkv.weight`.
/// PyTorch's joint projection has no dot: `in_proj_weight`.
fn third(name: &str) -> Option<(String, usize)> {
    let (before, rest) = name.split_once(THIRD)?;
    let index = usize::from(rest.as_bytes().first()? - b'0');
    let kind = rest.get(2..)?;
    let separator = if before.ends_with("in_proj") { '_' } else { '.' };
    (index < 3).then(|| (format!("{before}{separator}{kind}"), index))
}

/// Queries, keys and values become one tensor. SwinV2 has no bias of keys: that of queries and that of values are tensors of their own here.
fn join(thirds: BTreeMap<String, [Option<String>; 3]>, expected: &Shapes, recipes: &mut Recipes) {
    for (joint, parts) in thirds {
        let attention =
            joint.strip_suffix(".qkv.bias").filter(|attention| expected.contains_key(&format!("{attention}.q_bias")));
        match (attention, parts) {
            (Some(attention), [query, _, value]) => {
                for (part, from) in [("q_bias", query), ("v_bias", value)] {
                    let keep = |from| Recipe { from: vec![from], change: Change::Keep };
                    recipes.extend(from.map(|from| (format!("{attention}.{part}"), keep(from))));
                }
            }
            (None, [Some(query), Some(key), Some(value)]) => {
                recipes.insert(joint, Recipe { from: vec![query, key, value], change: Change::Rows });
            }
            // What is there of it shows up as unexpected.
            (None, parts) => {
                let rest = parts
                    .into_iter()
                    .flatten()
                    .map(|name| (name.clone(), Recipe { from: vec![name], change: Change::Keep }));
                recipes.extend(rest);
            }
        }
    }
}
