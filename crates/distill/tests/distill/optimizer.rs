//! The optimizer beyond PyTorch's: clipping many parameters, weight decay towards the start.

use burn::tensor::Tensor;
use robustify_distill::Apt;
use robustify_distill::optimizer::{self, AdamWConfig, DecayTo, Gradients};
use robustify_rng::Key;
use robustify_select::OneHead;
use robustify_zoo::weights::{self, State};

use crate::common::{Cached, adamw, flex, stirred, train_with, tuning, vit};

fn vector(name: &str, count: usize) -> Vec<f32> {
    let mut stream = Key::new(1, name).stream();
    (0..count).map(|_| stream.normal() as f32).collect()
}

#[test]
fn the_norm_is_that_of_all_parameters_to_the_bit() {
    let named: Vec<(String, Vec<f32>)> = (1..40).map(|n| (format!("p{n:02}"), vector("gradient", n * n))).collect();
    let tensor = |values: &Vec<f32>| Tensor::<1>::from_data(values.as_slice(), &flex());
    let gradients: Gradients = named.iter().map(|(name, values)| (name.clone(), tensor(values))).collect();
    let sums = gradients.values().map(|g| f64::from((g.clone() * g.clone()).sum().into_scalar::<f32>()));
    let expected = sums.sum::<f64>().sqrt();
    let (kept, norm) = optimizer::clip(gradients.clone(), expected);
    assert_eq!(norm, expected);
    let of = |all: &Gradients| all["p39"].clone().into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(of(&kept), of(&gradients));
    let (clipped, norm) = optimizer::clip(gradients, expected / 2.0);
    let (_, after) = optimizer::clip(clipped, f64::INFINITY);
    assert!(norm == expected && (after / expected - 0.5).abs() < 1e-6, "{after} of {expected}");
    assert_eq!(optimizer::clip(Gradients::new(), 1.0).1, 0.0);
}

/// The largest distance of a matrix's element from another state's.
fn distance(a: &State, b: &State) -> f32 {
    let matrices = a.iter().filter(|(_, entry)| entry.shape.len() > 1);
    let pairs = matrices.flat_map(|(name, entry)| entry.values.iter().zip(&b[name].values));
    pairs.fold(0.0, |max, (a, b)| max.max((a - b).abs()))
}

#[test]
fn decay_to_the_start_keeps_what_was_copied_and_continues_to_the_same_bits() {
    let (device, config) = (flex(), tuning());
    let cached = Cached::new(stirred(vit(1)), [1, 1], 2);
    let head = OneHead::new(&cached.original, cached.split).unwrap();
    let apt = Apt(cached.pairs(&config, 4, &device));
    // So strong that what is decayed cannot get away: up to thirty percent a step.
    let with = |decay_to| AdamWConfig { learning_rate: 0.001, weight_decay: 300.0, decay_to, ..adamw() };
    let start = weights::state(&head);
    let [to_zero, to_start] = [DecayTo::Zero, DecayTo::Start].map(|to| train_with(&with(to), &apt, &head, 1, &[]));
    let size = distance(&start, &to_zero.state);
    assert!(size > 0.1, "decay to zero leaves the weights alone: {size}");
    let kept = distance(&start, &to_start.state);
    assert!(kept > 0.0 && kept < 0.02, "{kept} from the start");
    for stops in [&[1][..], &[3, 2]] {
        assert_eq!(train_with(&with(DecayTo::Start), &apt, &head, 2, stops), to_start, "interrupted after {stops:?}");
    }
    let selective = AdamWConfig { weight_decay: 1.0, ..with(DecayTo::Selective) };
    let whole = train_with(&selective, &apt, &head, 1, &[]);
    assert!(
        distance(&start, &whole.state) < distance(&start, &train_with(&with(DecayTo::Zero), &apt, &head, 1, &[]).state)
    );
    assert_eq!(train_with(&selective, &apt, &head, 2, &[3]), whole, "interrupted");
}

#[test]
fn decay_goes_to_zero_unless_the_settings_say_otherwise() {
    let read = |more: &str| {
        let text =
            format!(r#"{{"learning_rate": 0.1, "weight_decay": 0.1, "warmup_fraction": 0.0, "clip_norm": 1.0{more}}}"#);
        serde_json::from_str::<AdamWConfig>(&text).map(|config| config.decay_to)
    };
    assert_eq!(read("").unwrap(), DecayTo::Zero);
    assert_eq!(read(r#", "decay_to": "start""#).unwrap(), DecayTo::Start);
    assert_eq!(read(r#", "decay_to": "selective""#).unwrap(), DecayTo::Selective);
    assert!(read(r#", "decay_to": "begin""#).is_err());
}
