//! What makes Robustify Robustify: which rows and teachers reach which head, and where every method begins.

use burn::module::Module;
use burn::tensor::Tensor;
use robustify_distill::losses;
use robustify_distill::trainer::Objective;
use robustify_distill::{
    Apt, CachedPairs, CombinedTeacher, DistillError, Probe, Robustify, Teacher, TuningConfig, ViewCache,
};
use robustify_select::{OneHead, SplitConfig, ThreeHeads};
use robustify_zoo::weights::{self, State};
use robustify_zoo::{Model, Pass};

use crate::common::{CLASSES, Cached, difference, flex, gradients, resnet, stirred, train, tuning, vit};

/// Models with the splits that they are used with, `[shared_blocks, head_blocks]`.
fn splits() -> Vec<(Model, [usize; 2])> {
    let vit = stirred(vit(1));
    let resnet = stirred(resnet(1));
    vec![
        (vit.clone(), [0, 0]),
        (vit.clone(), [0, 1]),
        (vit.clone(), [1, 0]),
        (vit.clone(), [1, 1]),
        (vit, [2, 1]),
        (resnet.clone(), [1, 0]),
        (resnet, [1, 1]),
    ]
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn part(state: &State, prefix: &str) -> State {
    state
        .iter()
        .filter(|(name, _)| name.starts_with(prefix))
        .map(|(name, entry)| (name.clone(), entry.clone()))
        .collect()
}

fn is_zero(state: &State) -> bool {
    assert!(!state.is_empty());
    state.values().all(|entry| entry.values.iter().all(|&value| value == 0.0))
}

#[test]
fn every_head_begins_as_the_original() {
    for (model, split) in splits() {
        let cached = Cached::new(model, split, 2);
        let rows: Vec<usize> = (0..32).collect();
        let features = cached.cache.features(&rows, &flex());
        let heads = ThreeHeads::new(&cached.original, cached.split).unwrap();
        let logits = heads.forward(features.clone(), 1, &Pass::eval()).map(values);
        let apt = values(OneHead::new(&cached.original, cached.split).unwrap().forward(features, &Pass::eval()));
        assert!(logits.iter().all(|head| *head == logits[0]), "{split:?}: the heads differ");
        assert!(apt.iter().zip(&logits[0]).all(|(a, b)| (a - b).abs() < 1e-5), "{split:?}: APT begins elsewhere");
        let largest = cached.logits[0].iter().fold(0.0_f32, |max, logit| max.max(logit.abs()));
        assert!(largest > 0.3, "{split:?}: logits say nothing: {largest}");
        for (ours, original) in logits[0].iter().zip(&cached.logits[0]) {
            // Features have eleven significant bits.
            assert!((ours - original).abs() < 4e-3 * largest, "{split:?}: {ours}, the original says {original}");
        }
    }
}

#[test]
fn every_split_learns_and_leaves_the_original_alone() {
    let device = flex();
    for (model, split) in splits() {
        let (name, config) = (format!("{split:?}"), TuningConfig { dropout: 0.1, ..tuning() });
        let cached = Cached::new(model, split, 2);
        let before = weights::to_bytes(&weights::state(&cached.original));
        let heads = ThreeHeads::new(&cached.original, cached.split).unwrap();
        let robustify = Robustify(cached.pairs(&config, 4, &device));
        let start = weights::state(&heads);
        let end = train(&robustify, &heads, 2, &[]);
        assert!(end.history[1].loss < end.history[0].loss, "{name}: {:?}", end.history);
        for (parameter, entry) in &start {
            let statistics = parameter.contains("running_");
            // Every parameter moves, and the statistics of frozen BatchNorm layers do not.
            assert_eq!(end.state[parameter] == *entry, statistics, "{name}: {parameter}");
        }
        let head = OneHead::new(&cached.original, cached.split).unwrap();
        let tuned = train(&Apt(cached.pairs(&config, 4, &device)), &head, 2, &[]);
        assert!(tuned.history[1].loss < tuned.history[0].loss, "{name}: {:?}", tuned.history);
        assert!(before == weights::to_bytes(&weights::state(&cached.original)), "{name}: the original changed");
    }
}

#[test]
fn both_methods_step_the_shared_part_at_its_own_rate() {
    let (device, config) = (flex(), TuningConfig { shared_rate_scale: 0.0, ..tuning() });
    let cached = Cached::new(stirred(vit(1)), [1, 1], 2);
    let heads = ThreeHeads::new(&cached.original, cached.split).unwrap();
    let head = OneHead::new(&cached.original, cached.split).unwrap();
    let robustify = train(&Robustify(cached.pairs(&config, 4, &device)), &heads, 2, &[]).state;
    let apt = train(&Apt(cached.pairs(&config, 4, &device)), &head, 2, &[]).state;
    for (name, start, end) in [("robustify", weights::state(&heads), robustify), ("apt", weights::state(&head), apt)] {
        assert!(!part(&start, "shared.").is_empty(), "{name} has no shared part");
        for (parameter, entry) in &start {
            assert_eq!(end[parameter] == *entry, parameter.starts_with("shared."), "{name}: {parameter}");
        }
    }
}

#[test]
fn a_probe_moves_every_classifier_and_nothing_else() {
    let config = r#"{"architecture": "vit", "image_size": 16, "patch_size": 8, "width": 12, "depth": 1, "heads": 2,
                     "distilled": true, "classes": 7}"#;
    let device = flex();
    let model = Model::new(&serde_json::from_str(config).unwrap(), 1, &device).unwrap();
    let cached = Cached::new(model.with_classifier(CLASSES, &device), [0, 0], 2);
    let fresh = OneHead::new(&cached.original, cached.split).unwrap();
    let probe = Probe { cache: &cached.cache, batch_size: 16, shard_rows: 8, seed: 1, device: &device };
    let (start, end) = (weights::state(&fresh), train(&probe, &fresh, 1, &[]).state);
    let moved: Vec<&str> = start.keys().filter(|name| end[*name] != start[*name]).map(String::as_str).collect();
    assert_eq!(moved, ["tail.head.bias", "tail.head.weight", "tail.head_dist.bias", "tail.head_dist.weight"]);
    assert!(start.len() > moved.len(), "nothing that could stay: {:?}", start.keys());
}

/// Gradients on a cache whose rows of views `changed` are others.
fn with_changed(cached: &Cached, config: &TuningConfig, heads: &ThreeHeads, changed: impl Fn(usize) -> bool) -> State {
    let cache = cached.with_other_rows(changed);
    gradients(&Robustify(CachedPairs { cache: &cache, config, shard_pairs: 3, device: &flex() }), heads).0
}

#[test]
fn a_head_learns_from_its_own_rows_alone() {
    let config = tuning();
    let cached = Cached::new(stirred(vit(1)), [0, 1], 2);
    let heads = ThreeHeads::new(&cached.original, cached.split).unwrap();
    let base = gradients(&Robustify(cached.pairs(&config, 3, &flex())), &heads).0;
    let is_clean = |view: usize| view < cached.spec.clean;
    let other_clean = with_changed(&cached, &config, &heads, is_clean);
    let other_augmented = with_changed(&cached, &config, &heads, |view| !is_clean(view));
    for (head, by_clean, by_augmented) in [("clean.", true, false), ("combined.", true, true), ("robust.", false, true)]
    {
        assert_eq!(part(&base, head) != part(&other_clean, head), by_clean, "{head} and clean rows");
        assert_eq!(part(&base, head) != part(&other_augmented, head), by_augmented, "{head} and augmented rows");
    }
}

#[test]
fn a_heads_weight_scales_its_loss_alone() {
    let cached = Cached::new(stirred(vit(1)), [1, 0], 2);
    let heads = ThreeHeads::new(&cached.original, cached.split).unwrap();
    let mut shared = Vec::new();
    for (index, name) in ["clean.", "combined.", "robust."].into_iter().enumerate() {
        let mut head_weights = [0.0; 3];
        head_weights[index] = 1.0;
        let config = TuningConfig { head_weights, ..tuning() };
        let (state, _) = gradients(&Robustify(cached.pairs(&config, 3, &flex())), &heads);
        for head in ["clean.", "combined.", "robust."] {
            assert_eq!(is_zero(&part(&state, head)), head != name, "{head} when only {name} has weight");
        }
        shared.push(part(&state, "shared."));
        assert!(!is_zero(&shared[index]), "{name} does not reach the shared part");
    }
    let (all, _) = gradients(&Robustify(cached.pairs(&tuning(), 3, &flex())), &heads);
    let mut sum = shared.pop().unwrap();
    for other in shared {
        for (name, entry) in &mut sum {
            entry.values.iter_mut().zip(&other[name].values).for_each(|(sum, value)| *sum += value);
        }
    }
    let difference = difference(&sum, &part(&all, "shared."));
    assert!(difference < 1e-5, "the shared part's gradient is not the sum over the heads: {difference}");
}

/// All pairs in one batch; with one clean view an image, which pairs they are does not depend on any order.
fn one_batch(config: TuningConfig) -> TuningConfig {
    TuningConfig { pairs: 16, dropout: 0.0, ..config }
}

/// The loss by its definition: mean over the rows of a batch, teachers `[clean, combined on clean, combined on augmented,
/// robust]` as weights of the original and of the robust teacher.
fn by_definition(cached: &Cached, heads: &ThreeHeads, config: &TuningConfig, teachers: [[f64; 2]; 4]) -> f64 {
    let device = flex();
    let cache: &ViewCache = &cached.cache;
    let augmented: Vec<usize> = cache.augmented_rows().collect();
    let clean: Vec<usize> = augmented.iter().map(|row| row / cache.views() * cache.views()).collect();
    let logits =
        |head: usize, rows: &[usize]| heads.forward(cache.features(rows, &device), 1, &Pass::eval())[head].clone();
    let mut total = 0.0;
    for (index, (head, rows)) in [(0, &clean), (1, &clean), (1, &augmented), (2, &augmented)].into_iter().enumerate() {
        let labels: Vec<usize> = rows.iter().map(|row| cache.labels[row / cache.views()]).collect();
        let labels = robustify_data::batch::labels(&labels, &device);
        total += config.ce_weight * f64::from(losses::cross_entropy(logits(head, rows), labels).into_scalar::<f32>());
        for (all, weight) in cached.logits.iter().zip(teachers[index]) {
            let values: Vec<f32> =
                rows.iter().flat_map(|row| &all[row * CLASSES..(row + 1) * CLASSES]).copied().collect();
            let teacher = Tensor::<1>::from_data(values.as_slice(), &device).reshape([rows.len(), CLASSES]);
            let kd = losses::distillation(logits(head, rows), teacher, config.temperature).into_scalar::<f32>();
            total += config.kd_weight * weight * f64::from(kd);
        }
    }
    // The two weights are divided by their sum.
    total / (config.ce_weight + config.kd_weight) / (clean.len() + augmented.len()) as f64
}

#[test]
fn the_loss_is_its_definition_for_every_teacher_of_the_combined_head() {
    use CombinedTeacher::{Matched, Mean, None, Original, Robust};
    let cached = Cached::new(stirred(vit(1)), [1, 1], 1);
    let heads = stirred(ThreeHeads::new(&cached.original, cached.split).unwrap());
    let (original, robust) = ([1.0, 0.0], [0.0, 1.0]);
    let cases = [
        (Matched, original, robust),
        (Robust, robust, robust),
        (Original, original, original),
        (Mean, [0.5; 2], [0.5; 2]),
        (None, [0.0; 2], [0.0; 2]),
    ];
    let mut losses = Vec::new();
    for (combined_teacher, on_clean, on_augmented) in cases {
        let config = one_batch(TuningConfig { combined_teacher, kd_weight: 0.7, ce_weight: 0.4, ..tuning() });
        let (_, loss) = gradients(&Robustify(cached.pairs(&config, 5, &flex())), &heads);
        let expected = by_definition(&cached, &heads, &config, [original, on_clean, on_augmented, robust]);
        assert!((loss - expected).abs() < 1e-5 * expected, "{combined_teacher:?}: {loss} against {expected}");
        losses.push(loss);
    }
    assert!(
        (1..losses.len()).all(|index| (losses[index] - losses[0]).abs() > 1e-4),
        "teachers change nothing: {losses:?}"
    );
}

#[test]
fn the_original_as_teacher_goes_by_its_former_name_too() {
    let read = |name: &str| serde_json::from_value::<CombinedTeacher>(serde_json::json!(name)).unwrap();
    assert_eq!([read("original"), read("initial")], [CombinedTeacher::Original; 2]);
    assert_eq!(serde_json::json!(CombinedTeacher::Original), "original");
}

#[test]
fn leaving_distillation_out_keeps_the_scale_of_the_loss() {
    let cached = Cached::new(stirred(vit(1)), [0, 1], 1);
    let heads = ThreeHeads::new(&cached.original, cached.split).unwrap();
    let without = |ce_weight: f64| {
        let config = one_batch(TuningConfig { ce_weight, kd_weight: 0.0, ..tuning() });
        gradients(&Robustify(cached.pairs(&config, 5, &flex())), &heads)
    };
    assert_eq!(without(0.1), without(1.0));
    // Weights of sum one stay as they are, to the bit.
    for weights in [[0.1, 0.9], [0.5, 0.5]] {
        let [ce_weight, kd_weight] = weights;
        assert_eq!(TuningConfig { ce_weight, kd_weight, ..tuning() }.loss_weights(), weights);
    }
}

#[test]
fn only_a_method_that_is_taught_needs_teachers() {
    let (device, config) = (flex(), tuning());
    let mut cached = Cached::new(stirred(vit(1)), [0, 1], 1);
    let heads = ThreeHeads::new(&cached.original, cached.split).unwrap();
    let shard = |cached: &Cached| {
        let robustify = Robustify(cached.pairs(&config, 4, &device));
        let shard = robustify.epoch(0, 0).unwrap().next_batch().unwrap().unwrap().remove(0);
        robustify.loss(&heads.clone().train(), shard).map(|outcome| outcome.rows)
    };
    assert_eq!(shard(&cached).unwrap(), 8);
    cached.cache = cached.with_teachers(&[(Teacher::Original, cached.logits[0].clone())]).unwrap();
    let error = shard(&cached).unwrap_err();
    assert!(matches!(error, DistillError::NoTeacher(Teacher::Robust)), "{error:?}");
    assert!(error.to_string().contains("no logits of the robust teacher"), "{error}");
    assert!(cached.cache.teacher_accuracy(Teacher::Robust, 0..4).is_err());

    cached.cache = cached.with_teachers(&[]).unwrap();
    let head = OneHead::new(&cached.original, cached.split).unwrap();
    train(&Apt(cached.pairs(&config, 4, &device)), &head, 1, &[]);
}

#[test]
fn teachers_of_other_classes_or_views_are_refused() {
    let cached = Cached::new(stirred(vit(1)), [0, 1], 1);
    let [original, robust] = &cached.logits;
    let refusal = |robust: &[f32]| {
        let said = [(Teacher::Original, original.clone()), (Teacher::Robust, robust.to_vec())];
        cached.with_teachers(&said).err().expect("accepted").to_string()
    };
    let said = refusal(&robust[..robust.len() / 2]);
    let [of_original, of_robust] = [original.len(), robust.len() / 2];
    assert!(
        said.contains(&format!("{of_original} of the original model and {of_robust} of the robust teacher")),
        "{said}"
    );
    assert!(cached.with_teachers(&[(Teacher::Robust, robust[..robust.len() / 4].to_vec())]).is_err(), "labels beyond");
}

#[test]
fn without_distillation_the_teachers_do_not_matter() {
    let config = one_batch(TuningConfig { kd_weight: 0.0, ..tuning() });
    let cached = Cached::new(stirred(vit(1)), [0, 1], 1);
    let heads = ThreeHeads::new(&cached.original, cached.split).unwrap();
    let (state, loss) = gradients(&Robustify(cached.pairs(&config, 5, &flex())), &heads);
    let expected = by_definition(&cached, &heads, &config, [[0.0; 2]; 4]);
    assert!((loss - expected).abs() < 1e-5 * expected, "{loss} against {expected}");
    let mut untaught = Cached::new(stirred(vit(1)), [0, 1], 1);
    untaught.cache = untaught.untaught();
    assert_eq!(gradients(&Robustify(untaught.pairs(&config, 5, &flex())), &heads).0, state);
}

#[test]
fn only_as_many_blocks_as_there_are_can_be_tuned() {
    let split = SplitConfig { shared_blocks: 3, head_blocks: 1, dropout_from: robustify_select::DropoutFrom::Shared };
    assert!(ThreeHeads::new(&vit(1), split).is_err());
    assert!(OneHead::new(&resnet(1), split).is_err());
}
