//! The file of a robust model: what is read answers as what was written; damage and strangers are refused.

use std::path::Path;

use burn::tensor::Device;
use image::RgbImage;
use robustify_predict::{
    Answered, Answers, Attached, Columns, LabelSet, Made, Pair, PairSettings, Prompts, RobustModel, Rows, Together,
    TrainedOn,
};
use robustify_select::{Head, Laplace, McConfig, Neighbours, OneHead, SplitConfig, ThreeHeads, neighbours};
use robustify_zoo::clip::TextMatrix;
use robustify_zoo::weights::{self, Entry};
use robustify_zoo::{Model, ModelConfig};

fn flex() -> Device {
    robustify_device::open(Some("flex")).unwrap()
}

fn network() -> ModelConfig {
    let text = r#"{"architecture": "resnet", "image_size": 16, "stem_kernel": 3, "stem_stride": 2, "width": 4, "layers": [1, 1],
        "block": "basic", "classes": 3}"#;
    serde_json::from_str(text).unwrap()
}

const SPLIT: SplitConfig =
    SplitConfig { shared_blocks: 0, head_blocks: 1, dropout_from: robustify_select::DropoutFrom::Heads };

fn model(seed: u64, made: impl Fn(&Model) -> Made) -> RobustModel {
    let model = Model::new(&network(), seed, &flex()).unwrap();
    RobustModel {
        method: "robustify".into(),
        network: network(),
        preprocess: "resize(16,16)|normalize(half)".parse().unwrap(),
        seen: "normalize(half)".parse().unwrap(),
        classes: ["a", "b", "c"].map(str::to_owned).to_vec(),
        cut: Some(SPLIT),
        made: made(&model),
        attached: Attached::default(),
        model,
        trained_on: Some(TrainedOn { images: 3, fingerprint: "f0".into() }),
        label_set: None,
    }
}

fn three_heads(model: &Model) -> Made {
    let mc = McConfig { passes: 3, dropout: 0.2, seed: 5, common_masks: false };
    Made::ThreeHeads(ThreeHeads::new(model, SPLIT).unwrap(), mc)
}

/// Heads that were tuned to something else, with the original in the clean head's place.
fn preserving() -> RobustModel {
    let other = Model::new(&network(), 2, &flex()).unwrap();
    model(1, |model| {
        let mc = McConfig { passes: 3, dropout: 0.2, seed: 5, common_masks: false };
        Made::ThreeHeads(ThreeHeads::new(&other, SPLIT).unwrap().preserving(model, SPLIT).unwrap(), mc)
    })
}

/// Posteriors and neighbours of features of eight channels.
fn attached() -> Attached {
    let laplace = |head: usize| Laplace {
        classes: 3,
        width: 8,
        precision: 2.0,
        weights: vec![0.25; 24],
        biases: vec![0.5, 0.25, 0.125],
        rotation: (head == 1).then(|| (0..64).map(|at| f32::from(u8::from(at % 9 == 0))).collect()),
    };
    Attached { laplace: Some((0..3).map(laplace).collect()), ..attached_to_one() }
}

fn attached_to_one() -> Attached {
    Attached { laplace: None, neighbours: Neighbours::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 8, 100) }
}

fn pair(by: Together) -> impl Fn(&Model) -> Made {
    move |_| {
        let tuned = Model::new(&network(), 2, &flex()).unwrap();
        Made::Pair(Pair { tuned, settings: PairSettings { tuned_cut: None, temperatures: [1.5, 0.75], by } })
    }
}

fn answered(model: &RobustModel) -> Answered {
    let device = flex();
    let pixels: Vec<RgbImage> =
        (0..4_u32).map(|n| RgbImage::from_fn(16, 16, |x, y| image::Rgb([(x * y + n * 9) as u8; 3]))).collect();
    let rows = Rows::new(vec![3, 1, 4, 2], &device, || Ok(pixels.clone()));
    model.predictor().unwrap().answer(&rows).unwrap()
}

fn answers(model: &RobustModel) -> Answers {
    let device = flex();
    let pixels: Vec<RgbImage> =
        (0..4_u32).map(|n| RgbImage::from_fn(16, 16, |x, y| image::Rgb([(x * y + n * 9) as u8; 3]))).collect();
    let rows = Rows::new(vec![3, 1, 4, 1], &device, || Ok(pixels.clone()));
    model.predictor().unwrap().answer(&rows).unwrap().answers
}

#[test]
fn what_is_read_answers_as_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let attached = RobustModel { attached: attached(), ..model(1, three_heads) };
    let written = [
        ("heads", model(1, three_heads)),
        ("preserving", preserving()),
        ("one", model(1, |_| Made::Classifier)),
        ("attached", attached),
        (
            "vrf",
            RobustModel { attached: Attached { laplace: None, ..attached_to_one() }, ..model(1, pair(Together::Vrf)) },
        ),
        ("dawin", model(1, pair(Together::Dawin { clusters: 2 }))),
    ];
    for (name, written) in written {
        let path = folder.path().join(name);
        written.write(&path).unwrap();
        let read = RobustModel::read(&path, &flex()).unwrap();
        assert_eq!(read.to_bytes(), std::fs::read(&path).unwrap(), "{name}");
        assert_eq!(read.identity(), written.identity(), "{name}");
        assert_eq!(read.trained_on, written.trained_on, "{name}");
        assert_eq!(answers(&read), answers(&written), "{name}");
    }
}

#[test]
fn a_preserved_original_answers_for_the_clean_head_to_the_bit() {
    let (original, preserving) = (model(1, |_| Made::Classifier), preserving());
    let alone = answers(&original).probabilities();
    let Answers::Heads(heads) = answers(&preserving) else { panic!("three heads") };
    let clean = Head::Clean.index();
    for (answer, original) in heads.iter().zip(&alone) {
        assert_eq!(&answer.deterministic[clean], original);
        assert_eq!(&answer.passes.probabilities[clean], original, "passes are for the uncertainty alone");
        assert!(answer.passes.uncertainty[clean][0] > 0.0, "dropout says nothing of the original's uncertainty");
        assert_ne!(answer.deterministic[Head::Combined.index()], *original, "the other heads are the tuned ones");
    }
    assert!(preserving.state().keys().all(|name| !name.starts_with("clean.")), "a head that nobody asks is kept");
    assert_ne!(preserving.identity(), original.identity());
}

#[test]
fn attached_parts_speak_beside_answers_that_stay() {
    let (plain, with) = (model(1, three_heads), RobustModel { attached: attached(), ..model(1, three_heads) });
    assert_ne!(plain.identity(), with.identity());
    let (plain, with) = (answered(&plain), answered(&with));
    assert_eq!(plain.answers, with.answers);
    assert_eq!(plain.beside, Columns::default());
    let row = |name: &str| with.beside.row(name, 3).unwrap();
    let (told, spread) = (row(Columns::PROBIT), row(Columns::SPREAD));
    assert_eq!((told.len(), spread.len(), row(Columns::DISTANCE).len()), (9, 3, 1));
    assert!(spread.iter().all(|spread| *spread > 0.0));
    for head in told.chunks_exact(3) {
        assert!((head.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{head:?}");
    }
}

#[test]
fn a_pair_by_distance_answers_between_both_of_its_models() {
    let pair = RobustModel { attached: attached_to_one(), ..model(1, pair(Together::Vrf)) };
    let told = answered(&pair);
    let own = |seed: u64| answered(&model(seed, |_| Made::Classifier)).answers.probabilities();
    let mixed = told.answers.probabilities();
    for (image, (original, tuned)) in own(1).iter().zip(&own(2)).enumerate() {
        let distance = f64::from(told.beside.row(Columns::DISTANCE, image).unwrap()[0]);
        let expected = neighbours::mix(original, tuned, distance, [1.5, 0.75]).unwrap();
        for (got, expected) in mixed[image].iter().zip(&expected) {
            assert!((got - expected).abs() < 1e-5, "{:?} is not {expected:?}", mixed[image]);
        }
    }
}

#[test]
fn models_share_a_trunk_if_their_weights_before_the_cut_are_the_same() {
    let trunk = |model: &RobustModel| model.predictor().unwrap().trunk().unwrap().to_owned();
    let (original, heads) = (model(1, |_| Made::Classifier), model(1, three_heads));
    // Tuned behind the cut: another classifier and stage, the same trunk.
    let mut tuned = original.clone();
    let other = OneHead::new(&Model::new(&network(), 2, &flex()).unwrap(), SPLIT).unwrap();
    tuned.model = other.into_model(original.model.clone(), SPLIT).unwrap();
    assert_ne!(tuned.identity(), original.identity());
    assert_eq!([trunk(&heads), trunk(&tuned)], [trunk(&original), trunk(&original)]);
    assert_ne!(trunk(&model(2, |_| Made::Classifier)), trunk(&original));
    // What was put behind the cut answers as it did where it came from: the state holds its tensors under the network's names.
    let (whole, parts) = (weights::state(&tuned.model), weights::state(&original.model));
    assert_ne!(whole["layer2.0.conv1.weight"], parts["layer2.0.conv1.weight"]);
    assert_eq!(whole["layer1.0.conv1.weight"], parts["layer1.0.conv1.weight"]);
}

/// A tower whose classes are the texts `names` of three that it knows, as classifier or with three heads.
fn zero_shot(names: &[&str], heads: bool) -> RobustModel {
    let network: ModelConfig = serde_json::from_str(
        r#"{"architecture": "vit", "image_size": 16, "patch_size": 8, "width": 8, "depth": 1, "heads": 2, "pre_norm": true,
            "projects": true, "head_bias": false, "classes": 2}"#,
    )
    .unwrap();
    let rows = Entry { shape: vec![3, 2], values: vec![1.0, 0.0, 0.6, 0.8, 0.0, -1.0] };
    let set = LabelSet {
        names: ["a", "b", "c"].map(str::to_owned).to_vec(),
        texts: TextMatrix { rows, logit_scale: 2.0 },
        prompts: Prompts { templates: vec!["a {}".into()], called: Default::default(), clip: "f0".into() },
    };
    let classes: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let tower = Model::new(&network, 1, &flex()).unwrap();
    let model = tower.with_texts(Some(&set.of(&classes).unwrap()), &flex()).unwrap();
    let made = if heads { three_heads(&model) } else { Made::Classifier };
    let network = network.with_texts(names.len()).unwrap();
    RobustModel { network, model, made, classes, label_set: Some(set), ..self::model(1, |_| Made::Classifier) }
}

#[test]
fn other_classes_are_other_texts_and_all_else_stays() {
    let names = ["c", "b"].map(str::to_owned);
    for heads in [false, true] {
        let (built, swapped) = (zero_shot(&["c", "b"], heads), zero_shot(&["a", "b"], heads));
        assert_ne!(answers(&swapped), answers(&built));
        let swapped = swapped.with_classes(&names, &flex()).unwrap();
        assert_eq!(swapped.to_bytes(), built.to_bytes());
        assert_eq!(answers(&swapped), answers(&built));
        // Behind the same frozen tower, whatever the classes: its features are computed once.
        let trunk = |model: &RobustModel| model.predictor().unwrap().trunk().map(str::to_owned);
        assert_eq!(trunk(&zero_shot(&["a"], heads)), trunk(&built));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        built.write(&path).unwrap();
        assert_eq!(RobustModel::read(&path, &flex()).unwrap().label_set, built.label_set);
        let said = built.with_classes(&["d".to_owned()], &flex()).unwrap_err().to_string();
        assert!(said.contains("`d`") && said.contains("a, b, c"), "{said}");
    }
    let said = model(1, |_| Made::Classifier).with_classes(&names, &flex()).unwrap_err().to_string();
    assert!(said.contains("its classes are no texts"), "{said}");
}

#[test]
fn damage_and_strangers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let said = |path: &Path| RobustModel::read(path, &flex()).err().unwrap().to_string();
    let sound = model(1, three_heads);

    let mut bytes = sound.to_bytes();
    let place = {
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        tensors.tensor("fc.bias").unwrap().data().as_ptr() as usize - bytes.as_ptr() as usize
    };
    bytes[place + 4..place + 8].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let no_number = "tensor fc.bias: 1 of its 3 values are no finite numbers, the first is NaN at index 1";
    assert!(said(&path).contains(no_number) && said(&path).contains("model.safetensors"), "{}", said(&path));

    std::fs::write(&path, weights::to_bytes(&weights::state(&sound.model))).unwrap();
    assert!(said(&path).contains("no description in its header"), "{}", said(&path));
    let mut bytes = sound.to_bytes();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(said(&path).contains("checksum"), "a flipped bit went through: {}", said(&path));
    // So is one in what the tensors mean: here the probability of dropout.
    let mut flipped = sound.to_bytes();
    let dropout = br#"dropout\":0.2"#;
    let place = flipped.windows(dropout.len()).position(|text| text == dropout).unwrap();
    flipped[place + dropout.len() - 1] ^= 1;
    std::fs::write(&path, &flipped).unwrap();
    assert!(said(&path).contains("checksum of its description"), "{}", said(&path));
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(said(&path).contains("model.safetensors"), "{}", said(&path));
    let mut other = sound;
    other.classes.pop();
    other.write(&path).unwrap();
    assert!(said(&path).contains("3 classes, and names of 2"), "{}", said(&path));
    assert!(said(&folder.path().join("absent.safetensors")).contains("absent.safetensors"));
}
