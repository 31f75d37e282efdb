//! `corrupt` and `augment`, from outside: the same bytes whatever happens, and what a user is told.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Cursor};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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

    /// Runs, expects an exit code, and returns what it says.
    fn ends(&self, code: i32, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        said
    }

    /// Expects success.
    fn done(&self, line: &str) -> String {
        self.ends(0, line)
    }

    /// Expects that some pictures are left out.
    fn partly(&self, line: &str) -> String {
        self.ends(3, line)
    }

    /// Expects an error.
    fn error(&self, line: &str) -> String {
        self.ends(1, line)
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
    // One that was killed holds its lock a little longer than it lives, and is waited for.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(400));
            drop(held);
        });
        fixture.done(&format!("corrupt in one {CELLS}"));
    });
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
        let differ = |name: &&String| whole.get(*name) != killed.get(*name);
        let differing: Vec<&String> = whole.keys().chain(killed.keys()).filter(differ).collect();
        assert!(differing.is_empty(), "{format}: {differing:?}");
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

fn shape(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Vec<u64> {
    npyz::NpyFile::new(files[name].as_slice()).unwrap().shape().to_vec()
}

#[test]
fn arrays_of_a_folder_fit_its_labels() {
    let fixture = Fixture::new();
    let line = |more: &str| format!("corrupt in out --format npy --profile cifar-c --preprocess resize(9,9) {more}");
    fixture.done(&line("--corruption fog,contrast --severity 1-2"));
    let first = fixture.files("out");
    // Other severities, and then other pictures, would leave `contrast.npy` with rows that are not those of the labels.
    let others = fixture.error(&line("--corruption fog --severity 3-4"));
    fs::remove_file(fixture.path("in/cat/wide.png")).unwrap();
    for said in [others, fixture.error(&line("--corruption fog --severity 1-2"))] {
        assert!(said.contains("contrast.npy was made of other") && said.contains("ask for it too"), "{said}");
    }
    assert!(fixture.files("out") == first, "nothing was touched");
    // What a kill left goes, too.
    fs::write(fixture.path("out/.snow.npy.tmp"), "half").unwrap();
    fixture.done(&line("--corruption fog,contrast --severity 1-2"));
    let second = fixture.files("out");
    for name in ["fog.npy", "contrast.npy", "labels.npy"] {
        assert_eq!(shape(&second, name)[0], 2 * 3, "{name}");
    }
    assert!(!String::from_utf8_lossy(&second["manifest.jsonl"]).contains("wide.png") && second.len() == 4);
    // Without the other array nothing is in the way; without classes there are no labels, not old ones.
    fs::remove_file(fixture.path("out/contrast.npy")).unwrap();
    fixture.save("in/loose.png", &picture(9, 9).into(), ImageFormat::Png);
    let said = fixture.done(&line("--corruption fog --severity 1-2"));
    assert!(said.contains("labels.npy is not written: `loose.png`"), "{said}");
    assert_eq!(fixture.files("out").into_keys().collect::<Vec<_>>(), ["fog.npy", "manifest.jsonl"]);
    // Pictures of different sizes are no array, and nothing is begun.
    let said = fixture.error("corrupt in/dog odd --format npy --profile cifar-c --corruption fog");
    assert!(said.contains("glass.png has 24x18 pixels, grey.png has 20x20") && said.contains("--preprocess"), "{said}");
    assert!(!fixture.path("odd").exists());
    for class in 0..257 {
        fs::create_dir_all(fixture.path(&format!("many/{class}"))).unwrap();
        fs::copy(fixture.path("in/loose.png"), fixture.path(&format!("many/{class}/0.png"))).unwrap();
    }
    let said = fixture.error("corrupt many classes --format npy --profile cifar-c --corruption fog --severity 1");
    assert!(said.contains("257 classes") && !fixture.path("classes").exists(), "{said}");
}

#[test]
fn results_of_pictures_that_are_gone_are_counted_and_can_be_deleted() {
    let fixture = Fixture::new();
    let line = |folder: &str| format!("corrupt in {folder} --corruption fog,snow --severity 1 --profile scaled");
    fixture.done(&line("out"));
    fs::rename(fixture.path("in/cat"), fixture.path("in/bird")).unwrap();
    fs::rename(fixture.path("in/dog/grey.png"), fixture.path("in/dog/grey.webp")).unwrap();
    fixture.save("in/dog/glass.png", &picture(8, 8).into(), ImageFormat::Png);
    // Of a changed picture, `snow` is not asked for and stays as it was.
    let said = fixture.done("corrupt in out --corruption fog --severity 1 --profile scaled");
    assert!(said.contains("out holds 6 results") && said.contains("--prune"), "{said}");
    let said = fixture.done("corrupt in out --corruption fog --severity 1 --profile scaled --prune");
    assert!(said.contains("0 results made, 4 were there") && said.contains("6 results deleted"), "{said}");
    assert!(!fixture.path("out/fog/1/cat").exists() && fixture.path("out/fog/1/dog/grey.png").exists());
    fixture.done(&line("out --prune"));
    fixture.done(&line("new"));
    assert!(fixture.files("out") == fixture.files("new"));

    // Nor is what was made of a picture that has become unusable.
    fs::write(fixture.path("in/bird/wide.png"), "no picture").unwrap();
    let said = fixture.partly(&line("out"));
    assert!(said.contains("out holds 2 results") && said.contains("1 of 4 pictures were unusable"), "{said}");
    let said = fixture.partly(&line("out --prune"));
    assert!(said.contains("2 results deleted") && !fixture.path("out/fog/1/bird/wide.png").exists(), "{said}");
}

#[test]
fn a_run_with_nothing_to_do_writes_nothing() {
    let fixture = Fixture::new();
    for format in ["png", "npy", "tar"] {
        let line =
            format!("corrupt in {format} --corruption fog --severity 1 --format {format} --preprocess resize(9,9)");
        fixture.done(&line);
        let written = || {
            ["", "manifest.jsonl"].map(|name| fixture.path(format).join(name).metadata().unwrap().modified().unwrap())
        };
        let before = written();
        assert!(fixture.done(&line).contains("0 results made, 4 were there"));
        assert_eq!(written(), before, "{format}");
    }
    let manifest = fixture.path("png/manifest.jsonl");
    let text = fs::read_to_string(&manifest).unwrap();
    for (number, damaged) in
        [(1, format!("x{text}")), (2, text.replacen("tall.jpg\"", "tall.jpg", 1)), (6, format!("{text}[]\n"))]
    {
        fs::write(&manifest, damaged).unwrap();
        let said = fixture.error("corrupt in png --corruption fog --severity 1 --preprocess resize(9,9)");
        assert!(said.contains(&format!("png/manifest.jsonl: line {number}, column ")), "{said}");
    }
    // A last line that a kill cut short is not in the way of the next one.
    fs::write(&manifest, text + "{\"name\":\"dog/gl").unwrap();
    let line = |folder: &str| format!("corrupt in {folder} --corruption fog --severity 1-2 --preprocess resize(9,9)");
    fixture.done(&line("png"));
    fixture.done(&line("whole"));
    assert!(fixture.files("png") == fixture.files("whole"));
}

#[cfg(unix)]
#[test]
fn folders_are_read_once_and_those_that_cannot_be_listed_are_counted() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let fixture = Fixture::new();
    symlink("..", fixture.path("in/dog/up")).unwrap();
    symlink("dog", fixture.path("in/again")).unwrap();
    fs::rename(fixture.path("in/cat"), fixture.path("elsewhere")).unwrap();
    symlink("../elsewhere", fixture.path("in/cat")).unwrap();
    let line = "corrupt in out --corruption fog --severity 1 --profile scaled";
    let said = fixture.done(line);
    assert!(said.contains("in/dog/up: passed over") && said.contains("in/again: passed over"), "{said}");
    assert!(said.contains("4 results made") && fixture.path("out/fog/1/cat/wide.png").exists(), "{said}");
    fs::set_permissions(fixture.path("elsewhere"), fs::Permissions::from_mode(0o000)).unwrap();
    // Root may list everything.
    if fs::read_dir(fixture.path("elsewhere")).is_err() {
        let said = fixture.partly(line);
        assert!(said.contains("in/cat: cannot be listed") && said.contains("1 folder"), "{said}");
        assert!(fixture.error(&format!("{line} --prune")).contains("nothing was done"));
    }
    fs::set_permissions(fixture.path("elsewhere"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn unusable_pictures_are_named_and_counted() {
    let fixture = Fixture::new();
    let whole = fs::read(fixture.path("in/cat/tall.jpg")).unwrap();
    fs::write(fixture.path("in/cat/broken.jpg"), &whole[..whole.len() / 2]).unwrap();
    fs::write(fixture.path("in/cat/notes.txt"), "no picture").unwrap();
    let said = fixture.partly("corrupt in out --corruption snow --severity 3 --quiet");
    assert!(said.contains("broken.jpg: unusable image") && said.contains("notes.txt"), "{said}");
    assert!(said.contains("1 of 5 pictures were unusable") && !said.contains("reader"), "{said}");
    assert_eq!(fixture.files("out").len(), 4 + 1);
    // The next run says so again.
    fixture.partly("corrupt in out --corruption snow --severity 3");
    assert!(fixture.error("corrupt in strict --corruption snow --severity 3 --strict").contains("notes.txt"));
    // A result that cannot be written is no fault of a picture.
    fixture.partly("corrupt in full --corruption snow --severity 3");
    let result = fixture.path("full/snow/3/cat/wide.png");
    fs::remove_file(&result).unwrap();
    fs::create_dir(&result).unwrap();
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
    // Without numbers, arrays are taken in the order of the file.
    let mut archive = npyz::npz::NpzWriter::new(BufWriter::new(File::create(fixture.path("trace.npz")).unwrap()));
    for name in ["zeta", "alpha", "delta", "theta", "beta", "gamma", "eta", "iota"] {
        let array = archive.array(name, Default::default()).unwrap();
        array.default_dtype().shape(&[]).begin_nd().unwrap().extend([400.0]).unwrap();
    }
    drop(archive);
    let said = fixture.error(&replay(3));
    assert!(said.contains("zeta") && said.contains("400"), "{said}");
    fixture.done("corrupt astronaut.png new/tree --corruption fog --severity 1-2 --sheet sheet.png");
    assert_eq!(fixture.files("new/tree").len(), 3);
    assert!(open(&fixture.path("sheet.png")).width() > 3 * 128);
}

#[test]
fn a_sample_of_an_archive_has_a_name_of_its_own() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.path("dots/v1.2")).unwrap();
    for name in ["a.1.png", "a.2.png"] {
        fs::copy(fixture.path("in/cat/wide.png"), fixture.path("dots/v1.2").join(name)).unwrap();
    }
    fixture.done("corrupt dots out --corruption fog --severity 1 --profile scaled --format tar");
    let archive = String::from_utf8_lossy(&fs::read(fixture.path("out/fog-1.tar")).unwrap()).into_owned();
    for member in ["v1.2/a_1.png", "v1.2/a_1.cls", "v1.2/a_2.png", "v1.2/a_2.cls"] {
        assert!(archive.contains(member), "no {member}");
    }
    fs::copy(fixture.path("in/cat/wide.png"), fixture.path("dots/v1.2/a_1.png")).unwrap();
    let said = fixture.error("corrupt dots other --corruption fog --profile scaled --format tar");
    assert!(said.contains("v1.2/a.1.png, v1.2/a_1.png"), "{said}");
}

#[test]
fn files_of_others_are_not_overwritten() {
    let fixture = Fixture::new();
    // OUTPUT holds INPUT, and a picture of the same name as a result.
    fixture.save("grey.png", &picture(9, 9).into(), ImageFormat::Png);
    let own = fs::read(fixture.path("grey.png")).unwrap();
    let said = fixture.error("augment in/dog . --policy augmix");
    assert!(said.contains("grey.png") && said.contains("was not made by this program"), "{said}");
    assert!(fs::read(fixture.path("grey.png")).unwrap() == own && !fixture.path("glass.png").exists());

    // Of arrays and archives too.
    for (format, name) in [("npy", "fog.npy"), ("npy", "labels.npy"), ("tar", "fog-1.tar")] {
        fs::create_dir_all(fixture.path("own")).unwrap();
        fs::write(fixture.path("own").join(name), "mine").unwrap();
        let sized = "--preprocess resize(16)|center_crop(16) --profile scaled";
        let said = fixture.error(&format!("corrupt in own --corruption fog --severity 1 --format {format} {sized}"));
        assert!(said.contains(&format!("{name}: is there already")), "{said}");
        assert_eq!(fixture.files("own").into_values().collect::<Vec<_>>(), [b"mine"]);
        fs::remove_dir_all(fixture.path("own")).unwrap();
    }

    // The same of arrays in a folder that has some already.
    let line = |corruption: &str| {
        format!("corrupt in arrays --corruption {corruption} --severity 1 --format npy --preprocess resize(9,9)")
    };
    fixture.done(&line("fog"));
    fs::write(fixture.path("arrays/snow.npy"), "mine").unwrap();
    assert!(fixture.error(&line("snow")).contains("snow.npy: is there already and was not made by this program"));
    assert_eq!(fs::read(fixture.path("arrays/snow.npy")).unwrap(), b"mine");

    // The same in a folder that has results already. A result that a kill left unrecorded is no stranger.
    let line = "corrupt in out --corruption fog --severity 1 --profile scaled";
    fixture.done(line);
    let manifest = fs::read_to_string(fixture.path("out/manifest.jsonl")).unwrap();
    let unrecorded: Vec<&str> = manifest.lines().filter(|line| !line.contains("wide.png")).collect();
    fs::write(fixture.path("out/manifest.jsonl"), unrecorded.join("\n") + "\n").unwrap();
    fixture.done(line);
    fixture.save("in/cat/new.png", &picture(9, 9).into(), ImageFormat::Png);
    fs::write(fixture.path("out/fog/1/cat/new.png"), "mine").unwrap();
    assert!(fixture.error(line).contains("new.png: is there already and was not made by this program"));
    assert_eq!(fs::read(fixture.path("out/fog/1/cat/new.png")).unwrap(), b"mine");
}

#[test]
fn one_picture_and_a_sheet_go_over_no_file_of_others() {
    let fixture = Fixture::new();
    let line = |more: &str| {
        format!("corrupt in/cat/wide.png out.png --profile scaled --corruption gaussian_noise --severity 3 {more}")
    };
    for (name, more) in [("out.png", ""), ("sheet.png", "--sheet sheet.png")] {
        fs::write(fixture.path(name), "mine").unwrap();
        let said = fixture.error(&line(more));
        assert!(said.contains(&format!("{name}: is there already")) && said.contains("--force"), "{said}");
        assert_eq!(fs::read(fixture.path(name)).unwrap(), b"mine");
        fixture.done(&line(&format!("{more} --force")));
        // The same again is no stranger.
        fixture.done(&line(more));
    }
    assert!(fixture.error(&line("--seed 1")).contains("out.png: is there already"), "another result is not this one");
    for (format, name, other) in [("png", "o.jpg", "jpeg85"), ("jpeg85", "o.png", "png"), ("npy", "o.JPEG", "jpeg85")] {
        let said =
            fixture.error(&format!("corrupt in/cat/wide.png {name} --corruption fog --severity 3 --format {format}"));
        let parts = [name.to_owned(), format!("--format {format}"), format!("--format {other}")];
        assert!(parts.iter().all(|part| said.contains(part)) && !fixture.path(name).exists(), "{said}");
    }
}

/// Pipes that nobody writes into, and other things that are no files.
#[cfg(unix)]
#[test]
fn what_is_no_file_is_named_and_never_opened() {
    let fixture = Fixture::new();
    let pipe = |name: &str| assert!(Command::new("mkfifo").arg(fixture.path(name)).status().unwrap().success());
    pipe("pipe.png");
    pipe("in/cat/pipe.jpg");
    pipe("pipe.npy");
    let fog = "--corruption fog --severity 1 --profile scaled";
    for (line, said) in [
        ("corrupt pipe.png out", "pipe.png: is a pipe (FIFO)"),
        ("corrupt pipe.npy out", "pipe.npy: is a pipe (FIFO)"),
        ("corrupt /dev/null out", "/dev/null: is a device"),
        ("corrupt in/cat/wide.png pipe.png --force", "pipe.png: is a pipe (FIFO)"),
        ("corrupt in/cat/wide.png out --noise-from pipe.npy", "pipe.npy: cannot read: it is a pipe (FIFO)"),
    ] {
        let found = fixture.error(&format!("{line} {fog}"));
        assert!(found.contains(said), "{line}: {found}");
    }
    let said = fixture.done(&format!("corrupt in out {fog}"));
    assert!(said.contains("in/cat/pipe.jpg: passed over: it is a pipe (FIFO)"), "{said}");
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
    // What was drawn is told of arrays, too, also of those that are added.
    let weights = fs::read_dir(fixture.path("")).unwrap().map(|entry| entry.unwrap().path());
    let weights =
        weights.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "safetensors")).unwrap();
    for views in [2, 3] {
        fixture.done(&format!(
            "augment in arrays --deep autoencoder --deep-weights {} --format npy --preprocess resize(8,8) --views {views}",
            weights.display()
        ));
    }
    let arrays = fixture.files("arrays");
    assert!(String::from_utf8_lossy(&arrays["manifest.jsonl"]).matches("/cat/wide.png\":").count() == 3);
    assert_eq!(shape(&arrays, "3.npy"), [4, 8, 8, 3]);
    fixture.done("augment in/cat/wide.png view.jpg");
    assert_eq!(image::open(fixture.path("view.jpg")).unwrap().into_rgb8().dimensions(), (45, 20));
}

#[test]
fn faults_say_what_and_where() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("twins")).unwrap();
    for name in ["a.png", "a.jpg", "b.png", "b.webp"] {
        fs::copy(fixture.path("in/cat/wide.png"), fixture.path("twins").join(name)).unwrap();
    }
    let mut cut = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype().shape(&[1, 1, 2, 3]).writer(&mut cut);
    options.begin_nd().unwrap().extend([0u8; 6]).unwrap();
    fs::write(fixture.path("cut.npy"), &cut[..cut.len() - 1]).unwrap();
    for (line, parts) in [
        ("corrupt nowhere out", vec!["nowhere", "no such file or folder"]),
        ("corrupt in out --corruption gausian_noise", vec!["gausian_noise", "gaussian_noise", "`all`"]),
        ("corrupt in out --severity 6", vec!["--severity 6", "0 to 5"]),
        ("corrupt in out --severity 5-1", vec!["5-1"]),
        ("corrupt in out --profile imagenet", vec!["imagenet", "imagenet-c-299"]),
        ("corrupt in in/out", vec!["lies inside it"]),
        ("corrupt in in/new/../more/out", vec!["lies inside it"]),
        ("corrupt in/cat in --corruption cat", vec!["unknown corruption"]),
        ("corrupt in/cat/wide.png in/cat/wide.png --corruption fog --severity 1", vec!["OUTPUT is INPUT"]),
        ("corrupt in out.png", vec!["out.png", "4 x 75"]),
        ("augment in/cat/wide.png in/cat", vec!["INPUT lies there"]),
        ("corrupt in out.npy", vec!["out.npy", "--format npy"]),
        ("corrupt in out --sheet nowhere/sheet.png", vec!["nowhere", "make it first"]),
        ("corrupt in out --sheet out/sheet.png", vec!["--sheet out/sheet.png", "no folder out"]),
        ("corrupt in . --sheet sheet.png", vec!["is OUTPUT or lies inside it"]),
        ("augment in/cat/wide.png out.png --sheet in/cat/wide.png", vec!["--sheet", "INPUT"]),
        ("corrupt cut.npy out", vec!["cut.npy", "6 bytes, 5 are there"]),
        ("corrupt twins out", vec!["a.jpg, a.png", "b.png, b.webp"]),
        ("corrupt in out --severity -1", vec!["--severity -1"]),
        ("corrupt in out --preprocess normalize(clip)", vec!["normalize", "leave it out"]),
        ("corrupt in out --frost-dir in", vec!["frost1.png", "--frost-dir"]),
        ("corrupt in out --noise-from x.npz", vec!["one picture", "4"]),
        ("corrupt in out --preprocess resize(0)", vec!["resize(0)"]),
        ("augment in out --policy augmux", vec!["augmux"]),
    ] {
        let said = fixture.error(line);
        assert!(parts.iter().all(|part| said.contains(part)), "{line}: {said}");
    }
    assert!(!fixture.path("out").exists(), "nothing was begun");
    for line in ["corrupt in out --jobs 0", "corrupt in out --seed -1", "augment in out --views -2"] {
        let said = fixture.ends(2, line);
        assert!(said.contains("invalid value"), "{said}");
    }
}
