//! Pairs that are made anew in every epoch: the losses of cached ones, other views each time, and the same bits whatever happens.

use robustify_distill::pairs::View::{Augmented, Clean};
use robustify_distill::trainer::Objective;
use robustify_distill::{Apt, DistillError, FreshPairs, Pairs, Precision, Robustify, Teacher, TuningConfig, ViewSpec};
use robustify_select::{OneHead, ThreeHeads};

use crate::common::{Cached, difference, flex, gradients, resnet, small_teacher, stirred, train, tuning, vit};

#[test]
fn on_views_that_never_change_it_is_the_cached_objective() {
    let (device, config, teacher) = (flex(), tuning(), small_teacher());
    // An augmentation that leaves images as they are, and features that are not rounded: both have the same rows.
    let spec = ViewSpec {
        policy: "random_erasing(probability=0)".parse().unwrap(),
        clean_view: "identity".parse().unwrap(),
        precision: Precision::F32,
        ..Cached::new(vit(1), [0, 0], 1).spec
    };
    for (model, split) in [(vit(1), [1, 1]), (resnet(1), [0, 1])] {
        let cached = Cached::of(stirred(model), split, spec.clone());
        let heads = stirred(ThreeHeads::new(&cached.original, cached.split).unwrap());
        let (from_file, loss) = gradients(&Robustify(cached.pairs(&config, 3, &device)), &heads);
        let (anew, fresh_loss) = gradients(&Robustify(cached.fresh(&teacher, &config, 3, &device)), &heads);
        assert!((loss - fresh_loss).abs() < 1e-5 * loss, "{loss} from the cache, {fresh_loss} anew");
        let off = difference(&anew, &from_file);
        assert!(off < 1e-4, "{split:?}: gradients differ by {off}");
    }
}

/// Features of the augmented rows of an epoch's only batch.
fn augmented_rows(pairs: &FreshPairs<'_>, epoch: usize) -> Vec<Vec<f32>> {
    let mut shards = pairs.batches(epoch, 0, &[]).unwrap().next_batch().unwrap().unwrap();
    let features = pairs.shown(&shards.remove(0), &[]).unwrap().features.flatten();
    let [rows, width] = features.dims();
    let values = features.into_data().try_to_vec::<f32>().unwrap();
    values.chunks_exact(width).skip(rows / 2).map(<[f32]>::to_vec).collect()
}

#[test]
fn every_epoch_has_views_of_its_own_as_many_as_with_a_cache() {
    let (device, teacher) = (flex(), small_teacher());
    let (all, config) = (TuningConfig { pairs: 16, ..tuning() }, tuning());
    let cached = Cached::new(stirred(vit(1)), [0, 1], 2);
    let fresh = cached.fresh(&teacher, &all, 16, &device);
    let [first, again, second] = [0, 0, 1].map(|epoch| augmented_rows(&fresh, epoch));
    assert_eq!(first.len(), 16);
    assert!(first == again && first.iter().all(|row| !second.contains(row)), "views come back in another epoch");
    assert_eq!(cached.fresh(&teacher, &config, 3, &device).steps(), cached.pairs(&config, 3, &device).steps());
}

#[test]
fn threads_and_interruptions_change_no_bit() {
    let (device, config, teacher) = (flex(), tuning(), small_teacher());
    let cached = Cached::new(stirred(vit(1)), [1, 1], 2);
    let heads = ThreeHeads::new(&cached.original, cached.split).unwrap();
    let fresh =
        |loader_threads: usize| Robustify(FreshPairs { loader_threads, ..cached.fresh(&teacher, &config, 2, &device) });
    let whole = train(&fresh(3), &heads, 2, &[]);
    assert!(whole.history[1].loss < whole.history[0].loss, "{:?}", whole.history);
    assert_eq!(train(&fresh(0), &heads, 1, &[1, 3]), whole);

    let head = OneHead::new(&cached.original, cached.split).unwrap();
    let apt = || Apt(FreshPairs { teacher: None, ..cached.fresh(&teacher, &config, 2, &device) });
    assert_eq!(train(&apt(), &head, 2, &[]), train(&apt(), &head, 1, &[2]));
}

#[test]
fn a_teacher_is_asked_about_the_rows_that_it_teaches_alone() {
    let (device, config, teacher) = (flex(), tuning(), small_teacher());
    let cached = Cached::new(stirred(vit(1)), [0, 1], 2);
    let fresh = cached.fresh(&teacher, &config, 8, &device);
    let wanted = [(Teacher::Robust, Augmented)];
    let shard = fresh.batches(0, 0, &wanted).unwrap().next_batch().unwrap().unwrap().remove(0);
    let said = fresh.shown(&shard, &wanted).unwrap().said;
    assert_eq!(said.by(Teacher::Robust, Augmented).unwrap().dims(), [6, 4]);
    let refusal = said.by(Teacher::Robust, Clean).unwrap_err();
    assert!(matches!(refusal, DistillError::NoTeacher(Teacher::Robust)), "{refusal}");

    let untaught = Robustify(FreshPairs { teacher: None, ..cached.fresh(&teacher, &config, 8, &device) });
    let heads = ThreeHeads::new(&cached.original, cached.split).unwrap();
    let shard = untaught.epoch(0, 0).unwrap().next_batch().unwrap().unwrap().remove(0);
    assert!(matches!(untaught.loss(&heads, shard), Err(DistillError::NoTeacher(Teacher::Robust))));
}
