//! Checkpoint files as programs write them: values, nesting, prefixes, folders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use robustify_zoo::resize::position_embedding;
use robustify_zoo::swin::{SwinConfig, resize_bias_table};
use robustify_zoo::vit::VitConfig;
use robustify_zoo::weights::{
    self, Checkpoint, Dtype, Entry, HubFolder, HubKind, HubModel, LoadOptions, Naming, Partial, Resized, State,
};
use robustify_zoo::{Model, ModelConfig, ZooError};
use tempfile::NamedTempFile;

use crate::golden;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/checkpoints")
}

fn flex() -> Device {
    robustify_device::open(Some("flex")).unwrap()
}

/// A state under other names, as a file.
fn file(state: &State, rename: impl Fn(&str) -> String) -> NamedTempFile {
    let renamed: State = state.iter().map(|(name, entry)| (rename(name), entry.clone())).collect();
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), weights::to_bytes(&renamed)).unwrap();
    file
}

fn golden_model() -> (ModelConfig, Model, State) {
    let case = golden::all().into_iter().find(|case| case.name == "vit_cls").unwrap();
    let model = case.model(&flex());
    let state = weights::state(&model);
    (case.config, model, state)
}

fn zeroed(entry: &Entry) -> Entry {
    Entry { shape: entry.shape.clone(), values: vec![0.0; entry.values.len()] }
}

fn blank(config: &ModelConfig) -> Model {
    Model::blank(config, &flex()).unwrap()
}

#[test]
fn every_kind_of_file_gives_the_values_that_torch_stored() {
    let expected = weights::read(&folder().join("expected.safetensors")).unwrap();
    assert_eq!(expected.len(), 15);
    for name in ["zip.pth", "legacy.pth"] {
        let checkpoint = Checkpoint::open(&folder().join(name)).unwrap();
        assert!(checkpoint.names().any(|name| name.starts_with("optimizer.")), "{name}: the optimizer went missing");
        for (key, want) in &expected {
            let got = checkpoint.read(&format!("model.{key}")).unwrap();
            assert_eq!(&got, want, "{name}: {key}");
        }
    }
    let script = weights::read(&folder().join("script.pt")).unwrap();
    assert_eq!(script.len(), 7);
    let mut expected = weights::read(&folder().join("expected.script.safetensors")).unwrap();
    expected.retain(|name, _| !name.ends_with("num_batches_tracked"));
    assert_eq!(script, expected);
    let types = weights::read(&folder().join("types.safetensors")).unwrap();
    assert_eq!(types, weights::read(&folder().join("expected.types.safetensors")).unwrap());
}

#[test]
fn what_a_file_has_at_several_places_is_at_all_of_them() {
    let want = State::from([
        ("weight".to_owned(), Entry { shape: vec![2, 3], values: (0..6_u8).map(f32::from).collect() }),
        ("bias".to_owned(), Entry { shape: vec![1], values: vec![-1.0] }),
    ]);
    let places = ["list.0", "best", "model", "deep.er.plain", "ordered", "ordered_again", "listed.1", "listed_again.1"];
    for name in ["twice.pth", "twice_legacy.pth"] {
        let checkpoint = Checkpoint::open(&folder().join(name)).unwrap();
        for (place, (key, want)) in places.iter().flat_map(|place| want.iter().map(move |entry| (place, entry))) {
            assert_eq!(&checkpoint.read(&format!("{place}.{key}")).unwrap(), want, "{name}: {place}.{key}");
        }
        for place in ["listed.0", "listed_again.0"] {
            assert_eq!(checkpoint.read(place).unwrap().values, [7.0], "{name}: {place}");
        }
        assert_eq!(checkpoint.names().count(), 2 * places.len() + 2, "{name}");
    }
}

#[test]
fn a_state_dict_is_found_under_keys_and_prefixes() {
    let (config, _, state) = golden_model();
    for prefix in ["", "state_dict.", "model.", "module.", "teacher.backbone.", "state_dict.module.model.", "visual."] {
        let file = file(&state, |name| format!("{prefix}{name}"));
        let checkpoint = Checkpoint::open(file.path()).unwrap();
        let (model, loaded) = weights::load_from(blank(&config), &checkpoint, LoadOptions::default()).unwrap();
        assert_eq!(weights::state(&model), state, "{prefix}");
        assert_eq!(loaded.tensors, state.len());
        assert!(loaded.faults.is_empty() && loaded.passed_over.is_empty(), "{prefix}: {loaded}");
    }
}

#[test]
fn what_lies_beside_a_state_dict_is_passed_over_and_a_key_chooses_another() {
    let (config, _, state) = golden_model();
    let mut both: State =
        state.iter().map(|(name, entry)| (format!("teacher.backbone.{name}"), entry.clone())).collect();
    both.extend(state.iter().map(|(name, entry)| (format!("student.module.backbone.{name}"), zeroed(entry))));
    both.insert("teacher.head.mlp.0.weight".into(), state["head.weight"].clone());
    let file = file(&both, str::to_owned);
    let checkpoint = Checkpoint::open(file.path()).unwrap();

    let (model, loaded) = weights::load_from(blank(&config), &checkpoint, LoadOptions::default()).unwrap();
    assert_eq!(weights::state(&model), state);
    assert_eq!(loaded.prefix, "teacher.backbone.");
    assert_eq!(loaded.passed_over.len(), state.len() + 1);
    let shown = loaded.to_string();
    assert!(
        shown.contains("under teacher.backbone (the file also has student)")
            && shown.contains("1 passed over (is outside of the backbone)"),
        "{shown}"
    );

    let options = LoadOptions { from: Some("student"), ..LoadOptions::default() };
    let (model, _) = weights::load_from(blank(&config), &checkpoint, options).unwrap();
    assert!(weights::state(&model).values().all(|entry| entry.values.iter().all(|&value| value == 0.0)));

    let options = LoadOptions { from: Some("ema"), ..LoadOptions::default() };
    let error = weights::load_from(blank(&config), &checkpoint, options).unwrap_err().to_string();
    assert!(error.contains("no tensors under ema") && error.contains("student, teacher"), "{error}");
}

#[test]
fn an_average_of_a_model_loads_with_its_counter_beside_it() {
    let (config, _, state) = golden_model();
    // `{"model": sd, "model_ema": AveragedModel(model).state_dict()}`, as torchvision's references save them.
    let mut both: State = state.iter().map(|(name, entry)| (format!("model.{name}"), zeroed(entry))).collect();
    both.extend(state.iter().map(|(name, entry)| (format!("model_ema.module.{name}"), entry.clone())));
    both.insert("model_ema.n_averaged".into(), Entry { shape: vec![], values: vec![3.0] });
    let file = file(&both, str::to_owned);
    let checkpoint = Checkpoint::open(file.path()).unwrap();
    let (model, loaded) = weights::load_from(blank(&config), &checkpoint, LoadOptions::default()).unwrap();
    assert_eq!(weights::state(&model), state);
    assert_eq!((&*loaded.prefix, loaded.others.as_slice()), ("model_ema.module.", &["model".to_owned()][..]));
    let counter = ("model_ema.n_averaged".to_owned(), "counts steps of training".to_owned());
    assert!(loaded.passed_over.contains(&counter), "{loaded}");
}

#[test]
fn a_classifier_beside_its_backbone_is_loaded() {
    let (config, _, state) = golden_model();
    let beside = |name: &str| {
        let module = if name.starts_with("head.") { "" } else { "backbone." };
        format!("state_dict.{module}{name}")
    };
    let with_head = file(&state, beside);
    let checkpoint = Checkpoint::open(with_head.path()).unwrap();
    let (model, loaded) = weights::load_from(blank(&config), &checkpoint, LoadOptions::default()).unwrap();
    assert_eq!(weights::state(&model), state);
    assert!(loaded.passed_over.is_empty(), "{loaded}");
    assert_eq!(weights::classes(&checkpoint, &weights::shapes(&blank(&config)), None).unwrap(), 10);

    // Of a model without a classifier it is passed over, and one inside of the backbone comes first.
    let features = blank(&config.with_classes(0));
    let (_, loaded) = weights::load_from(features, &checkpoint, LoadOptions::default()).unwrap();
    assert_eq!(loaded.passed_over.len(), 2, "{loaded}");
    let mut twice: State = state.iter().map(|(name, entry)| (format!("backbone.{name}"), entry.clone())).collect();
    twice.insert("head.weight".into(), zeroed(&state["head.weight"]));
    let twice = file(&twice, str::to_owned);
    assert_eq!(weights::state(&weights::load(blank(&config), twice.path()).unwrap()), state);
}

#[test]
fn the_only_state_dict_that_fits_is_taken_wherever_it_lies() {
    let (config, _, state) = golden_model();
    let under = |prefix: &str, of: &State| -> State {
        of.iter().map(|(name, entry)| (format!("{prefix}.{name}"), entry.clone())).collect()
    };
    let load = |parts: &State| {
        let file = file(parts, str::to_owned);
        let checkpoint = Checkpoint::open(file.path()).unwrap();
        let classes = weights::classes(&checkpoint, &weights::shapes(&blank(&config.with_classes(3))), None);
        let loaded = weights::load_from(blank(&config), &checkpoint, LoadOptions::default());
        (loaded.map(|(model, loaded)| (weights::state(&model), loaded.prefix)), classes)
    };
    // Lightning's, with the weight of a loss beside the network; DINOv2's, whose teacher is an average of its student.
    let mut lightning = under("state_dict.model", &state);
    lightning.insert("state_dict.criterion.weight".into(), zeroed(&state["head.bias"]));
    let mut dino =
        under("model.student.backbone", &state.iter().map(|(name, entry)| (name.clone(), zeroed(entry))).collect());
    dino.extend(under("model.teacher.backbone", &state));
    dino.insert("model.teacher.dino_head.last_layer.weight_g".into(), zeroed(&state["head.bias"]));
    for (parts, prefix) in
        [(lightning, "state_dict.model."), (dino, "model.teacher.backbone."), (under("best.net", &state), "best.net.")]
    {
        let (loaded, classes) = load(&parts);
        assert_eq!(loaded.unwrap(), (state.clone(), prefix.to_owned()));
        assert_eq!(classes.unwrap(), 10, "{prefix}");
    }
    // Where two fit and neither comes first, the message has the option for each.
    let mut twins = under("cv.fold1", &state);
    twins.extend(under("cv.fold2", &state));
    let error = load(&twins).0.unwrap_err().to_string();
    assert!(error.contains("--from cv.fold1 or --from cv.fold2"), "{error}");
}

#[test]
fn chunks_of_blocks_are_no_level_of_a_network() {
    let (config, _, state) = golden_model();
    let chunked = |name: &str| match name.strip_prefix("blocks.") {
        Some(rest) => format!("model.teacher.backbone.blocks.{}.{rest}", if rest.starts_with('0') { 0 } else { 1 }),
        None => format!("model.teacher.backbone.{name}"),
    };
    let file = file(&state, chunked);
    assert_eq!(weights::state(&weights::load(blank(&config), file.path()).unwrap()), state);
}

#[test]
fn a_mean_pool_is_seen_in_the_file() {
    let (config, _, state) = golden_model();
    let file = file(&state, |name| match name.strip_prefix("norm.") {
        Some(rest) => format!("fc_norm.{rest}"),
        None => name.to_owned(),
    });
    let checkpoint = Checkpoint::open(file.path()).unwrap();
    let error = weights::load(blank(&config), file.path()).unwrap_err().to_string();
    assert!(error.contains("pool = \"mean\" and fc_norm = true"), "{error}");
    let found = config.with_classes(3).as_in(&checkpoint, None, &flex()).unwrap();
    let (model, _) = weights::load_from(blank(&found), &checkpoint, LoadOptions::default()).unwrap();
    assert_eq!(weights::state(&model)["fc_norm.weight"], state["norm.weight"]);
    assert_eq!(found.classes(), 10);
}

#[test]
fn a_refusal_says_what_the_file_has_instead_and_how_another_part_is_taken() {
    let (config, _, mut state) = golden_model();
    state.remove("blocks.0.norm1.weight");
    let mut parts: State = state.iter().map(|(name, entry)| (format!("best.net.{name}"), entry.clone())).collect();
    parts.insert("steps.0".into(), zeroed(&state["head.bias"]));
    let refused = |parts: &State| {
        let file = file(parts, str::to_owned);
        weights::load(blank(&config), file.path()).unwrap_err().to_string()
    };
    let way_out = "\n  `robustify models convert --from KEY` takes the state dict under one of them";
    let error = refused(&parts);
    let has = "\n  its tensors begin with best, steps, such as best.net.blocks.0.attn.proj.bias";
    assert!(error.contains(&format!("{has}{way_out}")), "{error}");
    parts.insert("model.generator.weight".into(), zeroed(&state["head.weight"]));
    let error = refused(&parts);
    let has =
        "\n  its tensors under model begin with generator, such as generator.weight\n  the file also has best, steps";
    assert!(error.contains(&format!("{has}{way_out}")), "{error}");
}

#[test]
fn a_checkpoint_that_does_not_fit_is_loaded_in_part_only_when_asked() {
    let (config, _, state) = golden_model();
    let ModelConfig::Vit(vit) = config else { panic!("a ViT is expected") };
    let other = ModelConfig::Vit(VitConfig { classes: 3, ..vit });
    let file = file(&state, str::to_owned);
    let checkpoint = Checkpoint::open(file.path()).unwrap();
    let error = weights::load_from(blank(&other), &checkpoint, LoadOptions::default()).unwrap_err();
    let ZooError::Mismatch { faults, .. } = &error else { panic!("{error}") };
    assert_eq!(
        faults,
        &[
            "tensor head.bias has shape [10], the model needs [3]",
            "tensor head.weight has shape [10, 24], the model needs [3, 24]"
        ]
    );

    let fresh = Model::new(&other, 5, &flex()).unwrap();
    let before = weights::state(&fresh);
    let options = LoadOptions { partial: Partial::Allow, ..LoadOptions::default() };
    let (model, loaded) = weights::load_from(fresh, &checkpoint, options).unwrap();
    assert_eq!((loaded.tensors, loaded.faults.len()), (state.len() - 2, 2));
    let after = weights::state(&model);
    for (name, entry) in &after {
        let source = if name.starts_with("head.") { &before } else { &state };
        assert_eq!(entry, &source[name], "{name}");
    }
}

#[test]
fn tables_of_position_biases_are_fitted_to_another_window() {
    let case = golden::all().into_iter().find(|case| case.name == "swin_shifted").unwrap();
    let state = weights::state(&case.model(&flex()));
    let ModelConfig::Swin(swin) = case.config else { panic!("a Swin is expected") };
    let file = file(&state, str::to_owned);
    let other = ModelConfig::Swin(SwinConfig { windows: vec![2; swin.windows.len()], ..swin });
    let checkpoint = Checkpoint::open(file.path()).unwrap();
    let (model, loaded) = weights::load_from(blank(&other), &checkpoint, LoadOptions::default()).unwrap();
    let shown = "relative position biases fitted to the size of the input, from 4x4 windows to 2x2";
    assert!(loaded.resized.len() == 1 && loaded.to_string().ends_with(shown), "{loaded}");
    for (name, entry) in weights::state(&model) {
        let source = &state[&name];
        if loaded.resized[0].names.contains(&name) {
            let resized = resize_bias_table(&source.values, [source.shape[0], source.shape[1]], 9).unwrap();
            assert_eq!((entry.shape, entry.values), (vec![9, source.shape[1]], resized), "{name}");
        } else {
            assert_eq!(&entry, source, "{name}");
        }
    }
}

#[test]
fn position_embeddings_are_fitted_to_another_size_of_the_input() {
    let mut prefixes = BTreeSet::new();
    for case in golden::all() {
        let ModelConfig::Vit(vit) = &case.config else { continue };
        let state = weights::state(&case.model(&flex()));
        let file = file(&state, str::to_owned);
        for image_size in [vit.image_size * 2, vit.image_size / 2] {
            let other = ModelConfig::Vit(VitConfig { image_size, ..vit.clone() });
            let checkpoint = Checkpoint::open(file.path()).unwrap();
            let (model, loaded) = weights::load_from(blank(&other), &checkpoint, LoadOptions::default()).unwrap();
            let (old, new) = (vit.grid(), [image_size / vit.patch_size; 2]);
            let positions = &state["pos_embed"].values;
            let want = position_embedding(positions, old, new, vit.width, vit.embedded_prefix()).unwrap();
            let resized = Resized {
                names: vec!["pos_embed".into()],
                what: "position embeddings",
                unit: "patches",
                from: old[0],
                to: new[0],
            };
            assert_eq!(loaded.resized, [resized], "{}", case.name);
            assert_eq!(weights::state(&model)["pos_embed"].values, want, "{}", case.name);
            prefixes.insert(vit.embedded_prefix());
        }
    }
    assert!(prefixes.len() >= 3, "only prefixes {prefixes:?} were met");
}

#[test]
fn dinov2_with_registers_loads_as_its_authors_publish_it() {
    let case = golden::all().into_iter().find(|case| case.name == "vit_registers").unwrap();
    let ModelConfig::Vit(vit) = case.config else { panic!("a ViT is expected") };
    let config = ModelConfig::Vit(VitConfig { no_embed_class: true, ..vit });
    let mut ours = weights::state(&Model::new(&config, 3, &flex()).unwrap());
    // Sums of these are exact.
    for (index, value) in ours.get_mut("cls_token").unwrap().values.iter_mut().enumerate() {
        *value = index as f32;
    }
    let mut theirs = ours.clone();
    theirs.insert("register_tokens".into(), ours["reg_token"].clone());
    theirs.remove("reg_token");
    theirs.insert(
        "mask_token".into(),
        Entry { shape: vec![1, ours["cls_token"].shape[2]], values: vec![0.0; ours["cls_token"].shape[2]] },
    );
    let positions = theirs.get_mut("pos_embed").unwrap();
    let width = positions.shape[2];
    positions.shape[1] += 1;
    positions.values.splice(0..0, (0..width).map(|index| 0.5 * index as f32));
    theirs.get_mut("cls_token").unwrap().values.iter_mut().for_each(|value| *value *= 0.5);
    let file = file(&theirs, str::to_owned);
    let (model, loaded) =
        weights::load_from(blank(&config), &Checkpoint::open(file.path()).unwrap(), LoadOptions::default()).unwrap();
    assert_eq!(weights::state(&model), ours);
    assert_eq!(loaded.naming, Naming::Facebook);
    assert_eq!(loaded.passed_over.len(), 1, "{loaded}");
}

#[test]
fn a_checkpoint_of_another_architecture_is_recognised() {
    let (_, _, state) = golden_model();
    let case = golden::all().into_iter().find(|case| case.name == "resnet_cifar_basic").unwrap();
    let file = file(&state, str::to_owned);
    let error = weights::load(blank(&case.config), file.path()).unwrap_err();
    let ZooError::Mismatch { faults, .. } = &error else { panic!("{error}") };
    assert!(faults.len() <= 22, "a list of {} faults is not short", faults.len());
    assert!(error.to_string().contains("this looks like a checkpoint of a ViT with 2 blocks, 24 channels"), "{error}");
}

#[test]
fn files_that_are_no_checkpoints_are_told_apart() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (
            b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.",
            "a pickle that PyTorch did not write",
        ),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"something else entirely", "neither safetensors nor a PyTorch checkpoint"),
    ];
    for (bytes, want) in cases {
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let error = Checkpoint::open(file.path()).unwrap_err().to_string();
        assert!(error.contains(want) && error.contains(&*file.path().to_string_lossy()), "{error}");
    }
}

#[test]
fn a_folder_of_the_hub_names_its_model_and_its_weights() {
    let (config, _, state) = golden_model();
    let folder = tempfile::tempdir().unwrap();
    let error = HubFolder::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");

    let timm =
        r#"{"architecture": "vit_tiny_patch16_224", "num_classes": 10, "pretrained_cfg": {"tag": "augreg_in21k"}}"#;
    std::fs::write(folder.path().join("config.json"), timm).unwrap();
    let error = HubFolder::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("model.safetensors, pytorch_model.bin"), "{error}");
    std::fs::write(folder.path().join("model.safetensors"), weights::to_bytes(&state)).unwrap();
    let hub = HubFolder::open(folder.path()).unwrap();
    assert_eq!(hub.model, HubModel::Timm { name: "vit_tiny_patch16_224.augreg_in21k".into(), classes: 10 });
    assert_eq!(weights::state(&weights::load(blank(&config), folder.path()).unwrap()), state);

    std::fs::write(folder.path().join("config.json"), r#"{"model_type": "bert"}"#).unwrap();
    let error = HubFolder::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("`bert` is not among the models here"), "{error}");

    let open_clip = r#"{"model_cfg": {"embed_dim": 32}, "preprocess_cfg": {}}"#;
    std::fs::write(folder.path().join("open_clip_config.json"), open_clip).unwrap();
    std::fs::write(folder.path().join("config.json"), timm).unwrap();
    std::fs::write(folder.path().join("open_clip_model.safetensors"), weights::to_bytes(&state)).unwrap();
    let clip = HubModel::OpenClip(serde_json::json!({"embed_dim": 32}));
    for (kind, weights, model) in [
        (HubKind::Any, "open_clip_model.safetensors", &clip),
        (HubKind::Clip, "open_clip_model.safetensors", &clip),
        (HubKind::Image, "model.safetensors", &hub.model),
    ] {
        let found = HubFolder::open_as(folder.path(), kind).unwrap();
        assert_eq!((found.weights, &found.model), (folder.path().join(weights), model));
    }
    std::fs::remove_file(folder.path().join("open_clip_config.json")).unwrap();
    let error = HubFolder::open_as(folder.path(), HubKind::Clip).unwrap_err().to_string();
    assert!(error.contains("open_clip_config.json"), "{error}");
}

/// The state as a safetensors file in which one tensor has other bytes of another type.
fn with_tensor(state: &State, name: &str, dtype: Dtype, shape: Vec<usize>, bytes: &[u8]) -> NamedTempFile {
    use safetensors::tensor::TensorView;
    let own: BTreeMap<&str, Vec<u8>> = state
        .iter()
        .map(|(name, entry)| (name.as_str(), entry.values.iter().flat_map(|value| value.to_le_bytes()).collect()))
        .collect();
    let mut views: BTreeMap<&str, TensorView<'_>> = state
        .iter()
        .map(|(name, entry)| {
            (name.as_str(), TensorView::new(Dtype::F32, entry.shape.clone(), &own[name.as_str()]).unwrap())
        })
        .collect();
    views.insert(name, TensorView::new(dtype, shape, bytes).unwrap());
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), safetensors::serialize(views, None).unwrap()).unwrap();
    file
}

#[test]
fn weights_that_are_no_finite_numbers_are_refused_by_name_and_place() {
    let (config, _, state) = golden_model();
    let refusal = |file: &NamedTempFile| {
        let error = weights::load(blank(&config), file.path()).unwrap_err();
        assert!(matches!(&error, ZooError::Weights { tensor, .. } if tensor == "head.bias"), "{error}");
        assert!(error.to_string().starts_with(&file.path().display().to_string()), "{error}");
        error.to_string()
    };
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut broken = state.clone();
        let bias = broken.get_mut("head.bias").unwrap();
        (bias.values[3], bias.values[8]) = (value, value);
        let said = refusal(&file(&broken, str::to_owned));
        let what = format!("2 of its 10 values are no finite numbers, the first is {value} at index 3");
        assert!(said.contains(&what), "{said}");
        let faults = weights::with_state(blank(&config), broken).unwrap_err();
        assert!(
            matches!(&faults[..], [fault] if fault.contains("head.bias") && fault.contains("index 3")),
            "{faults:?}"
        );
    }
    // Numbers that 32-bit floats have no place for, and 16-bit ones that say so themselves.
    let large: Vec<u8> = [1e300_f64; 10].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert!(
        refusal(&with_tensor(&state, "head.bias", Dtype::F64, vec![10], &large)).contains("first is inf at index 0")
    );
    let half: Vec<u8> = [0_u16, 0x7c00].iter().cycle().take(10).flat_map(|value| value.to_le_bytes()).collect();
    assert!(
        refusal(&with_tensor(&state, "head.bias", Dtype::F16, vec![10], &half)).contains("first is inf at index 1")
    );
}

#[test]
fn integers_are_no_weights_but_counters_may_be() {
    let (config, _, state) = golden_model();
    for (dtype, size) in [(Dtype::I8, 1), (Dtype::U8, 1), (Dtype::BOOL, 1), (Dtype::I32, 4), (Dtype::I64, 8)] {
        let file = with_tensor(&state, "head.weight", dtype, vec![10, 24], &vec![1; 240 * size]);
        let said = weights::load(blank(&config), file.path()).unwrap_err().to_string();
        let what = format!("tensor head.weight: its elements are of type {dtype:?}, floats are expected");
        assert!(said.contains(&what) && said.contains("quantised"), "{said}");
    }
    let case = golden::all().into_iter().find(|case| case.name == "resnet_cifar_basic").unwrap();
    let state = weights::state(&case.model(&flex()));
    let counted = with_tensor(&state, "bn1.num_batches_tracked", Dtype::I64, vec![], &7_i64.to_le_bytes());
    assert_eq!(weights::state(&weights::load(blank(&case.config), counted.path()).unwrap()), state);
}
