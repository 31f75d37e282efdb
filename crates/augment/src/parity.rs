//! Parity with the reference implementations, by the golden data in `goldens/`.

use image::RgbImage;

use crate::{Corruption, Corruptor, Profile, Severity};
use crate::{blur, elastic, motion, noise, pillow, spatter, weather};

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/goldens");

fn picture(path: &str) -> RgbImage {
    let path = format!("{GOLDENS}/{path}.png");
    image::open(&path).unwrap_or_else(|error| panic!("{path}: {error}")).into_rgb8()
}

/// The `index`-th picture of a stack of 32x32 pictures.
fn stacked(stack: &RgbImage, index: usize) -> RgbImage {
    image::imageops::crop_imm(stack, 0, 32 * index as u32, 32, 32).to_image()
}

/// Asserts that no sample is further off than `furthest` levels and that the share of equal samples is at least
/// `equal`.
fn assert_close(got: &RgbImage, want: &RgbImage, furthest: u8, equal: f64, what: &str) {
    assert_eq!(got.dimensions(), want.dimensions(), "{what}");
    let distances = || got.iter().zip(want.iter()).map(|(a, b)| a.abs_diff(*b));
    let share = distances().filter(|&distance| distance == 0).count() as f64 / got.len() as f64;
    let most = distances().max().unwrap();
    assert!(most <= furthest && share >= equal, "{what}: {:.3} % equal, furthest {most}", 100.0 * share);
}

#[test]
fn deterministic_corruptions_match() {
    let deterministic = [
        Corruption::DefocusBlur,
        Corruption::ZoomBlur,
        Corruption::Brightness,
        Corruption::Contrast,
        Corruption::Pixelate,
        Corruption::JpegCompression,
        Corruption::GaussianBlur,
        Corruption::Saturate,
    ];
    let cases = [(Profile::CifarC, "astronaut"), (Profile::CifarC, "rocket"), (Profile::ImagenetC, "astronaut")];
    for (profile, photo) in cases {
        let corruptor = Corruptor::new(profile);
        let clean = picture(&format!("clean/{photo}"));
        for corruption in deterministic {
            let stack = picture(&format!("{profile}/{corruption}_{photo}"));
            for (index, severity) in Severity::ALL.into_iter().enumerate() {
                let got = corruptor.apply(&clean, corruption, severity, robustify_rng::Key::new(0, "parity"));
                let what = format!("{profile} {corruption} {severity} of {photo}");
                assert_close(&got, &stacked(&stack, index), 0, 1.0, &what);
            }
        }
    }
}

/// The draws, the clean photograph and the reference output of a recorded run.
struct Trace {
    bytes: Vec<u8>,
    clean: RgbImage,
    want: RgbImage,
    what: String,
}

impl Trace {
    fn load(corruption: Corruption, severity: usize) -> Self {
        let what = format!("trace/{corruption}_{severity}");
        let bytes = std::fs::read(format!("{GOLDENS}/{what}.bin")).unwrap_or_else(|error| panic!("{what}: {error}"));
        let clean = picture(if severity == 2 { "clean/astronaut" } else { "clean/chelsea" });
        Self { bytes, clean, want: picture(&what), what }
    }

    fn doubles(&self) -> Vec<f64> {
        self.bytes.chunks_exact(8).map(|chunk| f64::from_le_bytes(chunk.try_into().unwrap())).collect()
    }

    fn assert(&self, got: &RgbImage, furthest: u8, equal: f64) {
        assert_close(got, &self.want, furthest, equal, &self.what);
    }
}

#[test]
fn noise_matches_given_its_draws() {
    let trace = Trace::load(Corruption::GaussianNoise, 5);
    let mut draws = trace.doubles().into_iter();
    trace.assert(&noise::gaussian(&trace.clean, || draws.next().unwrap()), 0, 1.0);
    let trace = Trace::load(Corruption::SpeckleNoise, 5);
    let mut draws = trace.doubles().into_iter();
    trace.assert(&noise::speckle(&trace.clean, || draws.next().unwrap()), 0, 1.0);
    for severity in [2, 5] {
        let trace = Trace::load(Corruption::ShotNoise, severity);
        let photons = noise::SHOT.get(Profile::CifarC)[severity - 1];
        let counts = trace.bytes.chunks_exact(2).map(|chunk| u32::from(chunk[0]) + 256 * u32::from(chunk[1]));
        let levels = counts.map(|count| noise::shot_level(count, photons)).collect();
        trace.assert(&RgbImage::from_raw(32, 32, levels).unwrap(), 0, 1.0);
    }
}

#[test]
fn blurs_match_given_their_draws() {
    for severity in [2, 5] {
        let trace = Trace::load(Corruption::GlassBlur, severity);
        let (sigma, reach, rounds) = blur::GLASS.get(Profile::CifarC)[severity - 1];
        let mut jitter = trace.bytes.iter().map(|&byte| i64::from(byte as i8));
        trace.assert(&blur::glass(&trace.clean, sigma, reach, rounds, || jitter.next().unwrap()), 0, 1.0);
        assert!(jitter.next().is_none(), "every draw is used");

        let trace = Trace::load(Corruption::MotionBlur, severity);
        let (radius, sigma) = motion::MOTION.get(Profile::CifarC)[severity - 1];
        trace.assert(&motion::motion(&trace.clean, radius, sigma, trace.doubles()[0]), 0, 1.0);
    }
}

#[test]
fn weather_matches_given_its_draws() {
    for severity in [2, 5] {
        let trace = Trace::load(Corruption::Snow, severity);
        let draws = trace.doubles();
        let level = &weather::SNOW.get(Profile::CifarC)[severity - 1];
        trace.assert(&weather::snow(&trace.clean, level, &draws[..1024], draws[1024]), 0, 1.0);

        let trace = Trace::load(Corruption::Fog, severity);
        let (amount, decay) = weather::FOG.get(Profile::CifarC)[severity - 1];
        let mut draws = trace.doubles().into_iter();
        let map = weather::plasma(32, decay, |_| draws.next().unwrap());
        assert!(draws.next().is_none(), "every draw is used");
        trace.assert(&weather::fog(&trace.clean, amount, &map, 32), 0, 1.0);
    }
}

#[test]
fn elastic_and_spatter_match_given_their_draws() {
    for severity in [2, 5] {
        let trace = Trace::load(Corruption::ElasticTransform, severity);
        let (alpha, sigma, _) = elastic::ELASTIC.get(Profile::CifarC)[severity - 1];
        let draws = trace.doubles();
        let points = std::array::from_fn(|point| [draws[2 * point], draws[2 * point + 1]]);
        let (dx, dy) = (draws[6..1030].to_vec(), draws[1030..].to_vec());
        trace.assert(&elastic::elastic(&trace.clean, alpha, sigma, elastic::Draws { points, dx, dy }), 0, 1.0);

        let trace = Trace::load(Corruption::Spatter, severity);
        let level = &spatter::SPATTER.get(Profile::CifarC)[severity - 1];
        trace.assert(&spatter::spatter(&trace.clean, level, trace.doubles()), 0, 1.0);
    }
}

#[test]
fn pillow_operations_match() {
    let clean = picture("clean/astronaut");
    let stack = picture("pillow/astronaut");
    let names = std::fs::read_to_string(format!("{GOLDENS}/pillow/ops.txt")).unwrap();
    for (index, name) in names.lines().enumerate() {
        let (op, level) = match name.rsplit_once('_') {
            Some((op, level)) if level.parse::<f64>().is_ok() => (op, level.parse().unwrap()),
            _ => (name, 0.0),
        };
        let got = match op {
            "autocontrast" => pillow::autocontrast(&clean),
            "equalize" => pillow::equalize(&clean),
            "posterize" => pillow::posterize(&clean, level as u32),
            "solarize" => pillow::solarize(&clean, level as u32),
            "rotate" => pillow::rotate(&clean, level),
            "shear_x" => pillow::affine(&clean, [1.0, level, 0.0, 0.0, 1.0, 0.0]),
            "shear_y" => pillow::affine(&clean, [1.0, 0.0, 0.0, level, 1.0, 0.0]),
            "translate_x" => pillow::affine(&clean, [1.0, 0.0, level, 0.0, 1.0, 0.0]),
            "translate_y" => pillow::affine(&clean, [1.0, 0.0, 0.0, 0.0, 1.0, level]),
            "color" => pillow::color(&clean, level),
            "contrast" => pillow::contrast(&clean, level),
            "brightness" => pillow::brightness(&clean, level),
            "sharpness" => pillow::sharpness(&clean, level),
            _ => panic!("no operation for the golden `{name}`"),
        };
        assert_close(&got, &stacked(&stack, index), 0, 1.0, name);
    }
    assert!(names.lines().count() > 40);
}
