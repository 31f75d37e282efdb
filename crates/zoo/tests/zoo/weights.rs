//! Weights in and out: what is written comes back, and what does not fit is refused with all its faults.

use crate::golden;
use robustify_zoo::weights::{self, Entry};
use robustify_zoo::{Model, ZooError};

#[test]
fn weights_survive_a_round_trip_through_a_file() {
    let device = robustify_device::open(Some("flex")).unwrap();
    for case in golden::all() {
        let model = case.model(&device);
        let state = weights::state(&model);
        let bytes = weights::to_bytes(&state);
        assert_eq!(weights::from_bytes(&bytes).unwrap(), state, "{}", case.name);
        assert_eq!(bytes, weights::to_bytes(&state), "{}: equal states, unequal bytes", case.name);
        let fresh = Model::new(&case.config, 0, &device).unwrap();
        assert_ne!(weights::state(&fresh), state);
        assert_eq!(weights::state(&weights::with_state(fresh, state.clone()).unwrap()), state, "{}", case.name);
    }
}

#[test]
fn every_tensor_that_does_not_fit_is_named_at_once() {
    let device = robustify_device::open(Some("flex")).unwrap();
    let case = golden::all().into_iter().find(|case| case.name == "vit_cls").unwrap();
    let model = case.model(&device);
    let mut state = weights::state(&model);
    state.remove("head.bias");
    state.insert("head.weight".into(), Entry { shape: vec![2, 2], values: vec![0.0; 4] });
    state.insert("fc_norm.weight".into(), Entry { shape: vec![24], values: vec![0.0; 24] });
    state.insert("bn.num_batches_tracked".into(), Entry { shape: vec![], values: vec![0.0] });
    let mut faults = weights::with_state(model, state).unwrap_err();
    faults.sort();
    let expected = [
        "missing tensor head.bias [10]",
        "tensor head.weight has shape [2, 2], the model needs [10, 24]",
        "unexpected tensor fc_norm.weight [24]",
    ];
    assert_eq!(faults, expected);
}

#[test]
fn a_damaged_file_is_an_error_that_names_it() {
    let case = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/vit_cls/golden.safetensors");
    let whole = std::fs::read(case).unwrap();
    assert!(weights::from_bytes(&whole).is_ok());
    for length in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        assert!(weights::from_bytes(&whole[..length]).is_err(), "the first {length} bytes were accepted");
    }
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for lie in [1_u64 << 60, u64::MAX, whole.len() as u64, header as u64 - 1] {
        let mut lying = whole.clone();
        lying[..8].copy_from_slice(&lie.to_le_bytes());
        assert!(weights::from_bytes(&lying).is_err(), "a header of {lie} bytes was accepted");
    }
    for shape in ["[4611686018427387904,4611686018427387904]", "[1152921504606846976]", "[-1]"] {
        let text = format!(r#"{{"w":{{"dtype":"F32","shape":{shape},"data_offsets":[0,4]}}}}"#);
        let bytes = [&(text.len() as u64).to_le_bytes(), text.as_bytes(), &[0; 4]].concat();
        assert!(weights::from_bytes(&bytes).is_err(), "shape {shape} was accepted for 4 bytes");
    }

    let folder = std::env::temp_dir().join(format!("robustify-zoo-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("half.safetensors");
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = weights::read(&path).unwrap_err();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(matches!(error, ZooError::Format { .. }) && error.to_string().contains("half.safetensors"), "{error}");
    let error = weights::read(&path).unwrap_err();
    assert!(matches!(error, ZooError::Io { .. }) && error.to_string().contains("half.safetensors"), "{error}");
}
