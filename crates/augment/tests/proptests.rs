//! What holds for every corruption at every severity of every profile, and for every operation of Pillow's with any
//! parameter, on images of any size and content.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use robustify_augment::{Corruption, Corruptor, PillowOp, Profile, RgbImage, Scratch, Severity};
use robustify_rng::Key;

/// One a profile, kept for all cases: textures and tables are built once.
static CORRUPTORS: LazyLock<Vec<Corruptor>> = LazyLock::new(|| Profile::ALL.map(Corruptor::new).into());

proptest! {
    #![proptest_config(cases(200))]

    /// All corruptions on one small image, through one scratch.
    #[test]
    fn every_corruption_holds_on_small_images(picture in picture(small()), setting in setting()) {
        let (image, mut scratch) = (picture.image(), Scratch::new());
        for corruption in Corruption::every() {
            check(&image, corruption, &setting, &mut scratch)?;
        }
    }
}

proptest! {
    #![proptest_config(cases(80))]

    /// One corruption on one large image, through a scratch that a smaller image has used.
    #[test]
    fn a_corruption_holds_on_large_images(
        picture in picture((1..=500_u32, 1..=333_u32)),
        setting in setting(),
        corruption in select(Corruption::every().collect::<Vec<_>>()),
    ) {
        let mut scratch = Scratch::new();
        check(&RgbImage::from_pixel(5, 3, image::Rgb([9, 99, 200])), corruption, &setting, &mut scratch)?;
        check(&picture.image(), corruption, &setting, &mut scratch)?;
    }
}

proptest! {
    #![proptest_config(cases(200))]

    /// Those with a real number, those with a whole one, and those that change nothing.
    #[test]
    fn operations_take_any_parameter(picture in picture(small()), real in any::<f64>(), whole in any::<i64>()) {
        use PillowOp::*;
        let (image, mut scratch) = (picture.image(), Scratch::new());
        for op in [Rotate, ShearX, ShearY, Color, Contrast, Brightness, Sharpness] {
            for level in [real, real % 40.0, real % 1.0] {
                prop_assert_eq!(op(level).apply(&image, &mut scratch).dimensions(), image.dimensions());
            }
        }
        for op in [TranslateX, TranslateY] {
            let moved = op(whole).apply(&image, &mut scratch);
            prop_assert!(whole.unsigned_abs() < 70 || moved.iter().all(|&level| level == 0));
        }
        for op in [Posterize, Solarize] {
            prop_assert_eq!(op(whole as u32).apply(&image, &mut scratch).dimensions(), image.dimensions());
        }
        let reals = [Rotate(-720.0), ShearX(0.0), ShearY(0.0), Color(1.0), Contrast(1.0), Brightness(1.0), Sharpness(1.0)];
        for op in reals.into_iter().chain([TranslateX(0), TranslateY(0), Posterize(8), Solarize(256)]) {
            prop_assert!(op.apply(&image, &mut scratch) == image, "{:?} changes the image", op);
        }
    }
}

/// The size is kept; the same key gives the same bytes, whatever the output image and the scratch held; severity 0 is the
/// image itself.
fn check(
    picture: &RgbImage,
    corruption: Corruption,
    setting: &Setting,
    scratch: &mut Scratch,
) -> Result<(), TestCaseError> {
    let Setting { profile, severity, seed } = *setting;
    let corruptor = CORRUPTORS.iter().find(|corruptor| corruptor.profile() == profile).expect("one a profile");
    let key = Key::new(seed, "proptests");
    let (width, height) = picture.dimensions();
    let case = format!("{profile} {corruption} {severity} on {width}x{height}");

    let fresh = corruptor.apply(picture, corruption, severity, key);
    prop_assert_eq!(fresh.dimensions(), (width, height), "{}: another size", case);
    // Of the right size, then of a wrong one, both full of something else.
    for dirty in [(width, height), (height + 1, 2)] {
        let mut out = RgbImage::from_pixel(dirty.0, dirty.1, image::Rgb([251, 3, 77]));
        corruptor.apply_into(picture, corruption, severity, key, scratch, &mut out);
        prop_assert!(out == fresh, "{}: a used scratch and a full output image give other bytes", case);
        corruptor.apply_into(picture, corruption, Severity::CLEAN, key, scratch, &mut out);
        prop_assert!(out == *picture, "{}: severity 0 changes the image", case);
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    profile: Profile,
    severity: Severity,
    seed: u64,
}

fn setting() -> impl Strategy<Value = Setting> {
    let severities = select(Severity::ALL.to_vec());
    (select(Profile::ALL.to_vec()), severities, any::<u64>()).prop_map(|(profile, severity, seed)| Setting {
        profile,
        severity,
        seed,
    })
}

/// Sizes at which windows, blocks and lanes do not fit: single rows and columns, a few pixels, odd sides, and sides just
/// beside a power of two.
fn small() -> impl Strategy<Value = (u32, u32)> {
    prop_oneof![
        3 => (1..=4_u32, 1..=4_u32),
        1 => (Just(1_u32), 1..=70_u32),
        1 => (1..=70_u32, Just(1_u32)),
        3 => (2..=20_u32, 2..=20_u32).prop_map(|(w, h)| (2 * w + 1, 2 * h + 1)),
        2 => (select(vec![7_u32, 8, 9, 15, 16, 17, 31, 32, 33]), select(vec![7_u32, 8, 9, 15, 16, 17, 31, 32, 33])),
    ]
}

/// What an image is made from, so that a failing case is a line and not a page of levels.
#[derive(Clone, Copy, Debug)]
struct Picture {
    size: (u32, u32),
    content: Content,
    colour: [u8; 3],
    seed: u64,
}

#[derive(Clone, Copy, Debug)]
enum Content {
    Flat,
    /// Flat with a few black and white samples.
    Specks,
    BlackAndWhite,
    Noise,
}

impl Picture {
    fn image(self) -> RgbImage {
        let mut stream = Key::new(self.seed, "picture").stream();
        let mut image = RgbImage::from_pixel(self.size.0, self.size.1, image::Rgb(self.colour));
        for level in image.iter_mut() {
            let extreme = if stream.chance(0.5) { 255 } else { 0 };
            match self.content {
                Content::Flat => {}
                Content::Specks if stream.chance(0.9) => {}
                Content::Specks | Content::BlackAndWhite => *level = extreme,
                Content::Noise => *level = stream.below(256) as u8,
            }
        }
        image
    }
}

fn picture(size: impl Strategy<Value = (u32, u32)>) -> impl Strategy<Value = Picture> {
    let content = select(vec![Content::Flat, Content::Specks, Content::BlackAndWhite, Content::Noise]);
    (size, content, any::<[u8; 3]>(), any::<u64>()).prop_map(|(size, content, colour, seed)| Picture {
        size,
        content,
        colour,
        seed,
    })
}

/// The same cases in every run, so that a change is judged by what it changes; looking for new ones is the fuzz target's
/// work.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(17), ..ProptestConfig::default() }
}
