//! CLIP: parity with open_clip (`goldens/clip`), names of other programs, and what a text tower refuses.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use robustify_zoo::clip::names::open_clip_step;
use robustify_zoo::clip::{Clip, ClipConfig, TextMatrix, text_matrix, zero_shot_logits};
use robustify_zoo::weights::{self, Checkpoint, Entry, Existing, LoadOptions, Naming, State};
use robustify_zoo::{Features, Model, Pass, Trace, ZooError, registry};

use crate::golden::{entry, gradients_of};

fn flex() -> Device {
    robustify_device::open(Some("flex")).unwrap()
}

struct Golden {
    name: &'static str,
    config: ClipConfig,
    ids: Vec<Vec<u32>>,
    file: PathBuf,
    stored: State,
}

impl Golden {
    fn all() -> [Self; 2] {
        ["vit", "resnet"].map(Self::read)
    }

    fn read(name: &'static str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/clip");
        let case = std::fs::read_to_string(folder.join(name).with_extension("json")).unwrap();
        let case: serde_json::Value = serde_json::from_str(&case).unwrap();
        let config = ClipConfig::from_open_clip(&case["config"].to_string()).unwrap();
        let ids = serde_json::from_value(case["ids"].clone()).unwrap();
        let file = folder.join(name).with_extension("safetensors");
        Self { name, config, ids, stored: weights::read(&file).unwrap(), file }
    }

    /// Stored tensors whose names begin with `prefix`, under the rest of their names.
    fn under(&self, prefix: &str) -> State {
        let entries = self.stored.iter();
        entries.filter_map(|(key, entry)| Some((key.strip_prefix(prefix)?.to_owned(), entry.clone()))).collect()
    }

    fn blank(&self) -> Clip {
        Clip::blank(&self.config, &flex()).unwrap()
    }

    fn clip(&self) -> Clip {
        let options = LoadOptions { from: Some("w"), ..LoadOptions::default() };
        let (clip, loaded) = weights::load_from(self.blank(), &Checkpoint::open(&self.file).unwrap(), options).unwrap();
        assert_eq!(loaded.naming, Naming::OpenClip);
        clip
    }

    fn images(&self) -> Tensor<4> {
        let Entry { values, shape } = self.stored["in.x"].clone();
        Tensor::from_data(TensorData::new(values, shape), &flex())
    }

    fn compare(&self, what: &str, got: &Entry, stored: &Entry, tolerance: f32) {
        assert_eq!(got.shape, stored.shape, "{}: {what}", self.name);
        let scale = stored.values.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
        for (got, stored) in got.values.iter().zip(&stored.values) {
            let close = (got - stored).abs() <= tolerance * scale;
            assert!(close, "{}: {what} has {got}, stored is {stored}, the largest {scale}", self.name);
        }
    }
}

#[test]
fn features_logits_and_gradients_are_open_clips() {
    for golden in Golden::all() {
        let clip = golden.clip().train();
        let images = clip.encode_image(golden.images(), &Pass::eval());
        let texts = clip.encode_text(&golden.ids).unwrap();
        let logits = clip.logits_per_image(images.clone(), texts.clone());
        for (name, got) in [("image_features", images), ("text_features", texts), ("logits_per_image", logits.clone())]
        {
            let got = entry(got.without_autodiff());
            golden.compare(name, &got, &golden.stored[&format!("out.{name}")], 2e-5);
        }

        let rows = golden.ids.len();
        let own = Tensor::<1, Int>::arange(0..rows as i64, &flex()).unsqueeze_dim::<2>(1);
        let loss = -activation::log_softmax(logits, 1).gather(1, own).mean();
        let got = Entry { shape: Vec::new(), ..entry(loss.clone().without_autodiff()) };
        golden.compare("loss", &got, &golden.stored["loss"], 2e-5);
        let gradients = gradients_of(&clip, &loss.backward());
        let expected = golden.under("grad.");
        assert!(expected.len() >= 9, "{}: {:?}", golden.name, expected.keys());
        for (key, stored) in expected {
            golden.compare(&format!("gradient of {key}"), &gradients[&key], &stored, 1e-4);
        }
    }
}

#[test]
fn names_go_forth_and_back_without_loss() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, tower] = ["whole", "tower"].map(|name| folder.path().join(name));
    for golden in Golden::all() {
        let (clip, stored) = (golden.clip(), Checkpoint::open(&golden.file).unwrap());
        weights::convert(&golden.blank(), &stored, Some("w"), Naming::OpenClip, &whole, Existing::Goes).unwrap();
        assert_eq!(weights::read(&whole).unwrap(), golden.under("w."), "{}", golden.name);
        assert_eq!(weights::state(&weights::load(golden.blank(), &whole).unwrap()), weights::state(&clip));

        // The image tower, out of the whole, by way of timm's names and of open_clip's.
        let expected = weights::state(&clip.visual);
        let whole = Checkpoint::open(&whole).unwrap();
        for naming in [Naming::Timm, Naming::OpenClip] {
            weights::convert(&golden.blank().visual, &whole, None, naming, &tower, Existing::Goes).unwrap();
            let loaded = weights::load(golden.blank().visual, &tower).unwrap();
            assert_eq!(weights::state(&loaded), expected, "{} by way of {naming}", golden.name);
        }
    }
}

#[test]
fn the_bias_that_siglip_trains_is_passed_over() {
    let golden = Golden::read("vit");
    let mut stored = golden.under("w.");
    stored.insert("logit_bias".into(), Entry { shape: vec![], values: vec![-10.0] });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), weights::to_bytes(&stored)).unwrap();
    let checkpoint = Checkpoint::open(file.path()).unwrap();
    let (clip, loaded) = weights::load_from(golden.blank(), &checkpoint, LoadOptions::default()).unwrap();
    assert_eq!(weights::state(&clip), weights::state(&golden.clip()));
    assert_eq!(loaded.passed_over, [("logit_bias".to_owned(), "shifts all logits alike".to_owned())]);
}

#[test]
fn towers_have_the_names_of_timm_and_open_clip() {
    let [vit, resnet] = Golden::all().map(|golden| weights::shapes(&golden.blank().visual));
    for (shapes, naming, name, shape) in [
        (&vit, Naming::Timm, "cls_token", vec![1, 1, 16]),
        (&vit, Naming::OpenClip, "class_embedding", vec![16]),
        (&vit, Naming::OpenClip, "transformer.resblocks.1.attn.in_proj_weight", vec![48, 16]),
        (&vit, Naming::OpenClip, "proj", vec![16, 12]),
        (&resnet, Naming::OpenClip, "layer2.1.bn3.running_var", vec![16]),
        (&resnet, Naming::Timm, "stem.conv3.bn.running_var", vec![2]),
        (&resnet, Naming::Timm, "stages.0.0.shortcut.conv.conv.weight", vec![8, 2, 1, 1]),
        (&resnet, Naming::Timm, "stages.1.1.conv2_kxk.bn.bias", vec![4]),
        (&resnet, Naming::Timm, "stages.3.0.conv3_1x1.conv.weight", vec![64, 16, 1, 1]),
        (&resnet, Naming::Timm, "head.pos_embed", vec![5, 64]),
        (&resnet, Naming::Timm, "head.proj.bias", vec![12]),
    ] {
        let renamed = weights::renamed(shapes, naming).unwrap();
        assert_eq!(renamed.get(name), Some(&shape), "{naming}: {:?}", renamed.keys());
    }
}

#[test]
fn a_projection_becomes_a_classifier_with_a_bias_of_zeros_where_timm_has_one() {
    let golden = Golden::read("vit");
    let mut image = golden.config.image.clone();
    let robustify_zoo::ModelConfig::Vit(config) = &mut image else { unreachable!("the case is a ViT") };
    config.head_bias = true;
    let checkpoint = Checkpoint::open(&golden.file).unwrap();
    let options = LoadOptions { from: Some("w"), ..LoadOptions::default() };
    let (tower, _) = weights::load_from(Model::blank(&image, &flex()).unwrap(), &checkpoint, options).unwrap();
    let mut state = weights::state(&tower);
    assert_eq!(state.remove("head.bias").unwrap(), Entry { shape: vec![12], values: vec![0.0; 12] });
    assert_eq!(state, weights::state(&golden.clip().visual));
}

#[test]
fn a_classifier_stands_behind_the_projection_of_either_tower() {
    let device = flex();
    for golden in Golden::all() {
        let name = golden.name;
        let tower = golden.clip().visual;
        let embedded = tower.forward(golden.images(), &Pass::eval());
        let [rows, width] = embedded.dims();
        let fresh = tower.clone().with_classifier(5, &device);
        assert_eq!(fresh.classes(), 5);

        let mut state = weights::state(&fresh);
        assert_eq!(state["head.weight"].shape, [5, width], "{name}: the classifier does not read the common space");
        for (tensor, entry) in weights::state(&tower) {
            let kept = if name == "vit" { tensor.replace("head.weight", "proj.weight") } else { tensor };
            assert_eq!(state[&kept], entry, "{name}: {kept} is lost");
        }
        let values: Vec<f32> = (0..5 * width).map(|index| (index % 7) as f32 - 3.0).collect();
        let weight = Tensor::<2>::from_data(TensorData::new(values.clone(), [5, width]), &device);
        state.get_mut("head.weight").unwrap().values = values;
        let classifier = weights::with_state(fresh, state.clone()).unwrap();
        let expected = embedded.matmul(weight.transpose());
        let logits = classifier.forward(golden.images(), &Pass::eval());
        let largest = expected.clone().abs().max().into_scalar::<f32>();
        let difference = (logits - expected).abs().max().into_scalar::<f32>();
        assert!(difference < 1e-5 * largest, "{name}: {difference}");

        // A file of such a model is read by the shape that the tower's becomes.
        let config = golden.config.image.with_classifier(5);
        assert_eq!(config.outputs(), 5);
        let read = weights::with_state(Model::blank(&config, &device).unwrap(), state.clone()).unwrap();
        let outputs = read.forward(golden.images(), &Pass::eval()).dims();
        assert_eq!((outputs, weights::state(&read)), ([rows, 5], state.clone()), "{name}");
        // Another classifier replaces this one, and the projection stays.
        let other = weights::state(&classifier.with_classifier(3, &device));
        assert_eq!(other["head.weight"].shape, [3, width], "{name}");
        assert!(other.get("proj.weight") == state.get("proj.weight"), "{name}: another projection");
    }
}

#[test]
fn only_a_fine_tuned_clip_ends_in_a_classifier() {
    for (name, width) in [("vit_base_patch32_clip_224.openai", 512), ("vit_base_patch32_clip_224.openai_ft_in1k", 768)]
    {
        let config = (registry::find(name).unwrap().config)();
        assert_eq!(config.with_classifier(10).feature_width(), width, "{name}");
        assert_eq!(config.with_classes(10).feature_width(), 768, "{name}: with_classes replaces the last layer");
    }
}

#[test]
fn counters_of_training_steps_follow_their_layers_to_other_names() {
    let golden = Golden::read("resnet");
    let mut stored = golden.under("w.visual.");
    for counter in ["bn2.num_batches_tracked", "layer3.0.downsample.1.num_batches_tracked"] {
        stored.insert(counter.into(), Entry { shape: vec![], values: vec![7.0] });
    }
    let folder = tempfile::tempdir().unwrap();
    let [ours, timms, back] = ["ours", "timms", "back"].map(|name| folder.path().join(name));
    std::fs::write(&ours, weights::to_bytes(&stored)).unwrap();
    let convert = |from: &Path, naming, to: &Path| {
        weights::convert(&golden.blank().visual, &Checkpoint::open(from).unwrap(), None, naming, to, Existing::Goes)
            .unwrap();
    };
    convert(&ours, Naming::Timm, &timms);
    convert(&timms, Naming::OpenClip, &back);
    let [ours, timms, back] = [&ours, &timms, &back].map(|file| Checkpoint::open(file).unwrap());
    assert!(timms.names().any(|name| name == "stages.2.0.shortcut.conv.bn.num_batches_tracked"));
    assert!(ours.names().eq(back.names()), "{:?}", back.names().collect::<Vec<_>>());
    for name in ours.names() {
        assert!(ours.read_raw(name).unwrap() == back.read_raw(name).unwrap(), "{name} changed");
    }
}

#[test]
fn registered_clips_have_two_towers_that_fit() {
    let mut count = 0;
    for entry in registry::entries() {
        let Some(config) = entry.clip() else { continue };
        count += 1;
        assert!(config.faults().is_empty(), "{}: {:?}", entry.name(), config.faults());
        let clip = Clip::blank(&config, &flex()).unwrap();
        let ours = weights::shapes(&clip);
        let theirs = weights::renamed(&ours, Naming::OpenClip).unwrap();
        assert_eq!(theirs["token_embedding.weight"], [config.text.vocabulary, config.text.width]);
        assert_eq!(weights::recognised(&theirs, &ours), (Naming::OpenClip, ours), "{}", entry.name());
    }
    assert!(count >= 20, "{count} CLIPs");
}

/// Learned numbers of open_clip 3.3.0's models, and of both towers together fvcore 0.1.5's count.
#[test]
fn sizes_are_open_clips() {
    for (name, parameters, macs) in [
        ("RN50-quickgelu", 102_007_137, 6.136357e9 + 2.984961e9),
        ("RN101", 119_688_033, f64::NAN),
        ("ViT-B-32-quickgelu", 151_277_313, 4.413804e9 + 2.984698e9),
        ("ViT-B-16", 149_620_737, f64::NAN),
        ("ViT-L-14", 427_616_513, f64::NAN),
        ("ViT-L-14-336-quickgelu", 427_944_193, f64::NAN),
    ] {
        let config = ClipConfig::named(name).unwrap();
        assert_eq!(weights::parameters(&Clip::blank(&config, &flex()).unwrap()), parameters, "{name}");
        let difference = (config.macs() as f64 - macs).abs() / macs;
        assert!(macs.is_nan() || difference < 1e-4, "{name}: {} multiply-accumulates, {macs} expected", config.macs());
    }
}

#[test]
fn intermediates_carry_open_clips_names_and_shapes() {
    let expected: [&[(&str, &[usize])]; 2] = [
        &[
            ("conv1", &[3, 16, 3, 3]),
            ("ln_pre", &[3, 10, 16]),
            ("transformer.resblocks.0", &[3, 10, 16]),
            ("transformer.resblocks.1", &[3, 10, 16]),
            ("ln_post", &[3, 10, 16]),
        ],
        &[
            ("conv1", &[2, 1, 32, 32]),
            ("act1", &[2, 1, 32, 32]),
            ("layer1", &[2, 8, 16, 16]),
            ("layer2", &[2, 16, 8, 8]),
            ("layer3", &[2, 32, 4, 4]),
            ("layer4", &[2, 64, 2, 2]),
            ("attnpool", &[2, 12]),
        ],
    ];
    for (golden, expected) in Golden::all().into_iter().zip(expected) {
        let clip = golden.clip();
        let trace = Trace::default();
        clip.encode_image(golden.images(), &Pass::eval().with_trace(&trace));
        let step = |(name, features): (String, Features)| {
            let (name, features) = open_clip_step(&clip.visual, &name, features)?;
            Some((name, features.dims()))
        };
        let seen: Vec<(String, Vec<usize>)> = trace.into_steps().into_iter().filter_map(step).collect();
        let expected: Vec<_> = expected.iter().map(|(name, dims)| ((*name).to_owned(), dims.to_vec())).collect();
        assert_eq!(seen, expected, "{}", golden.name);
    }
}

#[test]
fn what_follows_the_end_of_a_text_changes_nothing() {
    let golden = Golden::read("vit");
    let clip = golden.clip();
    let features = |rows: &[Vec<u32>]| entry(clip.encode_text(rows).unwrap());
    let padded = features(&[vec![58, 3, 59, 0, 0, 0]]);
    assert_eq!(features(&[vec![58, 3, 59]]), padded);
    assert_eq!(features(&[vec![58, 3, 59, 7, 59, 1]]), padded);
    assert_ne!(features(&[vec![58, 4, 59, 0, 0, 0]]), padded);
    // A longer neighbour makes more places to be computed, of which this row reads none.
    let beside = clip.encode_text(&[vec![58, 3, 59, 0, 0, 0], vec![58, 9, 9, 9, 9, 59]]).unwrap();
    golden.compare("beside a longer text", &entry(beside.narrow(0, 0, 1)), &padded, 1e-5);
}

#[test]
fn ids_that_a_tower_cannot_read_are_refused() {
    let clip = Golden::read("vit").clip();
    for (rows, fault) in [
        (vec![], "there are none"),
        (vec![vec![]], "there are none"),
        (vec![vec![1; 10]], "a row has 10, the tower takes 9"),
        (vec![vec![1, 2], vec![1]], "rows have 2 and 1 of them"),
        (vec![vec![1, 60]], "id 60 is not in the vocabulary of 60"),
    ] {
        let error = clip.encode_text(&rows).unwrap_err();
        assert!(matches!(error, ZooError::Ids(_)) && error.to_string().contains(fault), "{error}");
    }
}

#[test]
fn descriptions_of_open_clip_are_read_or_refused() {
    let b32 = r#"{"embed_dim": 512, "quick_gelu": true,
        "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}}"#;
    let named = ClipConfig::named("ViT-B-32-quickgelu").unwrap();
    assert_eq!(ClipConfig::from_open_clip(b32).unwrap(), named);
    let hub = format!(r#"{{"model_cfg": {b32}, "preprocess_cfg": {{"mean": [0.5, 0.5, 0.5]}}}}"#);
    assert_eq!(ClipConfig::from_open_clip(&hub).unwrap(), named);
    assert_ne!(ClipConfig::named("ViT-B-32").unwrap(), named);
    let siglip = b32.replacen('{', r#"{"init_logit_scale": 2.3, "init_logit_bias": -10,"#, 1);
    assert_eq!(ClipConfig::from_open_clip(&siglip).unwrap(), named);
    for (from, to, fault) in [
        (r#""width": 768"#, r#""timm_model_name": "x""#, "timm_model_name"),
        (r#""heads": 8"#, r#""no_causal_mask": true"#, "no_causal_mask"),
        (r#""heads": 8"#, r#""heads": 7"#, "heads 7"),
        (r#""patch_size": 32"#, r#""patch_size": null"#, "patch_size"),
        (r#""embed_dim": 512"#, r#""embed_dim": 0"#, "embed_dim"),
        ("{", "[", "open_clip's description"),
    ] {
        let error = ClipConfig::from_open_clip(&b32.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains(fault), "{error}");
    }
    let error = ClipConfig::named("ViT-B-31").unwrap_err().to_string();
    assert!(error.contains("ViT-B-32-quickgelu"), "{error}");
}

#[test]
fn text_matrices_and_zero_shot_logits_are_those_of_open_clip() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/zero_shot/golden.safetensors");
    let stored = weights::read(&file).unwrap();
    let tensor = |name: &str, shape: &[usize]| {
        Tensor::<1>::from_data(stored[name].values.as_slice(), &flex()).reshape::<3, _>([shape[0], shape[1], shape[2]])
    };
    let flat = |name: &str| {
        Tensor::<2>::from_data(TensorData::new(stored[name].values.clone(), stored[name].shape.clone()), &flex())
    };
    let scale = Tensor::<1>::from_data([stored["out.scale"].values[0].ln()], &flex());
    let close = |name: &str, got: Tensor<2>| {
        for (got, want) in entry(got).values.iter().zip(&stored[name].values) {
            assert!((got - want).abs() <= 1e-5 + 1e-4 * want.abs(), "{name}: {got}, open_clip has {want}");
        }
    };
    for set in ["a", "b"] {
        let name = format!("out.template_embeddings.{set}");
        let matrix = text_matrix(tensor(&name, &stored[&name].shape));
        close(&format!("out.text_matrix.{set}"), matrix.clone());
        close(&format!("out.logits.{set}"), zero_shot_logits(flat("out.image_features"), matrix, scale.clone()));
    }
}

/// Both image towers of the goldens, with texts: the logits are those of the features, for the whole tower and behind any cut, and
/// neither the texts nor the scale take a gradient.
#[test]
fn an_image_tower_with_texts_compares_its_features_with_them_and_swaps_them() {
    for golden in Golden::all() {
        let (clip, device) = (golden.clip(), flex());
        let texts = clip.encode_text(&golden.ids).unwrap();
        let [rows, width] = texts.dims();
        let matrix = |texts: Tensor<2>| {
            TextMatrix::new(texts.reshape([-1, 1, width as i32]), clip.logit_scale.val().into_scalar())
        };
        let expected = entry(clip.logits_per_image(clip.encode_image(golden.images(), &Pass::eval()), texts.clone()));
        let model = clip.visual.clone().with_texts(Some(&matrix(texts.clone())), &device).unwrap();
        assert_eq!(model.classes(), rows);
        let close = |got: Tensor<2>, expected: &Entry| {
            for (got, want) in entry(got).values.iter().zip(&expected.values) {
                assert!((got - want).abs() <= 1e-5 + 1e-4 * want.abs(), "{}: {got} is not {want}", golden.name);
            }
        };
        close(model.forward(golden.images(), &Pass::eval()), &expected);
        for cut in model.cut_points() {
            let behind = model.segment(cut, model.last_cut());
            if cut != model.last_cut() {
                close(behind.forward(model.features(golden.images(), cut), &Pass::eval()).logits(), &expected);
            }
        }
        let trained = model.clone().train();
        let gradients = trained.forward(golden.images().autodiff(), &Pass::eval()).sum().backward();
        let reached = gradients_of(&trained, &gradients);
        assert!(!reached.is_empty() && reached.keys().all(|name| !name.starts_with("readout")), "{:?}", reached.keys());
        let first = model.clone().with_chosen_classes(&[1], &device).unwrap();
        let swapped = model.with_texts(Some(&matrix(texts.narrow(0, 1, 1))), &device).unwrap();
        assert_eq!(weights::state(&first), weights::state(&swapped));
        assert!(
            first
                .with_texts(
                    Some(&TextMatrix { rows: Entry { shape: vec![1, 2], values: vec![0.0; 2] }, logit_scale: 0.0 }),
                    &device
                )
                .is_err()
        );
    }
}
