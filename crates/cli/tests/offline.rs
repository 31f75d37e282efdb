//! `corrupt` and `augment`, from outside: the same bytes whatever happens, and what a user is told.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Cursor};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use npyz::WriterBuilder;

/// A folder with pictures of several kinds in `in`.
struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new() -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        for class in ["cat", "dog"] {
            fs::create_dir_all(fixture.path("in").join(class)).unwrap();
        }
        fixture.save("in/cat/wide.png", &picture(45, 20).into(), ImageFormat::Png);
        fixture.save("in/cat/tall.jpg", &picture(17, 33).into(), ImageFormat::Jpeg);
        fixture.save("in/dog/grey.png", &DynamicImage::from(picture(20, 20)).to_luma8().into(), ImageFormat::Png);
        let rgba = RgbaImage::from_fn(24, 18, |x, y| Rgba([10 * x as u8, 10 * y as u8, 90, 200 - x as u8]));
        fixture.save("in/dog/glass.png", &rgba.into(), ImageFormat::Png);
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn save(&self, name: &str, image: &DynamicImage, format: ImageFormat) {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        fs::write(self.path(name), bytes.into_inner()).unwrap();
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_robustify"));
        command.args(line.split_whitespace()).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// Runs, expects success, and returns what it says.
    fn done(&self, line: &str) -> String {
        let output = self.run(line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {said}");
        said
    }

    /// Runs, expects an error, and returns what it says.
    fn error(&self, line: &str) -> String {
        let output = self.run(line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        said
    }

    /// Every file below a folder.
    fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let root = self.path(folder);
        let (mut files, mut open) = (BTreeMap::new(), vec![root.clone()]);
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.path().is_dir() {
                    open.push(entry.path());
                } else {
                    let name = entry.path().strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                    files.insert(name, fs::read(entry.path()).unwrap());
                }
            }
        }
        files
    }
}

fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 11) as u8, (y * 7) as u8, (x * y) as u8]))
}

const CELLS: &str = "--corruption glass_blur,fog,jpeg_compression --severity 1,5 --profile scaled --seed 7";

#[test]
fn results_depend_on_picture_name_and_seed_alone() {
    let fixture = Fixture::new();
    fixture.done(&format!("corrupt in one {CELLS} --jobs 1"));
    let one = fixture.files("one");
    assert_eq!(one.len(), 4 * 6 + 1);
    assert!(one.contains_key("glass_blur/5/cat/tall.png") && one.contains_key("manifest.jsonl"));
    for jobs in [2, 8] {
        fixture.done(&format!("corrupt in jobs{jobs} {CELLS} --jobs {jobs}"));
        assert!(fixture.files(&format!("jobs{jobs}")) == one, "{jobs} jobs give other bytes");
    }
    let glass = image::load_from_memory(&one["fog/5/dog/glass.png"]).unwrap();
    assert!(glass.color().has_alpha() && glass.to_rgba8().get_pixel(3, 0).0[3] == 197, "alpha is kept");

    // Other files, another corruption, a damaged result and a lost one: the rest stays, these are made.
    fixture.save("in/ant.png", &picture(9, 9).into(), ImageFormat::Png);
    fs::write(fixture.path("one/fog/1/cat/wide.png"), b"damaged").unwrap();
    fs::remove_file(fixture.path("one/fog/5/cat/wide.png")).unwrap();
    let said = fixture.done(&format!("corrupt in one {CELLS}"));
    assert!(said.contains("8 results made, 22 were there"), "{said}");
    let more = fixture.files("one");
    assert!(one.iter().all(|(name, bytes)| name == "manifest.jsonl" || more[name] == *bytes));
    assert!(more.contains_key("fog/5/ant.png"));
    fixture.done(&format!("corrupt in two {CELLS}"));
    assert!(fixture.files("two") == more, "the manifest is that of a run in one go");
    // Two programs do not work in one folder.
    let held = File::open(fixture.path("one/manifest.jsonl")).unwrap();
    held.lock().unwrap();
    assert!(fixture.error(&format!("corrupt in one {CELLS}")).contains("another process"));
    drop(held);
    let said = fixture.error("corrupt in one --corruption fog --severity 1 --seed 8");
    assert!(said.contains("other settings") && said.contains("\"seed\":7"), "{said}");
}

#[test]
fn killed_runs_end_like_undisturbed_ones() {
    let fixture = Fixture::new();
    for index in 0..30 {
        fixture.save(&format!("in/dog/{index}.png"), &picture(64, 60 + index).into(), ImageFormat::Png);
    }
    for (format, wait) in [("png", 40), ("jpeg85", 60), ("tar", 50)] {
        let line = |folder: &str| format!("corrupt in {format}-{folder} --severity 2 --format {format} --quiet");
        fixture.done(&line("whole"));
        for _ in 0..3 {
            let mut child = fixture.command(&line("killed")).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(wait));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        fixture.done(&line("killed"));
        let (whole, killed) = (fixture.files(&format!("{format}-whole")), fixture.files(&format!("{format}-killed")));
        assert!(whole == killed, "{format}");
    }
}

#[test]
fn arrays_have_the_layout_of_cifar_c() {
    let fixture = Fixture::new();
    let said = fixture.error("corrupt in out --format npy --corruption contrast --profile cifar-c --strict");
    assert!(said.contains("one size") && said.contains("--preprocess"), "{said}");
    fixture.done(
        "corrupt in arrays --format npy --corruption contrast,fog --profile cifar-c --preprocess resize(32)|center_crop(32)",
    );
    let files = fixture.files("arrays");
    let array = npyz::NpyFile::new(files["contrast.npy"].as_slice()).unwrap();
    assert_eq!(array.shape(), [20, 32, 32, 3]);
    let rows = array.into_vec::<u8>().unwrap();
    // Severity 5 of the third picture, as a file.
    fixture.done("corrupt in tree --corruption contrast --profile cifar-c --preprocess resize(32)|center_crop(32)");
    let third = image::load_from_memory(&fixture.files("tree")["contrast/5/dog/glass.png"]).unwrap().into_rgb8();
    assert!(rows[(4 * 4 + 2) * 3072..][..3072] == **third.as_raw());
    let labels = npyz::NpyFile::new(files["labels.npy"].as_slice()).unwrap().into_vec::<u8>().unwrap();
    assert_eq!(labels, [0, 0, 1, 1].repeat(5));
    // An array is also an input, its rows being the pictures.
    fixture.done("corrupt arrays/fog.npy again --format npy --corruption contrast --severity 1 --profile cifar-c");
    assert_eq!(npyz::NpyFile::new(fixture.files("again")["contrast.npy"].as_slice()).unwrap().shape(), [20, 32, 32, 3]);
}

#[test]
fn unusable_pictures_are_named_and_counted() {
    let fixture = Fixture::new();
    let whole = fs::read(fixture.path("in/cat/tall.jpg")).unwrap();
    fs::write(fixture.path("in/cat/broken.jpg"), &whole[..whole.len() / 2]).unwrap();
    fs::write(fixture.path("in/cat/notes.txt"), "no picture").unwrap();
    let said = fixture.done("corrupt in out --corruption snow --severity 3 --quiet");
    assert!(said.contains("broken.jpg: unusable image") && said.contains("notes.txt"), "{said}");
    assert!(said.contains("1 of 5 pictures were unusable"), "{said}");
    assert_eq!(fixture.files("out").len(), 4 + 1);
    assert!(fixture.error("corrupt in strict --corruption snow --severity 3 --strict").contains("notes.txt"));
    // A result that cannot be written is no fault of a picture.
    fs::create_dir_all(fixture.path("full/snow/3/cat/wide.png")).unwrap();
    assert!(fixture.error("corrupt in full --corruption snow --severity 3").contains("wide.png: cannot be written"));
}

#[test]
fn one_picture_goes_into_one_file_and_draws_can_be_replayed() {
    let fixture = Fixture::new();
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../augment/goldens");
    fs::copy(goldens.join("clean/astronaut.png"), fixture.path("astronaut.png")).unwrap();
    let angle = fs::read(goldens.join("trace/motion_blur_2.bin")).unwrap();
    let angle = f64::from_le_bytes(angle.try_into().unwrap());
    let mut archive = npyz::npz::NpzWriter::new(BufWriter::new(File::create(fixture.path("trace.npz")).unwrap()));
    for (name, value) in [("s2_0_uniform", angle), ("s3_0_uniform", 400.0)] {
        let array = archive.array(name, Default::default()).unwrap();
        array.default_dtype().shape(&[]).begin_nd().unwrap().extend([value]).unwrap();
    }
    drop(archive);
    let replay = |severity: u8| {
        format!(
            "corrupt astronaut.png out.png --corruption motion_blur --severity {severity} --profile cifar-c --noise-from trace.npz"
        )
    };
    fixture.done(&replay(2));
    let open = |path: &Path| image::open(path).unwrap().into_rgb8();
    assert!(open(&fixture.path("out.png")) == open(&goldens.join("trace/motion_blur_2.png")));
    let said = fixture.error(&replay(3));
    assert!(said.contains("s3_0_uniform") && said.contains("400"), "{said}");
    assert!(fixture.error(&replay(4)).contains("no draws for severity 4"));
    fixture.done("corrupt astronaut.png new/tree --corruption fog --severity 1-2 --sheet sheet.png");
    assert_eq!(fixture.files("new/tree").len(), 3);
    assert!(open(&fixture.path("sheet.png")).width() > 3 * 128);
}

#[test]
fn augmented_views_differ_and_repeat() {
    let fixture = Fixture::new();
    let line = |folder: &str| format!("augment in {folder} --views 2 --policy augmix|rand_conv --sheet sheet.png");
    fixture.done(&line("one"));
    fixture.done(&line("two"));
    let files = fixture.files("one");
    assert!(files == fixture.files("two"));
    assert!(files.len() == 9 && files["1/cat/wide.png"] != files["2/cat/wide.png"]);
    // Through a random network, and through one that is trained on the pictures, broken, and found again.
    fixture.done("augment in noise --deep noise2net");
    fixture.done("augment in broken --deep autoencoder --deep-epochs 1 --policy pixmix");
    let broken = fixture.files("broken");
    fs::remove_dir_all(fixture.path("broken")).unwrap();
    fixture.done("augment in broken --deep autoencoder --deep-epochs 1 --policy pixmix --jobs 1");
    assert!(fixture.files("broken") == broken && fixture.files("noise").len() == 5);
    assert!(String::from_utf8_lossy(&broken["manifest.jsonl"]).contains("\"drawn\":{\"cat/wide.png\""));
    fixture.done("augment in/cat/wide.png view.jpg");
    assert_eq!(image::open(fixture.path("view.jpg")).unwrap().into_rgb8().dimensions(), (45, 20));
}

#[test]
fn faults_say_what_and_where() {
    let fixture = Fixture::new();
    for (line, parts) in [
        ("corrupt nowhere out", vec!["nowhere", "no such file or folder"]),
        ("corrupt in out --corruption gausian_noise", vec!["gausian_noise", "gaussian_noise", "`all`"]),
        ("corrupt in out --severity 6", vec!["--severity 6", "0 to 5"]),
        ("corrupt in out --severity 5-1", vec!["5-1"]),
        ("corrupt in out --profile imagenet", vec!["imagenet", "imagenet-c-299"]),
        ("corrupt in in/out", vec!["inside INPUT"]),
        ("corrupt in in/new/../more/out", vec!["inside INPUT"]),
        ("corrupt in/cat in --corruption cat", vec!["unknown corruption"]),
        ("corrupt in/cat/wide.png in/cat/wide.png --corruption fog --severity 1", vec!["OUTPUT is INPUT"]),
        ("corrupt in out.png", vec!["out.png", "4 x 75"]),
        ("corrupt in out --frost-dir in", vec!["frost1.png", "--frost-dir"]),
        ("corrupt in out --noise-from x.npz", vec!["one picture", "4"]),
        ("corrupt in out --preprocess resize(0)", vec!["resize(0)"]),
        ("augment in out --policy augmux", vec!["augmux"]),
    ] {
        let said = fixture.error(line);
        assert!(parts.iter().all(|part| said.contains(part)), "{line}: {said}");
    }
    assert!(!fixture.path("out").exists(), "nothing was begun");
}
