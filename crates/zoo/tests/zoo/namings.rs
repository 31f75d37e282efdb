//! Other programs' names: there and back without loss, and only for models that they have.

use std::collections::BTreeSet;
use std::path::Path;

use robustify_zoo::weights::{self, Checkpoint, Existing, Naming, State};
use robustify_zoo::{Model, ModelConfig, ZooError, registry};

use crate::golden;

fn names(path: &Path) -> BTreeSet<String> {
    Checkpoint::open(path).unwrap().names().map(str::to_owned).collect()
}

/// Whose names a model has here.
fn own(config: &ModelConfig) -> Naming {
    if matches!(config, ModelConfig::ClipResNet(_)) { Naming::OpenClip } else { Naming::Timm }
}

fn blank(config: &ModelConfig) -> Model {
    Model::blank(config, &robustify_device::open(Some("flex")).unwrap()).unwrap()
}

#[test]
fn tiny_models_go_there_and_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs, back] = ["ours", "theirs", "back"].map(|name| folder.path().join(name));
    let mut converted = BTreeSet::new();
    for case in golden::all() {
        let model = case.model(&robustify_device::open(Some("flex")).unwrap());
        let state = weights::state(&model);
        std::fs::write(&ours, weights::to_bytes(&state)).unwrap();
        for naming in Naming::ALL {
            match weights::convert(&model, &Checkpoint::open(&ours).unwrap(), None, naming, &theirs, Existing::Goes) {
                Ok(_) => {}
                Err(ZooError::NoNames { .. }) => continue,
                Err(error) => panic!("{} to {naming}: {error}", case.name),
            }
            let named = Checkpoint::open(&theirs).unwrap();
            weights::convert(&blank(&case.config), &named, None, own(&case.config), &back, Existing::Goes).unwrap();
            assert_eq!(weights::read(&back).unwrap(), state, "{} by way of {naming}", case.name);
            assert_eq!(weights::state(&weights::load(blank(&case.config), &theirs).unwrap()), state);
            if names(&theirs) != names(&ours) {
                converted.insert(naming.to_string());
            }
        }
    }
    assert_eq!(
        converted,
        BTreeSet::from(["facebook", "microsoft", "open_clip", "torchvision"].map(str::to_owned)),
        "what was renamed"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "a temporary file was left");
}

#[test]
fn a_conversion_touches_no_file_but_its_result() {
    let case = golden::all().into_iter().find(|case| case.name == "vit_cls").unwrap();
    let bytes = weights::to_bytes(&weights::state(&case.model(&robustify_device::open(Some("flex")).unwrap())));
    let folder = tempfile::tempdir().unwrap();
    let [input, out] = ["weights.tmp", "weights"].map(|name| folder.path().join(name));
    std::fs::write(&input, &bytes).unwrap();
    weights::convert(
        &blank(&case.config),
        &Checkpoint::open(&input).unwrap(),
        None,
        Naming::Timm,
        &out,
        Existing::Goes,
    )
    .unwrap();
    assert!(std::fs::read(&input).unwrap() == bytes, "the input has another name than the result");
    assert_eq!(weights::read(&out).unwrap(), weights::from_bytes(&bytes).unwrap());
    let permissions = |path: &Path| std::fs::metadata(path).unwrap().permissions();
    assert_eq!(permissions(&out), permissions(&input), "the result is as open as any new file");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn element_types_and_counters_of_training_steps_survive() {
    let case = golden::all().into_iter().find(|case| case.name == "resnet_cifar_basic").unwrap();
    let model = case.model(&robustify_device::open(Some("flex")).unwrap());
    let state = weights::state(&model);
    // Every element as a 64-bit float, and a counter, written by hand: no float type but 32 bits is written elsewhere.
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    let mut add = |name: &str, dtype: &str, shape: &[usize], bytes: Vec<u8>| {
        let start = data.len();
        data.extend(bytes);
        header.insert(
            name.into(),
            serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]}),
        );
    };
    for (name, entry) in &state {
        let bytes = entry.values.iter().flat_map(|&value| (f64::from(value) * 1.000_000_001).to_le_bytes()).collect();
        add(name, "F64", &entry.shape, bytes);
    }
    add("bn1.num_batches_tracked", "I64", &[], 77_i64.to_le_bytes().to_vec());
    let header = serde_json::to_vec(&header).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
    std::fs::write(&from, [&(header.len() as u64).to_le_bytes(), header.as_slice(), &data].concat()).unwrap();

    let before = Checkpoint::open(&from).unwrap();
    weights::convert(&blank(&case.config), &before, None, Naming::Torchvision, &to, Existing::Goes).unwrap();
    let after = Checkpoint::open(&to).unwrap();
    assert_eq!(before.names().collect::<Vec<_>>(), after.names().collect::<Vec<_>>());
    for name in before.names() {
        assert_eq!(before.read_raw(name).unwrap(), after.read_raw(name).unwrap(), "{name}");
    }
}

#[test]
fn every_registered_model_keeps_its_names_there_and_back() {
    for entry in registry::entries() {
        let model = blank(&(entry.config)());
        let expected = weights::shapes(&model);
        for naming in Naming::ALL {
            let Some(renamed) = weights::renamed(&expected, naming) else { continue };
            let (found, back) = weights::recognised(&renamed, &expected);
            assert_eq!(back, expected, "{} by way of {naming}, taken for {found}", entry.name());
        }
    }
}

#[test]
fn the_first_vits_of_torchvision_load() {
    let case = golden::all().into_iter().find(|case| case.name == "vit_cls").unwrap();
    let model = case.model(&robustify_device::open(Some("flex")).unwrap());
    let state = weights::state(&model);
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(|name| folder.path().join(name));
    std::fs::write(&ours, weights::to_bytes(&state)).unwrap();
    weights::convert(&model, &Checkpoint::open(&ours).unwrap(), None, Naming::Torchvision, &theirs, Existing::Goes)
        .unwrap();
    let renamed = |name: String| name.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2");
    let former: State =
        weights::read(&theirs).unwrap().into_iter().map(|(name, entry)| (renamed(name), entry)).collect();
    assert!(former.contains_key("encoder.layers.encoder_layer_1.mlp.linear_2.bias"));
    std::fs::write(&theirs, weights::to_bytes(&former)).unwrap();
    assert_eq!(weights::state(&weights::load(blank(&case.config), &theirs).unwrap()), state);
}
