//! What holds for every corruption and augmentation, on images of any size.

use robustify_augment::{AugMix, Corruption, Corruptor, OpSet, Policy, Profile, RandConv, RgbImage, Severity};
use robustify_rng::Key;

/// A picture with edges, a ramp and some texture.
fn picture(width: u32, height: u32) -> RgbImage {
    let mut stream = Key::new(5, "picture").stream();
    RgbImage::from_fn(width, height, |x, y| {
        let texture = stream.below(40) as u8;
        let edge = if (x / 8 + y / 8) % 2 == 0 { 90 } else { 0 };
        image::Rgb([x as u8 * 3 + texture, 40 + edge + texture, 215 - (y as u8 * 3).min(170) + texture])
    })
}

fn distance(a: &RgbImage, b: &RgbImage) -> f64 {
    a.iter().zip(b.iter()).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

#[test]
fn every_corruption_takes_every_size() {
    for profile in Profile::ALL {
        let corruptor = Corruptor::new(profile);
        for (width, height) in [(1, 1), (1, 9), (2, 7), (3, 3), (33, 20), (32, 32)] {
            let image = picture(width, height);
            for corruption in Corruption::all() {
                for severity in Severity::ALL {
                    let key = Key::new(1, "sizes").with(u64::from(width));
                    let once = corruptor.apply(&image, corruption, severity, key);
                    assert_eq!(once.dimensions(), (width, height), "{profile} {corruption} {severity}");
                    let again = corruptor.apply(&image, corruption, severity, key);
                    assert!(once == again, "{profile} {corruption} {severity}: the same key gave another image");
                }
            }
        }
        let empty = RgbImage::new(0, 4);
        assert_eq!(corruptor.apply(&empty, Corruption::Fog, Severity::ALL[2], Key::new(1, "empty")), empty);
    }
}

#[test]
fn severity_zero_is_the_image_and_others_are_not() {
    let image = picture(32, 32);
    let corruptor = Corruptor::new(Profile::ImagenetC);
    for corruption in Corruption::all() {
        let at = |severity| corruptor.apply(&image, corruption, severity, Key::new(2, "zero"));
        assert!(at(Severity::CLEAN) == image, "{corruption}");
        assert!(Severity::ALL.into_iter().all(|severity| at(severity) != image), "{corruption} does nothing");
    }
}

#[test]
fn stochastic_corruptions_follow_the_key() {
    let image = picture(32, 32);
    let corruptor = Corruptor::new(Profile::CifarC);
    let fixed = [
        Corruption::DefocusBlur,
        Corruption::ZoomBlur,
        Corruption::Brightness,
        Corruption::Contrast,
        Corruption::Pixelate,
        Corruption::JpegCompression,
        Corruption::GaussianBlur,
        Corruption::Saturate,
    ];
    for corruption in Corruption::all() {
        let at = |seed| corruptor.apply(&image, corruption, Severity::ALL[4], Key::new(seed, "key"));
        assert_eq!(at(3) == at(4), fixed.contains(&corruption), "{corruption}");
    }
}

#[test]
fn outputs_are_frozen() {
    let image = picture(32, 32);
    let corruptor = Corruptor::new(Profile::CifarC);
    let digest = |bytes: &[u8]| {
        // FNV-1a.
        bytes
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    let corrupted = |corruption| {
        let views = Severity::ALL.map(|severity| corruptor.apply(&image, corruption, severity, Key::new(0, "frozen")));
        digest(&views.map(RgbImage::into_raw).concat())
    };
    let got: Vec<_> = Corruption::all().map(|corruption| (corruption.name(), corrupted(corruption))).collect();
    assert_eq!(got, FROZEN, "a change here moves every published number");
    let views = (0..20).map(|sample| Policy::default().apply(&image, Key::new(0, "frozen").with(sample)));
    assert_eq!(
        digest(&views.flat_map(RgbImage::into_raw).collect::<Vec<_>>()),
        FROZEN_VIEWS,
        "a change here moves training"
    );
}

const FROZEN_VIEWS: u64 = 0xe882_14aa_b5d2_64e9;

const FROZEN: [(&str, u64); 19] = [
    ("gaussian_noise", 0x2e40_aed6_d7c7_65a2),
    ("shot_noise", 0x486a_8153_81bb_eb4e),
    ("impulse_noise", 0x343d_1630_c0fe_7b5b),
    ("defocus_blur", 0x0fe1_e2bc_601d_e4e6),
    ("glass_blur", 0x3b3b_12cd_791a_6bf7),
    ("motion_blur", 0x0aa4_e711_baa7_7aa1),
    ("zoom_blur", 0xa1ef_f70a_2a17_f913),
    ("snow", 0x7a00_7698_481a_3464),
    ("frost", 0x9f91_e108_da85_582a),
    ("fog", 0x7e5d_ee32_7387_8c98),
    ("brightness", 0x00c5_3abc_875f_e289),
    ("contrast", 0xb0c8_4261_092b_c9a0),
    ("elastic_transform", 0x14ea_a8a4_9fd7_aad1),
    ("pixelate", 0x708f_bcd8_1884_e70e),
    ("jpeg_compression", 0x0bf9_19a2_f07e_506c),
    ("speckle_noise", 0x4115_82d3_b836_9932),
    ("gaussian_blur", 0x74fd_48d7_f265_dff6),
    ("spatter", 0xcb9e_7ca6_7ff2_12ca),
    ("saturate", 0x17a2_0623_817e_b58a),
];

#[test]
fn a_corruptor_is_shared_between_threads() {
    let (image, corruptor) = (picture(32, 32), Corruptor::new(Profile::CifarC));
    let work = || {
        Corruption::all().map(|corruption| corruptor.apply(&image, corruption, Severity::ALL[3], Key::new(9, "thread")))
    };
    let alone: Vec<_> = work().collect();
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..3).map(|_| scope.spawn(|| work().collect::<Vec<_>>())).collect();
        assert!(others.into_iter().all(|other| other.join().unwrap() == alone));
    });
}

#[test]
fn damage_grows_with_severity_where_the_benchmark_says_so() {
    let image = image::open(concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/clean/astronaut.png")).unwrap().into_rgb8();
    let corruptor = Corruptor::new(Profile::ImagenetC);
    let growing = [
        Corruption::GaussianNoise,
        Corruption::ShotNoise,
        Corruption::ImpulseNoise,
        Corruption::DefocusBlur,
        Corruption::Brightness,
        Corruption::Contrast,
        Corruption::Pixelate,
        Corruption::JpegCompression,
    ];
    for corruption in growing {
        let damage = |severity| {
            let views = (0..4).map(|sample| corruptor.apply(&image, corruption, severity, Key::new(sample, "growing")));
            views.map(|view| distance(&view, &image)).sum::<f64>()
        };
        let damages = Severity::ALL.map(damage);
        assert!(damages.is_sorted(), "{corruption}: {damages:?}");
    }
}

#[test]
fn augmentations_keep_the_size_and_follow_the_key() {
    let policy = Policy::default();
    for (width, height) in [(1, 1), (2, 7), (33, 20), (32, 32)] {
        let image = picture(width, height);
        for sample in 0..20 {
            let key = Key::new(3, "views").with(sample);
            let view = policy.apply(&image, key);
            assert_eq!(view.dimensions(), (width, height));
            assert!(view == policy.apply(&image, key));
            let all = AugMix { ops: OpSet::All, severity: 10.0, ..AugMix::default() };
            assert_eq!(all.apply(&image, &mut key.stream()).dimensions(), (width, height));
        }
    }
    let image = picture(32, 32);
    assert_ne!(policy.apply(&image, Key::new(3, "views")), policy.apply(&image, Key::new(4, "views")));
}

#[test]
fn rand_conv_keeps_the_image_recognisable() {
    let image = picture(32, 32);
    for sample in 0..30 {
        let mut stream = Key::new(sample, "rand_conv").stream();
        let near = RandConv { residual: (1.0, 1.0), ..RandConv::default() }.apply(&image, &mut stream);
        assert_eq!(near, image, "a weight of one is the image itself");
        let still = RandConv { mean_shift: 0.0, ..RandConv::default() }.apply(&image, &mut stream);
        let mean = |image: &RgbImage| image.iter().map(|&level| f64::from(level)).sum::<f64>() / image.len() as f64;
        assert!((mean(&still) - mean(&image)).abs() < 12.0, "without a shift the mean moves by clipping alone");
        assert!(distance(&still, &image) > 1.0, "the convolution does something");
    }
}

#[test]
fn no_training_operation_is_a_benchmark_corruption() {
    let overlap = |policy: &Policy| -> Vec<_> {
        let corruptions: Vec<_> = Corruption::all().map(Corruption::name).collect();
        policy.ops().into_iter().filter(|op| corruptions.contains(op)).collect()
    };
    let policy = Policy::default();
    let known = [
        "autocontrast",
        "equalize",
        "posterize",
        "rand_conv",
        "rotate",
        "shear_x",
        "shear_y",
        "solarize",
        "translate_x",
        "translate_y",
    ];
    assert_eq!(policy.ops(), known, "a new operation needs a look at the benchmark's list first");
    assert!(overlap(&policy).is_empty());
    let all: Policy = "augmix(ops=all)".parse().unwrap();
    assert_eq!(overlap(&all), ["brightness", "contrast"], "the full set does overlap");
}

#[test]
fn policies_round_trip_and_faults_are_named() {
    let texts = [
        "augmix(severity=3)|rand_conv|rand_conv+augmix(severity=3)",
        "augmix(severity=1,width=4,depth=2,alpha=0.5,ops=all)",
        "rand_conv(hidden=4,mean_shift=0.3,low=0.1,high=0.9)",
    ];
    for text in texts {
        assert_eq!(text.parse::<Policy>().unwrap().to_string(), text);
    }
    assert_eq!(texts[0].parse::<Policy>().unwrap(), Policy::default());
    let faults = [
        ("", "empty"),
        ("augmix|", "empty"),
        ("augmixx", "unknown step `augmixx`"),
        ("augmix(severity=3", "closing bracket"),
        ("augmix(severity)", "name=value"),
        ("augmix(severity=strong)", "not a number"),
        ("augmix(severity=11)", "at most 10"),
        ("augmix(level=3)", "no `level`"),
        ("rand_conv(low=0.8)", "low first"),
        ("rand_conv(ops=all)", "no `ops`"),
    ];
    for (text, part) in faults {
        let message = text.parse::<Policy>().unwrap_err().to_string();
        assert!(message.contains(part) && message.contains(text), "{text}: {message}");
    }
}
