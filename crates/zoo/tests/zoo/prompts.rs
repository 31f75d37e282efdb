//! Visual prompts: where they stand, what they are projected and masked with, and what is trained.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use robustify_zoo::vit::PromptConfig;
use robustify_zoo::weights::{self, State};
use robustify_zoo::{Features, Masks, Model, Pass};

use crate::golden;
use crate::golden::{cross_entropy, entry, gradients_of};

fn flex() -> Device {
    robustify_device::open(Some("flex")).unwrap()
}

const TOKENS: usize = 2;

fn tensor<const D: usize>(state: &State, name: &str) -> Tensor<D> {
    let entry = &state[name];
    Tensor::from_data(TensorData::new(entry.values.clone(), entry.shape.clone()), &flex())
}

/// Twice what is kept of the odd rows' prompts before a block, nothing of the rest; elsewhere no dropout is asked for.
struct OddRows;

impl Masks for OddRows {
    fn mask(&self, site: &str, elements: usize, device: &Device) -> Option<Tensor<2>> {
        let of_block = site.strip_prefix("/prompts.")?.parse::<usize>().unwrap();
        let rows = (0..2 * elements).map(|index| if index < elements { 0.0 } else { (1 + of_block) as f32 });
        Some(Tensor::from_data(TensorData::new(rows.collect(), [2, elements]), device))
    }
}

/// The logits of the network without prompts, block by block, with the prompts put among its tokens by hand.
fn by_hand(model: &Model, state: &State, images: Tensor<4>, deep: bool, dropped: bool) -> Tensor<2> {
    let of_block = |block: usize| {
        let own = match block {
            0 => tensor::<3>(state, "prompt_embeddings"),
            _ => tensor::<3>(state, "deep_prompt_embeddings").narrow(0, block - 1, 1),
        };
        let [_, count, own_width] = own.dims();
        let projected = own.reshape([count, own_width]).matmul(tensor::<2>(state, "prompt_proj.weight").transpose())
            + tensor::<1>(state, "prompt_proj.bias").unsqueeze::<2>();
        let width = projected.dims()[1];
        let both = projected.reshape([1, count, width]).expand([2, count, width]);
        let scale = if dropped { [0.0, (1 + block) as f32] } else { [1.0, 1.0] };
        both * Tensor::<1>::from_data(scale, &flex()).reshape([2, 1, 1])
    };
    let cuts = model.cut_points();
    let Features::Tokens(mut tokens) = model.features(images, cuts[0]) else { panic!("tokens of a ViT") };
    for block in 0..cuts.len() - 2 {
        let (count, from) = (tokens.dims()[1], if block == 0 { 1 } else { 1 + TOKENS });
        if block == 0 || deep {
            let rest = tokens.clone().narrow(1, from, count - from);
            tokens = Tensor::cat(vec![tokens.narrow(1, 0, 1), of_block(block), rest], 1);
        }
        let segment = model.segment(cuts[block], cuts[block + 1]);
        // Not the last block's short cut: its tokens are asked for.
        let trace = robustify_zoo::Trace::default();
        let Features::Tokens(after) = segment.forward(Features::Tokens(tokens), &Pass::eval().with_trace(&trace))
        else {
            panic!("tokens of a ViT")
        };
        tokens = after;
    }
    model.segment(cuts[cuts.len() - 2], model.last_cut()).forward(Features::Tokens(tokens), &Pass::eval()).logits()
}

fn close(a: Tensor<2>, b: Tensor<2>, what: &str) {
    let (a, b) = (entry(a), entry(b));
    let scale = b.values.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    let far = a.values.iter().zip(&b.values).fold(0.0, |far: f32, (a, b)| far.max((a - b).abs()));
    assert!(far <= 1e-5 * scale, "{what}: {far} of {scale}");
}

#[test]
fn prompts_stand_behind_the_class_token_and_are_replaced_before_every_block_if_deep() {
    let (device, case) = (flex(), golden::read("vit_cls"));
    let plain = case.model(&device);
    let without = entry(plain.forward(case.images(&device), &Pass::eval()));
    for deep in [false, true] {
        let prompts = PromptConfig { tokens: TOKENS, deep, projection: 5 };
        let model = plain.clone().with_prompts(prompts, 3, &device).unwrap();
        let state = weights::state(&model);
        for (pass, dropped) in [(Pass::eval(), false), (Pass::eval().with_masks(&OddRows), true)] {
            let found = model.forward(case.images(&device), &pass);
            assert_ne!(entry(found.clone()), without, "prompts without effect");
            let expected = by_hand(&plain, &state, case.images(&device), deep, dropped);
            close(found, expected, &format!("deep {deep}, dropped {dropped}"));
        }
        let whole = entry(model.forward(case.images(&device), &Pass::eval()));
        for cut in model.cut_points() {
            let rest = model.segment(cut, model.last_cut());
            let found = rest.forward(model.features(case.images(&device), cut), &Pass::eval()).logits();
            assert_eq!(entry(found), whole, "cut at {cut:?}");
        }
        let units: usize = model.units().iter().map(|unit| unit.parameters).sum();
        assert_eq!(units, weights::parameters(&model));
    }
    assert!(plain.with_prompts(PromptConfig { tokens: 0, deep: true, projection: 0 }, 3, &device).is_err());
}

#[test]
fn a_frozen_network_gets_no_gradients() {
    let (device, case) = (flex(), golden::read("vit_cls"));
    let prompts = PromptConfig { tokens: TOKENS, deep: true, projection: 0 };
    let model = case.model(&device).with_prompts(prompts, 3, &device).unwrap();
    let wanted = ["deep_prompt_embeddings", "head.bias", "head.weight", "prompt_embeddings"];
    let all = |model: &Model| {
        let model = model.clone().train();
        let loss = cross_entropy(model.forward(case.images(&device), &Pass::eval()), &case.labels);
        gradients_of(&model, &loss.backward())
    };
    let (every, some) = (all(&model), all(&weights::tuned_only(model.clone(), |name| wanted.contains(&name))));
    assert!(every.len() > 20);
    assert!(some.keys().eq(wanted), "{:?}", some.keys());
    assert!(some.iter().all(|(name, gradient)| every[name] == *gradient), "other gradients than those of the whole");
    // What came from a file is frozen as well, and loading thaws nothing.
    let frozen = weights::tuned_only(model.clone(), |name| wanted.contains(&name));
    assert!(all(&weights::with_state(frozen, weights::state(&model)).unwrap()).keys().eq(wanted));
}
