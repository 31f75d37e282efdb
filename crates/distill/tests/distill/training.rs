//! The trainer: it learns, continues to the same bits, and no number of threads or shards changes what it does.

use burn::module::Module;
use burn::tensor::Device;
use image::RgbImage;
use robustify_augment::{CutMix, MixUp};
use robustify_data::{Preprocess, epoch_order};
use robustify_device::Workers;
use robustify_distill::LayerDecay;
use robustify_distill::feature::{FeatureSchedule, drop_path_rates};
use robustify_distill::recipe::{FineTuned, FineTuning, Mixing};
use robustify_distill::trainer::{self, Objective};
use robustify_distill::{Apt, ImageTraining, Precision, Robustify, ViewSpec};
use robustify_rng::Key;
use robustify_select::{OneHead, ThreeHeads};
use robustify_zoo::weights;
use robustify_zoo::{Model, Pass};

use crate::common::{
    CLASSES, Cached, Watcher, difference, flex, gradients, images, plan, resnet, stirred, train, tuning, vit,
};

pub fn image_training(
    policy: Option<&str>,
    batch_size: usize,
    shard_rows: usize,
    loader_threads: usize,
) -> ImageTraining {
    ImageTraining {
        images: images(8),
        preprocess: "".parse().unwrap(),
        own: "normalize(half)".parse().unwrap(),
        clean_view: if policy.is_some() { "random_crop(16,2)+hflip" } else { "identity" }.parse().unwrap(),
        policy: policy.map(|policy| policy.parse().unwrap()),
        jsd_weight: None,
        batch_size,
        shard_rows,
        norm_rows: Some(shard_rows),
        freeze_norm: false,
        body_rate_scale: 1.0,
        label_smoothing: 0.1,
        seed: 1,
        loader_threads,
        device: flex(),
    }
}

#[test]
fn the_recipe_of_large_encoders_learns_and_goes_on_after_a_break() {
    let config = robustify_zoo::ModelConfig::Vit(robustify_zoo::vit::VitConfig {
        mlp_ratio: 2.0,
        ..robustify_zoo::vit::VitConfig::student(16, 8, 12, 2, 2)
    });
    let student = Model::new(&config, 1, &flex()).unwrap().fine_tuning_form(16, CLASSES, 1, &flex()).unwrap();
    let recipe = |shard_rows: usize, mixing: Mixing| FineTuning {
        images: image_training(None, 8, shard_rows, 1),
        classes: CLASSES,
        layers: Some(LayerDecay::new(0.8, &student.config())),
        drop_path: drop_path_rates(&student, 0.2),
        mixing,
        schedule: FeatureSchedule { warmup_rate: 1e-3, least_rate: 1e-3, factor: 1.0 },
        average: 0.5,
    };
    let both = Mixing { mixup: Some(MixUp::default()), cutmix: Some(CutMix::default()) };
    let fresh = FineTuned::new(student.clone(), true);
    let whole = train(&recipe(3, both), &fresh, 1, &[]);
    assert_eq!(train(&recipe(3, both), &fresh, 2, &[1]), whole, "interrupted, on two threads");
    // The mean is on its way from the start to what is trained, and gradients reach the latter alone.
    let name = "blocks.0.mlp.fc1.weight";
    let [trained, mean] = ["model", "average"].map(|part| &whole.state[&format!("{part}.{name}")].values);
    assert_ne!(trained, mean);
    let found = gradients(&recipe(3, both), &fresh).0;
    assert!(found.keys().all(|name| name.starts_with("model.")) && found.contains_key("model.fc_norm.weight"));
    // Neither does it matter how a batch is cut: whole batches are mixed.
    let [of_three, of_eight] = [3, 8].map(|rows| gradients(&recipe(rows, both), &fresh).1);
    assert!((of_three - of_eight).abs() < 1e-5, "{of_three} and {of_eight}");
}

#[test]
fn eight_images_are_learnt_by_heart() {
    for fresh in [vit(1), resnet(1)] {
        let training = image_training(None, 8, 4, 1);
        let folder = tempfile::TempDir::new().unwrap();
        let mut plan = plan(60, &folder.path().join("checkpoint.safetensors"));
        plan.optimizer.learning_rate = 0.02;
        let workers = Workers::new(2).unwrap();
        let (model, history) = trainer::train(&training, fresh, &plan, &workers, &flex(), &Watcher::default()).unwrap();
        assert_eq!(history.len(), 60);
        assert!(history[0].accuracy < 0.9 && history[0].loss > 1.0, "nothing to learn: {:?}", history[0]);
        assert_eq!(history[59].accuracy, 1.0, "{:?}", history[59]);
        // Running statistics and all: the model as it will be used.
        assert_eq!(right(&model, &training, &flex()), 8);
    }
}

#[test]
fn images_of_another_size_are_an_error() {
    let training = ImageTraining { preprocess: "center_crop(8)".parse().unwrap(), ..image_training(None, 8, 4, 1) };
    let folder = tempfile::TempDir::new().unwrap();
    let plan = plan(1, &folder.path().join("checkpoint.safetensors"));
    let workers = Workers::new(2).unwrap();
    let result = trainer::train(&training, vit(1), &plan, &workers, &flex(), &Watcher::default());
    let Err(error) = result else { panic!("rows of 8x8 trained a model of 16x16") };
    let said = error.to_string();
    assert!(said.contains("3x16x16") && said.contains("192 values"), "{said}");
}

/// The first image of a batch, as [`ImageTraining`] hands it to the model, against `expected` of its pixels.
fn assert_rows(training: &ImageTraining, expected: impl Fn(&RgbImage, u64) -> [RgbImage; 2]) {
    let first = epoch_order(8, training.seed, 0)[0];
    let shards = training.epoch(0, 0).unwrap().next_batch().unwrap().unwrap();
    let sample = training.images.get(first).unwrap();
    let rows = expected(&sample.image, sample.id);
    for (pixels, image) in shards[0].pixels().iter().zip(rows) {
        let mut values = vec![0.0; pixels.len()];
        training.own.write_chw(&image, &mut values).unwrap();
        assert_eq!(*pixels, values);
    }
}

#[test]
fn a_teacher_with_a_size_of_its_own_learns_from_the_views_that_it_will_be_asked_about() {
    let training = ImageTraining {
        preprocess: "resize(32,32)|normalize(imagenet)".parse().unwrap(),
        own: "resize(16,16)|normalize(half)".parse().unwrap(),
        clean_view: "random_crop(32,4)+hflip".parse().unwrap(),
        ..image_training(Some("rand_conv"), 8, 8, 0)
    };
    assert_rows(&training, |image, id| {
        let large = training.preprocess.pixels(image).unwrap();
        let key = |purpose| Key::new(training.seed, purpose).with(0).with(id);
        let view = |purpose| training.clean_view.apply(&large, key(purpose)).unwrap();
        let augmented = training.policy.as_ref().unwrap().apply(&view("augmented view"), key("augmentation"));
        // At the large size until the very end.
        [view("clean view"), augmented].map(|view| training.own.pixels(&view).unwrap())
    });
}

#[test]
fn an_image_that_does_not_fit_is_named() {
    let preprocess: Preprocess = "center_crop(20)".parse().unwrap();
    let training = ImageTraining { preprocess: preprocess.clone(), ..image_training(None, 8, 4, 1) };
    let first = epoch_order(8, training.seed, 0)[0];
    let Err(error) = training.epoch(0, 0).unwrap().next_batch() else { panic!("20x20 cut out of 16x16") };
    assert!(error.to_string().starts_with(&format!("noise[{first}]: center_crop to 20x20")), "{error}");

    let spec = ViewSpec {
        preprocess,
        clean_view: "identity".parse().unwrap(),
        policy: "rand_conv".parse().unwrap(),
        clean: 2,
        augmented: 1,
        seed: 1,
        precision: Precision::F16,
    };
    let error = spec.pixels(&images(8), 5, 0).unwrap_err();
    assert!(error.to_string().starts_with("noise[5]: center_crop to 20x20"), "{error}");
    let spec = ViewSpec {
        preprocess: "normalize(half)".parse().unwrap(),
        clean_view: "random_crop(20)".parse().unwrap(),
        ..spec
    };
    let error = spec.pixels(&images(8), 5, 1).unwrap_err();
    assert!(error.to_string().starts_with("noise[5]: random_crop"), "{error}");
}

fn right(model: &Model, training: &ImageTraining, device: &Device) -> usize {
    let mut rows = Vec::new();
    let mut labels = Vec::new();
    for index in 0..training.images.len() {
        let sample = training.images.get(index).unwrap();
        let mut row = vec![0.0; 3 * 16 * 16];
        training.own.write_chw(&sample.image, &mut row).unwrap();
        rows.push(row);
        labels.push(sample.label);
    }
    let logits = model.forward(robustify_data::batch::images(&rows, [3, 16, 16], device).unwrap(), &Pass::eval());
    robustify_distill::losses::right(&logits, &robustify_data::batch::labels(&labels, device))
}

#[test]
fn batch_norm_sees_the_same_rows_on_every_backend() {
    let training = |shard_rows, norm_rows| {
        let norm_rows = Some(norm_rows);
        ImageTraining { shard_rows, norm_rows, ..image_training(Some("rand_conv"), 8, 1, 0) }
    };
    let fresh = resnet(1);
    let whole = train(&training(usize::MAX, 4), &fresh, 1, &[]);
    assert_eq!(
        train(&training(2, 4), &fresh, 2, &[]),
        whole,
        "the rows that suit a backend change what BatchNorm sees"
    );
    assert_ne!(train(&training(usize::MAX, 2), &fresh, 1, &[]), whole, "norm_rows changes nothing");

    // What it normalises together must be said, unless there is nothing to say it for.
    let unsaid = ImageTraining { norm_rows: None, ..training(4, 4) };
    let loss = |model: &Model| {
        let shard = unsaid.epoch(0, 0).unwrap().next_batch().unwrap().unwrap().remove(0);
        unsaid.loss(&model.clone().train(), shard).map(|outcome| outcome.rows)
    };
    assert!(loss(&fresh).unwrap_err().to_string().contains("norm_rows"));
    assert_eq!(loss(&vit(1)).unwrap(), 4);
}

/// The parameters that a training from `model` moves, by name.
fn moved(training: &ImageTraining, model: &Model) -> Vec<String> {
    let (start, end) = (weights::state(model), train(training, model, 1, &[]).state);
    start.keys().filter(|name| end[*name] != start[*name]).cloned().collect()
}

#[test]
fn a_given_model_is_fine_tuned_with_frozen_statistics_or_the_classifier_alone() {
    let device = flex();
    for given in [stirred(resnet(1)), stirred(vit(1))] {
        let classifier = |name: &str| name.starts_with("fc.") || name.starts_with("head.");
        let tuned = moved(&image_training(Some("rand_conv"), 8, 4, 0), &given);
        assert_eq!(tuned, weights::state(&given).into_keys().collect::<Vec<_>>(), "something does not learn");

        let frozen = ImageTraining { freeze_norm: true, norm_rows: None, ..image_training(Some("rand_conv"), 8, 4, 0) };
        let parameters: Vec<String> = tuned.iter().filter(|name| !name.contains("running_")).cloned().collect();
        assert_eq!(moved(&frozen, &given), parameters);
        // The forward is the one of evaluation.
        let shard = frozen.epoch(0, 0).unwrap().next_batch().unwrap().unwrap().remove(0);
        let images = robustify_data::batch::images(shard.pixels(), [3, 16, 16], &device).unwrap();
        let labels = robustify_data::batch::labels(shard.labels(), &device);
        let logits = given.forward(images, &Pass::eval());
        let expected =
            robustify_distill::losses::smoothed_cross_entropy(logits, labels, 0.1).into_scalar::<f32>() / 8.0;
        let loss = frozen.loss(&given.clone().train(), shard).unwrap().loss.into_scalar::<f32>();
        assert!((loss - expected).abs() < 1e-5, "{loss}, in evaluation {expected}");

        let probe = ImageTraining { body_rate_scale: 0.0, freeze_norm: true, ..image_training(None, 8, 4, 0) };
        let new = given.with_classifier(3 + CLASSES, &device);
        let expected: Vec<String> = weights::state(&new).into_keys().filter(|name| classifier(name)).collect();
        assert_eq!(moved(&probe, &new), expected);
    }
}

#[test]
fn the_bodys_rate_is_a_factor() {
    let group = |name: &str| ImageTraining { body_rate_scale: 0.1, ..image_training(None, 8, 4, 0) }.group(name, 2);
    assert_eq!(group("blocks.0.attn.qkv.weight").rate_scale, 0.1);
    for classifier in ["head.weight", "head_dist.weight", "fc.weight", "head.fc.weight"] {
        assert_eq!(group(classifier).rate_scale, 1.0, "{classifier}");
    }
}

/// Trainings that break off, with other numbers of threads, against one that does not.
pub fn assert_same_bits<O: Objective>(name: &str, objective: &O, fresh: &O::Model) {
    let whole = train(objective, fresh, 1, &[]);
    assert_ne!(whole.state, weights::state(fresh), "{name} learns nothing");
    let epoch = objective.steps();
    assert!(epoch >= 2);
    let breaks: [&[usize]; 5] = [&[1], &[epoch], &[epoch + 1], &[2 * epoch], &[1, epoch, epoch - 1]];
    for (stops, threads) in breaks.into_iter().zip([1, 2, 3, 1, 2]) {
        let resumed = train(objective, fresh, threads, stops);
        assert_eq!(resumed.history, whole.history, "{name} interrupted after {stops:?}, {threads} threads");
        let bytes = [&resumed, &whole].map(|trained| weights::to_bytes(&trained.state));
        assert!(bytes[0] == bytes[1], "{name} interrupted after {stops:?}, {threads} threads");
    }
    for threads in [2, 3] {
        assert_eq!(train(objective, fresh, threads, &[]), whole, "{name} with {threads} threads");
    }
}

#[test]
fn image_training_continues_to_the_same_bits_on_any_number_of_threads() {
    for (name, fresh) in [("vit", vit(1)), ("resnet", resnet(1))] {
        let training = image_training(Some("rand_conv"), 6, 2, 2);
        assert_same_bits(name, &training, &fresh);
        // The threads that prepare images do not matter either.
        let other = image_training(Some("rand_conv"), 6, 2, 0);
        assert_eq!(train(&other, &fresh, 1, &[]), train(&training, &fresh, 1, &[1]), "{name}");
    }
}

#[test]
fn tuning_continues_to_the_same_bits_on_any_number_of_threads() {
    let (device, config) = (flex(), tuning());
    let cached = Cached::new(stirred(vit(1)), [1, 1], 2);
    let heads = ThreeHeads::new(&cached.original, cached.split).unwrap();
    assert_same_bits("robustify", &Robustify(cached.pairs(&config, 2, &device)), &heads);
    let head = OneHead::new(&cached.original, cached.split).unwrap();
    assert_same_bits("apt", &Apt(cached.pairs(&config, 2, &device)), &head);
}

#[test]
fn shards_add_up_to_the_batch() {
    const TOLERANCE: f32 = 1e-5;
    let (device, config) = (flex(), tuning());
    let cached = Cached::new(stirred(vit(1)), [1, 1], 2);
    let heads = ThreeHeads::new(&cached.original, cached.split).unwrap();
    let head = OneHead::new(&cached.original, cached.split).unwrap();
    let by_shards = |shard: usize| {
        let robustify = gradients(&Robustify(cached.pairs(&config, shard, &device)), &heads);
        let apt = gradients(&Apt(cached.pairs(&config, shard, &device)), &head);
        let images = gradients(&image_training(Some("rand_conv"), 6, shard, 0), &stirred(vit(2)));
        [robustify, apt, images]
    };
    let whole = by_shards(100);
    for shard in [1, 4] {
        for ((parts, part_loss), (whole, whole_loss)) in by_shards(shard).iter().zip(&whole) {
            assert!((part_loss - whole_loss).abs() < f64::from(TOLERANCE) * whole_loss.abs());
            let difference = difference(parts, whole);
            assert!(difference < TOLERANCE, "shards of {shard}: {difference}");
        }
    }
    // Compared by what the heads say, since Adam makes whole steps of the rounding in a gradient that is zero in truth, as that
    // of the bias of keys, which changes nothing.
    let features = cached.cache.features(&(0..32).collect::<Vec<_>>(), &device);
    let logits = [1, 4].map(|shard| {
        let end = train(&Robustify(cached.pairs(&config, shard, &device)), &heads, 1, &[]);
        let tuned = weights::with_state(heads.clone(), end.state).unwrap();
        let logits = tuned.forward(features.clone(), 1, &Pass::eval());
        logits.map(|head| head.into_data().try_to_vec::<f32>().unwrap()).concat()
    });
    let largest = |values: &mut dyn Iterator<Item = f32>| values.fold(0.0_f32, |max, value| max.max(value.abs()));
    let difference =
        largest(&mut logits[0].iter().zip(&logits[1]).map(|(a, b)| a - b)) / largest(&mut logits[0].iter().copied());
    assert!(difference < 1e-3, "after training: {difference}");
}
