//! `models` of the built program.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use robustify_bench::evaluate;
use robustify_data::{Images, Split, Subset, idx};
use robustify_device::Workers;
use robustify_methods::lab::Towers;
use robustify_methods::lab::texts::ZeroShotConfig;
use robustify_zoo::vit::VitConfig;
use robustify_zoo::weights::{self, Checkpoint, Entry, Existing, Naming, State};
use robustify_zoo::{Model, ModelConfig, Pass, registry};
use serde_json::Value;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_robustify")).arg("models").args(arguments).output().unwrap()
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The message of a run that must fail.
fn failed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A file with the weights of a tiny model, an input and its logits.
fn dump(folder: &Path, name: &str, spec: Option<&str>, change: impl FnOnce(&mut State)) -> PathBuf {
    let device = robustify_device::open(Some("flex")).unwrap();
    let model = Model::new(&(registry::find(name).unwrap().config)(), 7, &device).unwrap();
    let mut state: State = weights::state(&model).into_iter().map(|(key, entry)| (format!("w.{key}"), entry)).collect();
    let values: Vec<f32> = (0..2 * 3 * 32 * 32).map(|index| ((index * 37 % 101) as f32 - 50.0) / 50.0).collect();
    let image = Tensor::from_data(TensorData::new(values.clone(), [2, 3, 32, 32]), &device);
    let logits = model.forward(image, &Pass::eval());
    let shape = logits.dims().to_vec();
    let logits = logits.into_data().try_to_vec::<f32>().unwrap();
    state.insert("in.x".into(), Entry { shape: vec![2, 3, 32, 32], values });
    state.insert("out.logits".into(), Entry { shape, values: logits });
    change(&mut state);
    let path = folder.join(format!("{name}.safetensors"));
    let metadata = spec.map(|spec| HashMap::from([("spec".to_owned(), spec.to_owned())]));
    fs::write(&path, safetensors::serialize(&state, metadata).unwrap()).unwrap();
    path
}

#[test]
fn verify_compares_every_output_and_fails_when_one_is_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = dump(folder.path(), "micro_swin", Some("timm:micro_swin"), |_| {});
    assert!(succeeded(&run(&["verify", path.to_str().unwrap()])).contains("all 1 outputs agree"));

    let path = dump(folder.path(), "micro_swin", None, |state| {
        state.get_mut("out.logits").unwrap().values[3] += 0.5;
        let extra = Entry { shape: vec![1], values: vec![0.0] };
        state.insert("out.mid.nowhere".into(), extra);
    });
    let path = path.to_str().unwrap();
    assert!(failed(&run(&["verify", path])).contains("--model"), "a file that names no model");
    let output = run(&["verify", path, "--model", "micro_swin"]);
    let error = failed(&output);
    assert!(error.contains("1 of 2 outputs are not within 1e-3 relative"), "{error}");
    assert!(error.contains("1 of 2 outputs have another shape here or no counterpart"), "{error}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("nothing to compare with"));
    assert!(failed(&run(&["verify", path, "--model", "micro_vit"])).contains("missing tensor"));

    let path = dump(folder.path(), "micro_swin", Some("timm:micro_swin"), |state| {
        state.get_mut("out.logits").unwrap().shape.reverse();
    });
    let error = failed(&run(&["verify", path.to_str().unwrap()]));
    assert!(error.contains("1 of 1 outputs have another shape") && !error.contains("not within"), "{error}");
}

#[test]
fn a_checkpoint_converted_there_and_back_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(format!("{name}.safetensors")).display().to_string();
    let device = robustify_device::open(Some("flex")).unwrap();
    let model = Model::new(&(registry::find("micro_swin").unwrap().config)(), 7, &device).unwrap();
    fs::write(path("timm"), weights::to_bytes(&weights::state(&model))).unwrap();
    for (from, to, naming) in [("timm", "microsoft", "microsoft"), ("microsoft", "again", "timm")] {
        succeeded(&run(&["convert", &path(from), &path(to), "--to", naming, "--model", "micro_swin"]));
    }
    let [timm, microsoft, again] =
        ["timm", "microsoft", "again"].map(|name| weights::read(Path::new(&path(name))).unwrap());
    assert_eq!(timm, again);
    assert_ne!(timm.keys().collect::<Vec<_>>(), microsoft.keys().collect::<Vec<_>>());
    assert!(
        failed(&run(&["convert", &path("timm"), &path("timm"), "--to", "timm", "--model", "micro_swin"]))
            .contains("never written over")
    );
    assert!(failed(&run(&["convert", &path("timm"), &path("x"), "--to", "timm"])).contains("--model"));
}

#[test]
fn a_conversion_goes_over_no_file_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let device = robustify_device::open(Some("flex")).unwrap();
    let model = Model::new(&(registry::find("micro_swin").unwrap().config)(), 7, &device).unwrap();
    fs::write(path("in.safetensors"), weights::to_bytes(&weights::state(&model))).unwrap();
    let convert = |out: &str, more: &[&str]| {
        let line = ["convert", &path("in.safetensors"), &path(out), "--to", "microsoft", "--model", "micro_swin"];
        run(&[&line, more].concat())
    };
    for named in ["out.pth", "out", "out.safetensors.bak"] {
        let said = failed(&convert(named, &[]));
        assert!(said.contains(&path(named)) && said.contains("the name says otherwise"), "{said}");
    }
    fs::write(path("out.safetensors"), "mine").unwrap();
    let said = failed(&convert("out.safetensors", &[]));
    assert!(said.contains("out.safetensors: is there already") && said.contains("--force"), "{said}");
    assert_eq!(fs::read(path("out.safetensors")).unwrap(), b"mine");
    succeeded(&convert("out.safetensors", &["--force"]));
    assert!(failed(&convert("in.safetensors", &["--force"])).contains("never written over"));
    // What the same command made is no stranger.
    succeeded(&convert("out.safetensors", &[]));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_conversion_says_what_it_took_and_what_keeps_another_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(format!("{name}.safetensors")).display().to_string();
    let device = robustify_device::open(Some("flex")).unwrap();
    let config = (registry::find("micro_vit").unwrap().config)();
    let larger = weights::state(&Model::new(&config.with_image_size(64), 7, &device).unwrap());
    let keys = ["ema", "model", "optimizer"];
    let mut both: State = keys[..2]
        .iter()
        .flat_map(|key| larger.iter().map(move |(name, entry)| (format!("{key}.{name}"), entry.clone())))
        .collect();
    both.insert("optimizer.0.exp_avg".into(), Entry { shape: vec![1], values: vec![0.0] });
    fs::write(path("both"), weights::to_bytes(&both)).unwrap();
    let convert = |from: &[&str]| {
        run(&[&["convert", &path("both"), &path("out"), "--to", "timm", "--model", "micro_vit"], from].concat())
    };
    let output = convert(&[]);
    succeeded(&output);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("are those under model; the file also has ema, which --from takes"), "{said}");
    assert!(said.contains("position embeddings are for 8x8 patches, micro_vit has 4x4"), "{said}");
    assert_eq!(weights::read(Path::new(&path("out"))).unwrap(), larger);
    // A classifier by a name that is not the model's is no part of it.
    let mut wrapped: State = larger.iter().map(|(name, entry)| (format!("backbone.{name}"), entry.clone())).collect();
    wrapped.insert("classifier.weight".into(), Entry { shape: vec![7, 24], values: vec![0.0; 168] });
    fs::write(path("wrapped"), weights::to_bytes(&wrapped)).unwrap();
    let output = run(&["convert", &path("wrapped"), &path("other"), "--to", "timm", "--model", "micro_vit"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("has nothing of these names: classifier.weight"), "{said}");
    let nowhere = path("no/out");
    let output = run(&["convert", &path("both"), &nowhere, "--to", "timm", "--model", "micro_vit"]);
    assert!(failed(&output).contains("make it first"));
    assert!(failed(&convert(&["--from", ""])).contains("the key of a state dict is empty; leave it out"));
    assert!(
        failed(&convert(&["--from", "teacher"])).contains("no tensors under teacher; there are ema, model, optimizer")
    );
}

/// The classes are those of the state dict that is taken, whatever its classifier is called.
#[test]
fn a_conversion_counts_the_classes_of_what_it_takes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(format!("{name}.safetensors")).display().to_string();
    let device = robustify_device::open(Some("flex")).unwrap();
    let convert = |from: &str, to: &str, model: &str| {
        succeeded(&run(&["convert", &path(from), &path(to), "--to", "timm", "--model", model]));
        weights::read(Path::new(&path(to))).unwrap()
    };
    let config = (registry::find("micro_vit").unwrap().config)();
    let taken = weights::state(&Model::new(&config.with_classes(7), 7, &device).unwrap());
    let mut both: State = taken.iter().map(|(name, entry)| (format!("model.{name}"), entry.clone())).collect();
    both.insert("average.head.weight".into(), Entry { shape: vec![3, 24], values: vec![0.0; 72] });
    fs::write(path("both"), weights::to_bytes(&both)).unwrap();
    assert_eq!(convert("both", "taken", "micro_vit"), taken);

    // An image tower of open_clip has its projection where timm has a classifier.
    let ModelConfig::Vit(clip) = (registry::find("micro_vit_clip_quickgelu").unwrap().config)() else {
        panic!("no ViT")
    };
    let tower = ModelConfig::Vit(VitConfig { head_bias: false, classes: 12, ..clip });
    let tower = Model::new(&tower, 7, &device).unwrap();
    let mut timm = weights::state(&tower);
    fs::write(path("tower"), weights::to_bytes(&timm)).unwrap();
    let checkpoint = Checkpoint::open(Path::new(&path("tower"))).unwrap();
    let out = path("open_clip");
    weights::convert(&tower, &checkpoint, None, Naming::OpenClip, Path::new(&out), Existing::Stays).unwrap();
    timm.insert("head.bias".into(), Entry { shape: vec![12], values: vec![0.0; 12] });
    assert_eq!(convert("open_clip", "again", "micro_vit_clip_quickgelu"), timm);
}

#[cfg(not(feature = "hub"))]
#[test]
fn without_the_hub_its_names_say_what_has_it() {
    let error = failed(&run(&["convert", "hf-hub:timm/x", "out.safetensors", "--to", "timm"]));
    assert!(error.contains("hf-hub:timm/x: this program was built without"), "{error}");
    assert!(
        error.contains("cargo xtask SUBCOMMAND --hub") && error.contains("https://huggingface.co/timm/x"),
        "{error}"
    );
}

#[test]
fn models_are_listed_and_shown() {
    let list: Value = serde_json::from_str(&succeeded(&run(&["list", "--json", "--filter", "dinov2,small"]))).unwrap();
    let names: Vec<&str> = list.as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["vit_small_patch14_dinov2.lvd142m", "vit_small_patch14_reg4_dinov2.lvd142m"]);
    let shown: Value = serde_json::from_str(&succeeded(&run(&["show", "resnet50", "--json"]))).unwrap();
    assert_eq!(shown["parameters"], 25_557_032);
    let groups = shown["groups"].as_array().unwrap();
    let sum: u64 = groups.iter().map(|group| group["parameters"].as_u64().unwrap()).sum();
    assert_eq!((groups.len(), sum), (6, 25_557_032), "stem, four stages and the head are the whole");
    let text = succeeded(&run(&["show", "vit_small_patch16_224"]));
    assert!(text.contains("resize(248,bicubic)|center_crop(224)|normalize(half)"), "{text}");
    let squashed = "vit_base_patch16_clip_384.openai_ft_in12k_in1k";
    let text_of_it = succeeded(&run(&["show", squashed]));
    assert!(text_of_it.contains("resize(404,404,bicubic)|center_crop(384)|normalize("), "{text_of_it}");
    let json: Value = serde_json::from_str(&succeeded(&run(&["show", squashed, "--json"]))).unwrap();
    assert_eq!(json["preprocessing"]["crop_mode"], "squash");
    assert!(text.contains("hf-hub:timm/vit_small_patch16_224.augreg_in21k_ft_in1k ("), "{text}");
    assert!(failed(&run(&["show", "resnet51"])).contains("resnet50"));
    let clip = succeeded(&run(&["show", "ViT-B-32"]));
    assert!(clip.contains("features       768, before CLIP's projection to 512\n"), "{clip}");
    assert!(succeeded(&run(&["show", "RN50-quickgelu"])).contains("features       1024\n"));
}

#[test]
fn prompts_become_ids() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prompts.json");
    fs::write(&file, r#"["a photo of a cat", ""]"#).unwrap();
    let rows: Vec<Vec<u32>> = serde_json::from_str(&succeeded(&run(&["tokenize", file.to_str().unwrap()]))).unwrap();
    assert_eq!(rows[0][..8], [49406, 320, 1125, 539, 320, 2368, 49407, 0]);
    assert_eq!((rows[1][..3].to_vec(), rows[1].len()), (vec![49406, 49407, 0], 77));
    for (json, wanted) in [
        (
            r#"["a cat", 2]"#,
            "expected a JSON list of texts, or an object with a list `prompts`: prompt 1, counted from 0, is a number",
        ),
        (r#"{"prompts": [["a cat"]]}"#, "prompt 0, counted from 0, is a list"),
        (r#"{"texts": []}"#, "the object has no `prompts`"),
        (r#""a cat""#, "found a text"),
        ("[", "line 1"),
    ] {
        fs::write(&file, json).unwrap();
        let error = failed(&run(&["tokenize", file.to_str().unwrap()]));
        assert!(error.contains(wanted), "{error}");
    }
}

/// The large model of the main job is what `pretrain` writes with `precision = "f16"`: read and written again, it is the same file.
#[test]
fn sixteen_bit_weights_are_written_as_they_were_read() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/fashion-mnist-mini/resnet.safetensors");
    let bytes = fs::read(&file).unwrap();
    let state = weights::from_bytes(&bytes).unwrap();
    assert!(weights::to_half_bytes(&state) == bytes, "{}", file.display());
}

/// The small CLIP that ships with the project, as `configs/fashion-clip.toml` has it.
fn shipped_clip() -> (Towers, PathBuf) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let config: toml::Table = fs::read_to_string(root.join("configs/fashion-clip.toml")).unwrap().parse().unwrap();
    let network: ModelConfig = config["original"]["network"].clone().try_into().unwrap();
    let (data, device) = (root.join("datasets/fashion-mnist-mini"), robustify_device::open(Some("flex")).unwrap());
    let file = data.join("clip.safetensors");
    (Towers::read(&network, &ZeroShotConfig::default(), &file, None, &device).unwrap(), data)
}

#[test]
fn the_shipped_clip_knows_garments_by_their_names_and_names_a_word_that_it_does_not_know() {
    let (towers, data) = shipped_clip();
    let (device, workers) = (robustify_device::open(Some("flex")).unwrap(), Workers::new(2).unwrap());
    let classes = idx::FASHION_MNIST_CLASSES.map(str::to_owned).to_vec();
    let images: Images = Arc::new(idx::open(&data, Split::Test, Some(classes.clone())).unwrap());
    let some = (0..images.len()).step_by(10).collect();
    let images: Images = Arc::new(Subset::new(images, some).unwrap());
    let set = towers.label_set(&towers.clip, &classes, &workers).unwrap();
    let model = towers.clip.visual.clone().with_texts(Some(&set.texts), &device).unwrap();
    let preprocess = "pad(2,zero)|normalize(half)".parse().unwrap();
    let accuracy = evaluate::accuracy(&model, &images, &preprocess, &workers, &device).unwrap();
    assert!(accuracy > 0.8, "{accuracy} of {} images", images.len());
    let said = format!("{:#}", towers.label_set(&towers.clip, &["Zeppelin".to_owned()], &workers).unwrap_err());
    assert!(said.contains("class `Zeppelin`") && said.contains("the word `Zeppelin`"), "{said}");
}
