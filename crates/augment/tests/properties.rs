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
            for corruption in Corruption::ALL.into_iter() {
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
    for corruption in Corruption::ALL.into_iter() {
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
    for corruption in Corruption::ALL.into_iter() {
        let at = |seed| corruptor.apply(&image, corruption, Severity::ALL[4], Key::new(seed, "key"));
        assert_eq!(at(3) == at(4), fixed.contains(&corruption), "{corruption}");
    }
}

#[test]
fn a_corruptor_is_shared_between_threads() {
    let (image, corruptor) = (picture(32, 32), Corruptor::new(Profile::CifarC));
    let work = || {
        Corruption::ALL
            .into_iter()
            .map(|corruption| corruptor.apply(&image, corruption, Severity::ALL[3], Key::new(9, "thread")))
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
    let overlap = |policy: &Policy| -> Vec<String> {
        let corruptions: Vec<_> = Corruption::every().map(Corruption::name).collect();
        policy.ops().into_iter().filter(|op| corruptions.contains(op)).map(str::to_owned).collect()
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
    let parsed = |text: &str| text.parse::<Policy>().unwrap();
    assert_eq!(overlap(&parsed("augmix(ops=all)")), ["brightness", "contrast"], "the full set does overlap");
    assert_eq!(overlap(&parsed("pixmix(ops=all)")), ["brightness", "contrast"]);
    assert_eq!(overlap(&parsed("colour_jitter")), ["brightness", "contrast", "saturate"]);
    let others = parsed("pixmix|cutout|random_erasing|flip|random_resized_crop|colour_jitter(hue=0.1)");
    let new = others.ops().into_iter().filter(|op| !known.contains(op));
    let named = [
        "brightness",
        "contrast",
        "cutout",
        "flip",
        "hue",
        "pixmix",
        "random_erasing",
        "random_resized_crop",
        "saturate",
    ];
    assert!(new.eq(named), "a new operation needs a look at the benchmark's list first");
}

#[test]
fn policies_round_trip_and_faults_are_named() {
    let texts = [
        "augmix(severity=3)|rand_conv|rand_conv+augmix(severity=3)",
        "augmix(severity=1,width=4,depth=2,alpha=0.5,ops=all)",
        "rand_conv(hidden=4,mean_shift=0.3,low=0.1,high=0.9)",
        "flip+random_resized_crop+pixmix|cutout|random_erasing|colour_jitter",
        "pixmix(k=3,beta=4,severity=1,ops=all,set=mixed,pictures=20)+cutout(size=8)",
        "random_erasing(probability=1,low=0.1,high=0.2,aspect=0.5,fill=mean)",
        "random_resized_crop(low=0.25,high=0.5,ratio=1.5,filter=bicubic)",
        "colour_jitter(brightness=0.1,contrast=0,saturation=0.2,hue=0.05)",
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
        ("augmix(ops=most)", "expected default or all"),
        ("augmix(depth=0)", "random or 1 to 16"),
        ("pixmix(set=frost)", "expected ifs or leaves or plasma or mixed"),
        ("pixmix(k=-1)", "not a number"),
        ("pixmix(pictures=0)", "pictures must be"),
        ("cutout(size=0)", "above 0"),
        ("random_erasing(aspect=2)", "at most 1"),
        ("flip(often=1)", "no parameters"),
        ("random_resized_crop(ratio=0.5)", "at least 1"),
        ("random_resized_crop(size=64)", "no `size`"),
        ("colour_jitter(hue=0.7)", "0 to 0.5"),
    ];
    for (text, part) in faults {
        let message = text.parse::<Policy>().unwrap_err().to_string();
        assert!(message.contains(part) && message.contains(text), "{text}: {message}");
    }
}
