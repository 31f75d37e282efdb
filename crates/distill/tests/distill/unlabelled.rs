//! Pre-training without labels.

use std::sync::Arc;

use robustify_data::{Images, MemorySet};
use robustify_distill::ImageTraining;
use robustify_distill::dino::{Dino, DinoPair, DinoSizes};
use robustify_distill::feature::{
    self, FeatureDistillation, FeatureSchedule, FeatureStudent, FeatureTeacher, Kept, Target, Whitening,
};
use robustify_distill::mae::Masking;
use robustify_distill::optimizer::AdamWConfig;
use robustify_rng::Key;
use robustify_zoo::ModelConfig;
use robustify_zoo::vit::{MaeDecoder, MaskedAutoencoder, StemConv, VitConfig};
use robustify_zoo::weights;

use crate::common::{adamw, flex, gradients, train, train_with};
use crate::training::image_training;

fn network() -> VitConfig {
    VitConfig { mlp_ratio: 2.0, classes: 0, ..VitConfig::plain(16, 4, 12, 2, 2) }
}

fn dino() -> Dino {
    Dino {
        images: image_training(Some("rand_conv"), 8, 4, 1),
        student_temperature: 0.1,
        teacher_temperature: 0.04,
        momentum: 0.5,
        centre_momentum: 0.9,
        fixed_epochs: 1,
        epochs: 2,
    }
}

#[test]
fn a_teacher_follows_its_student_and_a_break_changes_nothing() {
    let sizes = DinoSizes { hidden: 8, bottleneck: 6, outputs: 10 };
    let fresh = DinoPair::new(&ModelConfig::Vit(network()), sizes, 1, &flex()).unwrap();
    let start = weights::state(&fresh);
    let whole = train(&dino(), &fresh, 1, &[]);
    let of = |name: &str| &whole.state[name].values;
    let (name, all) = ("blocks.0.mlp.fc1.weight", |state: &weights::State, of: &str| state[of].values.clone());
    let [student, teacher] = ["student", "teacher"].map(|who| format!("{who}.{name}"));
    assert_eq!(all(&start, &student), all(&start, &teacher), "both begin as one");
    let between =
        all(&start, &student).iter().zip(of(&student)).zip(of(&teacher)).all(|((start, student), teacher)| {
            (student - start).abs() > 0.0 && (teacher - start).abs() > 0.0 && teacher != student
        });
    assert!(between, "the teacher is on its way from the start to the student");
    assert!(of("centre").iter().any(|&mean| mean != 0.0));
    assert_eq!(of("taken"), &[4.0]);
    for stops in [&[1][..], &[2, 1]] {
        assert_eq!(train(&dino(), &fresh, 2, stops), whole, "interrupted after {stops:?}, on two threads");
    }
    // In the first pass the last layer stays; no gradient ever reaches the teacher.
    let found = gradients(&dino(), &fresh).0;
    assert!(
        found.keys().all(|name| name.starts_with("student") && name != "student_head.last_layer"),
        "{:?}",
        found.keys()
    );
    let free = Dino { fixed_epochs: 0, ..dino() };
    assert!(gradients(&free, &fresh).0.contains_key("student_head.last_layer"));
}

#[test]
fn against_a_student_without_an_opinion_any_answer_costs_the_same() {
    let sizes = DinoSizes { hidden: 8, bottleneck: 6, outputs: 10 };
    let fresh = DinoPair::new(&ModelConfig::Vit(network()), sizes, 1, &flex()).unwrap();
    let sharp = Dino { student_temperature: 0.1, teacher_temperature: 1e-4, ..dino() };
    let flat = Dino { student_temperature: 1e4, teacher_temperature: 1e4, ..dino() };
    let [sharp, flat] = [sharp, flat].map(|objective| gradients(&objective, &fresh).1);
    // Against a student that says everything alike, any teacher costs the logarithm of the outputs.
    assert!((flat - 10.0_f64.ln()).abs() < 1e-3, "{flat}");
    assert!(sharp.is_finite() && sharp > 0.0, "{sharp}");
}

fn masking(masked: f64, normalised: bool) -> Masking {
    Masking { images: image_training(None, 8, 3, 1), masked, normalised, patches: 16 }
}

fn autoencoder() -> MaskedAutoencoder {
    MaskedAutoencoder::new(&network(), MaeDecoder { width: 8, depth: 1, heads: 2 }, 1, &flex()).unwrap()
}

#[test]
fn hidden_patches_are_painted_better_with_every_step_and_a_break_changes_nothing() {
    let fresh = autoencoder();
    let masking = |epochs_images: ImageTraining| Masking { images: epochs_images, ..masking(0.75, true) };
    let images = || image_training(None, 8, 3, 1);
    let whole = train(&masking(images()), &fresh, 1, &[]);
    assert_eq!(train(&masking(images()), &fresh, 2, &[1]), whole, "interrupted, on two threads");
    let start = weights::state(&fresh);
    for (name, entry) in &whole.state {
        let is_fixed = name.ends_with("pos_embed");
        assert_eq!(start[name] == *entry, is_fixed, "{name}");
    }
    // One tone to an image is easy to learn.
    let tone = |index: usize| image::RgbImage::from_pixel(16, 16, image::Rgb([(index * 30) as u8; 3]));
    let all: Vec<_> = (0..8).map(tone).collect();
    let plain: Images = Arc::new(MemorySet::from_images("tones", &all, vec![0; 8], vec!["one".into()]).unwrap());
    let easy = Masking {
        images: ImageTraining { images: plain, ..image_training(None, 8, 4, 1) },
        normalised: false,
        ..masking(images())
    };
    let quick = AdamWConfig { learning_rate: 0.02, weight_decay: 0.0, ..adamw() };
    let before = gradients(&easy, &fresh).1;
    let mut model = fresh.clone();
    for _ in 0..20 {
        let state = train_with(&quick, &easy, &model, 1, &[]).state;
        model = weights::with_state(model, state).unwrap();
    }
    let after = gradients(&easy, &model).1;
    assert!(after < 0.9 * before, "{before} and {after}");
}

#[test]
fn an_encoder_sees_no_hidden_patch_and_only_hidden_ones_count() {
    let model = autoencoder();
    let side = 16;
    let visible = robustify_zoo::vit::Visible { rows: vec![vec![0, 5, 10, 15]] };
    let picture = |changed: Option<usize>| {
        let mut values: Vec<f32> = Vec::new();
        let mut stream = Key::new(1, "picture").stream();
        for _ in 0..3 {
            for y in 0..side {
                for x in 0..side {
                    let patch = (y / 4) * 4 + x / 4;
                    values.push(stream.normal() as f32 + if changed == Some(patch) { 3.0 } else { 0.0 });
                }
            }
        }
        burn::tensor::Tensor::<4>::from_data(burn::tensor::TensorData::new(values, [1, 3, side, side]), &flex())
    };
    let host = |tensor: burn::tensor::Tensor<3>| tensor.into_data().try_to_vec::<f32>().unwrap();
    let painted = |changed| host(model.reconstructed(picture(changed), &visible));
    assert_eq!(painted(Some(6)), painted(None), "a hidden patch was seen");
    assert_ne!(painted(Some(5)), painted(None), "a visible patch was not seen");
    // Nor would it through convolutions that overlap.
    let conv = |channels, kernel, stride| StemConv { channels, kernel, stride };
    let stem = VitConfig { stem: vec![conv(6, 3, 2), conv(12, 3, 2)], ..network() };
    assert!(MaskedAutoencoder::new(&stem, MaeDecoder { width: 8, depth: 1, heads: 2 }, 1, &flex()).is_err());
    // The pixels of a patch: rows, columns, channels.
    let (pixels, patches) =
        (picture(None).into_data().try_to_vec::<f32>().unwrap(), host(model.patches(picture(None))));
    let (patch, row, column, channel) = (6, 1, 2, 1);
    let wanted = pixels[channel * side * side + (4 + row) * side + 2 * 4 + column];
    assert_eq!(patches[patch * 48 + (row * 4 + column) * 3 + channel], wanted);
}

/// A student of a teacher with another grid and another width.
fn feature(target: Target, whitening: Whitening, kept: Option<Kept>) -> (FeatureDistillation, FeatureStudent) {
    let model =
        robustify_zoo::Model::new(&ModelConfig::Vit(VitConfig { classes: 4, ..network() }), 7, &flex()).unwrap();
    let teacher = FeatureTeacher { model, renormalisation: None, target, whitening };
    let network = ModelConfig::Vit(VitConfig::student(16, 8, 12, 2, 2));
    let student = FeatureStudent::new(&network, teacher.width(), 1, &flex()).unwrap();
    let objective = FeatureDistillation {
        images: image_training(None, 8, 3, 1),
        teacher,
        beta: feature::BETA,
        drop_path: feature::drop_path_rates(&student.encoder, 0.3),
        schedule: FeatureSchedule { warmup_rate: 1e-4, least_rate: 1e-4, factor: 1.0 },
        kept,
    };
    (objective, student)
}

#[test]
fn a_student_comes_nearer_and_neither_a_break_nor_a_cache_changes_anything() {
    let (objective, fresh) = feature(Target::Tokens, Whitening::Norm, None);
    let whole = train(&objective, &fresh, 1, &[]);
    assert_eq!(train(&objective, &fresh, 2, &[1]), whole, "interrupted, on two threads");
    let kept = feature(Target::Tokens, Whitening::Norm, Some(Kept::new(1 << 20))).0;
    assert_eq!(train(&kept, &fresh, 2, &[1]), whole, "with targets that are kept");
    assert!(whole.state.keys().all(|name| !name.contains("teacher")));
    let quick = AdamWConfig { learning_rate: 0.02, weight_decay: 0.0, ..adamw() };
    let cases =
        [(Target::Tokens, Whitening::Norm), (Target::Pooled, Whitening::Length), (Target::Logits, Whitening::None)];
    for (target, whitening) in cases {
        let (objective, mut model) = feature(target, whitening, None);
        let before = gradients(&objective, &model).1;
        for _ in 0..8 {
            let state = train_with(&quick, &objective, &model, 1, &[]).state;
            model = weights::with_state(model, state).unwrap();
        }
        let after = gradients(&objective, &model).1;
        assert!(after < 0.9 * before, "{target:?}: {before} and {after}");
    }
}

#[test]
fn a_student_without_tokens_of_its_own_is_refused() {
    let classifier = ModelConfig::Vit(VitConfig { classes: 3, ..network() });
    let said = FeatureStudent::new(&classifier, 12, 1, &flex()).unwrap_err().to_string();
    assert!(said.contains("classes is 3"), "{said}");
}
