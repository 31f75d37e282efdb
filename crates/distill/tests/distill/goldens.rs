//! Parity with PyTorch: see `goldens/README.md`.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData};
use robustify_distill::contrastive::{Duplicates, contrastive, contrastive_of_unit};
use robustify_distill::losses;
use robustify_distill::optimizer::{self, AdamW, AdamWConfig, DecayTo, Gradients, Group};
use robustify_zoo::clip::normalised;
use robustify_zoo::layers::{Init, Linear};
use robustify_zoo::weights::{self, Entry, State};

use crate::common::flex;

fn golden(case: &str) -> State {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens").join(case).join("golden.safetensors");
    weights::read(&path).unwrap()
}

fn under(state: &State, prefix: &str) -> State {
    let own = state.iter().filter_map(|(name, entry)| Some((name.strip_prefix(prefix)?.to_owned(), entry.clone())));
    own.collect()
}

fn tensor<const D: usize>(entry: &Entry) -> Tensor<D> {
    Tensor::from_data(TensorData::new(entry.values.clone(), entry.shape.clone()), &flex())
}

fn assert_close(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= tolerance * want.abs().max(1.0), "{what}: {got}, PyTorch has {want}");
    }
}

/// Names as in a tuned model: `shared` learns at half the rate.
#[derive(Module, Debug)]
struct Pair {
    shared: Linear,
    clean: Linear,
}

#[test]
fn adamw_takes_pytorchs_steps() {
    let golden = golden("optimizer");
    let mut init = Init::new(0, &flex());
    let fresh = Pair { shared: Linear::new(&mut init, 3, 4, true), clean: Linear::new(&mut init, 4, 2, true) };
    let mut model = weights::with_state(fresh, under(&golden, "start.")).unwrap();
    let config = AdamWConfig {
        learning_rate: 0.02,
        weight_decay: 0.1,
        decay_to: DecayTo::Zero,
        betas: [0.9, 0.98],
        eps: 1e-6,
        warmup_fraction: 0.4,
        clip_norm: 1.0,
    };
    assert_eq!(config.faults(), Vec::<String>::new());
    let group = |name: &str, rank: usize| Group {
        rate_scale: if name.starts_with("shared.") { 0.5 } else { 1.0 },
        ..Group::by_shape(name, rank)
    };
    let mut adamw = AdamW::default();
    for step in 0..5 {
        let given = under(&golden, &format!("grad{step}."));
        let flat = |entry: &Entry| tensor::<1>(&Entry { shape: vec![entry.values.len()], ..entry.clone() });
        let gradients: Gradients = given.iter().map(|(name, entry)| (name.clone(), flat(entry))).collect();
        let (gradients, norm) = optimizer::clip(gradients, config.clip_norm);
        assert_close("norm", &[norm as f32], &golden["norm"].values[step..=step], 1e-6);
        let rate = config.rate(adamw.steps(), 5);
        assert_close("rate", &[rate as f32], &golden["rate"].values[step..=step], 1e-8);
        model = adamw.step(&config, rate, &group, model, gradients);
        let (state, want) = (weights::state(&model), under(&golden, &format!("step{step}.")));
        assert!(state.keys().eq(want.keys()));
        for (name, entry) in &state {
            assert_close(&format!("{name} after step {step}"), &entry.values, &want[name].values, 1e-6);
        }
    }
}

#[test]
fn selective_projection_takes_its_authors_steps() {
    let golden = golden("selective");
    // The strength of each case; without an anchor, the authors' code takes zero for it.
    for (case, strength, anchored) in
        [("from_anchor", 0.5, true), ("from_elsewhere", 2.0, true), ("no_anchor", 0.1, false)]
    {
        let config = AdamWConfig {
            learning_rate: 0.02,
            weight_decay: strength,
            decay_to: DecayTo::Selective,
            betas: [0.9, 0.999],
            eps: 1e-8,
            warmup_fraction: 0.0,
            clip_norm: f64::MAX,
        };
        let flat = |(name, entry): (String, Entry)| {
            let values =
                if anchored || !name.starts_with("anchor") { entry.values } else { vec![0.0; entry.values.len()] };
            (name, tensor::<1>(&Entry { shape: vec![values.len()], values }))
        };
        let all = |prefix: &str| under(&golden, prefix).into_iter().map(flat).collect::<Gradients>();
        let anchor =
            all("in.").into_iter().filter_map(|(name, anchor)| Some((name.strip_prefix("anchor.")?.into(), anchor)));
        let mut adamw = AdamW::default().decay_towards(anchor.collect());
        let mut tensors = all(&format!("in.{case}.start."));
        assert_eq!(tensors.len(), 3);
        for step in 0..5 {
            let gradients = all(&format!("in.{case}.grad.{step}."));
            tensors = adamw.step_tensors(&config, config.learning_rate, tensors, gradients);
            let mut found: State = adamw.state();
            for (name, tensor) in &tensors {
                let values = tensor.clone().into_data().try_to_vec::<f32>().unwrap();
                found.insert(format!("param.{name}"), Entry { shape: vec![values.len()], values });
            }
            for (name, entry) in found {
                let (kind, tensor) = name.split_once('.').unwrap();
                let want = format!("out.{case}.{kind}.{step}.{tensor}");
                assert_close(&want, &entry.values, &golden[&want].values, 1e-6);
            }
        }
    }
}

#[test]
fn losses_and_their_gradients_are_pytorchs() {
    let golden = golden("losses");
    let teacher = tensor::<2>(&golden["teacher"]);
    let labels: Vec<i64> = golden["labels"].values.iter().map(|&label| label as i64).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::from(labels.as_slice()), &flex());
    let check = |name: &str, loss_of: &dyn Fn(Tensor<2>) -> Tensor<1>| {
        let student = tensor::<2>(&golden["student"]).autodiff().require_grad();
        let loss = loss_of(student.clone());
        let gradient = student.grad(&loss.backward()).unwrap().into_data().try_to_vec::<f32>().unwrap();
        assert_close(name, &[loss.into_scalar::<f32>()], &golden[&format!("{name}.loss")].values, 1e-5);
        assert_close(name, &gradient, &golden[&format!("{name}.grad")].values, 2e-5);
    };
    for tau in [1, 2, 4] {
        check(&format!("kd{tau}"), &|student| losses::distillation(student, teacher.clone(), f64::from(tau)));
    }
    check("ce0", &|student| losses::smoothed_cross_entropy(student, labels.clone(), 0.0));
    check("ce0", &|student| losses::cross_entropy(student, labels.clone()));
    check("ce10", &|student| losses::smoothed_cross_entropy(student, labels.clone(), 0.1));
}

#[test]
fn jensen_shannon_is_augmixs() {
    let golden = golden("jsd");
    let views =
        ["clean", "aug1", "aug2"].map(|name| tensor::<2>(&golden[&format!("in.jsd.{name}")]).autodiff().require_grad());
    let labels: Vec<i64> = golden["in.labels"].values.iter().map(|&label| label as i64).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::from(labels.as_slice()), &flex());
    let rows = views[0].dims()[0] as f64;
    let ce = losses::cross_entropy(views[0].clone(), labels) / rows;
    let jsd = losses::jensen_shannon(views.clone()) / rows;
    let total = ce.clone() + jsd.clone() * 12.0;
    for (name, value) in [("ce", ce), ("jsd", jsd), ("total", total.clone())] {
        let want = &golden[&format!("out.jsd.{name}")].values;
        let got = value.into_scalar::<f32>();
        assert!((got - want[0]).abs() <= 1e-6 + 1e-5 * want[0].abs(), "{name}: {got}, AugMix has {}", want[0]);
    }
    let backward = total.backward();
    for (index, view) in views.iter().enumerate() {
        let gradient = view.grad(&backward).unwrap().into_data().try_to_vec::<f32>().unwrap();
        for (got, want) in gradient.iter().zip(&golden[&format!("out.grad.jsd.total.{index}")].values) {
            assert!((got - want).abs() <= 1e-6 + 1e-4 * want.abs(), "view {index}: {got}, AugMix has {want}");
        }
    }
}

#[test]
fn the_contrastive_loss_is_flyps_however_duplicates_are_treated() {
    let golden = golden("contrastive");
    let meanings: Vec<u64> = golden["in.labels"].values.iter().map(|&label| label as u64).collect();
    let leaf = |name: &str| tensor::<2>(&golden[&format!("in.{name}_raw")]);
    let scale = Tensor::<1>::from_data([golden["in.logit_scale_log"].values[0]], &flex());
    let treatments = [
        ("as_trained", Duplicates::Negatives),
        ("soft_labels", Duplicates::Shared),
        ("ignore_duplicates", Duplicates::Ignored),
        ("google_sup", Duplicates::EachAgainstRest),
    ];
    for (name, duplicates) in treatments {
        for kind in ["raw", "unit"] {
            let features = ["image", "text"].map(|side| match kind {
                "raw" => leaf(side).autodiff().require_grad(),
                _ => normalised(leaf(side)).autodiff().require_grad(),
            });
            let [images, texts] = features.clone();
            let scale = scale.clone().autodiff().require_grad();
            let of = if kind == "raw" { contrastive } else { contrastive_of_unit };
            let loss = of(images, texts, scale.clone(), &meanings, duplicates);
            let gradients = loss.backward();
            assert_close(name, &[loss.into_scalar::<f32>()], &golden[&format!("out.{name}")].values, 1e-5);
            let check = |leaf: &str, got: Vec<f32>| {
                let Some(want) = golden.get(&format!("out.grad.{name}.{leaf}")) else { return name == "google_sup" };
                for (got, want) in got.iter().zip(&want.values) {
                    assert!((got - want).abs() <= 1e-5 + 1e-4 * want.abs(), "{name}, {leaf}: {got}, FLYP has {want}");
                }
                true
            };
            for (side, leaf) in ["image", "text"].iter().zip(&features) {
                let gradient = leaf.grad(&gradients).unwrap().into_data().try_to_vec().unwrap();
                assert!(check(&format!("{side}_{kind}"), gradient), "{name}: no gradient is stored");
            }
            assert!(check("logit_scale_log", scale.grad(&gradients).unwrap().into_data().try_to_vec().unwrap()));
        }
    }
}
