//! Training both towers of a CLIP: exact resume, who learns, and the terms of CaRot and Lipsum-FT.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use robustify_data::Job;
use robustify_distill::captions::MOST_SCALE;
use robustify_distill::carot::{CarotTraining, SelfDistilled, penalties, self_distillation};
use robustify_distill::contrastive::Duplicates;
use robustify_distill::lipsum::{LipsumTraining, TunedTower, guidance};
use robustify_distill::{CaptionBatches, CaptionTraining, Captioned, ImageTraining};
use robustify_rng::Key;
use robustify_zoo::clip::{Clip, ClipConfig, TextMatrix};
use robustify_zoo::weights::{self, Entry};

use crate::common::{flex, gradients, images, stirred, train};
use crate::training::assert_same_bits;

fn clip() -> Clip {
    let config = ClipConfig::from_open_clip(
        r#"{"embed_dim": 6, "vision_cfg": {"image_size": 16, "layers": 1, "width": 8, "patch_size": 8, "head_width": 4},
            "text_cfg": {"context_length": 6, "vocab_size": 9, "width": 8, "heads": 2, "layers": 1}}"#,
    );
    stirred(Clip::new(&config.unwrap(), 1, &flex()).unwrap())
}

/// Noise with captions of two words; two captions of three are the same.
fn item(epoch: usize) -> Job<Captioned> {
    Arc::new(move |index, _| {
        let mut stream = Key::new(epoch as u64, "pixels").with(index as u64).stream();
        let word = (index % 3) as u32;
        let ids = vec![7, 1 + word, 8, 0];
        Ok(Captioned { pixels: (0..3 * 16 * 16).map(|_| stream.unit() as f32).collect(), ids, meaning: word.into() })
    })
}

fn batches() -> CaptionBatches<'static> {
    CaptionBatches {
        items: &item,
        images: 10,
        batch_size: 6,
        group_rows: 3,
        image_size: 16,
        seed: 1,
        loader_threads: 2,
        device: flex(),
    }
}

fn carot() -> CarotTraining<'static> {
    CarotTraining {
        batches: batches(),
        duplicates: Duplicates::Negatives,
        epochs: 2,
        orthogonality: 0.2,
        correlation: 0.05,
        distillation: 1.5,
        teacher_every: 2,
        momentum: [0.05, 0.9],
        momentum_warmup: 0.2,
    }
}

fn lipsum(zero_shot: &Clip) -> LipsumTraining<'_> {
    let images = ImageTraining {
        images: images(10),
        preprocess: "normalize(half)".parse().unwrap(),
        own: "normalize(half)".parse().unwrap(),
        clean_view: "identity".parse().unwrap(),
        policy: None,
        jsd_weight: None,
        batch_size: 6,
        shard_rows: 3,
        norm_rows: None,
        freeze_norm: true,
        body_rate_scale: 1.0,
        label_smoothing: 0.0,
        seed: 1,
        loader_threads: 2,
        device: flex(),
    };
    LipsumTraining { images, zero_shot, vocabulary: 9, texts: 5, tokens: 3, weight: 1.0 }
}

fn tuned_tower(clip: &Clip, tuned: bool) -> TunedTower {
    let values = (0..4 * 6).map(|place| (place as f32).sin()).collect();
    let texts = TextMatrix { rows: Entry { shape: vec![4, 6], values }, logit_scale: 1.0 };
    TunedTower::new(clip.visual.clone(), &texts, tuned, &flex())
}

#[test]
fn towers_continue_to_the_same_bits_on_any_number_of_threads() {
    let (clip, device) = (clip(), flex());
    let contrast = CaptionTraining {
        batches: batches(),
        duplicates: Duplicates::Shared,
        most_scale: Some(MOST_SCALE),
        freeze_norm: false,
        decay_scale: false,
    };
    assert_same_bits("contrast", &contrast, &clip);
    assert_same_bits("carot", &carot(), &SelfDistilled::new(&clip, &device));
    assert_same_bits("lipsum", &lipsum(&clip), &tuned_tower(&clip, true));
}

#[test]
fn the_scale_stops_where_it_is_told_to() {
    let mut contrast = CaptionTraining {
        batches: batches(),
        duplicates: Duplicates::Shared,
        most_scale: Some(2.0),
        freeze_norm: false,
        decay_scale: false,
    };
    let scale = |training: &CaptionTraining<'_>| train(training, &clip(), 1, &[]).state["logit_scale"].values[0];
    assert!((scale(&contrast) - 2.0).abs() < 0.05, "{}", scale(&contrast));
    contrast.most_scale = None;
    assert!(scale(&contrast) > 2.5, "{}", scale(&contrast));
}

#[test]
fn carots_teacher_follows_and_takes_no_gradient() {
    let (clip, training) = (clip(), carot());
    let start = SelfDistilled::new(&clip, &flex());
    let end = train(&training, &start, 1, &[]).state;
    // Steps 0 and 2 move the teacher, by 95 % and then by 10 % of the way.
    assert_eq!(end["steps"].values, [4.0]);
    let (began, name) = (weights::state(&clip), "visual.head.weight");
    let (student, teacher) = (&end[&format!("student.{name}")], &end[&format!("teacher.{name}")]);
    assert!(*teacher != began[name] && student != teacher);
    let (reached, _) = gradients(&training, &start);
    assert!(!reached.is_empty() && reached.keys().all(|name| name.starts_with("student.")), "{:?}", reached.keys());
}

#[test]
fn carots_terms_are_its_formulas() {
    let tensor =
        |values: &[f32], shape: [usize; 2]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), &flex());
    // W^T W = [[2, 1], [1, 5]], and W_image W_text^T = [[1, 2], [1, 0], [0, 4]].
    let image = tensor(&[1.0, 1.0, 1.0, 0.0, 0.0, 2.0], [3, 2]);
    let wide = tensor(&[1.0, 0.0, 0.0, 2.0], [2, 2]);
    let [orthogonality, correlation] = penalties(image, wide).map(|norm| norm.into_scalar::<f32>());
    assert!((orthogonality - (1.0_f32 + 1.0 + 1.0 + 16.0).sqrt()).abs() < 1e-5, "{orthogonality}");
    assert!((correlation - (1.0_f32 + 4.0 + 1.0 + 16.0).sqrt()).abs() < 1e-5, "{correlation}");
    // Two pairs of which nothing is known: two cross-entropies of ln 2.
    let nothing = tensor(&[0.0; 4], [2, 2]);
    let said = self_distillation(nothing.clone(), nothing).into_scalar::<f32>();
    assert!((said - 2.0 * 2.0_f32.ln()).abs() < 1e-6, "{said}");
}

#[test]
fn lipsums_guidance_is_half_the_mean_square_and_its_classes_learn_only_if_asked() {
    let tensor = |values: [f32; 4]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), [2, 2]), &flex());
    let value = guidance(tensor([1.0, 2.0, 3.0, 4.0]), tensor([1.0, 0.0, 3.0, 1.0])).into_scalar::<f32>();
    assert!((value - (4.0 + 9.0) / 4.0).abs() < 1e-6, "{value}");
    let clip = clip();
    let training = lipsum(&clip);
    for tuned in [true, false] {
        let (reached, loss) = gradients(&training, &tuned_tower(&clip, tuned));
        assert_eq!(reached.contains_key("classes"), tuned);
        // Before the first step the tower says of the random texts what it said before.
        let unguided = gradients(&LipsumTraining { weight: 0.0, ..lipsum(&clip) }, &tuned_tower(&clip, tuned)).1;
        assert!((loss - unguided).abs() < 1e-6, "{loss} against {unguided}");
    }
}
