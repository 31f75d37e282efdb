//! Properties of forwards: cuts, dropout masks, several passes at once, the last block's shortcut to its class token.

use crate::golden;
use crate::golden::{cross_entropy, entry, gradients_of};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use robustify_rng::Key;
use robustify_zoo::vit::{Pool, VitConfig};
use robustify_zoo::weights::{self, Entry, State};
use robustify_zoo::{Features, Masks, Model, ModelConfig, Pass};

fn flex() -> Device {
    robustify_device::open(Some("flex")).unwrap()
}

#[test]
fn a_model_is_the_same_wherever_it_is_cut() {
    let device = flex();
    for case in golden::all() {
        let model = case.model(&device);
        let whole = entry(model.forward(case.images(&device), &Pass::eval()));
        for cut in model.cut_points() {
            let features = model.features(case.images(&device), cut);
            let dims = features.dims()[1..].to_vec();
            let stored = Features::unflatten(features.flatten(), &dims).unwrap();
            let rest = model.segment(cut, model.last_cut());
            assert_eq!(rest.is_empty(), cut == model.last_cut());
            let logits = entry(rest.forward(stored, &Pass::eval()).logits());
            assert_eq!(logits, whole, "{} cut at {cut:?}", case.name);
        }
    }
}

#[test]
fn the_cut_before_the_last_blocks_leaves_that_many() {
    let device = flex();
    for case in golden::all() {
        let model = case.model(&device);
        let blocks = model.cut_points().len() - 2;
        for tunable in 0..=blocks {
            let cut = model.cut_before_last(tunable).unwrap();
            let names = weights::state(&model.segment(cut, model.last_cut()));
            assert_eq!(distinct_units(&names), tunable, "{}", case.name);
        }
        assert!(model.cut_before_last(blocks + 1).is_err());
    }
}

/// Blocks or stages with parameters; a block may be numbered within its layer.
fn distinct_units(state: &State) -> usize {
    let unit = |key: &String| {
        let levels: Vec<&str> = key.split('.').collect();
        match levels[..] {
            ["layers", layer, "blocks", block, ..] => Some(format!("{layer}.{block}")),
            ["blocks" | "stages", index, ..] => Some(index.to_owned()),
            _ => None,
        }
    };
    state.keys().filter_map(unit).collect::<std::collections::BTreeSet<_>>().len()
}

/// Masks of dropout at rate 0.2, a stream for each row's key.
struct KeyedMasks {
    rows: Vec<u64>,
}

impl Masks for KeyedMasks {
    fn mask(&self, site: &str, elements: usize, device: &Device) -> Option<Tensor<2>> {
        let values = self.rows.iter().flat_map(|&row| draw(row, site, elements)).collect::<Vec<_>>();
        Some(Tensor::from_data(TensorData::new(values, [self.rows.len(), elements]), device))
    }
}

fn draw(row: u64, site: &str, elements: usize) -> Vec<f32> {
    let mut stream = Key::new(1, "mask").with(row).with_str(site).stream();
    (0..elements).map(|_| if stream.chance(0.2) { 0.0 } else { 1.25 }).collect()
}

#[test]
fn several_passes_at_once_equal_one_after_the_other() {
    const PASSES: usize = 3;
    let device = flex();
    for case in golden::all() {
        let model = case.model(&device);
        let batch = case.labels.len();
        for cut in model.cut_points() {
            let rest = model.segment(cut, model.last_cut());
            let features = model.features(case.images(&device), cut);
            let rows = |pass: usize| (0..batch).map(move |row| (row * PASSES + pass) as u64).collect();
            let all = KeyedMasks { rows: (0..(batch * PASSES) as u64).collect() };
            let together = rest.forward_passes(features.clone(), PASSES, &Pass::eval().with_masks(&all)).logits();
            assert_eq!(together.dims()[0], batch * PASSES);
            let mut distinct = Vec::new();
            for pass in 0..PASSES {
                let masks = KeyedMasks { rows: rows(pass) };
                let alone = rest.forward(features.clone(), &Pass::eval().with_masks(&masks)).logits();
                let classes = alone.dims()[1];
                let same =
                    together.clone().reshape([batch, PASSES, classes]).narrow(1, pass, 1).reshape([batch, classes]);
                close(&entry(same), &entry(alone.clone()), 1e-5, &format!("{} at {cut:?}", case.name));
                distinct.push(entry(alone));
            }
            let dropped = cut != model.last_cut();
            assert_eq!(distinct[0] != distinct[1], dropped, "{}: masks without effect, or from nowhere", case.name);
        }
    }
}

/// The masks that a block's class token sees, embedded in those of all its tokens when all are asked for.
struct ClsMasks<'a> {
    batch: usize,
    tokens: usize,
    config: &'a VitConfig,
}

impl Masks for ClsMasks<'_> {
    fn mask(&self, site: &str, elements: usize, device: &Device) -> Option<Tensor<2>> {
        let VitConfig { width, heads, mlp_ratio, .. } = *self.config;
        let hidden = (width as f64 * mlp_ratio) as usize;
        let of_cls = match site.rsplit('.').next().unwrap() {
            "attn_drop" => heads * self.tokens,
            "drop1" => hidden,
            _ => width,
        };
        assert!(elements == of_cls || elements == of_cls * self.tokens, "{site}: {elements} elements");
        let mut values = Vec::new();
        for row in 0..self.batch as u64 {
            let cls = draw(row, site, of_cls);
            if elements == of_cls {
                values.extend(cls);
                continue;
            }
            let mut all = draw(row, "other tokens", elements);
            // Attention weights are [heads, query, key], all else is [token, element].
            let (groups, run) = if site.ends_with("attn_drop") { (heads, self.tokens) } else { (1, of_cls) };
            for group in 0..groups {
                let start = group * elements / groups;
                all[start..start + run].copy_from_slice(&cls[group * run..(group + 1) * run]);
            }
            values.extend(all);
        }
        Some(Tensor::from_data(TensorData::new(values, [self.batch, elements]), device))
    }
}

#[test]
fn the_class_token_alone_equals_its_row_of_the_full_block() {
    let device = flex();
    let mut tried = 0;
    for case in golden::all() {
        let ModelConfig::Vit(config) = &case.config else { continue };
        if config.pool != Pool::Cls || config.distilled {
            continue;
        }
        tried += 1;
        let short = case.model(&device);
        let full = with_mean_pool(&short, config, &device);
        let (from, to) = (short.cut_before_last(1).unwrap(), short.cut_before_last(0).unwrap());
        let features = short.features(case.images(&device), from);
        let masks = ClsMasks { batch: case.labels.len(), tokens: features.dims()[1], config };
        for (dropout, pass) in [("no dropout", Pass::eval()), ("dropout", Pass::eval().with_masks(&masks))] {
            let name = format!("{}, {dropout}", case.name);
            let (short, full) = (short.segment(from, to).train(), full.segment(from, to).train());
            let Features::Rows(by_short) = short.forward(features.clone(), &pass) else {
                panic!("all tokens computed")
            };
            let Features::Tokens(tokens) = full.forward(features.clone(), &pass) else { panic!("tokens lost") };
            let [batch, _, width] = tokens.dims();
            let by_full = tokens.narrow(1, 0, 1).reshape([batch, width]);
            close(&entry(by_short.clone().inner()), &entry(by_full.clone().inner()), 1e-5, &name);

            let gradients = [(by_short, weights_gradients(&short)), (by_full, weights_gradients(&full))]
                .map(|(rows, of)| of(cross_entropy(rows, &case.labels)));
            assert!(gradients[0].len() >= 11, "{name}: {:?}", gradients[0].keys());
            let scale = gradients[1].values().flat_map(|entry| &entry.values).fold(0.0_f32, |a, b| a.max(b.abs()));
            for (key, expected) in &gradients[1] {
                close(&gradients[0][key], expected, 1e-5 * scale.max(1.0), &format!("{name}: gradient of {key}"));
            }
        }
    }
    assert!(tried >= 4, "only {tried} cases with a class token");
}

fn weights_gradients<M: Module>(module: &M) -> impl Fn(Tensor<1>) -> State {
    move |loss| gradients_of(module, &loss.backward())
}

/// The same weights under a pool that reads every token, so that no block takes the shortcut.
fn with_mean_pool(model: &Model, config: &VitConfig, device: &Device) -> Model {
    let config = ModelConfig::Vit(VitConfig { pool: Pool::Mean, ..config.clone() });
    weights::with_state(Model::new(&config, 0, device).unwrap(), weights::state(model)).unwrap()
}

fn close(got: &Entry, expected: &Entry, absolute: f32, what: &str) {
    assert_eq!(got.shape, expected.shape, "{what}");
    for (index, (got, expected)) in got.values.iter().zip(&expected.values).enumerate() {
        assert!((got - expected).abs() <= absolute, "{what}[{index}]: {got}, expected {expected}");
    }
}
