//! Dumps: one safetensors file with the weights (`w.KEY`), inputs (`in.x`, `in.ids`) and outputs (`out.NAME`,
//! `out.mid.MODULE`) of a reference model, and in its metadata a `spec` that says which model it is.
//!
//! | spec | model |
//! |---|---|
//! | `timm:NAME` | a model of the registry; input size and number of classes are those of the dump |
//! | `clip:NAME` | open_clip's model of that name, both towers |
//! | `clip_tiny:vit`, `clip_tiny:rn` | `micro_clip_vit`, `micro_clip_rn` of the registry |
//! | `vit:img=32,patch=4,dim=192,depth=6,heads=3,...` | a ViT of these sizes, by the keys of [`custom_vit`] |
//! | `resnet18_cifar` | ResNet-18 with a 3x3 stem of stride 1 and no pool |

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use robustify_zoo::clip::{self, Clip, ClipConfig};
use robustify_zoo::resnet::{BlockKind, ResNetConfig};
use robustify_zoo::vit::{Pool, VitConfig};
use robustify_zoo::weights::{self, Checkpoint, Entry, LoadOptions, Partial};
use robustify_zoo::{Features, Model, ModelConfig, Pass, Trace, registry};

use super::Network;

/// An open dump.
pub struct Dump {
    /// What the model is called.
    pub model: String,
    /// The stored outputs, by name without `out.`.
    pub outputs: BTreeMap<String, Entry>,
    checkpoint: Checkpoint,
    network: Network,
}

impl Dump {
    /// Opens a file, as a dump of the named model or of the one its metadata names.
    pub fn open(path: &Path, model: Option<&str>, device: &Device) -> anyhow::Result<Self> {
        let checkpoint = Checkpoint::open(path)?;
        let spec = checkpoint.metadata().get("spec").map(String::as_str);
        let spec = model.map(|name| format!("timm:{name}")).or(spec.map(str::to_owned));
        let spec = spec.with_context(|| {
            format!("{}: the metadata has no `spec` that names the model; name it with --model", path.display())
        })?;
        let network =
            Network::of(&spec, &checkpoint, device).with_context(|| format!("{}: spec `{spec}`", path.display()))?;
        let names: Vec<String> =
            checkpoint.names().filter(|name| name.starts_with("out.")).map(str::to_owned).collect();
        ensure!(!names.is_empty(), "{}: no tensor is named `out.…`, so there is nothing to compare", path.display());
        let mut outputs = BTreeMap::new();
        for name in names {
            outputs.insert(name["out.".len()..].to_owned(), checkpoint.read(&name)?);
        }
        Ok(Self { model: spec, outputs, checkpoint, network })
    }

    /// Computes the outputs, under the names of the stored ones.
    pub fn run(&self, device: &Device) -> anyhow::Result<BTreeMap<String, Entry>> {
        match &self.network {
            Network::Image(config) => self.run_image(config, device),
            Network::Clip(config) => self.run_clip(config, device),
        }
    }

    fn run_image(&self, config: &ModelConfig, device: &Device) -> anyhow::Result<BTreeMap<String, Entry>> {
        let (model, _) = weights::load_from(Model::blank(config, device)?, &self.checkpoint, WEIGHTS)?;
        let trace = Trace::default();
        let logits = model.forward(images(&self.checkpoint, device)?, &Pass::eval().with_trace(&trace));
        let mut outputs = BTreeMap::from([("logits".to_owned(), host(Features::Rows(logits))?)]);
        for (name, features) in trace.into_steps() {
            let of_a_module = !["forward_features", "pre_logits"].contains(&name.as_str());
            outputs.insert(if of_a_module { format!("mid.{name}") } else { name }, host(features)?);
        }
        Ok(outputs)
    }

    fn run_clip(&self, config: &ClipConfig, device: &Device) -> anyhow::Result<BTreeMap<String, Entry>> {
        let (clip, _) = weights::load_from(Clip::blank(config, device)?, &self.checkpoint, WEIGHTS)?;
        let trace = Trace::default();
        let image = clip.encode_image(images(&self.checkpoint, device)?, &Pass::eval().with_trace(&trace));
        let text = clip.encode_text(&ids(&self.checkpoint)?)?;
        let logits = clip.logits_per_image(image.clone(), text.clone());
        let scale = clip.logit_scale.val().exp().into_scalar::<f32>();
        let rows = [
            ("image_norm", clip::normalised(image.clone())),
            ("text_norm", clip::normalised(text.clone())),
            ("image_features", image),
            ("text_features", text),
            ("logits_per_image", logits),
        ];
        let mut outputs =
            BTreeMap::from([("logit_scale".to_owned(), Entry { shape: Vec::new(), values: vec![scale] })]);
        for (name, rows) in rows {
            outputs.insert(name.to_owned(), host(Features::Rows(rows))?);
        }
        for (name, features) in trace.into_steps() {
            // Steps under open_clip's names, as its modules shape them.
            if let Some((name, features)) = clip::names::open_clip_step(&clip.visual, &name, features) {
                outputs.insert(format!("mid.{name}"), host(features)?);
            }
        }
        Ok(outputs)
    }
}

const WEIGHTS: LoadOptions<'_> = LoadOptions { from: Some("w"), partial: Partial::Refuse };

fn ids(checkpoint: &Checkpoint) -> anyhow::Result<Vec<Vec<u32>>> {
    let entry = checkpoint.read("in.ids")?;
    ensure!(
        entry.shape.len() == 2 && entry.shape[1] > 0,
        "`in.ids` has shape {:?}, expected [texts, ids]",
        entry.shape
    );
    // Ids are far below 2^24, up to which 32-bit floats hold every whole number.
    Ok(entry.values.chunks(entry.shape[1]).map(|row| row.iter().map(|id| *id as u32).collect()).collect())
}

fn images(checkpoint: &Checkpoint, device: &Device) -> anyhow::Result<Tensor<4>> {
    let entry = checkpoint.read("in.x")?;
    let sound = matches!(entry.shape[..], [batch, 3, height, width] if batch > 0 && height > 0 && height == width);
    ensure!(sound, "`in.x` has shape {:?}, expected [batch, 3, side, side]", entry.shape);
    Ok(Tensor::from_data(TensorData::new(entry.values, entry.shape), device))
}

fn host(features: Features) -> anyhow::Result<Entry> {
    let shape = features.dims();
    let values = features.flatten().into_data().convert::<f32>().try_to_vec::<f32>();
    Ok(Entry { shape, values: values.map_err(|error| anyhow::anyhow!("{error:?}"))? })
}

impl Network {
    /// The network of a spec, for the input and the number of classes that the dump has.
    fn of(spec: &str, checkpoint: &Checkpoint, device: &Device) -> anyhow::Result<Self> {
        let (kind, rest) = spec.split_once(':').unwrap_or((spec, ""));
        let side = checkpoint.shape("in.x").and_then(|shape| shape.get(3)).copied().context("there is no `in.x`")?;
        let image = |config: ModelConfig| -> anyhow::Result<Self> {
            let classes = config.classes_in(checkpoint, WEIGHTS.from, device)?;
            Ok(Self::Image(config.with_image_size(side).with_classes(classes)))
        };
        match kind {
            "timm" => match (registry::find(rest)?, checkpoint.shape("in.ids")) {
                (entry, Some(_)) if entry.text.is_some() => Ok(entry.into()),
                (entry, _) => image((entry.config)()),
            },
            "clip" => Ok(Self::Clip(ClipConfig::named(rest)?)),
            "clip_tiny" => Self::of(&format!("timm:micro_clip_{rest}"), checkpoint, device),
            "vit" => custom_vit(rest).map(ModelConfig::Vit).map(Self::Image),
            "resnet18_cifar" => image(ModelConfig::ResNet(ResNetConfig {
                stem_kernel: 3,
                stem_stride: 1,
                max_pool: false,
                ..ResNetConfig::imagenet(BlockKind::Basic, [2, 2, 2, 2])
            })),
            _ => bail!(
                "unknown kind `{kind}`; expected timm, clip, clip_tiny, vit or resnet18_cifar; --model names a model of \
                 `models list`"
            ),
        }
    }
}

/// A ViT of `key=value` pairs: `img`, `patch`, `dim`, `depth`, `heads`, `classes`, `init_values` (LayerScale), `reg` (registers),
/// `class_token` (0 or 1), `pool` (token or avg).
fn custom_vit(pairs: &str) -> anyhow::Result<VitConfig> {
    let mut config = VitConfig { classes: 10, ..VitConfig::plain(32, 4, 192, 6, 3) };
    for pair in pairs.split(',').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').with_context(|| format!("`{pair}` is not KEY=VALUE"))?;
        let number = || value.parse::<usize>().with_context(|| format!("`{pair}`: not a whole number"));
        match key {
            "img" => config.image_size = number()?,
            "patch" => config.patch_size = number()?,
            "dim" => config.width = number()?,
            "depth" => config.depth = number()?,
            "heads" => config.heads = number()?,
            "classes" => config.classes = number()?,
            "reg" => config.registers = number()?,
            "class_token" => config.class_token = number()? != 0,
            "init_values" => {
                config.layer_scale = Some(value.parse().with_context(|| format!("`{pair}`: not a number"))?)
            }
            "pool" if value == "token" => config.pool = Pool::Cls,
            "pool" if value == "avg" => (config.pool, config.fc_norm) = (Pool::Mean, true),
            _ => bail!("`{pair}` is no setting of a ViT"),
        }
    }
    Ok(config)
}
