//! Networks that learn while they answer: what a step does, when none is made, and that nothing but their images has an influence.

use std::cell::RefCell;

use burn::tensor::Device;
use image::RgbImage;
use robustify_predict::{
    Adaptation, AdaptationStep, Answered, Answers, Attached, Made, RobustModel, Rows, SharpnessAware,
};
use robustify_rng::Key;
use robustify_zoo::{Model, ModelConfig, weights};

fn flex() -> Device {
    robustify_device::open(Some("flex")).unwrap()
}

const VIT: &str =
    r#"{"architecture": "vit", "image_size": 8, "patch_size": 4, "width": 8, "depth": 2, "heads": 2, "classes": 3}"#;
const RESNET: &str = r#"{"architecture": "resnet", "image_size": 8, "stem_kernel": 3, "stem_stride": 1, "width": 4,
    "layers": [1, 1], "block": "basic", "classes": 3}"#;

/// Plain SGD with a large rate, six images at a time.
fn tent() -> Adaptation {
    Adaptation { batch: 6, seed: 1, optimizer: AdaptationStep::Sgd, rate: 0.5, sharpness_aware: None }
}

fn sar(margin: f64, reset_below: f64) -> Adaptation {
    let sharpness_aware = Some(SharpnessAware { margin, rho: 0.05, reset_below, left_out: 1 });
    Adaptation { sharpness_aware, ..tent() }
}

fn model(network: &str, made: Made) -> RobustModel {
    let network: ModelConfig = serde_json::from_str(network).unwrap();
    let fresh = Model::new(&network, 1, &flex()).unwrap();
    // Larger than freshly drawn, so that answers differ and are not all unsure.
    let mut state = weights::state(&fresh);
    for entry in state.values_mut().filter(|entry| entry.shape.len() > 1) {
        entry.values.iter_mut().for_each(|value| *value *= 6.0);
    }
    RobustModel {
        method: "tent".into(),
        model: weights::with_state(fresh, state).unwrap(),
        network,
        preprocess: "normalize(half)".parse().unwrap(),
        seen: "normalize(half)".parse().unwrap(),
        classes: ["a", "b", "c"].map(str::to_owned).to_vec(),
        cut: None,
        made,
        attached: Attached::default(),
        trained_on: None,
        label_set: None,
    }
}

fn picture(id: u64) -> RgbImage {
    let mut bytes = vec![0; 8 * 8 * 3];
    Key::new(1, "picture").with(id).stream().fill(&mut bytes);
    RgbImage::from_raw(8, 8, bytes).unwrap()
}

fn logits(model: &RobustModel, ids: &[u64]) -> Vec<Vec<f32>> {
    let device = flex();
    let rows = Rows::single(ids.to_vec(), &device, |position| Ok(picture(ids[position])));
    let Answered { answers: Answers::Logits { classes, values }, .. } =
        model.predictor().unwrap().answer(&rows).unwrap()
    else {
        panic!("logits of one head")
    };
    values.chunks(classes).map(<[f32]>::to_vec).collect()
}

fn entropy(rows: &[Vec<f32>]) -> f64 {
    let each = rows.iter().map(|row| {
        let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        -row.iter().map(|&logit| f64::from(logit)).map(|logit| logit.exp() / sum * (logit - sum.ln())).sum::<f64>()
    });
    each.sum::<f64>() / rows.len() as f64
}

const IDS: [u64; 12] = [4, 11, 1, 7, 9, 2, 30, 12, 8, 5, 6, 3];

#[test]
fn answers_grow_surer_from_batch_to_batch() {
    for network in [VIT, RESNET] {
        let still = Adaptation { rate: 0.0, ..tent() };
        let (before, after) = (
            logits(&model(network, Made::Adapting(still)), &IDS),
            logits(&model(network, Made::Adapting(tent())), &IDS),
        );
        // The first batch is answered before anything was learnt; the second was made surer by it.
        assert_eq!(before.iter().zip(&after).filter(|(a, b)| a == b).count(), 6, "{network}");
        assert!(entropy(&after) < entropy(&before), "{} and {} of {network}", entropy(&after), entropy(&before));
        let adam = Adaptation { optimizer: AdaptationStep::Adam, rate: 0.01, ..tent() };
        assert!(entropy(&logits(&model(network, Made::Adapting(adam)), &IDS)) < entropy(&before), "{network}");
    }
    // Without a batch to normalise by, a network that learns nothing is the one that it began as.
    let still = Adaptation { rate: 0.0, ..tent() };
    let far = logits(&model(VIT, Made::Adapting(still)), &IDS).concat().into_iter();
    let plain = logits(&model(VIT, Made::Classifier), &IDS).concat();
    assert!(far.zip(plain).all(|(a, b)| (a - b).abs() < 1e-4));
}

#[test]
fn unsure_images_teach_nothing_and_too_sure_ones_begin_anew() {
    let still = logits(&model(VIT, Made::Adapting(Adaptation { rate: 0.0, ..tent() })), &IDS);
    let of = |adaptation| logits(&model(VIT, Made::Adapting(adaptation)), &IDS);
    assert_eq!(of(sar(0.0, 0.0)), still, "nothing is below a margin of nothing");
    let learnt = of(sar(1.0, 0.0));
    assert_ne!(learnt, still);
    assert!(entropy(&learnt) < entropy(&still));
    // Every loss is below that limit: after each batch, the network is what it began as.
    assert_eq!(of(sar(1.0, 100.0)), still);
}

#[test]
fn sar_leaves_the_last_blocks_and_the_final_norm_alone() {
    let every = SharpnessAware { margin: 1.0, rho: 0.05, reset_below: 0.0, left_out: 2 };
    let all = model(VIT, Made::Adapting(Adaptation { sharpness_aware: Some(every), ..tent() }));
    let said = all.predictor().err().expect("no norm is left").to_string();
    assert!(said.contains("no norm is left"), "{said}");
    let none = Adaptation { sharpness_aware: Some(SharpnessAware { left_out: 0, ..every }), ..tent() };
    assert_ne!(
        logits(&model(VIT, Made::Adapting(none)), &IDS),
        logits(&model(VIT, Made::Adapting(sar(1.0, 0.0))), &IDS)
    );
}

#[test]
fn neither_the_order_of_the_images_nor_what_was_asked_before_has_an_influence() {
    let adapting = model(RESNET, Made::Adapting(tent()));
    let asked = RefCell::new(Vec::new());
    let device = flex();
    let predictor = adapting.predictor().unwrap();
    assert!(predictor.adapts() && predictor.trunk().is_none());
    let answer = |ids: &[u64]| {
        let rows = Rows::single(ids.to_vec(), &device, |position| {
            asked.borrow_mut().push(ids[position]);
            Ok(picture(ids[position]))
        });
        predictor.answer(&rows).unwrap().answers.probabilities()
    };
    let first = answer(&IDS);
    assert_eq!(answer(&IDS), first, "something was left of the call before");
    let mut sorted = IDS;
    sorted.sort_unstable();
    let again = answer(&sorted);
    for (id, row) in IDS.iter().zip(&first) {
        assert_eq!(again[sorted.iter().position(|other| other == id).unwrap()], *row, "image {id}");
    }
    {
        let asked = asked.borrow();
        assert!(asked[..12] == asked[24..] && asked[..12] != IDS);
    }
    // Thirteen images are three batches of nearly one size, and not two and a rest of one.
    let more: Vec<u64> = (0..13).collect();
    assert!(answer(&more).iter().flatten().all(|value| value.is_finite()));
}

#[test]
fn how_it_adapts_is_in_its_file_and_in_its_identity() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tent.safetensors");
    let written = model(VIT, Made::Adapting(sar(0.4, 0.2)));
    written.write(&path).unwrap();
    let read = RobustModel::read(&path, &flex()).unwrap();
    assert_eq!(read.identity(), written.identity());
    assert_eq!(logits(&read, &IDS), logits(&written, &IDS));
    let others =
        [sar(0.4, 0.1), tent(), Adaptation { batch: 7, ..sar(0.4, 0.2) }, Adaptation { seed: 2, ..sar(0.4, 0.2) }];
    for other in others.map(Made::Adapting).into_iter().chain([Made::Classifier]) {
        assert_ne!(model(VIT, other).identity(), written.identity());
    }
}
