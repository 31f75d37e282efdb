//! Folders of images, with everything that goes wrong in them, and the decoding of single files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{ImageFormat, Rgb, RgbImage};
use robustify_data::folder::{OnBad, Options, Verify};
use robustify_data::{DataError, Dataset, ImageFolder, ImageSet, Images, Preprocess, Subset, decode};
use tempfile::TempDir;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens").join(name)
}

fn picture(width: u32, height: u32, red: u8) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([red, (x * 5) as u8, (y * 5) as u8]))
}

fn save(root: &Path, relative: &str, image: &RgbImage, format: ImageFormat) {
    let path = root.join(relative);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.save_with_format(path, format).unwrap();
}

/// Two good classes, an empty one, and every kind of bad file.
fn messy() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    save(root, "cat/b.JPG", &picture(30, 20, 10), ImageFormat::Jpeg);
    save(root, "cat/deep/er/a.png", &picture(8, 9, 20), ImageFormat::Png);
    save(root, "dog/a.webp", &picture(7, 6, 30), ImageFormat::WebP);
    save(root, "dog/wrong-extension.png", &picture(40, 40, 40), ImageFormat::Jpeg);
    save(root, "dog/tiny.png", &picture(1, 1, 50), ImageFormat::Png);
    save(root, "dog/truncated.jpeg", &picture(64, 64, 60), ImageFormat::Jpeg);
    let whole = fs::read(root.join("dog/truncated.jpeg")).unwrap();
    fs::write(root.join("dog/truncated.jpeg"), &whole[..whole.len() * 2 / 3]).unwrap();
    fs::write(root.join("dog/text.jpg"), "not an image").unwrap();
    fs::write(root.join("dog/empty.png"), "").unwrap();
    fs::write(root.join("dog/notes.txt"), "about dogs").unwrap();
    fs::write(root.join("dog/.hidden.jpg"), "").unwrap();
    fs::create_dir(root.join("bird")).unwrap();
    fs::write(root.join("stray.jpg"), "").unwrap();
    dir
}

#[test]
fn good_images_are_read_and_bad_ones_are_named() {
    let dir = messy();
    let set = ImageFolder::open(dir.path(), Options::default()).unwrap();
    assert_eq!(set.classes(), ["cat", "dog"]);
    let origins: Vec<PathBuf> = (0..set.len()).map(|index| set.origin(index).into()).collect();
    let files = ["cat/b.JPG", "cat/deep/er/a.png", "dog/a.webp", "dog/wrong-extension.png"];
    assert_eq!(origins, files.map(|file| dir.path().join(file)));
    assert_eq!(set.labels(), [0, 0, 1, 1]);
    let sizes: Vec<_> = (0..4).map(|index| set.get(index).unwrap().image.dimensions()).collect();
    assert_eq!(sizes, [(30, 20), (8, 9), (7, 6), (40, 40)]);
    assert_eq!(set.get(1).unwrap().image, picture(8, 9, 20));

    let reason = |name: &str| {
        let found: Vec<_> = set.skipped().iter().filter(|skipped| skipped.path.ends_with(name)).collect();
        assert_eq!(found.len(), 1, "{name} in {:?}", set.skipped());
        found[0].reason.clone()
    };
    assert!(reason("dog/truncated.jpeg").contains("truncated"));
    assert!(reason("dog/text.jpg").contains("not a JPEG, PNG or WebP"));
    assert!(reason("dog/empty.png").contains("not a JPEG, PNG or WebP"));
    assert!(reason("dog/tiny.png").contains("1x1"));
    assert!(reason("dog/notes.txt").contains(".jpg"));
    assert!(reason("stray.jpg").contains("outside"));
    assert!(reason("bird").contains("does not count as a class"));
    assert_eq!(set.skipped().len(), 7);
    assert!(matches!(set.get(4), Err(DataError::Index { index: 4, len: 4, .. })));
}

#[test]
fn strict_opening_and_header_only_opening_name_the_file_as_an_error() {
    let dir = messy();
    let strict = Options { on_bad: OnBad::Error, ..Options::default() };
    let error = ImageFolder::open(dir.path(), strict).unwrap_err().to_string();
    assert!(error.contains("dog") && error.contains("unusable image"), "{error}");

    let set = ImageFolder::open(dir.path(), Options { verify: Verify::Header, ..Options::default() }).unwrap();
    let truncated = (0..set.len()).find(|&index| set.origin(index).contains("truncated")).unwrap();
    let error = set.get(truncated).unwrap_err().to_string();
    assert!(error.contains("truncated.jpeg") && error.contains("end-of-image"), "{error}");
    assert!((0..set.len()).all(|index| !set.origin(index).contains("tiny") && !set.origin(index).contains("text")));
}

#[test]
fn folders_without_images_say_what_is_expected() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| ImageFolder::open(path, Options::default()).unwrap_err().to_string();
    assert!(open(&dir.path().join("missing")).contains("no such file or folder"));
    assert!(open(dir.path()).contains("one folder a class"));
    fs::create_dir(dir.path().join("cat")).unwrap();
    fs::write(dir.path().join("cat/a.jpg"), "text").unwrap();
    let error = open(dir.path());
    assert!(error.contains("1 class folders") && error.contains("a.jpg"), "{error}");
}

#[test]
fn number_folders_sort_by_value_and_a_given_list_sets_the_labels() {
    let dir = tempfile::tempdir().unwrap();
    for class in ["10", "9", "0"] {
        save(dir.path(), &format!("{class}/a.png"), &picture(4, 4, 0), ImageFormat::Png);
    }
    assert_eq!(ImageFolder::open(dir.path(), Options::default()).unwrap().classes(), ["0", "9", "10"]);
    let classes = Some(["9", "x", "10"].map(str::to_owned).to_vec());
    let set = ImageFolder::open(dir.path(), Options { classes, ..Options::default() }).unwrap();
    assert_eq!(set.labels(), [0, 2]);
    let left_out: Vec<_> = set.skipped().iter().map(|skipped| skipped.path.file_name().unwrap()).collect();
    assert_eq!(left_out, ["0", "x"]);
    save(dir.path(), "a/a.png", &picture(4, 4, 0), ImageFormat::Png);
    assert_eq!(ImageFolder::open(dir.path(), Options::default()).unwrap().classes(), ["0", "10", "9", "a"]);
}

#[test]
fn identities_and_fingerprints_follow_the_files_and_not_their_place() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for root in [one.path(), two.path()] {
        save(root, "a/1.png", &picture(4, 4, 0), ImageFormat::Png);
        save(root, "b/1.png", &picture(4, 4, 0), ImageFormat::Png);
    }
    let open = |dir: &TempDir| ImageFolder::open(dir.path(), Options::default()).unwrap();
    let before = open(&one);
    assert_eq!(before.fingerprint(), open(&two).fingerprint());
    assert_eq!(before.id(1).unwrap(), before.get(1).unwrap().id);
    assert_ne!(before.id(0).unwrap(), before.id(1).unwrap());
    save(one.path(), "a/0.png", &picture(4, 4, 0), ImageFormat::Png);
    let after = open(&one);
    assert_ne!(before.fingerprint(), after.fingerprint());
    assert_eq!(before.id(0).unwrap(), after.id(1).unwrap());
}

#[test]
fn jpeg_files_give_the_pixels_of_libjpeg_turbo() {
    for name in ["420", "422", "444", "progressive", "grey", "restart", "rgb"] {
        let got = decode::decode(&golden(&format!("jpeg-{name}.jpg"))).unwrap();
        assert!(got == decode::decode(&golden(&format!("jpeg-{name}-expected.png"))).unwrap(), "{name}");
    }
}

#[test]
fn cmyk_and_alpha_are_converted_as_by_pillow() {
    let cmyk = decode::decode(&golden("cmyk.jpg")).unwrap();
    let want = decode::decode(&golden("cmyk-expected.png")).unwrap();
    let worst = cmyk.as_raw().iter().zip(want.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(worst <= 4, "{worst} levels apart");
    assert_eq!(decode::decode(&golden("alpha.png")).unwrap(), decode::decode(&golden("alpha-expected.png")).unwrap());
}

#[test]
fn orientation_is_applied() {
    for orientation in [3, 6, 7] {
        let turned = decode::decode(&golden(&format!("exif-{orientation}.jpg"))).unwrap();
        let want = decode::decode(&golden(&format!("exif-{orientation}-expected.png"))).unwrap();
        assert_eq!(turned.dimensions(), want.dimensions());
        let header = decode::dimensions(&golden(&format!("exif-{orientation}.jpg"))).unwrap();
        assert_eq!(header, want.dimensions(), "orientation {orientation}");
        let worst = turned.as_raw().iter().zip(want.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= 4, "orientation {orientation}: {worst} levels apart");
    }
}

#[test]
fn sixteen_bits_and_grey_become_eight_bit_rgb() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep.png");
    image::ImageBuffer::<image::Luma<u16>, _>::from_raw(2, 1, vec![0x8000u16, 0xffff]).unwrap().save(&path).unwrap();
    assert_eq!(decode::decode(&path).unwrap().as_raw(), &[128, 128, 128, 255, 255, 255]);
}

#[test]
fn a_header_that_lies_about_its_size_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), "a.png", &picture(4, 4, 0), ImageFormat::Png);
    let mut bytes = fs::read(dir.path().join("a.png")).unwrap();
    // Width and height of the IHDR chunk, and the checksum over it.
    bytes[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    let error = decode::decode_bytes(&bytes, Path::new("a.png")).unwrap_err().to_string();
    assert!(error.contains("a.png") && error.contains("65536x65536"), "{error}");
}

#[test]
fn what_is_no_picture_is_not_read_and_what_cannot_be_is_not_made_room_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, start: &[u8], length: u64| {
        let path = dir.path().join(name);
        fs::write(&path, start).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
        path
    };
    // Files with holes, which take no room: reading them would take minutes and their length in memory.
    let text = file("text.jpg", b"not a picture, whatever the name says", 1 << 42);
    assert_eq!(decode::read(&text).unwrap(), b"not a picture, w");
    assert!(decode::decode(&text).unwrap_err().to_string().contains("not a JPEG, PNG or WebP image"));
    let long = file("long.jpg", &[0xff, 0xd8, 0xff, 0xe0, 0, 16], 1 << 42);
    let error = decode::decode(&long).unwrap_err().to_string();
    assert!(error.contains("4398046511104 bytes, at most 1073741820 are read"), "{error}");

    // A hundred bytes do not hold a hundred million pixels.
    save(dir.path(), "a.png", &picture(4, 4, 0), ImageFormat::Png);
    let mut bytes = fs::read(dir.path().join("a.png")).unwrap();
    bytes[16..24].copy_from_slice(&[0, 0, 0x30, 0, 0, 0, 0x30, 0]);
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    let error = decode::decode_bytes(&bytes, Path::new("a.png")).unwrap_err().to_string();
    assert!(error.contains("12288x12288") && error.contains("cannot hold"), "{error}");
    // Nor does a frame of a WebP have more pixels than the picture, or more bytes than the file.
    let mut webp = fs::read(golden("glass.webp")).unwrap();
    let frame = webp.windows(4).position(|name| name == b"VP8 ").unwrap() + 8;
    webp[frame + 6..frame + 10].copy_from_slice(&[0xff, 0x2f, 0xff, 0x2f]);
    let error = decode::decode_bytes(&webp, Path::new("a.webp")).unwrap_err().to_string();
    assert!(error.contains("a frame of 12287x12287 pixels in a picture of 21x13"), "{error}");
    let whole = fs::read(golden("lossy.webp")).unwrap();
    let error = decode::decode_bytes(&whole[..200], Path::new("a.webp")).unwrap_err().to_string();
    assert!(error.contains("\"VP8 \"") && error.contains("is not all there"), "{error}");
    for (name, file) in [("lossy", &whole), ("glass", &fs::read(golden("glass.webp")).unwrap())] {
        assert_eq!(decode::decode_bytes(file, Path::new(name)).unwrap().dimensions(), (21, 13));
    }
    // One colour takes very few bytes, and is read.
    save(dir.path(), "plain.png", &RgbImage::new(4000, 4000), ImageFormat::Png);
    save(dir.path(), "plain.jpg", &RgbImage::new(4000, 4000), ImageFormat::Jpeg);
    for name in ["plain.png", "plain.jpg"] {
        assert_eq!(decode::decode(&dir.path().join(name)).unwrap().dimensions(), (4000, 4000), "{name}");
    }
}

/// A pipe, which nobody writes into, and a socket.
#[cfg(unix)]
#[test]
fn what_is_no_file_is_named_and_never_opened() {
    use std::os::unix::net::UnixListener;
    let dir = messy();
    let pipe = dir.path().join("cat/pipe.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let _socket = UnixListener::bind(dir.path().join("cat/socket.png")).unwrap();
    let set = ImageFolder::open(dir.path(), Options::default()).unwrap();
    let reason = |name: &str| &set.skipped().iter().find(|skipped| skipped.path.ends_with(name)).unwrap().reason;
    assert!(reason("pipe.png").contains("is a pipe (FIFO)"), "{}", reason("pipe.png"));
    assert!(reason("socket.png").contains("is a socket"), "{}", reason("socket.png"));
    let error = decode::decode(&pipe).unwrap_err().to_string();
    assert!(error.contains("pipe.png: cannot read: it is a pipe"), "{error}");
    let error = robustify_data::split::read_indices(Path::new("/dev/null")).unwrap_err().to_string();
    assert!(error.contains("/dev/null: cannot read: it is a device"), "{error}");
    let error = ImageFolder::open(&pipe, Options::default()).unwrap_err().to_string();
    assert!(error.contains("is a pipe"), "{error}");
}

#[test]
fn an_image_that_does_not_fit_is_named_in_every_subset() {
    let dir = messy();
    let whole: Images = Arc::new(ImageFolder::open(dir.path(), Options::default()).unwrap());
    let images: Images = Arc::new(Subset::new(Arc::clone(&whole), vec![3, 2]).unwrap());
    let preprocess: Preprocess = "center_crop(8)".parse().unwrap();
    assert!(preprocess.pixels(&images.get(0).unwrap().image).is_ok());
    let error = preprocess.pixels(&images.get(1).unwrap().image).unwrap_err().of_image(&images, 1);
    let said = error.to_string();
    let file = dir.path().join("dog/a.webp").display().to_string();
    assert!(said.starts_with(&format!("{file}: center_crop to 8x8")) && said.contains("found 7x6"), "{said}");

    // What names a place already does not get another.
    let past_the_end = images.get(2).unwrap_err().of_image(&images, 1);
    assert!(matches!(past_the_end, DataError::Index { index: 2, len: 2, .. }), "{past_the_end}");
}
