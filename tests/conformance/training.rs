//! Steps of training: dropout, loss, gradients, clipping, AdamW.

use burn::module::Module;
use burn::tensor::Device;
use robustify_distill::optimizer::{self, AdamW, AdamWConfig, DecayTo, Group};
use robustify_select::KeyedMasks;
use robustify_zoo::weights::{self, State};
use robustify_zoo::{Masks, ModelConfig, Pass};

use crate::golden::{self, Golden};

/// Steps with dropout end in the weights that flex ends in; on flex itself, in the same bits every time.
#[test]
fn steps_of_training_end_in_the_same_weights() {
    let flex = robustify_device::open(Some("flex")).unwrap();
    let device = crate::device();
    let tolerance = if robustify_device::backend_of(&device) == "flex" { 0.0 } else { crate::TOLERANCE };
    let cases: Vec<Golden> =
        golden::all().into_iter().filter(|case| matches!(case.config, ModelConfig::Vit(_))).take(2).collect();
    for case in cases {
        let (expected, got) = (trained(&case, &flex), trained(&case, &device));
        let before = weights::state(&case.model(&flex));
        for (name, expected) in &expected {
            assert_ne!(before[name].values, expected.values, "{}: {name} did not move", case.name);
            for (index, (got, expected)) in got[name].values.iter().zip(&expected.values).enumerate() {
                let far = (got - expected).abs();
                assert!(far <= tolerance, "{}: {name}[{index}] is {got}, on flex {expected}", case.name);
            }
        }
    }
}

/// The weights after three steps.
fn trained(case: &Golden, device: &Device) -> State {
    let config = AdamWConfig {
        learning_rate: 1e-2,
        weight_decay: 0.1,
        decay_to: DecayTo::Zero,
        betas: [0.9, 0.999],
        // Large beside the differences between backends, which AdamW would blow up where a gradient is nearly zero.
        eps: 1e-2,
        warmup_fraction: 0.0,
        clip_norm: 1.0,
    };
    let mut model = case.model(device);
    let mut optimizer = AdamW::default();
    for step in 0..3 {
        let samples: Vec<u64> = (0..case.labels.len() as u64).collect();
        let masks = KeyedMasks::for_passes(step, &samples, 1, 0.2);
        let trained = model.clone().train();
        let logits = trained.forward(case.images(device), &Pass::eval().with_masks(&masks));
        let mut backward = golden::cross_entropy(logits, &case.labels).backward();
        let (gradients, _) = optimizer::clip(optimizer::gradients(&trained, &mut backward), config.clip_norm);
        let rate = config.rate(step as usize, 3);
        model = optimizer.step(&config, rate, &Group::by_shape, model, gradients);
    }
    weights::state(&model)
}

#[test]
fn dropout_masks_are_those_of_flex() {
    let flex = robustify_device::open(Some("flex")).unwrap();
    let masks = KeyedMasks::for_passes(1, &[3, 5], 2, 0.3);
    let on = |device: &Device| golden::entry(masks.mask("blocks.0.mlp.drop1", 33, device).unwrap());
    let expected = on(&flex);
    assert!(expected.values.contains(&0.0) && expected.values.iter().any(|value| *value > 1.0));
    assert_eq!(on(&crate::device()), expected);
}
