//! The built program, from outside: a whole tiny run, its interruption, and the errors a user meets.

mod caches;
mod data;
mod diagnose;
mod eval;
mod experiment;
mod faults;
#[path = "../miniatures/mod.rs"]
mod miniatures;
mod modes;
#[cfg(feature = "onnx")]
mod onnx;
mod own;
mod predict;
mod pretrain;
mod shifts;
mod trust;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const NETWORK: &str = r#"architecture = "vit"
image_size = 16
patch_size = 4
width = 16
depth = 2
heads = 2
mlp_ratio = 2.0
classes = 10
"#;

const OPTIMIZER: &str = "learning_rate = 3e-3\nweight_decay = 0.05\nwarmup_fraction = 0.1\nclip_norm = 1.0\n";

/// A folder with tiny images, a pre-trained model for them, and a configuration of the main job.
struct Fixture(tempfile::TempDir);

impl Fixture {
    /// An empty folder.
    fn bare() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn new() -> Self {
        let fixture = Self::bare();
        let data = fixture.path("data");
        fs::create_dir(&data).unwrap();
        for (split, count) in [("train", 60), ("test", 20)] {
            let (images, labels) = idx(count);
            fs::write(data.join(format!("{split}-images-idx3-ubyte")), images).unwrap();
            fs::write(data.join(format!("{split}-labels-idx1-ubyte")), labels).unwrap();
        }
        let data = format!("[data]\nformat = \"idx\"\npath = {:?}\n", data.display().to_string());
        let pretrain = format!(
            "seed = 1\npreprocess = \"normalize(half)\"\noutput = \"unused\"\n{data}[network]\n{NETWORK}[training]\nepochs = 1\n\
             batch_size = 16\n[training.optimizer]\n{OPTIMIZER}"
        );
        fs::write(fixture.path("pretrain.toml"), pretrain).unwrap();
        let weights = fixture.path("vit.safetensors");
        let main = format!(
            "name = \"tiny\"\nseed = 1\n{data}[original]\nweights = {:?}\npreprocess = \"normalize(half)\"\n[original.network]\n{NETWORK}\
             [teacher]\npreprocess = \"normalize(half)\"\n[teacher.network]\n{TEACHER}[teacher.training]\nepochs = 2\nbatch_size = 16\n\
             policy = \"augmix\"\n[teacher.training.optimizer]\n{OPTIMIZER}[views]\npolicy = \"augmix|rand_conv\"\nclean = 1\naugmented = 2\n\
             [split]\nshared_blocks = 0\nhead_blocks = 1\n[tuning]\nseed = 1\nepochs = 3\npairs = 16\ndropout = 0.1\nce_weight = 0.5\n\
             kd_weight = 0.5\ntemperature = 1.0\ncombined_teacher = \"matched\"\nhead_weights = [1.0, 1.0, 1.0]\nshared_rate_scale = 0.5\n\
             [tuning.optimizer]\n{OPTIMIZER}[select]\npasses = 4\n[select.rule]\nrule = \"product\"\n\
             [benchmark]\nprofile = \"cifar-c\"\nseverities = [3]\ncorruptions = [\"fog\", \"contrast\"]\n",
            weights.display().to_string()
        );
        fs::write(fixture.path("main.toml"), main).unwrap();
        let output = fixture.run(&["pretrain", "--config", "pretrain.toml", "--output", "vit.safetensors", "--quiet"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_robustify"));
        command.args(arguments).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs, expects an error, and returns what it says.
    fn error(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        said
    }
}

const TEACHER: &str = "architecture = \"resnet\"\nimage_size = 16\nstem_kernel = 3\nstem_stride = 2\nwidth = 4\nlayers = [1, 1]\n\
                       block = \"basic\"\nclasses = 10\n";

/// Images of 16x16 whose class shows in their pattern.
fn idx(count: u32) -> (Vec<u8>, Vec<u8>) {
    let mut images: Vec<u8> = [0x803, count, 16, 16].iter().flat_map(|word| word.to_be_bytes()).collect();
    let mut labels: Vec<u8> = [0x801, count].iter().flat_map(|word| word.to_be_bytes()).collect();
    for index in 0..count {
        let class = (index % 10) as u8;
        labels.push(class);
        images.extend((0..=255u8).map(|pixel| if pixel % 10 == class { 220 } else { (index % 7) as u8 * 9 }));
    }
    (images, labels)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A table without its last columns, which hold times, and what stands below them.
fn without_costs(table: &str) -> String {
    let header = table.lines().find(|line| line.contains("inference")).unwrap();
    let columns = header[..header.find("training").unwrap()].chars().count();
    table.lines().map(|line| line.chars().take(columns).collect::<String>() + "\n").collect()
}

fn bytes(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_run_trains_measures_and_survives_being_killed() {
    let fixture = Fixture::new();
    let train = |folder: &str, threads: &str| {
        fixture.command(&["train", "--config", "main.toml", "--run-dir", folder, "--threads", threads, "--quiet"])
    };
    let whole = train("whole", "2").output().unwrap();
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let table = text(&whole.stdout);
    for line in ["original", "teacher", "APT", "robustify", "KL alone", "oracle"] {
        assert!(table.contains(line), "no {line} in\n{table}");
    }

    // Killed again and again, on another number of threads: the same bits in the end.
    for wait in [150, 400, 700] {
        let mut child = train("killed", "1").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = fixture.run(&[
        "train",
        "--config",
        "main.toml",
        "--run-dir",
        "killed",
        "--resume",
        "--threads",
        "1",
        "--quiet",
    ]);
    assert!(last.status.success(), "{}", text(&last.stderr));
    for file in [
        "models/robustify.safetensors",
        "models/apt.safetensors",
        "models/teacher.safetensors",
        "results.csv",
        "evaluation.json",
    ] {
        assert_eq!(bytes(&fixture.path("whole").join(file)), bytes(&fixture.path("killed").join(file)), "{file}");
    }

    // A run is continued by its folder alone, with its own stages.
    let resumed = fixture.run(&["train", "--resume", "killed", "--threads", "1"]);
    assert!(text(&resumed.stderr).contains("teacher: done before"), "{}", text(&resumed.stderr));
    assert_eq!(without_costs(&text(&resumed.stdout)), without_costs(&table));
    assert!(text(&resumed.stderr).contains("report: killed/report.html"), "{}", text(&resumed.stderr));
    let page = text(&bytes(&fixture.path("killed/report.html")));
    assert!(page.contains("<bdi>robustify</bdi>") && page.contains("data:image/jpeg;base64,"));

    // A damaged stage is named and computed again, to the same bits.
    let stages: Vec<PathBuf> =
        fs::read_dir(fixture.path("killed/stages")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let stage =
        |name: &str| stages.iter().find(|path| path.file_name().unwrap().to_string_lossy().starts_with(name)).unwrap();
    // Beside the folders of cells lies how the images look.
    let inside = |folder: &Path| {
        let mut entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.find(|path| path.is_dir() || path.extension().is_some_and(|kind| kind == "safetensors")).unwrap()
    };
    let cell = inside(&inside(&inside(stage("answers"))));
    for file in [stage("robustify-").join("weights.safetensors"), stage("features-").join("features"), cell.clone()] {
        let whole = bytes(&file);
        fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    }
    // One flipped bit is as good as a missing half.
    let apt = stage("apt-").join("weights.safetensors");
    let mut flipped = bytes(&apt);
    *flipped.last_mut().unwrap() ^= 0x40;
    fs::write(&apt, flipped).unwrap();
    let repaired = fixture.run(&["train", "--resume", "killed", "--threads", "2"]);
    let said = text(&repaired.stderr);
    assert!(said.contains("warning") && said.contains("computed again"), "{said}");
    assert!(said.lines().any(|line| line.contains("apt-") && line.contains("checksum")), "{said}");
    let cell = cell.file_name().unwrap().to_string_lossy();
    assert!(said.contains(&*cell) && said.contains("this cell is computed again"), "{said}");
    assert_eq!(without_costs(&text(&repaired.stdout)), without_costs(&table));
    let robustify = "models/robustify.safetensors";
    assert_eq!(bytes(&fixture.path("whole").join(robustify)), bytes(&fixture.path("killed").join(robustify)));

    // The benchmark alone prints the same numbers and writes the same rows.
    let again = fixture.run(&["bench-robustness", "--run", "whole", "--out", "again", "--threads", "1", "--quiet"]);
    assert_eq!(without_costs(&text(&again.stdout)), without_costs(&table), "{}", text(&again.stderr));
    assert_eq!(bytes(&fixture.path("again/results.csv")), bytes(&fixture.path("whole/results.csv")));

    // What training used up changes nothing any more, and is not written beside results.
    let said =
        fixture.error(&["bench-robustness", "--run", "whole", "--out", "again", "tuning.epochs=9", "select.passes=3"]);
    assert!(said.contains("tuning.epochs without effect") && !said.contains("passes"), "{said}");

    // Another rule reuses every stage: its table differs in the chosen route alone.
    let other = fixture.run(&["train", "--config", "main.toml", "--run-dir", "whole", "select.rule.rule=kl"]);
    let said = text(&other.stderr);
    assert!(said.contains("robustify: done before") && said.contains("teacher: done before"), "{said}");

    // A run that cannot start leaves what was there; one that starts leaves nothing of another configuration beside its own.
    let broken =
        |setting| fixture.error(&["train", "--config", "main.toml", "--run-dir", "whole", "--overwrite", setting]);
    let kept = bytes(&fixture.path("whole/results.csv"));
    assert!(broken("original.weights=absent.safetensors").contains("original.weights `absent.safetensors`"));
    assert!(bytes(&fixture.path("whole/results.csv")) == kept && fixture.path("whole/timings.json").exists());
    let said = broken("tuning.optimizer.learning_rate=1e30");
    assert!(said.contains("learning_rate") || said.contains("diverged"), "{said}");
    assert!(
        !fixture.path("whole/models/robustify.safetensors").exists() && !fixture.path("whole/results.csv").exists()
    );
}

#[test]
fn several_seeds_give_a_spread() {
    let fixture = Fixture::new();
    let output = fixture.run(&["train", "--config", "main.toml", "--run-dir", "seeds", "--seeds", "2", "--quiet"]);
    let said = text(&output.stdout);
    assert!(
        output.status.success()
            && said.contains('±')
            && said.contains("robustify is ")
            && said.contains("over 20 images and 2"),
        "{said}{}",
        text(&output.stderr)
    );
    assert!(fixture.path("seeds/seed-2/models/robustify.safetensors").exists());
    let mean = |run: &str| -> f64 {
        let summary: serde_json::Value = serde_json::from_slice(&bytes(&fixture.path(run))).unwrap();
        let lines = summary["lines"].as_array().unwrap();
        let line = lines.iter().find(|line| line["model"] == "apt").unwrap();
        line["mean"]["mean"].as_f64().unwrap()
    };
    let both = [mean("seeds/seed-1/summary.json"), mean("seeds/seed-2/summary.json")];
    assert!((mean("seeds/seeds.json") - (both[0] + both[1]) / 2.0).abs() < 1e-12, "{both:?}");

    // Continued by its folder, it has as many seeds as before; a seed's own folder is a run of its own with the same stages.
    let resumed = fixture.run(&["train", "--resume", "seeds", "--quiet"]);
    assert_eq!(without_costs(&text(&resumed.stdout)), without_costs(&said), "{}", text(&resumed.stderr));
    let one = fixture.run(&["train", "--resume", "seeds/seed-2"]);
    assert!(text(&one.stderr).contains("teacher: done before"), "{}", text(&one.stderr));
}

#[test]
fn every_method_is_a_row_of_the_table() {
    let methods = [
        "teacher",
        "ensemble",
        "linear_probe",
        "finetune",
        "adam_spd",
        "lp_ft",
        "wise_ft",
        "model_stock",
        "dawin",
        "vrf",
        "vpt",
        "tent",
        "sar",
        "apt",
        "lora",
        "robustify",
    ]
    .map(str::to_owned);
    let fixture = Fixture::new();
    let output = fixture.run(&[
        "train",
        "--config",
        "main.toml",
        "--run-dir",
        "all",
        "--quiet",
        &format!("methods={methods:?}"),
        "method.finetune.epochs=1",
        "method.lp_ft.epochs=1",
        "method.vpt={variants=[\"deep\",\"shallow\"],epochs=1,tokens=2}",
        "method.wise_ft.alphas=[0.0,0.5]",
        "select.gate=true",
        "select.vrf=true",
        "--arena",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let results = text(&bytes(&fixture.path("all/results.csv")));
    let models: Vec<&str> = results.lines().filter_map(|row| row.split(',').next()).collect();
    for method in methods {
        let variant = format!("{method}-");
        let own = |model: &&str| **model == method || model.starts_with(&variant);
        assert!(models.iter().any(own), "no {method} in\n{}", text(&output.stdout));
    }
    // Every way to answer is compared with the product, in a file and on the screen.
    let arena: serde_json::Value = serde_json::from_slice(&bytes(&fixture.path("all/arena.json"))).unwrap();
    let entries = arena["entries"].as_array().unwrap();
    let passes = |route: &str| entries.iter().find(|entry| entry["route"] == route).map(|entry| &entry["passes"]);
    assert_eq!((passes("product").unwrap(), passes("product_laplace").unwrap()), (&4.into(), &1.into()));
    let printed = text(&output.stdout);
    assert!(
        printed.contains("Arena: every way") && printed.contains("product, U of the last layer, one pass"),
        "{printed}"
    );
}

/// A small image tower of CLIP, and the settings of a text tower for it.
const TOWER: &str =
    "{architecture=\"vit\",image_size=16,patch_size=8,width=8,depth=2,heads=2,pre_norm=true,projects=true,classes=6}";
const TEXT_TOWER: &str = "settings.clip={width=8,depth=1,heads=2,group_rows=8}";

#[test]
fn every_method_with_texts_is_a_row_also_for_classes_that_were_not_tuned() {
    let methods = ["zero_shot", "flyp", "carot", "lipsum_ft", "teacher", "apt", "robustify"].map(str::to_owned);
    let fixture = Fixture::new();
    let network = format!("network={TOWER}");
    let pretrain =
        ["pretrain", "--config", "pretrain.toml", "--quiet", "--objective", "clip", "--output", "clip.safetensors"];
    let output = fixture.run(&[&pretrain[..], &[&network, TEXT_TOWER]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let asked = format!("methods={methods:?}");
    // Without texts as classes they are refused before anything is computed.
    let said = fixture.error(&["train", "--config", "main.toml", "--quiet", &asked]);
    assert!(said.contains("flyp works with texts") && said.contains("original.zero_shot={}"), "{said}");
    let (original, settings) = (format!("original.{network}"), "{epochs=1,batch_size=16,group_rows=8}");
    let (flyp, carot) = (format!("method.flyp={settings}"), format!("method.carot={settings}"));
    let unseen = ["7", "8", "9"].map(str::to_owned);
    let output = fixture.run(&[
        "train",
        "--config",
        "main.toml",
        "--run-dir",
        "texts",
        "--quiet",
        &asked,
        "original.weights=clip.safetensors",
        &original,
        "original.zero_shot={classes=[\"7\",\"8\",\"9\"]}",
        "data.only=[\"0\",\"1\",\"2\",\"3\"]",
        &flyp,
        &carot,
        "method.lipsum_ft={epochs=1,batch_size=16,texts=3}",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let measured =
        fixture.run(&["bench-robustness", "--run", "texts", "--quiet", &format!("benchmark.classes={unseen:?}")]);
    assert!(measured.status.success(), "{}", text(&measured.stderr));
    for (folder, knows_unseen) in [("texts", false), ("texts/bench", true)] {
        let results = text(&bytes(&fixture.path(folder).join("results.csv")));
        let models: Vec<&str> = results.lines().filter_map(|row| row.split(',').next()).collect();
        for method in &methods {
            // The teacher has a classifier for the classes that it was taught.
            let is_there = !(knows_unseen && method == "teacher");
            assert_eq!(models.contains(&method.as_str()), is_there, "{method} in {folder}\n{results}");
        }
    }
}

#[test]
fn a_folder_with_broken_files_trains_and_names_them() {
    let fixture = Fixture::new();
    let root = fixture.path("images");
    for class in ["cat", "dog", "empty"] {
        fs::create_dir_all(root.join(class)).unwrap();
    }
    for index in 0..40u8 {
        let class = if index % 2 == 0 { "cat" } else { "dog" };
        let image = image::RgbImage::from_fn(20 + u32::from(index % 3), 24, |x, y| {
            image::Rgb([index * 5, (x * 9) as u8, (y * 7 * u32::from(index % 2)) as u8])
        });
        image.save(root.join(class).join(format!("{index}.png"))).unwrap();
    }
    let whole = root.join("whole.jpg");
    image::RgbImage::new(30, 30).save(&whole).unwrap();
    fs::write(root.join("cat/cut.jpg"), &bytes(&whole)[..200]).unwrap();
    fs::remove_file(whole).unwrap();
    fs::write(root.join("cat/notes.txt"), "not an image").unwrap();
    image::RgbImage::new(1, 1).save(root.join("dog/dot.png")).unwrap();

    let settings = [
        "data.format=folder",
        "data.path=images",
        "original.preprocess=resize(16)|center_crop(16)|normalize(half)",
        "original.probe_epochs=2",
    ];
    let train = [&["train", "--config", "main.toml", "--run-dir", "run"], &settings[..]].concat();
    let output = fixture.run(&train);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    for name in ["cut.jpg", "notes.txt", "empty", "dot.png"] {
        assert!(
            said.lines().any(|line| line.starts_with("warning") && line.contains(name)),
            "no warning about {name} in\n{said}"
        );
    }
    assert!(said.contains("linear probe"), "{said}");

    // Two tenths are test images, a tenth is for choosing settings.
    let measured = |run: &str| {
        let rows = fs::read_to_string(fixture.path(run).join("results.csv")).unwrap();
        rows.lines().nth(1).unwrap().rsplit(',').next().unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(measured("run"), 8);
    let chosen =
        [&["train", "--config", "main.toml", "--run-dir", "chosen", "--cache-dir", "run/stages"], &settings[..]];
    let output = fixture.run(&[&chosen.concat()[..], &["data.test=validation"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(measured("chosen"), 4);

    let said = fixture.error(&[&train[..], &["--strict"]].concat());
    assert!(said.contains("cut.jpg") || said.contains("dot.png"), "{said}");
    let said = fixture.error(&["train", "--config", "main.toml", "data.format=folder", "data.path=images"]);
    assert!(said.contains("original.preprocess"), "{said}");

    // A picture that does not fit is named before anything is computed, whichever part it is in.
    image::RgbImage::new(12, 40).save(root.join("dog/small.png")).unwrap();
    let cropped = ["--run-dir", "cropped", "original.preprocess=center_crop(16)|normalize(half)"];
    let said = fixture.error(&[&["train", "--config", "main.toml"], &settings[..2], &cropped[..]].concat());
    assert!(said.contains("small.png") && said.contains("12x40"), "{said}");
    assert!(!fixture.path("cropped/stages").exists());
}

#[test]
fn a_teacher_may_come_from_a_file() {
    let fixture = Fixture::new();
    let command = |folder: &'static str, settings: &[&str]| {
        let train = ["train", "--config", "main.toml", "--run-dir", folder, "--quiet", "methods=[\"robustify\"]"];
        fixture.command(&[&train[..], settings].concat())
    };
    let trained = |folder: &'static str, settings: &[&str]| {
        let output = command(folder, settings).output().unwrap();
        assert!(output.status.success(), "{settings:?}: {}", text(&output.stderr));
        ["teacher", "robustify"].map(|name| bytes(&fixture.path(folder).join(format!("models/{name}.safetensors"))))
    };
    let first = trained("first", &[]);

    // The teacher of another run, by its file alone, and as a bare checkpoint: what it teaches is the same to the bit.
    let model = "weights=\"first/models/teacher.safetensors\"";
    assert!(trained("model", &[&format!("teacher={{{model}}}")]) == first);
    let untrained = |folder: &str| {
        let stages = fs::read_dir(fixture.path(folder).join("stages")).unwrap();
        let names: Vec<String> = stages.map(|stage| stage.unwrap().file_name().into_string().unwrap()).collect();
        assert!(names.iter().any(|name| name.starts_with("teacher-logits-")), "{names:?}");
        !names.iter().any(|name| name.starts_with("teacher-") && !name.starts_with("teacher-logits-"))
    };
    assert!(untrained("model") && !untrained("first"));
    let network = TEACHER.trim().replace('\n', ", ");
    let bare =
        |file: &str| format!("teacher={{weights=\"{file}\", preprocess=\"normalize(half)\", network={{{network}}}}}");
    let mut state = robustify_zoo::weights::read(&fixture.path("first/models/teacher.safetensors")).unwrap();
    fs::write(fixture.path("bare.safetensors"), robustify_zoo::weights::to_bytes(&state)).unwrap();
    assert!(trained("bare", &[&bare("bare.safetensors")]) == first);
    // With a training it goes on from there.
    let tuned = trained("tuned", &["teacher.weights=bare.safetensors", "teacher.training.epochs=1"]);
    let drawn = trained("drawn", &["teacher.training.epochs=1"]);
    assert!(!untrained("tuned") && tuned[0] != first[0] && tuned[0] != drawn[0]);

    for (name, width) in [("fc.weight", 8), ("fc.bias", 1)] {
        let entry = state.get_mut(name).unwrap_or_else(|| panic!("no {name}"));
        entry.shape[0] = 3;
        entry.values.truncate(3 * width);
    }
    fs::write(fixture.path("three.safetensors"), robustify_zoo::weights::to_bytes(&state)).unwrap();
    let named = "data.classes=[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\",\"j\"]";
    for (settings, parts) in [
        (vec![format!("teacher={{{model}}}"), named.into()], vec!["teacher.safetensors", "0, 1, 2", "a, b, c"]),
        (vec![bare("three.safetensors")], vec!["three.safetensors", "3 classes", "10 (0, 1, 2", "[teacher.training]"]),
        (vec!["teacher={weights=\"absent.safetensors\"}".into()], vec!["teacher.weights `absent.safetensors`"]),
        (vec![format!("teacher={{{}}}", model.replace("teacher.safe", "robustify.safe"))], vec!["three heads"]),
        (vec!["teacher={weights=\"bare.safetensors\"}".into()], vec!["bare.safetensors", "teacher.network is missing"]),
        (vec!["teacher={}".into()], vec!["teacher.weights=FILE", "[teacher.training]"]),
        (vec!["teacher.network.width=8".into(), format!("teacher.{model}")], vec!["leave teacher.network out"]),
    ] {
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let output = command("wrong", &settings).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{settings:?}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{settings:?}: {said}");
    }
    assert!(!fixture.path("wrong/stages").exists());
}

#[test]
fn a_policy_may_use_networks() {
    let fixture = Fixture::new();
    let train = |folder: &'static str, threads: &'static str, views: &str| {
        let output = fixture.run(&[
            "train",
            "--config",
            "main.toml",
            "--run-dir",
            folder,
            "--threads",
            threads,
            "--quiet",
            "methods=[\"robustify\"]",
            "teacher.training.policy=noise2net(blocks=1,hidden=2)|pixmix(pictures=4)",
            &format!("views.policy={views}"),
        ]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        ["teacher", "robustify"].map(|name| bytes(&fixture.path(folder).join(format!("models/{name}.safetensors"))))
    };
    let one = train("one", "1", "augmix|noise2net|noise2net+augmix");
    assert!(one == train("two", "2", "augmix|noise2net|noise2net+augmix"), "threads change the augmentations");
    let plain = train("plain", "2", "augmix");
    assert!(plain[0] == one[0] && plain[1] != one[1]);

    let with = |setting| fixture.error(&["train", "--config", "main.toml", "--run-dir", "wrong", setting]);
    let said = with("views.policy=augmix|noise2net(hidden=0)");
    assert!(said.contains("views.policy") && said.contains("hidden must be 1 to 256"), "{said}");
    let said = with("teacher.training.policy=cae(weights=absent.safetensors)");
    assert!(said.contains("teacher.training.policy") && said.contains("absent.safetensors: "), "{said}");
    assert!(!fixture.path("wrong/stages").exists());
    let said = fixture.error(&["augment", "data", "augmented", "--policy", "noise2net"]);
    assert!(said.contains("--deep noise2net"), "{said}");
}
