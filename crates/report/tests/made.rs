//! An evaluation that nobody made, with everything that a page can show, for tests and to look at.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::Mutex;

use base64::Engine as _;
use robustify_report::evaluation::*;

const SHIFTS: [(&str, &str); 15] = [
    ("gaussian_noise", "noise"),
    ("shot_noise", "noise"),
    ("impulse_noise", "noise"),
    ("defocus_blur", "blur"),
    ("glass_blur", "blur"),
    ("motion_blur", "blur"),
    ("zoom_blur", "blur"),
    ("snow", "weather"),
    ("frost", "weather"),
    ("fog", "weather"),
    ("brightness", "weather"),
    ("contrast", "digital"),
    ("elastic_transform", "digital"),
    ("pixelate", "digital"),
    ("jpeg_compression", "digital"),
];
const CLASSES: [&str; 10] =
    ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// Name, clean accuracy, loss per severity, multiply-accumulates.
const MODELS: [(&str, f64, f64, u64); 5] = [
    ("original", 0.930, 0.062, 310_000_000),
    ("teacher", 0.886, 0.012, 96_000_000),
    ("apt", 0.928, 0.024, 310_000_000),
    ("wise_ft-0.5", 0.926, 0.022, 310_000_000),
    ("robustify", 0.924, 0.019, 372_000_000),
];

/// A number from 0 to 1 that looks random and is the same in every run.
pub fn chance(parts: &[u64]) -> f64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for part in parts {
        state = (state ^ part).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 32;
    }
    (state >> 11) as f64 / (1_u64 << 53) as f64
}

/// A small picture: a shape under noise, drawn once.
pub fn picture(seed: u64, severity: u8) -> String {
    static DRAWN: Mutex<BTreeMap<(u64, u8), String>> = Mutex::new(BTreeMap::new());
    let key = (seed % 10, severity);
    DRAWN.lock().unwrap().entry(key).or_insert_with(|| draw(key.0, severity)).clone()
}

fn draw(seed: u64, severity: u8) -> String {
    let side = 56;
    let pixels = image::RgbImage::from_fn(side, side, |x, y| {
        let (across, down) = (f64::from(x) / 56.0 - 0.5, f64::from(y) / 56.0 - 0.5);
        let inside = across.abs() < 0.16 + 0.2 * chance(&[seed, 1]) && down.abs() < 0.3
            || (down + 0.2).abs() < 0.09 && across.abs() < 0.42;
        let base = if inside { 150.0 + 90.0 * chance(&[seed, 2]) } else { 22.0 };
        let noise = 150.0 * (chance(&[seed, 3, u64::from(x), u64::from(y)]) - 0.5) * f64::from(severity) / 5.0;
        let level = (base + noise).clamp(0.0, 255.0) as u8;
        image::Rgb([level, level, level])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    format!("data:image/jpeg;base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes.into_inner()))
}

/// An evaluation of five models on two suites.
pub fn evaluation() -> Evaluation {
    let corrupted = corrupted();
    let comparisons = MODELS[1..].iter().map(|(name, ..)| {
        let of = |name: &str| mean(&corrupted, name);
        let difference = of(name) - of("original");
        ComparisonRecord {
            suite: "fashion-c".into(),
            metric: "mean_accuracy".into(),
            first: [(*name).into(), route(name).into()],
            second: ["original".into(), "single".into()],
            difference,
            interval: [difference - 0.007, difference + 0.0065],
            images: 1_000,
        }
    });
    Evaluation {
        schema: EVALUATION_SCHEMA,
        title: "Fashion-MNIST under corruptions".into(),
        program: "robustify 0.1.0".into(),
        command: "robustify eval original.safetensors teacher.safetensors apt.safetensors wise_ft-0.5.safetensors robustify.safetensors \\\n    --data datasets/fashion-mini --suite fashion-c --suite fashion-drawn --out evaluations/fashion".into(),
        settings: BTreeMap::from(
            [("seed", "0"), ("corruptions", "cifar constants, revision 4, frost-procedural"), ("backend", "flex"), ("rule", "product of U and KL, T = 10")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        ),
        models: MODELS.iter().map(model).collect(),
        comparisons: comparisons.collect(),
        suites: vec![corrupted, drawn()],
    }
}

/// Times beside it.
pub fn times() -> Times {
    let of = |factor: f64| {
        MODELS.iter().map(|(name, _, _, macs)| ((*name).to_owned(), factor * *macs as f64 / 9e7)).collect()
    };
    Times { ms_per_image: of(1.0), ms_per_image_one_pass: BTreeMap::from([("robustify".to_owned(), 3.55)]) }
}

fn route(model: &str) -> &'static str {
    if model == "robustify" { "product" } else { "single" }
}

fn model((name, _, _, macs): &(&str, f64, f64, u64)) -> ModelRecord {
    let (about, parameters) = if *name == "teacher" {
        ("ResNet, 174 k parameters", 174_000)
    } else {
        ("ResNet, 1.6 M parameters", 1_612_000)
    };
    ModelRecord {
        name: (*name).into(),
        about: about.into(),
        kind: "robust".into(),
        identity: "9f2c".repeat(16),
        source: format!("runs/fashion-mini/models/{name}.safetensors"),
        sha256: Some("41d0".repeat(16)),
        preprocess: "28 x 28, mean 0.286, std 0.353".into(),
        parameters: Some(parameters),
        macs: Some(*macs),
        macs_passes: (*name == "robustify").then_some(macs + 9 * 7_000_000),
        main_route: route(name).into(),
    }
}

fn mean(suite: &SuiteRecord, model: &str) -> f64 {
    suite.totals.iter().find(|total| total.model == model && total.route == route(model)).unwrap().metrics["mean_accuracy"]
}

fn corrupted() -> SuiteRecord {
    let mut cells = vec![cell("clean", None, None, None, 2_000)];
    for (shift, group) in SHIFTS {
        for severity in 1..=5 {
            cells.push(cell(&format!("{shift}-{severity}"), Some(shift), Some(group), Some(severity), 1_000));
        }
    }
    let mut suite = SuiteRecord {
        name: "fashion-c".into(),
        title: "Fashion-MNIST-C".into(),
        origin: "generated".into(),
        identity: "7b3e".repeat(16),
        classes: CLASSES.map(str::to_owned).to_vec(),
        notes: vec![
            "Corruptions of CIFAR-10-C at 28 x 28; frost uses procedural textures.".into(),
            "1,000 of 2,000 test images under each corruption.".into(),
        ],
        cells,
        ..SuiteRecord::default()
    };
    for (name, ..) in MODELS {
        let routes: &[&str] =
            if name == "robustify" { &["product", "kl", "u", "combined", "oracle"] } else { &["single"] };
        for (number, which) in routes.iter().enumerate() {
            let values: Vec<f64> = suite.cells[1..]
                .iter()
                .filter_map(|cell| {
                    cell.results.iter().find(|result| result.model == name)?.metrics.get("accuracy").copied()
                })
                .collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64
                + if *which == "oracle" { 0.035 } else { -0.003 * number as f64 };
            let mut metrics = BTreeMap::from([
                ("mean_accuracy", mean),
                ("mce", 100.0 * (1.0 - mean) / 0.24),
                ("ece", 0.02 + 0.3 * (0.9 - mean)),
                ("worst_class", mean - 0.28),
            ]);
            if name == "robustify" {
                metrics.extend([
                    ("f_correct", 0.71 - 0.04 * number as f64),
                    ("right_choice", 0.68 - 0.05 * number as f64),
                ]);
            }
            suite.totals.push(ResultRecord {
                model: name.into(),
                route: (*which).into(),
                metrics: metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
                intervals: BTreeMap::from([("mean_accuracy".to_owned(), [mean - 0.013, mean + 0.012])]),
                ..ResultRecord::default()
            });
        }
    }
    suite.slices = slices();
    suite.examples = examples();
    suite
}

fn cell(name: &str, shift: Option<&str>, group: Option<&str>, severity: Option<u8>, images: u64) -> CellRecord {
    let mut results = Vec::new();
    for (number, (model, clean, loss, _)) in MODELS.iter().enumerate() {
        let place = SHIFTS.iter().position(|(known, _)| Some(*known) == shift).unwrap_or(99) as u64;
        let hard = 0.4
            + 1.5 * chance(&[place]) * if *model == "teacher" { 0.8 } else { 1.0 }
            + 0.2 * chance(&[place, number as u64]);
        let accuracy = (clean - loss * hard * f64::from(severity.unwrap_or(0)).powf(1.15)).max(0.11);
        results.push(result(
            model,
            route(model),
            accuracy,
            [place, number as u64, u64::from(severity.unwrap_or(0))],
            images,
        ));
        if *model == "robustify" {
            for (other, change) in [("kl", -0.002), ("u", -0.011), ("combined", 0.001), ("oracle", 0.03)] {
                let mut plain = result(model, other, accuracy + change, [place, 9, 9], images);
                (plain.reliability, plain.risk_coverage, plain.flipped, plain.per_class) = Default::default();
                plain.shares.clear();
                results.push(plain);
            }
        }
    }
    CellRecord {
        name: name.into(),
        shift: shift.map(str::to_owned),
        group: group.map(str::to_owned),
        severity,
        images,
        results,
    }
}

fn result(model: &str, route: &str, accuracy: f64, seed: [u64; 3], images: u64) -> ResultRecord {
    let bins = (1..15).map(|bin| {
        let confidence = (f64::from(bin) + 0.5) / 15.0;
        let sure = f64::from(bin).powi(2) * 3.0;
        BinRecord { confidence, accuracy: (confidence * (0.55 + 0.45 * accuracy)).min(1.0), count: sure as u64 + 1 }
    });
    let shares = match model {
        "robustify" => {
            let clean = 0.78 - 0.12 * seed[2] as f64;
            BTreeMap::from([("clean".to_owned(), clean), ("robust".to_owned(), 1.0 - clean)])
        }
        _ => BTreeMap::new(),
    };
    let share = |class: u64| (accuracy - 0.5 * (chance(&[class, 5]) - 0.4) * (1.1 - accuracy)).clamp(0.0, 1.0);
    let each = images / 10;
    let is_drawn = seed[2] == 3 || seed[2] == 5;
    let flips = if is_drawn { 3 } else { 0 };
    ResultRecord {
        model: model.into(),
        route: route.into(),
        metrics: BTreeMap::from(
            [
                ("accuracy", accuracy),
                ("top5", (accuracy + 0.3).min(0.995)),
                ("ece", 0.25 * (1.0 - accuracy)),
                ("aurc", (1.0 - accuracy).powi(2)),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        ),
        reliability: bins.collect(),
        risk_coverage: (1..=20)
            .map(|step| [f64::from(step) / 20.0, (1.0 - accuracy) * (f64::from(step) / 20.0).powf(1.6)])
            .collect(),
        per_class: (0..10).map(|class| [(share(class) * each as f64) as u64, each]).collect(),
        shares,
        flipped: (0..flips).map(|index| flip(seed, index)).collect(),
        ..ResultRecord::default()
    }
}

fn flip(seed: [u64; 3], index: u64) -> FlipRecord {
    let label = (10.0 * chance(&[seed[0], seed[1], index])) as usize;
    FlipRecord {
        image: format!("test/{}/{:05}.png", CLASSES[label], 17 * index + seed[0]),
        label,
        said: (label + 2) % 10,
        confidence: 0.98 - 0.07 * index as f64,
        picture: Some(picture(label as u64 + 10 * index, seed[2] as u8)),
    }
}

fn slices() -> Vec<SliceRecord> {
    let parts = [
        ("class Shirt", 200, 0.52),
        ("class Coat", 200, 0.69),
        ("dark pictures (mean brightness below 0.21)", 412, 0.74),
        ("pictures of little contrast (standard deviation below 0.18)", 397, 0.75),
        ("class Trouser", 200, 0.955),
    ];
    let one = |model: &str, about: &str, images: u64, accuracy: f64| SliceRecord {
        model: model.into(),
        about: about.into(),
        images,
        accuracy,
        rest: 0.86,
        interval: [accuracy - 0.86 - 0.03, accuracy - 0.86 + 0.03],
    };
    let all = parts.iter().flat_map(|(about, images, accuracy)| {
        [one("robustify", about, *images, *accuracy), one("original", about, *images, accuracy - 0.06)]
    });
    all.collect()
}

fn examples() -> Vec<ExampleRecord> {
    let mut all = Vec::new();
    for (number, (shift, _)) in SHIFTS.iter().enumerate() {
        for severity in [1, 3, 5] {
            let label = number % 10;
            let said = |model: &str, route: &str, right: bool, sure: f64| {
                (model.to_owned(), route.to_owned(), if right { label } else { (label + 2) % 10 }, sure)
            };
            all.push(ExampleRecord {
                cell: format!("{shift}-{severity}"),
                image: format!("test/{}/{number:05}.png", CLASSES[label]),
                label,
                picture: picture(label as u64, severity),
                said: vec![
                    said("original", "single", severity < 3, 0.81),
                    said("teacher", "single", true, 0.64),
                    said("robustify", "clean", severity < 4, 0.77),
                    said("robustify", "combined", true, 0.69),
                    said("robustify", "robust", true, 0.72),
                ],
            });
        }
    }
    all
}

fn drawn() -> SuiteRecord {
    let cell = CellRecord { shift: Some("drawings".into()), ..cell("drawings", None, None, None, 640) };
    let mut cell = cell;
    for result in &mut cell.results {
        *result.metrics.get_mut("accuracy").unwrap() -= 0.41;
        result.flipped.clear();
        result.shares.clear();
    }
    SuiteRecord {
        name: "fashion-drawn".into(),
        title: "Drawings of garments".into(),
        origin: "on disk".into(),
        identity: "55aa".repeat(16),
        classes: CLASSES.map(str::to_owned).to_vec(),
        notes: vec!["Logits of ten classes are masked to the eight that are drawn.".into()],
        cells: vec![cell],
        ..SuiteRecord::default()
    }
}
