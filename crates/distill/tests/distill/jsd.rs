//! AugMix with its consistency loss: triples of an image's views, whole in every shard.

use burn::module::Module;
use burn::tensor::Tensor;
use robustify_distill::trainer::Objective;
use robustify_distill::{ImageTraining, losses};
use robustify_zoo::{Pass, weights};

use crate::common::{difference, flex, gradients, resnet, stirred, train, vit};
use crate::training::image_training;

fn consistency(batch_size: usize, shard_rows: usize) -> ImageTraining {
    ImageTraining { jsd_weight: Some(12.0), ..image_training(Some("rand_conv"), batch_size, shard_rows, 0) }
}

#[test]
fn a_triple_is_an_image_and_two_augmentations_of_the_same_view() {
    let training = consistency(6, 100);
    let shards = training.epoch(0, 0).unwrap().next_batch().unwrap().unwrap();
    assert_eq!((shards.len(), shards[0].pixels().len()), (1, 6));
    for (rows, labels) in shards[0].pixels().chunks(3).zip(shards[0].labels().chunks(3)) {
        assert!(rows[0] != rows[1] && rows[1] != rows[2] && rows[2] != rows[0], "two views are the same");
        assert!(labels.iter().all(|label| *label == labels[0]));
    }
    // The clean row is what training without the consistency has.
    let plain = ImageTraining { jsd_weight: None, ..consistency(4, 100) };
    let pairs = plain.epoch(0, 0).unwrap().next_batch().unwrap().unwrap();
    assert_eq!(pairs[0].pixels()[0], shards[0].pixels()[0]);
    // Two augmentations that do nothing leave the clean row three times: all have one geometry.
    let identical =
        ImageTraining { policy: Some("random_erasing(probability=0)".parse().unwrap()), ..consistency(6, 100) };
    let shards = identical.epoch(0, 0).unwrap().next_batch().unwrap().unwrap();
    assert!(shards[0].pixels().chunks(3).all(|rows| rows[0] == rows[1] && rows[1] == rows[2]));
}

#[test]
fn triples_never_straddle_shards() {
    for shard_rows in [1, 2, 3, 4, 5, 7, 32] {
        let shards = consistency(24, shard_rows).epoch(0, 0).unwrap().next_batch().unwrap().unwrap();
        let counts: Vec<usize> = shards.iter().map(|shard| shard.pixels().len()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 24);
        let whole = counts.iter().all(|count| count % 3 == 0 && (*count == 3 || *count <= shard_rows));
        assert!(whole, "{shard_rows}: {counts:?}");
    }
    // Shards add up to the batch, whatever their size.
    let model = stirred(vit(2));
    let (whole, whole_loss) = gradients(&consistency(24, 100), &model);
    for shard_rows in [1, 4, 7] {
        let (parts, loss) = gradients(&consistency(24, shard_rows), &model);
        assert!((loss - whole_loss).abs() < 1e-5 * whole_loss, "{loss} and {whole_loss}");
        let difference = difference(&parts, &whole);
        assert!(difference < 1e-5, "shards of {shard_rows}: {difference}");
    }
}

#[test]
fn the_loss_is_cross_entropy_of_the_clean_row_and_the_weighted_divergence() {
    let (training, model, device) = (consistency(12, 12), stirred(vit(2)), flex());
    let (_, loss) = gradients(&training, &model);
    let shard = training.epoch(0, 0).unwrap().next_batch().unwrap().unwrap().remove(0);
    let of = |view: usize| -> (Tensor<2>, Vec<usize>) {
        let rows: Vec<Vec<f32>> = shard.pixels().iter().skip(view).step_by(3).cloned().collect();
        let images = robustify_data::batch::images(&rows, [3, 16, 16], &device).unwrap();
        (model.forward(images, &Pass::eval()), shard.labels().iter().skip(view).step_by(3).copied().collect())
    };
    let [(clean, labels), (first, _), (second, _)] = [0, 1, 2].map(of);
    let labels = robustify_data::batch::labels(&labels, &device);
    let ce = losses::smoothed_cross_entropy(clean.clone(), labels, training.label_smoothing).into_scalar::<f32>();
    let jsd = losses::jensen_shannon([clean, first, second]).into_scalar::<f32>();
    assert!(jsd > 1e-4, "the views agree: {jsd}");
    let expected = f64::from(ce + 12.0 * jsd) / 4.0;
    assert!((loss - expected).abs() < 1e-5 * expected, "{loss} against {expected}");
    let outcome = training.loss(&Module::train(model.clone()), shard).unwrap();
    assert_eq!(outcome.rows, 4, "accuracy is that of clean rows");
}

#[test]
fn consistency_continues_to_the_same_bits() {
    for model in [vit(1), resnet(1)] {
        let training = consistency(9, 4);
        let whole = train::<ImageTraining>(&training, &model, 1, &[]);
        assert_ne!(whole.state, weights::state(&model), "nothing is learnt");
        assert_eq!(train(&training, &model, 3, &[1, 2]), whole);
    }
}

#[test]
fn consistency_without_augmentations_is_an_error() {
    let training = ImageTraining { policy: None, ..consistency(6, 6) };
    let Err(error) = training.epoch(0, 0) else { panic!("accepted") };
    assert!(error.to_string().contains("policy"), "{error}");
}
