//! What holds for the steps of training policies, on images of any size.

use std::sync::Arc;

use robustify_augment::{
    AugMix, AugmentError, Augmentation, ColourJitter, CutMix, CutOut, Filling, MixUp, MixingKind, MixingSet, OpSet,
    PixMix, Policy, RandomErasing, RandomResizedCrop, RgbImage, Scratch, random_flip,
};
use robustify_rng::{Key, Stream};

const BLACK: image::Rgb<u8> = image::Rgb([0; 3]);

fn picture(width: u32, height: u32) -> RgbImage {
    let mut stream = Key::new(5, "picture").stream();
    RgbImage::from_fn(width, height, |x, y| {
        let texture = stream.below(60) as u8;
        image::Rgb([(x * 5 % 190) as u8 + texture, 60 + texture, 190 - (y * 3).min(180) as u8 + texture])
    })
}

fn stream(sample: u64) -> Stream {
    Key::new(sample, "views").stream()
}

fn count(image: &RgbImage, colour: image::Rgb<u8>) -> usize {
    image.pixels().filter(|&&pixel| pixel == colour).count()
}

#[test]
fn every_step_takes_every_size_and_follows_the_key() {
    let steps = [
        "augmix(severity=10,ops=all)",
        "pixmix(pictures=3,set=mixed,ops=all)",
        "cutout",
        "random_erasing(probability=1)",
        "flip",
        "random_resized_crop",
        "random_resized_crop(filter=lanczos)",
        "colour_jitter(hue=0.5)",
    ];
    let mut scratch = Scratch::new();
    for step in steps {
        let policy: Policy = step.parse().unwrap();
        let mut changed = false;
        for (width, height) in [(1, 1), (1, 9), (2, 7), (3, 3), (33, 20), (32, 32)] {
            let image = picture(width, height);
            for sample in 0..6 {
                let key = Key::new(sample, "steps");
                let view = policy.apply(&image, key);
                assert_eq!(view.dimensions(), (width, height), "{step}");
                assert!(view == policy.apply_with(&image, key, &mut scratch), "{step} depends on what was done before");
                changed |= view != image;
            }
        }
        assert!(changed, "{step} does nothing");
        let empty = RgbImage::new(0, 4);
        assert_eq!(policy.apply(&empty, Key::new(0, "empty")), empty, "{step}");
    }
}

#[test]
fn augmix_with_a_tiny_alpha_takes_the_image_or_one_chain() {
    let image = picture(24, 18);
    for alpha in [1e-320, 1e-9, 1e-4, 1e-3] {
        let (mut unmixed, n) = (0, 200);
        for sample in 0..n {
            let idle = AugMix { alpha, depth: Some(0), ..AugMix::default() };
            assert!(idle.apply(&image, &mut stream(sample)) == image, "alpha {alpha}: weights do not sum to one");
            unmixed += u64::from(AugMix { alpha, ..AugMix::default() }.apply(&image, &mut stream(sample)) == image);
        }
        assert!((n * 2 / 5..n * 7 / 10).contains(&unmixed), "alpha {alpha}: {unmixed} of {n} are the image");
    }
}

#[test]
fn augmix_views_of_one_image_are_those_made_one_by_one() {
    let (image, mix) = (picture(40, 31), AugMix { ops: OpSet::All, ..AugMix::default() });
    for sample in 0..20 {
        let (mut together, mut apart) = (stream(sample), stream(sample));
        let mut views = [RgbImage::new(0, 0), RgbImage::new(0, 0)];
        mix.views_into(&image, &mut together, &mut Scratch::new(), &mut views);
        assert!(views.iter().all(|view| *view == mix.apply(&image, &mut apart)));
        assert_ne!(views[0], views[1]);
    }
}

#[test]
fn pixmix_needs_pictures_and_shows_them() {
    let image = picture(32, 32);
    let none = MixingSet::pictures(vec![RgbImage::new(0, 3)]);
    assert!(none.is_empty() && PixMix::default().apply(&image, &none, &mut stream(0)) == image);
    // Without rounds what is left is the image or one operation on it.
    let black = MixingSet::pictures(vec![RgbImage::new(50, 20)]);
    let apply = |k, set: &MixingSet, sample| PixMix { k, ..PixMix::default() }.apply(&image, set, &mut stream(sample));
    let white = MixingSet::pictures(vec![RgbImage::from_pixel(50, 20, image::Rgb([255; 3]))]);
    assert!((0..40).all(|sample| apply(0, &black, sample) == apply(0, &white, sample)));
    assert!((0..40).any(|sample| apply(0, &black, sample) == image));
    assert!((0..40).any(|sample| apply(4, &black, sample) != apply(4, &white, sample)));
}

#[test]
fn mixing_sets_are_functions_of_kind_seed_and_index() {
    let kinds = [MixingKind::Ifs, MixingKind::Leaves, MixingKind::Plasma, MixingKind::Mixed];
    let names = ["pixmix-ifs", "pixmix-leaves", "pixmix-plasma", "pixmix-mixed"];
    for (kind, name) in kinds.into_iter().zip(names) {
        let set = MixingSet::generated(kind, 1, 8);
        assert_eq!((set.name().as_str(), set.len()), (name, 8));
        let first = set.picture(0, 36).unwrap();
        // Asking for many sizes empties the cache in between.
        for side in 1..30 {
            let picture = set.picture(side, side).unwrap();
            assert_eq!(picture.dimensions(), (side, side));
        }
        assert!(first == set.picture(8, 36).unwrap(), "{name}: an index beyond the end starts over");
        assert!(first == MixingSet::generated(kind, 1, 9).picture(0, 36).unwrap(), "{name}");
        assert!(first != set.picture(1, 36).unwrap(), "{name}");
        assert!(first != MixingSet::generated(kind, 2, 8).picture(0, 36).unwrap(), "{name}: the seed counts");
        for index in 0..8 {
            let picture = set.picture(index, 64).unwrap();
            let mut colours: Vec<_> = picture.pixels().map(|pixel| pixel.0).collect();
            colours.sort_unstable();
            colours.dedup();
            assert!(colours.len() > 100, "{name} {index}: {} colours", colours.len());
        }
    }
    let given = MixingSet::pictures(vec![picture(80, 20)]);
    assert_eq!(given.name(), "pixmix-pictures");
    assert_eq!(given.picture(0, 10).unwrap().dimensions(), (40, 10));
}

#[test]
fn erased_areas_are_those_asked_for() {
    let white = RgbImage::from_pixel(32, 24, image::Rgb([255; 3]));
    let mut largest = 0;
    for sample in 0..200 {
        let mut image = white.clone();
        CutOut { size: 8, fill: [0; 3] }.apply(&mut image, &mut stream(sample));
        let area = count(&image, BLACK);
        assert!((16..=64).contains(&area), "{area}: a quarter is left when the centre is in a corner");
        largest = largest.max(area);
        for (probability, fill) in [(1.0, Filling::Mean), (1.0, Filling::Noise), (0.0, Filling::Noise)] {
            let mut image = white.clone();
            RandomErasing { probability, fill, ..RandomErasing::default() }.apply(&mut image, &mut stream(sample));
            let share = 1.0 - count(&image, image::Rgb([255; 3])) as f64 / (32.0 * 24.0);
            // Sides are rounded to whole pixels.
            let range = if probability > 0.0 { 0.01..0.37 } else { 0.0..1e-9 };
            assert!(range.contains(&share), "{share}");
        }
    }
    assert_eq!(largest, 64);
}

#[test]
fn pairs_are_mixed_with_the_weight_of_their_labels() {
    let (white, black) = (RgbImage::from_pixel(20, 30, image::Rgb([255; 3])), RgbImage::new(20, 30));
    let mut sum = 0.0;
    for sample in 0..300 {
        let weight = MixUp::default().draw(&mut stream(sample));
        let mut first = white.clone();
        MixUp::blend(&mut first, &black, weight);
        assert!(first.iter().all(|&level| (f64::from(level) - 255.0 * weight).abs() <= 0.5 + 1e-4));
        let (area, weight) = CutMix::default().draw(20, 30, &mut stream(sample));
        let mut first = white.clone();
        CutMix::paste(&mut first, &black, area);
        assert!((1.0 - count(&first, BLACK) as f64 / 600.0 - weight).abs() < 1e-9);
        sum += weight;
    }
    assert!((0.5..0.75).contains(&(sum / 300.0)), "boxes are half of the image before they are cut off");
    let mut small = RgbImage::from_pixel(3, 5, image::Rgb([255; 3]));
    MixUp::blend(&mut small, &black, 0.0);
    assert_eq!(small, RgbImage::new(3, 5), "images of other sizes do no harm");
    CutMix::paste(&mut small, &white, CutMix::default().draw(40, 40, &mut stream(1)).0);
    assert_eq!(CutMix::default().draw(0, 0, &mut stream(1)).1, 1.0);
}

#[test]
fn crops_show_a_part_and_flips_mirror() {
    // Columns of an even ramp, of which a crop shows a stretched part.
    let ramp = RgbImage::from_fn(128, 64, |x, _| image::Rgb([2 * x as u8; 3]));
    for sample in 0..50 {
        let view = RandomResizedCrop::default().apply(&ramp, 48, 40, &mut stream(sample));
        assert_eq!(view.dimensions(), (48, 40));
        let levels: Vec<u8> = view.pixels().take(48).map(|pixel| pixel[0]).collect();
        assert!(levels.is_sorted() && levels[47] > levels[0]);
        let mut flipped = ramp.clone();
        random_flip(&mut flipped, &mut stream(sample));
        assert!(flipped == ramp || flipped == image::imageops::flip_horizontal(&ramp));
    }
    let strip = RgbImage::from_fn(300, 2, |x, _| image::Rgb([(x / 2) as u8; 3]));
    let view =
        RandomResizedCrop { scale: (1.0, 1.0), ..RandomResizedCrop::default() }.apply(&strip, 3, 2, &mut stream(0));
    assert!(view.pixels().all(|pixel| (73..=76).contains(&pixel[0])), "no allowed shape fits, so the centre is taken");
}

#[test]
fn jitter_without_reach_changes_nothing() {
    let image = picture(20, 20);
    let still = ColourJitter { brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.0 };
    assert_eq!(still.apply(&image, &mut stream(0), &mut Scratch::new()), image);
    let grey = RgbImage::from_pixel(5, 5, image::Rgb([90; 3]));
    let hue = ColourJitter { hue: 0.5, ..still }.apply(&grey, &mut stream(1), &mut Scratch::new());
    assert_eq!(hue, grey, "grey has no hue");
    let dark = ColourJitter { brightness: 1.0, ..still };
    let moved = (0..9).map(|sample| dark.apply(&image, &mut stream(sample), &mut Scratch::new()));
    assert!(moved.into_iter().any(|view| view != image));
}

/// Adds a number that its key decides, or one from its arguments.
#[derive(Debug)]
struct Lift(u8);

impl Augmentation for Lift {
    fn name(&self) -> &str {
        "lift"
    }

    fn arguments(&self) -> String {
        format!("by={}", self.0)
    }

    fn identity(&self) -> String {
        format!("lift 1 {}", self.0)
    }

    fn apply(&self, image: &RgbImage, key: Key) -> RgbImage {
        let by = self.0.wrapping_add(key.stream().below(200) as u8);
        RgbImage::from_fn(image.width(), image.height(), |x, y| {
            image::Rgb(image.get_pixel(x, y).0.map(|level| level.wrapping_add(by)))
        })
    }
}

fn lift(name: &str, arguments: &str) -> Option<Result<Arc<dyn Augmentation>, AugmentError>> {
    let by = arguments.strip_prefix("by=").unwrap_or("0");
    let fault = |_| AugmentError::Step { step: format!("lift({arguments})"), problem: "by is a level".into() };
    (name == "lift").then(|| by.parse().map(|by| Arc::new(Lift(by)) as Arc<dyn Augmentation>).map_err(fault))
}

#[test]
fn steps_from_outside_stand_beside_those_of_this_crate() {
    let parse = |text: &str| Policy::parse_with(text, &lift);
    let policy = parse(" lift(by=3) | flip+lift+lift(by=9) ").unwrap();
    assert_eq!(policy.to_string(), "lift(by=3)|flip+lift(by=0)+lift(by=9)");
    assert_eq!(policy, parse(&policy.to_string()).unwrap());
    assert_ne!(policy, parse("lift(by=4)|flip+lift(by=0)+lift(by=9)").unwrap());
    assert_eq!(policy.identities(), ["lift 1 3", "lift 1 0", "lift 1 9"]);
    assert_eq!(policy.ops(), ["flip", "lift"]);
    assert!(Policy::default().identities().is_empty());

    // A step's key depends on the image's key and on the step's place; what the steps before it draw does not change.
    let (image, key) = (RgbImage::from_pixel(4, 4, image::Rgb([7; 3])), Key::new(5, "lift"));
    let level = |text: &str| parse(text).unwrap().apply(&image, key).get_pixel(0, 0)[0].wrapping_sub(7);
    let [alone, second, both] = [level("lift"), level("flip+lift"), level("lift+lift")];
    assert_ne!(alone, second);
    assert_eq!(both, alone.wrapping_add(second));
}

#[test]
fn steps_from_outside_are_checked_when_a_policy_is_read() {
    let known = |name: &str, arguments: &str| lift(name, arguments).map(|made| made.map(drop));
    for (text, part) in [
        ("augmix|lift(by=x)", "`lift(by=x)`: by is a level"),
        ("lower", "unknown step `lower`; known are augmix"),
        ("lift(by=3", "lacks its closing bracket"),
        ("lift||flip", "a step is empty"),
        ("cutout(size=0)+lift", "size must be above 0"),
        ("noise2net|lift", "robustify-deepaugment"),
    ] {
        let error = Policy::parse_with(text, &lift).unwrap_err();
        assert!(error.to_string().contains(part), "{text}: {error}");
        assert_eq!(Policy::check(text, &known), Err(error), "{text}");
    }
    assert_eq!(Policy::check("lift(by=3)+augmix|flip", &known), Ok(()));
    // Separators within brackets belong to the step, as in the name of a file.
    let named = |name: &str, path: &str| (name == "file" && path == "a+b|c.bin").then_some(Ok(()));
    assert_eq!(Policy::check("flip+file(a+b|c.bin)|flip", &named), Ok(()));
    // Names of this crate keep their meaning.
    let all = |_: &str, _: &str| Some(Ok(Arc::new(Lift(1)) as Arc<dyn Augmentation>));
    assert_eq!(Policy::parse_with("flip", &all).unwrap(), "flip".parse().unwrap());
}
