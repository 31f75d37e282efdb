//! Settings chosen by the sizes of images and model, as a commented TOML file.
//!
//! What is chosen is what the miniatures of this project were tuned to (`configs/fashion-mini.toml`), carried over by sizes: at other
//! sizes nothing here was searched for, so the file says what each line depends on.

use std::path::Path;

use anyhow::Result;
use robustify_augment::Profile;
use robustify_data::Splits;
use robustify_zoo::ModelConfig;
use toml::Value;

use super::{Asked, Model};

/// Bytes that the cached features of all views may take.
const CACHE: usize = 8 << 30;

/// Training images for which the miniatures' number of passes was chosen.
const MINIATURE: usize = 10_000;

/// The whole file.
pub(super) fn of(asked: &Asked, splits: &Splits, model: &Model) -> Result<String> {
    let [images, validation, test] = [&splits.train, &splits.validation, &splits.test].map(|part| part.len());
    let classes = splits.train.classes().len();
    let side = model.network.image_size();
    let data = std::path::absolute(&asked.data)?;
    let (teacher, views) = (teacher(side, images, classes), views(model, images));
    let parts = [
        format!(
            "# For the images in {} and the model {}.\n# Every setting was chosen by sizes alone; `robustify config reference` explains all of \
             them.\n#   robustify train --config FILE\nname = {}\n# Further ones, which train the whole large model: finetune, lp_ft, \
             wise_ft.\nmethods = [\"teacher\", \"ensemble\", \"linear_probe\", \"apt\", \"robustify\"]\nseed = 1\n",
            one_line(&asked.data.display().to_string()),
            one_line(&asked.weights.named),
            quoted(&name(&data, asked, model)),
        ),
        format!(
            "[data]\n# {images} images to train on, {validation} to choose settings on, {test} to report on; {classes} classes.\npath = \
             {}\n",
            quoted(&data.display().to_string())
        ),
        original(asked, model)?,
        teacher,
        views,
        "[split]\n# What each head owns: the last block or stage, and its classifier.\nshared_blocks = 0\nhead_blocks = 1\n".into(),
        tuning(model, images),
        "[select]\n# Monte Carlo passes of the rules that use them.\npasses = 10\n\n[select.rule]\n# The mean of the heads in a single \
         pass; the table has every other rule beside it.\nrule = \"mean\"\ndeterministic = true\n"
            .into(),
        benchmark(side),
    ];
    Ok(parts.join("\n"))
}

/// The run's name: that of the folder and of the model.
fn name(data: &Path, asked: &Asked, model: &Model) -> String {
    let plain = |text: &str| -> String {
        let kept = text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' });
        kept.collect::<String>().trim_matches('-').to_owned()
    };
    let folder = data.file_name().map(|name| plain(&name.to_string_lossy())).unwrap_or_default();
    let file = || Path::new(&asked.weights.named).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let architecture = model.name.as_ref().and_then(|name| name.split('.').next().map(str::to_owned)).or_else(file);
    let name = [folder, plain(&architecture.unwrap_or_default())].join("-");
    let name = name.trim_matches('-');
    if name.is_empty() { "run".to_owned() } else { name.to_owned() }
}

fn original(asked: &Asked, model: &Model) -> Result<String> {
    let weights = match asked.weights.named.contains(':') || asked.weights.path.is_dir() {
        // A name of the hub stays one, so that the file can be used elsewhere.
        true => asked.weights.named.clone(),
        false => std::path::absolute(&asked.weights.path)?.display().to_string(),
    };
    let (side, classes) = (model.network.image_size(), model.network.classes());
    let network = match &model.name {
        Some(name) => format!("network = {{ model = {}, image_size = {side}, classes = {classes} }}\n", quoted(name)),
        None => format!("network = {}\n", inline(&model.network)?),
    };
    let doubt = model.doubt.as_ref().map(|doubt| format!("# {}.\n", one_line(doubt))).unwrap_or_default();
    let from = asked.weights.from.as_ref().map(|key| format!("from = {}\n", quoted(key))).unwrap_or_default();
    Ok(format!(
        "[original]\n# {}.\n{doubt}weights = {}\n{from}preprocess = {}\n# As many classes as the weights have; the data's are matched by name, else a linear \
         probe makes a classifier.\n{network}",
        one_line(&model.about),
        quoted(&weights),
        quoted(&model.preprocess),
    ))
}

/// A small residual network that sees the large model's pixels, shrunk where they are many.
fn teacher(side: usize, images: usize, classes: usize) -> String {
    let own = side.min(64);
    let preprocess =
        if own == side { "normalize(half)".to_owned() } else { format!("resize({own},{own})|normalize(half)") };
    let (width, layers) = if own > 40 { (32, "[1, 1, 1, 1]") } else { (24, "[1, 1, 1]") };
    let (epochs, batch) = (epochs(8, images, 60), (images / 8).clamp(4, 128) & !1);
    format!(
        "[teacher]\n# It sees {own} x {own} pixels.\npreprocess = \"{preprocess}\"\n\n[teacher.network]\narchitecture = \"resnet\"\n\
         image_size = {own}\nstem_kernel = 3\nstem_stride = 2\nwidth = {width}\nlayers = {layers}\nblock = \"basic\"\nclasses = {classes}\n\n\
         [teacher.training]\n# More passes over fewer images.\nepochs = {epochs}\nbatch_size = {batch}\npolicy = \"{POLICY}\"\n\n\
         [teacher.training.optimizer]\nlearning_rate = 3e-3\nweight_decay = 0.05\nwarmup_fraction = 0.1\nclip_norm = 5.0\n"
    )
}

/// What makes teacher and views robust: AugMix and RandConv, none of which is a corruption of the benchmark.
const POLICY: &str = "augmix(severity=3)|rand_conv|rand_conv+augmix(severity=3)";

/// As many passes as see `usual` times the miniatures' images, within reason.
fn epochs(usual: usize, images: usize, most: usize) -> usize {
    (usual * MINIATURE).div_ceil(images.max(1)).clamp(usual.min(4), most)
}

fn views(model: &Model, images: usize) -> String {
    let side = model.network.image_size();
    let geometry = if side <= 64 {
        format!("random_crop({side},{})", (side / 16).max(1))
    } else {
        format!("random_resized_crop({side},0.6,1.0)+hflip")
    };
    let bytes = 2 * features(&model.network);
    // Two clean and four augmented ones where they fit.
    let fit = CACHE / (bytes * images).max(1);
    let (clean, augmented) = match fit {
        6.. => (2, 4),
        3..=5 => (1, fit - 1),
        _ => (1, 1),
    };
    let size = (bytes * images * (clean + augmented)) as f64 / 1e9;
    format!(
        "[views]\n# Of each image, computed once by the frozen backbone and kept: about {size:.1} GB.\nclean = {clean}\naugmented = {augmented}\n\
         clean_view = \"{geometry}\"\npolicy = \"{POLICY}\"\n"
    )
}

/// About how many numbers the frozen backbone gives for a view, when the last block or stage is tuned.
fn features(network: &ModelConfig) -> usize {
    let (side, width) = (network.image_size(), network.feature_width());
    match network {
        ModelConfig::Vit(vit) => (side / vit.patch_size.max(1)).pow(2) * vit.width,
        ModelConfig::Swin(_) => (side / 32).max(1).pow(2) * width,
        ModelConfig::ResNet(_) | ModelConfig::ClipResNet(_) => (side / 16).max(1).pow(2) * width / 2,
    }
}

fn tuning(model: &Model, images: usize) -> String {
    // The miniatures' rate at their width, and less for wider features, whose sums grow with their number.
    let width = model.network.feature_width().max(1);
    let rate = (4e-3 * (128.0 / width as f64).min(1.0) * 1e4).round() / 1e4;
    let (epochs, pairs) = (epochs(4, images, 20), (images / 4).clamp(4, 128));
    format!(
        "[tuning]\nseed = 1\n# More passes over fewer images.\nepochs = {epochs}\n# Pairs of a clean and an augmented view in a batch.\npairs = {pairs}\n\
         dropout = 0.1\nce_weight = 0.1\nkd_weight = 0.9\ntemperature = 1.0\ncombined_teacher = \"matched\"\nhead_weights = [1.0, 1.0, 1.0]\n\
         shared_rate_scale = 0.5\n\n[tuning.optimizer]\n# 4e-3 at a width of 128, less for wider features ({width} here).\nlearning_rate = \
         {rate}\nweight_decay = 0.05\nwarmup_fraction = 0.1\nclip_norm = 1.0\n"
    )
}

fn benchmark(side: usize) -> String {
    // Constants that were made for this size, else those that grow with it.
    let official = [Profile::CifarC, Profile::TinyC, Profile::ImagenetC, Profile::ImagenetC299];
    let profile = official.into_iter().find(|profile| profile.native_side() == Some(side as u32));
    let profile = profile.unwrap_or(Profile::Scaled).name();
    let images = if side <= 64 { 1000 } else { 200 };
    format!(
        "[benchmark]\n# The constants of the corruptions for {side} x {side} pixels.\nprofile = \"{profile}\"\nseverities = [1, 3, 5]\n# Test images \
         under each corruption and severity; 0 for all.\nimages = {images}\nclean_images = 0\n"
    )
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// Text for a comment, which a name with a line break would end.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A network on one line.
fn inline(network: &ModelConfig) -> Result<String> {
    let Value::Table(table) = Value::try_from(network)? else { anyhow::bail!("a network is a table") };
    let pairs: Vec<String> = table.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    Ok(format!("{{ {} }}", pairs.join(", ")))
}
