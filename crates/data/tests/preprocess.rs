//! Preprocessing strings, and pixels against Pillow and torchvision.

use std::path::Path;

use image::RgbImage;
use proptest::prelude::*;
use robustify_data::{CleanView, Filter, Preprocess, decode, resize};
use robustify_rng::Key;

fn golden(name: &str) -> RgbImage {
    decode::decode(&Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens").join(name)).unwrap()
}

#[track_caller]
fn assert_close(got: &RgbImage, want: &RgbImage, levels: u8, what: &str) {
    assert_eq!(got.dimensions(), want.dimensions(), "{what}");
    let worst = got.as_raw().iter().zip(want.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(worst <= levels, "{what}: {worst} levels apart, {levels} allowed");
}

#[test]
fn resizing_is_pillows() {
    let source = golden("resize-source.png");
    let filters = [Filter::Nearest, Filter::Box, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos];
    for filter in filters {
        for (direction, width, height) in [("down", 11, 7), ("up", 48, 36)] {
            let want = golden(&format!("resize-{filter}-{direction}.png"));
            assert_close(&resize(&source, width, height, filter).unwrap(), &want, 1, &format!("{filter} {direction}"));
        }
    }
}

#[test]
fn resize_crop_and_pad_round_as_torchvision() {
    let source = golden("resize-source.png");
    let chain: Preprocess = "resize(20,bicubic)|center_crop(13)".parse().unwrap();
    assert_close(&chain.pixels(&source).unwrap(), &golden("chain-expected.png"), 1, "chain");
    let reflect: Preprocess = "pad(4,reflect)".parse().unwrap();
    assert_eq!(reflect.pixels(&source).unwrap(), golden("reflect-expected.png"));
    let exact: Preprocess = "resize(7,11,box)".parse().unwrap();
    assert_eq!(exact.pixels(&source).unwrap().dimensions(), (11, 7));
}

#[test]
fn normalisation_is_by_channel_and_in_planes() {
    let image = RgbImage::from_raw(2, 1, vec![0, 51, 255, 255, 102, 0]).unwrap();
    let preprocess: Preprocess = "normalize(0.5,0.2,0;0.5,0.1,2)".parse().unwrap();
    let mut row = [0.0; 6];
    preprocess.write_chw(&image, &mut row).unwrap();
    let want = [-1.0, 1.0, 0.0, 2.0, 0.5, 0.0];
    assert!(row.iter().zip(want).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{row:?}");
    let error = preprocess.write_chw(&image, &mut [0.0; 5]).unwrap_err().to_string();
    assert!(error.contains("6 values") && error.contains("5 values"), "{error}");
}

#[test]
fn errors_of_strings_point_at_the_fault() {
    let cases = [
        ("resize(36,cubic)", "character 11", "bicubic"),
        ("resize(36)|crop(32)", "character 12", "center_crop(n)"),
        ("normalize(half)|resize(3)", "character 17", "must be the last"),
        ("resize(0)", "character 8", "from 1 to"),
        ("resize(36", "character 10", "`)` is missing"),
        ("resize(36)||pad(1)", "character 12", "a step is missing"),
        ("center_crop(1,2,3)", "character 1", "1 to 2 arguments, found 3"),
        ("center_crop", "character 1", "found 0"),
        ("normalize(0,0,0;1,0,1)", "character 19", "a deviation"),
        ("resize(1e9)", "character 8", "whole number"),
    ];
    for (text, position, hint) in cases {
        let error = text.parse::<Preprocess>().unwrap_err().to_string();
        assert!(error.contains(position) && error.contains(hint), "{text}: {error}");
    }
    for text in ["", "hflip(2)", "flip", "random_crop()", "random_resized_crop(32,0.5,0.4)", "random_crop(32,2,mirror)"]
    {
        let error = text.parse::<CleanView>().unwrap_err().to_string();
        assert!(error.contains("character") && error.contains("allowed"), "{text}: {error}");
    }
}

#[test]
fn steps_that_do_not_fit_say_what_would() {
    let image = RgbImage::new(20, 30);
    for (text, hint) in [("center_crop(25)", "20x30"), ("pad(20,reflect)", "above 20"), ("resize(16384)", "1 to 16384")]
    {
        let error = text.parse::<Preprocess>().unwrap().pixels(&image).unwrap_err().to_string();
        assert!(error.contains(hint), "{text}: {error}");
    }
    let view: CleanView = "random_crop(32,2)".parse().unwrap();
    assert!(view.apply(&image, Key::new(0, "test")).unwrap_err().to_string().contains("24x34"));
}

#[test]
fn views_depend_on_the_key_alone_and_use_the_whole_range() {
    let image = golden("resize-source.png");
    let view: CleanView = "random_crop(17,2,reflect)+hflip".parse().unwrap();
    let of = |id: u64| view.apply(&image, Key::new(3, "view").with(id)).unwrap();
    let first: Vec<RgbImage> = (0..40).map(of).collect();
    assert!((0..40).rev().all(|id| of(id) == first[id as usize]));
    let distinct: std::collections::HashSet<&[u8]> = first.iter().map(|view| view.as_raw().as_slice()).collect();
    assert!(distinct.len() > 30, "{} distinct views of 40", distinct.len());

    let flip: CleanView = "hflip".parse().unwrap();
    let flipped = (0..1000).filter(|&id| flip.apply(&image, Key::new(3, "flip").with(id)).unwrap() != image).count();
    assert!((440..=560).contains(&flipped), "{flipped} of 1000 flipped");
    let zoom: CleanView = "random_resized_crop(12,0.2,1)".parse().unwrap();
    assert_eq!(zoom.apply(&image, Key::new(1, "zoom")).unwrap().dimensions(), (12, 12));
    let whole: CleanView = "random_resized_crop(17,1,1,nearest)".parse().unwrap();
    let square = RgbImage::from_fn(17, 17, |x, y| *image.get_pixel(x, y));
    let thin = RgbImage::new(1, 300);
    assert!((0..20).any(|id| whole.apply(&square, Key::new(id, "whole")).unwrap() == square));
    assert_eq!(zoom.apply(&thin, Key::new(1, "zoom")).unwrap().dimensions(), (12, 12));
}

fn filters() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", ",nearest", ",box", ",bilinear", ",bicubic", ",lanczos"])
}

fn step() -> impl Strategy<Value = String> {
    let size = 1u32..=16_384;
    prop_oneof![
        (size.clone(), filters()).prop_map(|(n, filter)| format!("resize({n}{filter})")),
        (size.clone(), size.clone(), filters()).prop_map(|(h, w, filter)| format!("resize({h}, {w}{filter})")),
        size.clone().prop_map(|n| format!("center_crop({n})")),
        (size.clone(), size).prop_map(|(h, w)| format!(" center_crop({h},{w})")),
        (1u32..=4096, prop::sample::select(vec!["", ",zero", ", reflect"]))
            .prop_map(|(n, fill)| format!("pad({n}{fill}) ")),
    ]
}

fn normalize() -> impl Strategy<Value = String> {
    let triple = |range: std::ops::Range<f32>| (range.clone(), range.clone(), range);
    prop_oneof![
        prop::sample::select(vec!["normalize(imagenet)", "normalize(clip)", "normalize(half)", "normalize(none)"])
            .prop_map(str::to_owned),
        (triple(-5.0..5.0), triple(0.001..9.0))
            .prop_map(|((a, b, c), (d, e, f))| format!("normalize({a},{b},{c};{d},{e},{f})")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn preprocessing_strings_round_trip(mut steps in prop::collection::vec(step(), 0..5), last in prop::option::of(normalize())) {
        steps.extend(last);
        let parsed: Preprocess = steps.join("|").parse().unwrap();
        let text = parsed.to_string();
        prop_assert_eq!(&text.parse::<Preprocess>().unwrap(), &parsed);
        prop_assert_eq!(text.parse::<Preprocess>().unwrap().to_string(), text);
    }

    #[test]
    fn sizes_are_known_without_pixels(
        (width, height) in (1u32..80, 1u32..80),
        steps in prop::collection::vec(prop::sample::select(vec![
            "resize(30)", "resize(20,50)", "resize(1)", "center_crop(25)", "center_crop(10,40)", "pad(7)", "pad(12,reflect)",
        ]), 0..4),
    ) {
        let preprocess: Preprocess = steps.join("|").parse().unwrap();
        let found = preprocess.pixels(&RgbImage::new(width, height)).map(|image| image.dimensions());
        let text = |size: Result<(u32, u32), robustify_data::DataError>| format!("{size:?}");
        prop_assert_eq!(text(preprocess.size((width, height))), text(found));
    }

    #[test]
    fn view_strings_round_trip(n in 1u32..500, border in 0u32..50, min in 0.01f64..0.5, p in 0.0f64..=1.0, filter in filters()) {
        let text = format!("identity+hflip({p})+hflip+random_crop({n},{border},reflect)+random_resized_crop({n},{min},0.9{filter})");
        let parsed: CleanView = text.parse().unwrap();
        prop_assert_eq!(parsed.to_string().parse::<CleanView>().unwrap(), parsed);
    }

    #[test]
    fn no_string_panics(text in "[a-z_(),;|+0-9. é-]{0,40}") {
        let _ = text.parse::<Preprocess>();
        let _ = text.parse::<CleanView>();
    }
}

#[test]
fn a_preprocessing_comes_apart_and_together() {
    let of = |text: &str| text.parse::<Preprocess>().unwrap();
    let large = of("resize(248,bicubic)|center_crop(224)|normalize(clip)");
    assert_eq!(large.geometry(), of("resize(248,bicubic)|center_crop(224)"));
    assert_eq!(large.normalisation_only(), of("normalize(clip)"));
    assert_eq!(large.geometry().then(&large.normalisation_only()), large);
    let own = of("resize(56,56)|normalize(half)");
    assert_eq!(large.then(&own), of("resize(248,bicubic)|center_crop(224)|resize(56,56)|normalize(half)"));
    // What another model is normalised by is never applied.
    assert_eq!(large.then(&of("pad(1)")), of("resize(248,bicubic)|center_crop(224)|pad(1)"));
    assert_eq!(of("").then(&of("")), of(""));
}
