//! Whole files of every kind that is read, as small as they can be.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use npyz::WriterBuilder;
use robustify_augment::encode_jpeg;
use robustify_zoo::weights::{self, Entry, State};

use crate::miniatures::{self, mat::Mat};

/// The files of a folder of the repository with one of these endings.
fn files(folder: &str, endings: &[&str]) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let wanted = |path: &&std::path::PathBuf| endings.iter().any(|ending| path.to_string_lossy().ends_with(ending));
    let found: Vec<_> = paths.iter().filter(wanted).map(|path| std::fs::read(path).unwrap()).collect();
    assert!(!found.is_empty(), "no {endings:?}");
    found
}

fn picture() -> RgbImage {
    RgbImage::from_fn(21, 13, |x, y| Rgb([(x * 11) as u8, (y * 17) as u8, (x * y) as u8]))
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn idx(magic: u32, sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let words = [&[magic][..], sizes].concat();
    words.iter().flat_map(|word| word.to_be_bytes()).chain(data.iter().copied()).collect()
}

pub fn idx_images() -> Vec<Vec<u8>> {
    let plain = idx(0x803, &[4, 5, 3], &(0..60).collect::<Vec<u8>>());
    let labels = idx(0x801, &[4], &[0, 9, 3, 3]);
    let bundled = files("datasets/fashion-mnist-mini", &["validation-labels-idx1-ubyte.gz"]);
    [vec![plain, labels], bundled].concat()
}

pub fn idx_labels() -> Vec<u8> {
    idx(0x801, &[4], &[0, 9, 3, 3])
}

pub fn cifar() -> Vec<Vec<u8>> {
    let record = |label: u8| -> Vec<u8> { [label, label].into_iter().chain((0..3072).map(|at| at as u8)).collect() };
    vec![[record(1), record(99)].concat(), record(7)]
}

pub fn cifar_names() -> Vec<u8> {
    (0..100).map(|class| format!("class {class}\n")).collect::<String>().into_bytes()
}

pub fn jpeg() -> Vec<Vec<u8>> {
    let mut seeds = files("crates/data/goldens", &[".jpg"]);
    seeds.push(encode_jpeg(&picture(), 85).unwrap());
    seeds
}

pub fn png() -> Vec<Vec<u8>> {
    let rgb = DynamicImage::from(picture());
    let forms: [DynamicImage; 5] =
        [rgb.to_luma8().into(), rgb.to_rgba8().into(), rgb.to_rgb16().into(), rgb.to_luma_alpha16().into(), rgb];
    forms.iter().map(|image| encoded(image, ImageFormat::Png)).collect()
}

pub fn webp() -> Vec<Vec<u8>> {
    let rgb = DynamicImage::from(picture());
    let mut seeds = files("crates/data/goldens", &[".webp"]);
    seeds.extend([encoded(&rgb, ImageFormat::WebP), encoded(&rgb.to_rgba8().into(), ImageFormat::WebP)]);
    seeds
}

pub fn safetensors() -> Vec<Vec<u8>> {
    let entry = |shape: &[usize]| Entry { shape: shape.to_vec(), values: vec![0.5; shape.iter().product()] };
    let state = State::from([("a.weight".to_owned(), entry(&[3, 4])), ("b".to_owned(), entry(&[]))]);
    let mut seeds = files("crates/zoo/goldens/checkpoints", &[".safetensors"]);
    seeds.extend([weights::to_bytes(&state), weights::to_half_bytes(&state)]);
    seeds
}

pub fn zips() -> Vec<Vec<u8>> {
    files("crates/zoo/goldens/checkpoints", &["zip.pth", "twice.pth", "script.pt"])
}

pub fn legacy() -> Vec<Vec<u8>> {
    files("crates/zoo/goldens/checkpoints", &["legacy.pth"])
}

pub fn npy() -> Vec<Vec<u8>> {
    let array = |shape: &[u64]| {
        let mut bytes = Vec::new();
        let options = npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes);
        options.begin_nd().unwrap().extend((0..shape.iter().product()).map(|at| at as u8)).unwrap();
        bytes
    };
    vec![array(&[2, 3, 4, 3]), array(&[1, 1, 1, 3]), array(&[24])]
}

pub fn mat() -> Vec<Vec<u8>> {
    let text = |text: &str| Mat::Text(text.to_owned());
    let fields = vec![
        ("class", vec![Mat::Bytes(vec![3.0]), Mat::Doubles(vec![9.0])]),
        ("fname", vec![text("a.jpg"), text("b")]),
    ];
    let variables = [
        ("labels", Mat::Bytes((0..40).map(f64::from).collect())),
        ("names", Mat::Cells(vec![text("one"), text("another name")])),
        ("annotations", Mat::Structures(fields)),
        ("ids", Mat::Doubles(vec![1.0, 2.5, -3.0])),
    ];
    [true, false].map(|compressed| miniatures::mat::file(&variables, compressed)).to_vec()
}

pub fn tar() -> Vec<Vec<u8>> {
    let png = encoded(&DynamicImage::from(picture()), ImageFormat::Png);
    let samples = [
        ("s/1.png", png.clone()),
        ("s/1.cls", b"1".to_vec()),
        ("s/2.json", br#"{"label": "a"}"#.to_vec()),
        ("s/2.png", png),
    ];
    vec![miniatures::tar(&samples), miniatures::tar(&samples[..2])]
}

pub fn toml() -> Vec<Vec<u8>> {
    files("configs", &[".toml"])
}
