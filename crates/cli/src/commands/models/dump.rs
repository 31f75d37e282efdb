//! Dumps: one safetensors file with the weights (`w.KEY`), inputs (`in.x`, `in.ids`) and outputs (`out.NAME`,
//! `out.mid.MODULE`) of a reference model, and in its metadata a `spec` that says which model it is.
//!
//! | spec | model |
//! |---|---|
//! | `timm:NAME` | a model of the registry; input size and number of classes are those of the dump |
//! | `clip:NAME` | open_clip's model of that name |
//! | `vit:img=32,patch=4,dim=192,depth=6,heads=3,...` | a ViT of these sizes, by the keys of [`custom_vit`] |
//! | `resnet18_cifar` | ResNet-18 with a 3x3 stem of stride 1 and no pool |

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use robustify_zoo::resnet::{BlockKind, ResNetConfig};
use robustify_zoo::vit::{Pool, VitConfig};
use robustify_zoo::weights::{self, Checkpoint, Entry, LoadOptions};
use robustify_zoo::{Features, Model, ModelConfig, Pass, Trace, registry};

/// An open dump.
pub struct Dump {
    /// What the model is called.
    pub model: String,
    /// The stored outputs, by name without `out.`.
    pub outputs: BTreeMap<String, Entry>,
    checkpoint: Checkpoint,
    config: ModelConfig,
}

impl Dump {
    /// Opens a file, as a dump of the named model or of the one its metadata names.
    pub fn open(path: &Path, model: Option<&str>) -> anyhow::Result<Self> {
        let checkpoint = Checkpoint::open(path)?;
        let spec = checkpoint.metadata().get("spec").map(String::as_str);
        let spec = model.map(|name| format!("timm:{name}")).or(spec.map(str::to_owned));
        let spec = spec.with_context(|| {
            format!("{}: the metadata has no `spec` that names the model; name it with --model", path.display())
        })?;
        let config = network(&spec, &checkpoint).with_context(|| format!("{}: spec `{spec}`", path.display()))?;
        let names: Vec<String> =
            checkpoint.names().filter(|name| name.starts_with("out.")).map(str::to_owned).collect();
        ensure!(!names.is_empty(), "{}: no tensor is named `out.…`, so there is nothing to compare", path.display());
        let mut outputs = BTreeMap::new();
        for name in names {
            outputs.insert(name["out.".len()..].to_owned(), checkpoint.read(&name)?);
        }
        Ok(Self { model: spec, outputs, checkpoint, config })
    }

    /// Computes the outputs, under the names of the stored ones.
    pub fn run(&self, device: &Device) -> anyhow::Result<BTreeMap<String, Entry>> {
        let options = LoadOptions { from: Some("w"), ..LoadOptions::default() };
        let (model, _) = weights::load_from(Model::blank(&self.config, device)?, &self.checkpoint, options)?;
        let images = images(&self.checkpoint, device)?;
        let trace = Trace::default();
        let logits = model.forward(images, &Pass::eval().with_trace(&trace));
        let mut outputs: BTreeMap<String, Entry> = BTreeMap::new();
        for (name, features) in trace.into_steps() {
            let of_a_module = !["forward_features", "pre_logits"].contains(&name.as_str());
            outputs.insert(if of_a_module { format!("mid.{name}") } else { name }, host(features)?);
        }
        outputs.insert("logits".into(), host(Features::Rows(logits))?);
        Ok(outputs)
    }
}

fn images(checkpoint: &Checkpoint, device: &Device) -> anyhow::Result<Tensor<4>> {
    let entry = checkpoint.read("in.x")?;
    ensure!(entry.shape.len() == 4, "`in.x` has shape {:?}, expected [batch, 3, height, width]", entry.shape);
    Ok(Tensor::from_data(TensorData::new(entry.values, entry.shape), device))
}

fn host(features: Features) -> anyhow::Result<Entry> {
    let shape = features.dims();
    let values = features.flatten().into_data().convert::<f32>().try_to_vec::<f32>();
    Ok(Entry { shape, values: values.map_err(|error| anyhow::anyhow!("{error:?}"))? })
}

/// The network of a spec, for the input and the number of classes that the dump has.
fn network(spec: &str, checkpoint: &Checkpoint) -> anyhow::Result<ModelConfig> {
    let (kind, rest) = spec.split_once(':').unwrap_or((spec, ""));
    let classifier = ["head.weight", "fc.weight", "head.fc.weight"].map(|name| checkpoint.shape(&format!("w.{name}")));
    let classes = classifier.into_iter().flatten().find_map(|shape| shape.first()).copied();
    let side = checkpoint.shape("in.x").and_then(|shape| shape.get(3)).copied().context("there is no `in.x`")?;
    match kind {
        "timm" => {
            let config = (registry::find(rest)?.config)();
            Ok(config.with_image_size(side).with_classes(classes.unwrap_or(0)))
        }
        "vit" => custom_vit(rest).map(ModelConfig::Vit),
        "resnet18_cifar" => Ok(ModelConfig::ResNet(ResNetConfig {
            image_size: side,
            stem_kernel: 3,
            stem_stride: 1,
            max_pool: false,
            classes: classes.unwrap_or(0),
            ..ResNetConfig::imagenet(BlockKind::Basic, [2, 2, 2, 2])
        })),
        _ => bail!(
            "unknown kind `{kind}`; expected timm, clip, vit or resnet18_cifar; --model names a model of `models list`"
        ),
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
