//! The three heads and their Monte Carlo passes: where they begin, and what a mask may and may not change.

use std::collections::BTreeSet;
use std::sync::Mutex;

use burn::tensor::{Device, Tensor};
use robustify_rng::Key;
use robustify_select::{
    DropoutFrom, Head, KeyedMasks, McConfig, OneHead, SampleStatistics, SplitConfig, ThreeHeads, mc,
};
use robustify_zoo::{Features, Masks, Model, ModelConfig, Pass};

fn flex() -> Device {
    robustify_device::open(Some("flex")).unwrap()
}

fn model(config: &str) -> Model {
    let config: ModelConfig = serde_json::from_str(config).unwrap();
    Model::new(&config, 1, &flex()).unwrap()
}

fn vit(pool: &str) -> Model {
    model(&format!(
        r#"{{"architecture": "vit", "image_size": 16, "patch_size": 8, "width": 24, "depth": 3, "heads": 2, "pool": "{pool}",
            "classes": 4}}"#
    ))
}

fn resnet() -> Model {
    model(
        r#"{"architecture": "resnet", "image_size": 16, "stem_kernel": 3, "stem_stride": 2, "width": 8, "layers": [1, 1],
            "block": "basic", "classes": 4}"#,
    )
}

/// Every way to split a model that has its own path through the code.
fn splits() -> Vec<(String, Model, SplitConfig)> {
    let mut all = Vec::new();
    for (name, model) in [("vit", vit("cls")), ("mean-pooled vit", vit("mean")), ("resnet", resnet())] {
        for (shared_blocks, head_blocks) in [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0)] {
            let split = SplitConfig { shared_blocks, head_blocks, dropout_from: DropoutFrom::Shared };
            all.push((format!("{name} {shared_blocks}+{head_blocks}"), model.clone(), split));
        }
    }
    all
}

const SAMPLES: [u64; 5] = [11, 3, 7, 1 << 60, 5];

fn images() -> Tensor<4> {
    let mut stream = Key::new(2, "images").stream();
    let values: Vec<f32> = (0..SAMPLES.len() * 3 * 16 * 16).map(|_| stream.normal() as f32 * 3.0).collect();
    Tensor::<1>::from_floats(values.as_slice(), &flex()).reshape([SAMPLES.len(), 3, 16, 16])
}

fn prepared(model: &Model, split: SplitConfig) -> (ThreeHeads, Features) {
    let features = model.features(images(), split.backbone_end(model).unwrap());
    (ThreeHeads::new(model, split).unwrap(), features)
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn rows(features: &Features, indices: &[i64]) -> Features {
    features.clone().select(Tensor::from_data(indices, &flex()))
}

/// Largest difference of mean probabilities and uncertainties.
fn distance(a: &SampleStatistics, b: &SampleStatistics) -> f32 {
    let numbers = |s: &SampleStatistics| [s.probabilities.concat(), s.uncertainty.as_flattened().to_vec()].concat();
    numbers(a).into_iter().zip(numbers(b)).fold(0.0, |max, (a, b)| max.max((a - b).abs()))
}

#[test]
fn all_heads_begin_as_the_original() {
    for (name, model, split) in splits() {
        let (heads, features) = prepared(&model, split);
        let original = values(model.forward(images(), &Pass::eval()));
        for (head, logits) in Head::ALL.into_iter().zip(heads.forward(features, 1, &Pass::eval())) {
            let logits = values(logits);
            assert!(logits.iter().zip(&original).all(|(a, b)| (a - b).abs() < 1e-5), "{name}: {head:?}");
        }
    }
}

#[test]
fn without_dropout_every_pass_says_the_same() {
    let config = McConfig { passes: 3, dropout: 0.0, seed: 1, common_masks: false };
    for (name, model, split) in splits() {
        let (heads, features) = prepared(&model, split);
        for statistics in mc::statistics(&heads, features, &SAMPLES, &config, &flex()) {
            for head in Head::ALL {
                let [mean_std, predicted, l2, entropy, information, _] = statistics.uncertainty[head.index()];
                let largest = [mean_std, predicted, l2, information].into_iter().fold(0.0, f32::max);
                assert!(largest < 1e-5 && entropy > 0.0, "{name}: {head:?} {statistics:?}");
            }
        }
    }
}

#[test]
fn statistics_do_not_depend_on_the_rest_of_the_batch() {
    let config = McConfig { passes: 4, dropout: 0.3, seed: 1, common_masks: false };
    for (name, model, split) in splits() {
        let (heads, features) = prepared(&model, split);
        let together = mc::statistics(&heads, features.clone(), &SAMPLES, &config, &flex());
        assert_eq!(together.len(), SAMPLES.len());
        for (index, expected) in together.iter().enumerate() {
            let one = rows(&features, &[index as i64]);
            let alone = mc::statistics(&heads, one, &SAMPLES[index..=index], &config, &flex());
            let distance = distance(&alone[0], expected);
            assert!(distance < 1e-6, "{name}: sample {index} alone differs by {distance}");
        }
        let order = [4_i64, 2, 0, 1, 3];
        let ids = order.map(|index| SAMPLES[index as usize]);
        let shuffled = mc::statistics(&heads, rows(&features, &order), &ids, &config, &flex());
        for (index, statistics) in order.into_iter().zip(&shuffled) {
            assert!(distance(statistics, &together[index as usize]) < 1e-6, "{name}: order changes sample {index}");
        }
        let mut other = SAMPLES;
        other[0] += 1;
        let renamed = mc::statistics(&heads, features, &other, &config, &flex());
        assert!(distance(&renamed[0], &together[0]) > 1e-5, "{name}: a sample's identity changes no mask");
        assert!(distance(&renamed[1], &together[1]) < 1e-6, "{name}: another's identity changes a sample");
    }
}

#[test]
fn passes_in_one_batch_are_passes_one_by_one() {
    const PASSES: usize = 3;
    for (name, model, split) in splits() {
        let (heads, features) = prepared(&model, split);
        let masks = KeyedMasks::for_passes(1, &SAMPLES, PASSES, 0.3);
        let at_once = heads.forward(features.clone(), PASSES, &Pass::eval().with_masks(&masks)).map(values);
        for pass in 0..PASSES {
            let single = OnePass { all: &masks, pass, passes: PASSES };
            let one = heads.forward(features.clone(), 1, &Pass::eval().with_masks(&single)).map(values);
            for (head, (at_once, one)) in at_once.iter().zip(&one).enumerate() {
                let picked = at_once.chunks(4 * PASSES).flat_map(|sample| &sample[4 * pass..4 * (pass + 1)]);
                let largest = picked.zip(one).fold(0.0_f32, |max, (a, b)| max.max((a - b).abs()));
                assert!(largest < 1e-5, "{name}: head {head}, pass {pass} differs by {largest}");
            }
        }
        let [clean, combined, robust] = &at_once;
        assert!(clean != combined && combined != robust && clean != robust, "{name}: heads share masks");
        assert!(clean[..4] != clean[4..8], "{name}: two passes share masks");
    }
}

/// The masks of one pass, taken out of those of all passes.
struct OnePass<'a> {
    all: &'a KeyedMasks,
    pass: usize,
    passes: usize,
}

impl Masks for OnePass<'_> {
    fn mask(&self, site: &str, elements: usize, device: &Device) -> Option<Tensor<2>> {
        let all = self.all.mask(site, elements, device)?;
        let samples = all.dims()[0] / self.passes;
        let one = all.reshape([samples, self.passes, elements]).narrow(1, self.pass, 1);
        Some(one.reshape([samples, elements]))
    }
}

#[test]
fn one_pass_has_no_spread() {
    let (heads, features) =
        prepared(&vit("cls"), SplitConfig { shared_blocks: 0, head_blocks: 1, dropout_from: DropoutFrom::Shared });
    let config = McConfig { passes: 1, dropout: 0.3, seed: 1, common_masks: false };
    for statistics in mc::statistics(&heads, features, &SAMPLES, &config, &flex()) {
        for head in Head::ALL {
            let [mean_std, predicted, l2, _, information, _] = statistics.uncertainty[head.index()];
            assert_eq!([mean_std, predicted, l2, information], [0.0; 4]);
            assert!((statistics.probabilities[head.index()].iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn one_head_has_dropout_where_the_three_have_it() {
    for (name, model, split) in splits() {
        for dropout_from in [DropoutFrom::Shared, DropoutFrom::Heads] {
            let split = SplitConfig { dropout_from, ..split };
            let (three, features) = prepared(&model, split);
            let one = OneHead::new(&model, split).unwrap();
            let (of_three, of_one) = (Sites::default(), Sites::default());
            three.forward(features.clone(), 1, &Pass::eval().with_masks(&of_three));
            one.forward(features, &Pass::eval().with_masks(&of_one));
            assert_eq!(of_one.under("shared"), of_three.under("shared"), "{name}, {dropout_from:?}");
            assert_eq!(of_one.under(""), of_three.under("combined"), "{name}, {dropout_from:?}");
            // The stages of a residual network have no dropout.
            let expected = split.shared_blocks > 0 && dropout_from == DropoutFrom::Shared && name.contains("vit");
            assert_eq!(!of_one.under("shared").is_empty(), expected, "{name}, {dropout_from:?}");
        }
    }
}

/// Keeps the sites that ask for a mask, and gives none.
#[derive(Default)]
struct Sites(Mutex<BTreeSet<String>>);

impl Sites {
    /// The sites of a scope, without it.
    fn under(&self, scope: &str) -> BTreeSet<String> {
        let sites = self.0.lock().unwrap();
        sites.iter().filter_map(|site| site.strip_prefix(scope)?.strip_prefix('/').map(str::to_owned)).collect()
    }
}

impl Masks for Sites {
    fn mask(&self, site: &str, _: usize, _: &Device) -> Option<Tensor<2>> {
        self.0.lock().unwrap().insert(site.to_owned());
        None
    }
}
