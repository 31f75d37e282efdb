//! Parity with the authors' generator, by the golden data in `goldens/bar`, and what holds for images of any size.

use image::RgbImage;
use robustify_rng::Key;

use crate::{Corruption, Corruptor, Group, Profile, Severity, Trace};

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/goldens");

fn picture(path: &str) -> RgbImage {
    let path = format!("{GOLDENS}/{path}.png");
    image::open(&path).unwrap_or_else(|error| panic!("{path}: {error}")).into_rgb8()
}

/// The recorded draws: the number of arrays, their lengths, and their numbers.
fn recorded(path: &str) -> Trace {
    let bytes = std::fs::read(format!("{GOLDENS}/{path}.bin")).unwrap();
    let mut lengths = bytes.as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word) as usize);
    let count = lengths.next().unwrap();
    let mut numbers = bytes[4 * (count + 1)..].as_chunks::<8>().0.iter().map(|&number| f64::from_le_bytes(number));
    let arrays = lengths.take(count).map(|length| (String::new(), numbers.by_ref().take(length).collect())).collect();
    assert!(numbers.next().is_none(), "{path}");
    Trace::new(arrays)
}

fn all() -> impl Iterator<Item = Corruption> {
    Corruption::every().filter(|corruption| corruption.group() == Group::Bar)
}

#[test]
fn recorded_runs_of_the_generator_match() {
    for corruption in all() {
        let imagenet = std::fs::exists(format!("{GOLDENS}/bar/imagenet_{corruption}_4_astronaut.bin")).unwrap();
        let (profile, path, photo) = if imagenet {
            (Profile::ImagenetC, format!("bar/imagenet_{corruption}_4_astronaut"), "clean/astronaut")
        } else {
            (Profile::CifarC, format!("bar/cifar_{corruption}_3_chelsea"), "clean/chelsea")
        };
        let severity = Severity::ALL[if imagenet { 3 } else { 2 }];
        let trace = recorded(&path);
        let got = Corruptor::new(profile).replay(&picture(photo), corruption, severity, &trace).unwrap();
        let want = picture(&path);
        let unequal = got.iter().zip(want.iter()).filter(|(a, b)| a != b).count();
        let furthest = got.iter().zip(want.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        // Single precision may tip a sample that lies next to a whole level.
        assert!(unequal <= 3 && furthest <= 1, "{corruption}: {unequal} samples differ, by up to {furthest}");
    }
}

#[test]
fn images_of_any_size_are_taken() {
    for profile in [Profile::CifarC, Profile::ImagenetC] {
        let corruptor = Corruptor::new(profile);
        for (width, height) in [(1, 1), (1, 40), (70, 2), (3, 3), (33, 20), (20, 37), (150, 131)] {
            let image = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, 100, (3 * y) as u8]));
            for corruption in all() {
                for severity in [Severity::ALL[0], Severity::ALL[4]] {
                    let at = || corruptor.apply(&image, corruption, severity, Key::new(4, "sizes"));
                    assert_eq!(at().dimensions(), (width, height), "{corruption}");
                    assert!(at() == at(), "{corruption}: the same key gave another image");
                }
            }
        }
    }
}

#[test]
fn the_levels_are_those_of_the_profile() {
    let level = |profile, corruption| super::level(profile, corruption, 4).unwrap();
    assert_eq!(level(Profile::CifarC, Corruption::Sparkles), 7.0);
    assert_eq!(level(Profile::ImagenetC, Corruption::Sparkles), 6.0);
    // Of one set only.
    assert_eq!(level(Profile::CifarC, Corruption::PlasmaNoise), 10.0);
    assert_eq!(level(Profile::TinyC, Corruption::Ripple), 8.0);
    assert!(Corruption::ALL.into_iter().all(|corruption| super::level(Profile::CifarC, corruption, 0).is_none()));
}

#[test]
fn a_short_record_is_refused() {
    let image = picture("clean/rocket");
    for corruption in all().filter(|&corruption| corruption != Corruption::CircularMotionBlur) {
        let result = Corruptor::new(Profile::CifarC).replay(&image, corruption, Severity::ALL[2], &Trace::default());
        assert!(result.unwrap_err().to_string().contains("ends after 0 arrays"), "{corruption}");
    }
}
