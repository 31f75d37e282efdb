//! Classifiers in ONNX files: answers as onnxruntime's, what files say of themselves, and files that cannot be asked.

use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use robustify_predict::classes::KnownClasses;
use robustify_predict::{Answers, OnnxClassifier, OnnxOptions, PredictError, Predictor, Rows};
use rten_onnx::onnx::{DataType, ModelProto};
use serde_json::Value;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/onnx").join(name)
}

/// As `make.py` has it.
fn picture(number: u32, side: u32) -> RgbImage {
    RgbImage::from_fn(side, side, |x, y| {
        Rgb([0, 1, 2].map(|c| ((x * 7 + y * 13 + c * 71 + number * 29 + (x * y) % 17 * 5) % 256) as u8))
    })
}

fn classes() -> Vec<String> {
    (0..5).map(|class| format!("class {class}")).collect()
}

fn options(preprocess: &str) -> OnnxOptions {
    let preprocess = (!preprocess.is_empty()).then(|| preprocess.parse().unwrap());
    OnnxOptions { preprocess, classes: Some(classes()), ..OnnxOptions::default() }
}

fn asked(model: &OnnxClassifier, pictures: Vec<RgbImage>) -> Vec<f32> {
    let device = robustify_device::open(Some("flex")).unwrap();
    let rows = Rows::new((0..pictures.len() as u64).collect(), &device, || Ok(pictures.clone()));
    let Answers::Logits { values, .. } = model.answer(&rows).unwrap().answers else { panic!("a model of one head") };
    values
}

/// The folder of a model with what lies beside it.
fn folder(model: &str, beside: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(model);
    fs::copy(golden(model), &path).unwrap();
    for (name, text) in beside {
        fs::write(folder.path().join(name), text).unwrap();
    }
    (folder, path)
}

/// Why a file is refused.
fn refused(path: &Path, options: &OnnxOptions) -> String {
    let error = OnnxClassifier::open(path, options).err().expect("this file cannot be asked");
    let text = error.to_string();
    assert!(text.contains(path.file_stem().unwrap().to_str().unwrap()), "the file is not named: {text}");
    text
}

/// The file with its graph changed.
fn changed(name: &str, change: impl FnOnce(&mut ModelProto)) -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = folder(name, &[]);
    let mut model = ModelProto::parse_buf(&fs::read(&path).unwrap()).unwrap();
    change(&mut model);
    fs::write(&path, model.write_buf().unwrap()).unwrap();
    (folder, path)
}

#[test]
fn answers_and_costs_are_those_of_onnxruntime() {
    let cases: Value = serde_json::from_slice(&fs::read(golden("logits.json")).unwrap()).unwrap();
    for (name, case) in cases.as_object().unwrap() {
        let side = case["side"].as_u64().unwrap();
        let steps = match case["normalize"].as_str().unwrap() {
            "" => format!("resize({side},{side})"),
            normalize => format!("resize({side},{side})|normalize({normalize})"),
        };
        let model = OnnxClassifier::open(&golden(&format!("{name}.onnx")), &options(&steps)).unwrap();
        let pictures: Vec<RgbImage> = (0..3).map(|number| picture(number, side as u32)).collect();
        let found = asked(&model, pictures.clone());
        let wanted: Vec<f64> = case["logits"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|row| row.as_array().unwrap())
            .map(|value| value.as_f64().unwrap())
            .collect();
        // Of `served` the file says logarithms of probabilities, which the logits are but for a number that all classes share.
        let shift = |row: &[f64]| row.iter().map(|value| value.exp()).sum::<f64>().ln();
        let found: Vec<f64> = found.iter().map(|value| f64::from(*value)).collect();
        for (found, wanted) in found.chunks(5).zip(wanted.chunks(5)) {
            let by = if name == "served" { shift(found) } else { 0.0 };
            for (found, wanted) in found.iter().zip(wanted) {
                assert!((found - by - wanted).abs() < 1e-4, "{name}: {found} - {by}, onnxruntime says {wanted}");
            }
        }
        assert_eq!(model.macs(), case["macs"].as_u64(), "{name}");
        let alone = asked(&model, vec![pictures[1].clone()]);
        let among: Vec<f32> = asked(&model, pictures)[5..10].to_vec();
        assert_eq!(alone, among, "{name}: an answer depends on its neighbours");
    }
}

#[test]
fn a_file_that_serves_says_all_but_how_pictures_come_to_its_size() {
    let path = golden("served.onnx");
    let mut asked_for = OnnxOptions::default();
    let said = refused(&path, &asked_for);
    assert!(said.contains("--preprocess 'resize(27)|center_crop(24)'"), "{said}");
    asked_for.preprocess = Some("resize(27)|center_crop(24)".parse().unwrap());
    let model = OnnxClassifier::open(&path, &asked_for).unwrap();
    assert_eq!(model.classes(), classes());
    assert_eq!(model.known_classes().unwrap().from, "the file's note `names`");
    let notes = model.notes().join("\n");
    for part in ["its own normalisation of values from 0 to 255", "ends in a softmax"] {
        assert!(notes.contains(part), "{part} is not in\n{notes}");
    }
    assert!(model.preprocess().to_string().ends_with("normalize(0,0,0;0.003921569,0.003921569,0.003921569)"));
    // A normalisation that the user asks for is done, and said.
    asked_for.preprocess = Some("resize(24,24)|normalize(half)".parse().unwrap());
    let notes = OnnxClassifier::open(&path, &asked_for).unwrap().notes().join("\n");
    assert!(notes.contains("--preprocess says normalize(half)"), "{notes}");
    // Bytes are never normalised.
    let said = refused(&golden("digits.onnx"), &options("resize(28,28)|normalize(half)"));
    assert!(said.contains("leave normalize(half) out"), "{said}");
    // Nor is one channel by the numbers of three.
    let (_kept, grey) = changed("digits.onnx", |model| {
        let input = &mut model.graph.as_mut().unwrap().input[0];
        input.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = Some(DataType::FLOAT);
    });
    let said = refused(&grey, &options("resize(28,28)|normalize(imagenet)"));
    assert!(said.contains("has one channel"), "{said}");
}

#[test]
fn files_beside_the_model_say_how_pictures_are_prepared_and_what_classes_are_called() {
    let timm = r#"{"architecture": "resnet18", "num_classes": 5, "label_names": ["n0", "n1", "n2", "n3", "n4"],
        "label_descriptions": {"n1": "goldfish, Carassius"},
        "pretrained_cfg": {"input_size": [3, 64, 64], "crop_pct": 0.875, "interpolation": "bicubic", "mean": [0.1, 0.2, 0.3],
                           "std": [0.5, 0.5, 0.5]}}"#;
    let (_kept, path) = folder("resnet.onnx", &[("config.json", timm)]);
    let model = OnnxClassifier::open(&path, &OnnxOptions::default()).unwrap();
    assert_eq!(model.preprocess().to_string(), "resize(73,bicubic)|center_crop(64)|normalize(0.1,0.2,0.3;0.5,0.5,0.5)");
    let KnownClasses { names, from } = model.known_classes().unwrap();
    assert_eq!(
        (names[0].join("|"), names[1].join("|")),
        ("n0".into(), "n1|goldfish, Carassius|goldfish|Carassius".into())
    );
    assert_eq!(from, "config.json beside it");

    let transformers = r#"{"do_resize": true, "size": {"height": 64, "width": 64}, "resample": 3, "do_normalize": true,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "rescale_factor": 0.00392156862745098}"#;
    let labels = "a\nb\nc\nd\ne\n";
    let (_kept, path) = folder("resnet.onnx", &[("preprocessor_config.json", transformers), ("labels.txt", labels)]);
    let model = OnnxClassifier::open(&path, &OnnxOptions::default()).unwrap();
    assert_eq!(model.preprocess().to_string(), "resize(64,64,bicubic)|normalize(half)");
    assert_eq!(model.classes(), ["a", "b", "c", "d", "e"]);
    let before = model.identity().to_owned();
    let narrower = model.seeing("normalize(imagenet)".parse().unwrap());
    assert_ne!(narrower.identity(), before, "what determines answers is in the identity");

    // Of two sources the user goes before the file.
    let given = OnnxClassifier::open(&path, &options("resize(70)|center_crop(64)")).unwrap();
    assert_eq!(given.preprocess().to_string(), "resize(70,bilinear)|center_crop(64)|normalize(half)");
    assert_eq!(given.classes(), classes());
}

#[test]
fn what_nothing_says_is_asked_for_by_name() {
    let ask = |options: &OnnxOptions| refused(&golden("resnet.onnx"), options);
    let said = ask(&OnnxOptions::default());
    assert!(said.contains("--preprocess 'resize(73)|center_crop(64)|normalize(imagenet)'"), "{said}");
    let said = ask(&options("resize(64,64)"));
    assert!(said.contains("'resize(64,64,bilinear)|normalize(imagenet)'"), "{said}");
    let said = ask(&options("resize(32,32)|normalize(imagenet)"));
    assert!(said.contains("ends in 32x32 pixels"), "{said}");
    let unnamed = OnnxOptions { classes: None, ..options("resize(64,64)|normalize(imagenet)") };
    let model = OnnxClassifier::open(&golden("resnet.onnx"), &unnamed).unwrap();
    assert_eq!((model.known_classes(), model.classes()[4].as_str()), (None, "4"));
    let said = ask(&OnnxOptions { classes: Some(vec!["a".into()]), ..options("resize(64,64)|normalize(imagenet)") });
    assert!(said.contains("--classes names 1 classes, and its output has 5"), "{said}");
    let said = ask(&OnnxOptions { image_size: Some([32, 32]), ..options("resize(64,64)|normalize(imagenet)") });
    assert!(said.contains("--image-size says 32x32"), "{said}");
    let said = ask(&OnnxOptions { output: Some("features".into()), ..options("resize(64,64)|normalize(imagenet)") });
    assert!(said.contains("no output `features`; it has `logits` [?, 5]"), "{said}");
}

#[test]
fn a_graph_that_is_no_classifier_of_pictures_is_refused() {
    let usual = options("resize(64,64)|normalize(imagenet)");
    let of_input = |change: fn(&mut rten_onnx::onnx::TypeProtoTensor)| {
        let (_kept, path) = changed("resnet.onnx", |model| {
            let input = &mut model.graph.as_mut().unwrap().input[0];
            change(input.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap());
        });
        refused(&path, &usual)
    };
    let said = of_input(|tensor| tensor.elem_type = Some(DataType::INT64));
    assert!(said.contains("takes INT64") || said.contains("takes int64"), "{said}");
    let said = of_input(|tensor| drop(tensor.shape.as_mut().unwrap().dim.pop()));
    assert!(said.contains("is [?, 3, 64]; a picture is"), "{said}");
    let said = of_input(|tensor| tensor.shape.as_mut().unwrap().dim[1].dim_value = Some(7));
    assert!(said.contains("with 7 channels") || said.contains("a picture is"), "{said}");

    let (_kept, path) = changed("resnet.onnx", |model| {
        let node = &mut model.graph.as_mut().unwrap().node[0];
        node.op_type = Some("Frobnicate".into());
    });
    let said = refused(&path, &usual);
    assert!(said.contains("cannot be run here") && said.contains("Frobnicate"), "{said}");

    let (_kept, path) = changed("resnet.onnx", |model| {
        let graph = model.graph.as_mut().unwrap();
        graph.output[0].name = graph.node[1].output.first().cloned();
        graph.output[0].r#type = None;
    });
    let said = refused(&path, &usual);
    assert!(said.contains("no vector of classes"), "{said}");

    let (_kept, path) = changed("resnet.onnx", |model| {
        let graph = model.graph.as_mut().unwrap();
        let second = rten_onnx::onnx::ValueInfoProto { name: graph.node[1].output.first().cloned(), r#type: None };
        graph.output.push(second);
    });
    let said = refused(&path, &usual);
    assert!(said.contains("several outputs: `logits` [?, 5]") && said.contains("--output NAME"), "{said}");
    let chosen = OnnxOptions { output: Some("logits".into()), ..usual };
    assert!(OnnxClassifier::open(&path, &chosen).is_ok());
}

#[test]
fn a_file_without_its_weights_names_them() {
    let (_kept, path) = folder("vit.onnx", &[]);
    let said = refused(&path, &options("resize(32,32)|normalize(half)"));
    assert!(said.contains("`vit.onnx.data`"), "{said}");
    fs::write(path.with_file_name("vit.onnx.data"), [0; 64]).unwrap();
    let said = refused(&path, &options("resize(32,32)|normalize(half)"));
    assert!(said.contains("cannot be run here"), "{said}");
    // A model is no reason to read what does not lie beside it.
    let (_kept, path) = changed("vit.onnx", |model| {
        for tensor in &mut model.graph.as_mut().unwrap().initializer {
            tensor
                .external_data
                .iter_mut()
                .filter(|entry| entry.key.as_deref() == Some("location"))
                .for_each(|entry| entry.value = Some("../secret".into()));
        }
    });
    let said = refused(&path, &options("resize(32,32)|normalize(half)"));
    assert!(said.contains("`../secret`"), "{said}");
}

#[test]
fn other_files_and_damaged_ones_are_refused_without_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    for (bytes, expected) in [
        (&b""[..], "the file is empty"),
        (b"PK\x03\x04 and so on", "torch.onnx.export"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
        (b"\x89PNG\r\n\x1a\n", "no ONNX model"),
        (b"some text", "no ONNX model"),
    ] {
        fs::write(&path, bytes).unwrap();
        let said = refused(&path, &options(""));
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
    assert!(matches!(
        OnnxClassifier::open(&folder.path().join("absent.onnx"), &options("")),
        Err(PredictError::Data(_))
    ));
    // Cut off anywhere, a file may be one still, but nothing panics.
    let usual = options("resize(24,24)");
    let whole = fs::read(golden("served.onnx")).unwrap();
    let mut read = 0;
    for end in (1..whole.len()).step_by(41) {
        fs::write(&path, &whole[..end]).unwrap();
        read += usize::from(OnnxClassifier::open(&path, &usual).is_ok());
    }
    assert_eq!(read, 0, "a part of a file was taken for the whole");
}
