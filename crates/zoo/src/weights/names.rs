//! What other programs call the tensors that carry timm's names here, as tables of name patterns.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::raw::Change;
use super::transformers;
use crate::clip::names as clip;
use Change::Keep;

/// Dimensions of tensors by name.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// Whose names a checkpoint carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// timm's, which are ours; ResNets of torchvision, MAE, DINO and DeiT are named the same.
    Timm,
    /// torchvision's, of its ViTs and Swins.
    Torchvision,
    /// Microsoft's own Swins, and timm's before 0.9: patches are merged at the end of a layer.
    Microsoft,
    /// DeiT-III and DINOv2 as their authors publish them.
    Facebook,
    /// open_clip's and OpenAI's, of a whole CLIP or of its image tower.
    OpenClip,
    /// Hugging Face transformers', which are read and not written.
    Transformers,
}

impl Naming {
    /// All that can be written.
    pub const ALL: [Self; 5] = [Self::Timm, Self::Torchvision, Self::Microsoft, Self::Facebook, Self::OpenClip];
}

impl fmt::Display for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timm => "timm",
            Self::Torchvision => "torchvision",
            Self::Microsoft => "microsoft",
            Self::Facebook => "facebook",
            Self::OpenClip => "open_clip",
            Self::Transformers => "transformers",
        })
    }
}

impl FromStr for Naming {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|naming| naming.to_string() == name);
        found.ok_or_else(|| {
            format!("unknown naming `{name}`; known are {}", Self::ALL.map(|naming| naming.to_string()).join(", "))
        })
    }
}

/// How one tensor is made of tensors of another naming.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Names in the other naming.
    pub from: Vec<String>,
    /// What is done to them.
    pub change: Change,
}

impl Recipe {
    /// The dimensions of what is made out of tensors with these; `None` when some are missing or do not suit.
    pub(super) fn shape(&self, shapes: &Shapes) -> Option<Vec<usize>> {
        let from: Option<Vec<&[usize]>> = self.from.iter().map(|name| shapes.get(name).map(Vec::as_slice)).collect();
        self.change.shape(&from?)
    }
}

/// Tensors of one naming, made of those of another.
pub type Recipes = BTreeMap<String, Recipe>;

/// One line of a table: a part of the name up to a dot or the end. `*` stands for a number.
pub(crate) struct Pair {
    ours: &'static str,
    theirs: &'static str,
    /// Their first number is `factor` times ours plus `shift`.
    factor: usize,
    shift: isize,
    /// What makes their tensor of ours.
    change: Change,
}

struct Scheme {
    naming: Naming,
    /// A name that shows it: all of them are in a checkpoint of this naming.
    marks: &'static [&'static str],
    /// A name that shows a model of ours that the table is for.
    model: &'static str,
    pairs: &'static [Pair],
    /// Names that older versions of the other program gave; they are read and never written.
    former: &'static [Pair],
}

pub(crate) const fn same(ours: &'static str, theirs: &'static str) -> Pair {
    Pair { ours, theirs, factor: 1, shift: 0, change: Keep }
}

pub(crate) const fn numbered(ours: &'static str, theirs: &'static str, factor: usize, shift: isize) -> Pair {
    Pair { ours, theirs, factor, shift, change: Keep }
}

/// `change` makes their tensor of ours, and can be undone.
pub(crate) const fn changed(ours: &'static str, theirs: &'static str, change: Change) -> Pair {
    Pair { ours, theirs, factor: 1, shift: 0, change }
}

const SCHEMES: &[Scheme] = &[
    // Source: torchvision 0.24, `models/vision_transformer.py`; its MLPs were named differently before version 2.
    Scheme {
        naming: Naming::Torchvision,
        marks: &["conv_proj.weight", "encoder.ln.weight"],
        model: "blocks.0.attn.qkv.weight",
        pairs: &[
            same("cls_token", "class_token"),
            same("pos_embed", "encoder.pos_embedding"),
            same("patch_embed.proj", "conv_proj"),
            same("blocks.*.norm1", "encoder.layers.encoder_layer_*.ln_1"),
            same("blocks.*.attn.qkv.weight", "encoder.layers.encoder_layer_*.self_attention.in_proj_weight"),
            same("blocks.*.attn.qkv.bias", "encoder.layers.encoder_layer_*.self_attention.in_proj_bias"),
            same("blocks.*.attn.proj", "encoder.layers.encoder_layer_*.self_attention.out_proj"),
            same("blocks.*.norm2", "encoder.layers.encoder_layer_*.ln_2"),
            same("blocks.*.mlp.fc1", "encoder.layers.encoder_layer_*.mlp.0"),
            same("blocks.*.mlp.fc2", "encoder.layers.encoder_layer_*.mlp.3"),
            same("norm", "encoder.ln"),
            same("head", "heads.head"),
        ],
        former: &[
            same("blocks.*.mlp.fc1", "encoder.layers.encoder_layer_*.mlp.linear_1"),
            same("blocks.*.mlp.fc2", "encoder.layers.encoder_layer_*.mlp.linear_2"),
        ],
    },
    // Source: torchvision 0.24, `models/swin_transformer.py`; `features` are patch embedding, layer, merging, layer, ...
    Scheme {
        naming: Naming::Torchvision,
        marks: &["features.0.0.weight", "features.1.0.attn.qkv.weight"],
        model: "layers.0.blocks.0.attn.qkv.weight",
        pairs: &[
            same("patch_embed.proj", "features.0.0"),
            same("patch_embed.norm", "features.0.2"),
            numbered("layers.*.blocks.*.mlp.fc1", "features.*.*.mlp.0", 2, 1),
            numbered("layers.*.blocks.*.mlp.fc2", "features.*.*.mlp.3", 2, 1),
            numbered("layers.*.blocks.*", "features.*.*", 2, 1),
            numbered("layers.*.downsample", "features.*", 2, 0),
            same("head.fc", "head"),
        ],
        former: &[],
    },
    // Source: Swin-Transformer's `models/swin_transformer.py` and `swin_transformer_v2.py`.
    Scheme {
        naming: Naming::Microsoft,
        marks: &["layers.0.downsample.reduction.weight"],
        model: "layers.0.blocks.0.attn.qkv.weight",
        pairs: &[numbered("layers.*.downsample", "layers.*.downsample", 1, -1), same("head.fc", "head")],
        // As Feature Distillation's `models/swin_transformer_v2.py` has them, in every block or once for a layer.
        former: &[
            same("layers.*.blocks.*.attn.cpb_mlp", "layers.*.blocks.*.attn.rpe_mlp"),
            same("layers.*.rel_pos_bias.cpb_mlp", "layers.*.rel_pos_bias.rpe_mlp"),
        ],
    },
    // Source: deit's `models_v2.py`.
    Scheme {
        naming: Naming::Facebook,
        marks: &["blocks.0.gamma_1"],
        model: "blocks.0.ls1.gamma",
        pairs: &[same("blocks.*.ls1.gamma", "blocks.*.gamma_1"), same("blocks.*.ls2.gamma", "blocks.*.gamma_2")],
        former: &[],
    },
    // Source: dinov2's `models/vision_transformer.py`; see `separate_registers`.
    Scheme {
        naming: Naming::Facebook,
        marks: &["register_tokens", "blocks.0.ls1.gamma"],
        model: "reg_token",
        pairs: &[same("reg_token", "register_tokens")],
        former: &[],
    },
    Scheme {
        naming: Naming::OpenClip,
        marks: &["visual.class_embedding", "visual.proj"],
        model: "visual.cls_token",
        pairs: clip::CLIP_VIT,
        former: &[],
    },
    Scheme {
        naming: Naming::OpenClip,
        marks: &["visual.attnpool.positional_embedding"],
        model: "visual.attnpool.positional_embedding",
        pairs: clip::CLIP_RESNET,
        former: &[],
    },
    Scheme {
        naming: Naming::OpenClip,
        marks: &["class_embedding", "ln_pre.weight", "proj"],
        model: "norm_pre.weight",
        pairs: clip::VIT,
        former: &[],
    },
    Scheme {
        naming: Naming::Timm,
        marks: &["stem.conv1.conv.weight", "head.pos_embed"],
        model: CLIP_RESNET,
        pairs: clip::TIMM_RESNET,
        former: &[],
    },
];

/// A name that shows CLIP's residual network, the one image encoder that has open_clip's names here.
const CLIP_RESNET: &str = "attnpool.positional_embedding";

/// Whose names a model of ours carries.
pub(super) fn own(expected: &Shapes) -> Naming {
    if expected.contains_key(CLIP_RESNET) { Naming::OpenClip } else { Naming::Timm }
}

/// Recipes for tensors that carry our names already.
pub(super) fn as_is(shapes: &Shapes) -> Recipes {
    shapes.keys().map(|name| keep(name)).collect()
}

fn keep(name: &str) -> (String, Recipe) {
    (name.to_owned(), Recipe { from: vec![name.to_owned()], change: Keep })
}

/// Recipes for our tensors out of those of a checkpoint, and whose names they are. `expected` are the shapes of the model.
pub(super) fn import(shapes: &Shapes, expected: &Shapes) -> (Naming, Recipes) {
    if let Some(mut recipes) = transformers::import(shapes, expected) {
        add_head_bias(expected, &mut recipes);
        return (Naming::Transformers, recipes);
    }
    // Names that a model has itself are not those of others: BEiT's scales are named as DeiT-III's.
    let is_ours = |scheme: &Scheme| {
        scheme.marks.iter().all(|mark| expected.contains_key(*mark)) && !expected.contains_key(scheme.model)
    };
    let is_carried = |scheme: &&Scheme| scheme.marks.iter().all(|mark| shapes.contains_key(*mark)) && !is_ours(scheme);
    let scheme = SCHEMES.iter().find(is_carried);
    let mut recipes = Recipes::new();
    for name in shapes.keys() {
        let pairs = scheme.iter().flat_map(|scheme| scheme.pairs.iter().chain(scheme.former));
        let renamed = pairs.into_iter().find_map(|pair| Some((pair.ours_of(name)?, pair.change.inverse()?)));
        let (ours, change) = renamed.unwrap_or_else(|| (name.clone(), Keep));
        recipes.insert(ours, Recipe { from: vec![name.clone()], change });
    }
    if shapes.contains_key("register_tokens") {
        separate_registers(expected, &mut recipes);
    }
    split_biases(expected, &mut recipes);
    unflatten_patches(shapes, &mut recipes);
    add_head_bias(expected, &mut recipes);
    (scheme.map_or(Naming::Timm, |scheme| scheme.naming), recipes)
}

/// Recipes for the tensors of another naming out of ours; `None` when it has no names for such a model.
pub(super) fn export(naming: Naming, expected: &Shapes) -> Option<Recipes> {
    let is_resnet = expected.contains_key("layer1.0.conv1.weight") && expected.contains_key("conv1.weight");
    let own = own(expected);
    let is_whole_clip = expected.contains_key("logit_scale");
    if (naming == own && !is_whole_clip) || (naming == Naming::Torchvision && is_resnet && own == Naming::Timm) {
        return Some(expected.keys().map(|name| keep(name)).collect());
    }
    // Registers are added to a token on the way in, which cannot be undone.
    let usable = |scheme: &&Scheme| {
        scheme.naming == naming && expected.contains_key(scheme.model) && scheme.model != "reg_token"
    };
    let scheme = SCHEMES.iter().find(usable)?;
    let mut recipes = Recipes::new();
    for name in expected.keys() {
        if naming == Naming::Torchvision && name.ends_with(".v_bias") {
            continue;
        }
        let theirs =
            |name: &str| scheme.pairs.iter().find_map(|pair| Some((pair.theirs_of(name)?, pair.change.clone())));
        let recipe = match name.strip_suffix(".q_bias") {
            Some(attention) if naming == Naming::Torchvision => {
                let from = vec![name.clone(), format!("{attention}.v_bias")];
                (theirs(&format!("{attention}.qkv.bias"))?.0, Recipe { from, change: Change::AroundZeros })
            }
            _ => match theirs(name) {
                Some((theirs, change)) => (theirs, Recipe { from: vec![name.clone()], change }),
                None if naming == Naming::Torchvision && !name.starts_with("norm.") => return None,
                None if matches!(naming, Naming::OpenClip | Naming::Timm) => return None,
                None => keep(name),
            },
        };
        recipes.insert(recipe.0, recipe.1);
    }
    Some(recipes)
}

/// The names and dimensions that another program gives the tensors of a model with these; `None` when it has none for it.
pub fn renamed(shapes: &Shapes, naming: Naming) -> Option<Shapes> {
    let recipes = export(naming, shapes)?;
    recipes.into_iter().map(|(name, recipe)| Some((name, recipe.shape(shapes)?))).collect()
}

/// Our names and dimensions of the tensors of a checkpoint with these, and whose names those are.
pub fn recognised(shapes: &Shapes, model: &Shapes) -> (Naming, Shapes) {
    let (naming, recipes) = import(shapes, model);
    let made = recipes.into_iter().filter_map(|(name, recipe)| Some((name, recipe.shape(shapes)?)));
    (naming, made.collect())
}

/// DINOv2 adds a position to the class token and none to the registers; timm has that sum as the class token.
pub(super) fn separate_registers(expected: &Shapes, recipes: &mut Recipes) {
    if !expected.contains_key("reg_token") {
        return;
    }
    let from = |name: &str| recipes.get(name).and_then(|recipe| recipe.from.first().cloned());
    let (Some(token), Some(positions)) = (from("cls_token"), from("pos_embed")) else { return };
    recipes
        .insert("cls_token".into(), Recipe { from: vec![token, positions.clone()], change: Change::AddFirstPosition });
    recipes.insert("pos_embed".into(), Recipe { from: vec![positions], change: Change::DropFirstPosition });
}

/// torchvision's SwinV2 has one bias of query, key and value, and zeroes that of the key whenever it runs.
fn split_biases(expected: &Shapes, recipes: &mut Recipes) {
    for ours in expected.keys() {
        let Some(attention) = ours.strip_suffix(".q_bias") else { continue };
        let Some(joint) = recipes.remove(&format!("{attention}.qkv.bias")) else { continue };
        for (name, third) in [("q_bias", 0), ("v_bias", 2)] {
            let recipe = Recipe { from: joint.from.clone(), change: Change::Third(third) };
            recipes.insert(format!("{attention}.{name}"), recipe);
        }
    }
}

/// timm's ViTs of CLIP may have a bias in the last layer, where CLIP has none.
fn add_head_bias(expected: &Shapes, recipes: &mut Recipes) {
    for prefix in ["", "visual."] {
        let (weight, bias) = (format!("{prefix}head.weight"), format!("{prefix}head.bias"));
        let zeros = match recipes.get(&weight) {
            Some(Recipe { change: Change::Transpose, .. }) => Change::ZeroForColumn,
            Some(Recipe { from, change: Keep }) if from[0] == transformers::PROJECTION => Change::ZeroForRow,
            _ => continue,
        };
        if expected.contains_key(&bias) || expected.contains_key("head.bias") {
            let from = recipes[&weight].from.clone();
            recipes.insert(bias, Recipe { from, change: zeros });
        }
    }
}

/// The first ViTs in PyTorch had a linear map where others have a convolution.
fn unflatten_patches(shapes: &Shapes, recipes: &mut Recipes) {
    if let Some(recipe) = recipes.get_mut("patch_embed.proj.weight")
        && shapes[&recipe.from[0]].len() == 2
    {
        recipe.change = Change::Unflatten;
    }
}

impl Pair {
    /// What makes our tensor of theirs.
    pub(super) fn undone(&self) -> Option<Change> {
        self.change.inverse()
    }

    pub(super) fn ours_of(&self, theirs: &str) -> Option<String> {
        let (mut numbers, rest) = captures(self.theirs, theirs)?;
        if let Some(first) = numbers.first_mut() {
            let unshifted = first.checked_add_signed(-self.shift)?;
            *first = unshifted.is_multiple_of(self.factor).then(|| unshifted / self.factor)?;
        }
        Some(filled(self.ours, &numbers) + rest)
    }

    fn theirs_of(&self, ours: &str) -> Option<String> {
        let (mut numbers, rest) = captures(self.ours, ours)?;
        if let Some(first) = numbers.first_mut() {
            *first = (*first * self.factor).checked_add_signed(self.shift)?;
        }
        Some(filled(self.theirs, &numbers) + rest)
    }
}

/// The numbers in a name that begins with a pattern, and what follows it.
fn captures<'a>(pattern: &str, name: &'a str) -> Option<(Vec<usize>, &'a str)> {
    let (mut rest, mut numbers) = (name, Vec::new());
    for (index, literal) in pattern.split('*').enumerate() {
        if index > 0 {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            if digits > 4 || (digits > 1 && rest.starts_with('0')) {
                return None;
            }
            numbers.push(rest[..digits].parse().ok()?);
            rest = &rest[digits..];
        }
        rest = rest.strip_prefix(literal)?;
    }
    (rest.is_empty() || rest.starts_with('.')).then_some((numbers, rest))
}

fn filled(pattern: &str, numbers: &[usize]) -> String {
    let mut numbers = numbers.iter();
    let parts = pattern.split('*').enumerate().map(|(index, literal)| match index {
        0 => literal.to_owned(),
        _ => numbers.next().map_or_else(String::new, usize::to_string) + literal,
    });
    parts.collect()
}

/// Tensors that no model needs, by the last parts or the first part of their names, and why.
const PASSED_OVER: &[(&str, &str)] = &[
    ("num_batches_tracked", "counts steps of training"),
    ("n_averaged", "counts steps of training"),
    ("relative_position_index", "follows from the window"),
    ("relative_coords_table", "follows from the window"),
    ("attn_mask", "follows from the window or the length of the text"),
    ("mask_token", "stands for masked patches in pre-training"),
    ("decoder_embed", "belongs to the decoder of pre-training"),
    ("decoder_pos_embed", "belongs to the decoder of pre-training"),
    ("decoder_blocks", "belongs to the decoder of pre-training"),
    ("decoder_norm", "belongs to the decoder of pre-training"),
    ("decoder_pred", "belongs to the decoder of pre-training"),
    ("head.mlp", "belongs to the projection head of pre-training"),
    ("head.last_layer", "belongs to the projection head of pre-training"),
    ("dino_head", "belongs to the projection head of pre-training"),
    ("ibot_head", "belongs to the projection head of pre-training"),
    ("logit_bias", "shifts all logits alike"),
    ("pooler", "belongs to a pooler that no classifier reads"),
    ("position_ids", "follows from the number of positions"),
    ("context_length", "is a number of the configuration"),
    ("input_resolution", "is a number of the configuration"),
    ("vocab_size", "is a number of the configuration"),
];

/// Why a tensor that the model does not have may be passed over; `None` when it may not.
pub fn passed_over(name: &str) -> Option<&'static str> {
    let fits = |part: &str| {
        name.strip_suffix(part).is_some_and(|before| before.is_empty() || before.ends_with('.'))
            || name.strip_prefix(part).is_some_and(|rest| rest.starts_with('.'))
    };
    PASSED_OVER.iter().find(|(part, _)| fits(part)).map(|(_, why)| *why)
}
