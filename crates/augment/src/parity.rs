//! Parity with the reference implementations, by the golden data in `goldens/`.

use image::RgbImage;

use crate::pillow::PillowOp;
use crate::{Corruption, Corruptor, Profile, Scratch, Severity, Trace};

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

/// The arrays of a recorded run on a 32x32 photograph, in the order of the draws.
fn recorded(folder: &str, corruption: Corruption, severity: u8) -> Vec<Vec<f64>> {
    let path = format!("{GOLDENS}/{folder}/{corruption}_{severity}.bin");
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let doubles =
        || -> Vec<f64> { bytes.chunks_exact(8).map(|chunk| f64::from_le_bytes(chunk.try_into().unwrap())).collect() };
    let split = |lengths: &[usize]| {
        let values = doubles();
        assert_eq!(values.len(), lengths.iter().sum::<usize>(), "{path}");
        let mut rest = values.as_slice();
        let mut next = |length: usize| {
            let (head, tail) = rest.split_at(length);
            rest = tail;
            head.to_vec()
        };
        lengths.iter().map(|&length| next(length)).collect()
    };
    match corruption {
        Corruption::ShotNoise => {
            let count = |chunk: &[u8]| f64::from(u16::from_le_bytes(chunk.try_into().unwrap()));
            vec![bytes.chunks_exact(2).map(count).collect()]
        }
        Corruption::GlassBlur => vec![bytes.iter().map(|&byte| f64::from(byte as i8)).collect()],
        Corruption::Snow => split(&[1024, 1]),
        Corruption::Fog => split(&[1, 4, 16, 64, 256].map(|octave| [octave; 3]).concat()),
        Corruption::ElasticTransform if folder == "imagecorruptions" => split(&[1024, 1024]),
        Corruption::ElasticTransform => split(&[6, 1024, 1024]),
        _ => vec![doubles()],
    }
}

/// Replays a recorded run and asserts that every byte is the reference's.
fn assert_replay(profile: Profile, folder: &str, corruption: Corruption, severity: u8, photo: &str) {
    let arrays = recorded(folder, corruption, severity).into_iter().map(|values| (String::new(), values)).collect();
    let level = Severity::try_from(severity).unwrap();
    let clean = picture(&format!("clean/{photo}"));
    let got = Corruptor::new(profile).replay(&clean, corruption, level, &Trace::new(arrays)).unwrap();
    let what = format!("{folder}/{corruption}_{severity}");
    assert_close(&got, &picture(&what), 0, 1.0, &what);
}

#[test]
fn stochastic_corruptions_match_given_their_draws() {
    let both = [
        Corruption::ShotNoise,
        Corruption::GlassBlur,
        Corruption::MotionBlur,
        Corruption::Snow,
        Corruption::Fog,
        Corruption::ElasticTransform,
        Corruption::Spatter,
    ];
    for corruption in both {
        assert_replay(Profile::CifarC, "trace", corruption, 2, "astronaut");
        assert_replay(Profile::CifarC, "trace", corruption, 5, "chelsea");
    }
    assert_replay(Profile::CifarC, "trace", Corruption::GaussianNoise, 5, "chelsea");
    assert_replay(Profile::CifarC, "trace", Corruption::SpeckleNoise, 5, "chelsea");
    // Where the package for any size differs.
    let profile = Profile::Imagecorruptions;
    assert_replay(profile, "imagecorruptions", Corruption::ElasticTransform, 3, "chelsea");
    assert_replay(profile, "imagecorruptions", Corruption::Snow, 4, "astronaut");
    assert_replay(profile, "imagecorruptions", Corruption::MotionBlur, 5, "chelsea");
}

#[test]
fn jpeg_files_are_those_of_pillow() {
    let clean = picture("clean/astronaut");
    let want = |name: &str| std::fs::read(format!("{GOLDENS}/jpeg/{name}.jpg")).unwrap();
    assert!(crate::encode_jpeg(&clean, 85).unwrap() == want("astronaut_85"));
    let part = image::imageops::crop_imm(&clean, 0, 0, 19, 27).to_image();
    assert!(crate::encode_jpeg(&part, 25).unwrap() == want("astronaut_19x27_25"));
    assert!(crate::encode_jpeg(&RgbImage::new(0, 3), 85).is_none());
}

#[test]
fn a_trace_of_another_corruption_is_refused() {
    let clean = picture("clean/astronaut");
    let refuse = |corruption, arrays: &[&[f64]]| {
        let arrays = arrays.iter().map(|values| ("draws".to_owned(), values.to_vec())).collect();
        let severity = Severity::try_from(3).unwrap();
        let result = Corruptor::new(Profile::CifarC).replay(&clean, corruption, severity, &Trace::new(arrays));
        result.unwrap_err().to_string()
    };
    assert!(refuse(Corruption::MotionBlur, &[]).contains("ends after 0 arrays"));
    assert!(refuse(Corruption::MotionBlur, &[&[90.0]]).contains("90"));
    assert!(refuse(Corruption::MotionBlur, &[&[9.0], &[9.0]]).contains("left over"));
    assert!(refuse(Corruption::GaussianNoise, &[&[0.0; 1024]]).contains("1024 numbers instead of 3072"));
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
        let op = match op {
            "autocontrast" => PillowOp::Autocontrast,
            "equalize" => PillowOp::Equalize,
            "posterize" => PillowOp::Posterize(level as u32),
            "solarize" => PillowOp::Solarize(level as u32),
            "rotate" => PillowOp::Rotate(level),
            "shear_x" => PillowOp::ShearX(level),
            "shear_y" => PillowOp::ShearY(level),
            "translate_x" => PillowOp::TranslateX(level as i64),
            "translate_y" => PillowOp::TranslateY(level as i64),
            "color" => PillowOp::Color(level),
            "contrast" => PillowOp::Contrast(level),
            "brightness" => PillowOp::Brightness(level),
            "sharpness" => PillowOp::Sharpness(level),
            _ => panic!("no operation for the golden `{name}`"),
        };
        let got = op.apply(&clean, &mut Scratch::new());
        assert_close(&got, &stacked(&stack, index), 0, 1.0, name);
    }
    assert!(names.lines().count() > 40);
}
