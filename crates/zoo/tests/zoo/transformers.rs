//! Folders of Hugging Face transformers (`goldens/transformers`): their networks answer here as they do there.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use robustify_zoo::clip::Clip;
use robustify_zoo::transformers::Network;
use robustify_zoo::weights::{self, Checkpoint, Entry, HubFolder, HubModel, LoadOptions, Naming, State};
use robustify_zoo::{Model, ModelConfig, Pass};

fn flex() -> Device {
    robustify_device::open(Some("flex")).unwrap()
}

fn folder(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/transformers").join(family)
}

fn network(folder: &Path) -> Network {
    match HubFolder::open(folder).unwrap().model {
        HubModel::Transformers(network) => *network,
        other => panic!("{other:?}"),
    }
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_to_vec().unwrap()
}

fn pixels(stored: &State) -> Tensor<4> {
    let Entry { values, shape } = stored["pixels"].clone();
    Tensor::from_data(TensorData::new(values, shape), &flex())
}

fn compare(family: &str, got: &[f32], stored: &Entry) {
    assert_eq!(got.len(), stored.values.len(), "{family}");
    let furthest = got.iter().zip(&stored.values).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
    assert!(furthest < 1e-4, "{family}: off by {furthest}");
}

#[test]
fn image_models_answer_as_they_do_in_transformers() {
    for family in ["vit", "deit", "dinov2", "dinov2_with_registers", "swin", "swinv2", "resnet"] {
        let folder = folder(family);
        let Network::Image(config) = network(&folder) else { panic!("{family} is no image model") };
        // The residual network's configuration says no size of the input.
        let config = if family == "resnet" { config.with_image_size(32) } else { config };
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let config: ModelConfig = config.as_in(&checkpoint, None, &flex()).unwrap();
        assert_eq!(config.classes(), if family.starts_with("dinov2") { 0 } else { 5 }, "{family}");
        let blank = Model::blank(&config, &flex()).unwrap();
        let (model, loaded) = weights::load_from(blank, &checkpoint, LoadOptions::default()).unwrap();
        assert_eq!(loaded.naming, Naming::Transformers);
        let stored = weights::read(&folder.join("expected.safetensors")).unwrap();
        compare(family, &values(model.forward(pixels(&stored), &Pass::eval())), &stored["logits"]);
    }
}

#[test]
fn both_towers_of_clip_answer_as_they_do_in_transformers() {
    let folder = folder("clip");
    let Network::Clip(config) = network(&folder) else { panic!("no CLIP") };
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let blank = Clip::blank(&config, &flex()).unwrap();
    let (clip, _) = weights::load_from(blank, &checkpoint, LoadOptions::default()).unwrap();
    let stored = weights::read(&folder.join("expected.safetensors")).unwrap();
    let ids: Vec<Vec<u32>> =
        stored["ids"].values.chunks(12).map(|ids| ids.iter().map(|&id| id as u32).collect()).collect();
    let image = clip.encode_image(pixels(&stored), &Pass::eval());
    let text = clip.encode_text(&ids).unwrap();
    let unit = |features: Tensor<2>| features.clone() / (features.clone() * features).sum_dim(1).sqrt();
    compare("image", &values(unit(image.clone())), &stored["image"]);
    compare("text", &values(unit(text.clone())), &stored["text"]);
    compare("logits", &values(clip.logits_per_image(image, text)), &stored["logits"]);
    // The image tower alone is found in the whole.
    let tower = config.image.as_in(&checkpoint, None, &flex()).unwrap();
    assert!(weights::load(Model::blank(&tower, &flex()).unwrap(), &folder).is_ok());
}

#[test]
fn weights_in_several_files_are_one() {
    let (from, shards) = (folder("vit"), tempfile::tempdir().unwrap());
    let state = weights::read(&from.join("model.safetensors")).unwrap();
    let half: Vec<&String> = state.keys().take(state.len() / 2).collect();
    let file = |name: &str| {
        if half.contains(&&name.to_owned()) { "a-00001-of-00002.safetensors" } else { "a-00002-of-00002.safetensors" }
    };
    for shard in ["a-00001-of-00002.safetensors", "a-00002-of-00002.safetensors"] {
        let part: State = state
            .iter()
            .filter(|(name, _)| file(name) == shard)
            .map(|(name, entry)| (name.clone(), entry.clone()))
            .collect();
        std::fs::write(shards.path().join(shard), weights::to_bytes(&part)).unwrap();
    }
    let map: serde_json::Map<String, serde_json::Value> =
        state.keys().map(|name| (name.clone(), file(name).into())).collect();
    let index = shards.path().join("model.safetensors.index.json");
    std::fs::write(&index, serde_json::json!({ "weight_map": map }).to_string()).unwrap();
    std::fs::copy(from.join("config.json"), shards.path().join("config.json")).unwrap();
    let checkpoint = Checkpoint::open(shards.path()).unwrap();
    for (name, entry) in &state {
        assert_eq!(&checkpoint.read(name).unwrap(), entry, "{name}");
    }
    std::fs::remove_file(shards.path().join("a-00002-of-00002.safetensors")).unwrap();
    let error = Checkpoint::open(shards.path()).unwrap_err().to_string();
    assert!(error.contains("names a-00002-of-00002.safetensors, which is not there"), "{error}");
    std::fs::write(&index, r#"{"weight_map": {"a": "../../etc/passwd"}}"#).unwrap();
    let error = Checkpoint::open(shards.path()).unwrap_err().to_string();
    assert!(error.contains("not in the same folder"), "{error}");
}
