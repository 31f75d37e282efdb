//! What each term of Robustify's loss tunes, on cached and on fresh pairs: the paper's table of heads and rows, and nothing else.

use burn::module::Module;
use burn::tensor::Tensor;
use robustify_distill::optimizer;
use robustify_distill::robustify::Terms;
use robustify_distill::trainer::Objective;
use robustify_distill::{CombinedTeacher, FreshPairs, Pairs, Robustify, TuningConfig};
use robustify_select::ThreeHeads;
use robustify_zoo::Model;
use robustify_zoo::weights;

use crate::common::{Cached, flex, resnet, small_teacher, stirred, tuning, vit};

/// A term of the loss, its name, and the parts that it tunes: a clean row the shared part, the clean and the combined head, an
/// augmented row the shared part, the robust and the combined head.
fn by_the_paper(terms: Terms) -> [(&'static str, Tensor<1>, [&'static str; 2]); 4] {
    [
        ("clean head, clean rows", terms.clean, ["shared.", "clean."]),
        ("combined head, clean rows", terms.combined_clean, ["shared.", "combined."]),
        ("combined head, augmented rows", terms.combined_augmented, ["shared.", "combined."]),
        ("robust head, augmented rows", terms.robust, ["shared.", "robust."]),
    ]
}

/// Names of the parameters that a gradient reaches.
fn reached<M: Module>(module: &M, backward: &mut burn::tensor::Gradients) -> Vec<String> {
    let gradients = optimizer::gradients(module, backward).into_iter();
    let reached = gradients.filter(|(_, g)| g.clone().abs().sum().into_scalar::<f32>() > 0.0);
    reached.map(|(name, _)| name).collect()
}

/// Every term of a first batch reaches exactly the parts of the paper, and none of the `others`, which would learn if they could.
fn assert_reach<P: Pairs>(case: &str, objective: &Robustify<P>, heads: &ThreeHeads, others: &[&Model]) {
    let trained = heads.clone().train();
    let all: Vec<String> = weights::shapes(heads).into_keys().filter(|name| !name.contains(".running_")).collect();
    let mut shards = objective.epoch(0, 0).unwrap().next_batch().unwrap().unwrap();
    let shard = shards.remove(0);
    let mut sum = 0.0;
    // A backward pass uses its graph up, so every term has one of its own.
    for index in 0..4 {
        let terms = by_the_paper(objective.terms(&trained, &shard).unwrap());
        let (term, loss, parts) = terms.into_iter().nth(index).unwrap();
        let mut backward = loss.backward();
        sum += loss.into_scalar::<f32>();
        for other in others {
            assert_eq!(reached(*other, &mut backward), Vec::<String>::new(), "{case}, {term}: a frozen model");
        }
        let expected: Vec<&String> =
            all.iter().filter(|name| parts.iter().any(|part| name.starts_with(part))).collect();
        assert!(expected.len() > 1);
        assert_eq!(reached(&trained, &mut backward).iter().collect::<Vec<_>>(), expected, "{case}, {term}");
    }
    let whole = objective.loss(&trained, shard).unwrap().loss.into_scalar::<f32>();
    assert!((whole - sum).abs() < 1e-5 * whole, "{case}: the loss {whole} is not the sum of its terms {sum}");
}

/// Makes a model from a seed.
type Make = fn(u64) -> Model;

/// Losses of the two kinds, each alone, and both teachers of the combined head on all rows.
fn losses() -> [(&'static str, TuningConfig); 3] {
    [
        ("labels", TuningConfig { ce_weight: 1.0, kd_weight: 0.0, ..tuning() }),
        ("teachers", TuningConfig { ce_weight: 0.0, kd_weight: 1.0, ..tuning() }),
        ("both teachers", TuningConfig { combined_teacher: CombinedTeacher::Mean, ..tuning() }),
    ]
}

#[test]
fn each_term_reaches_its_heads_and_the_shared_part_and_never_backbone_or_teacher() {
    let device = flex();
    let cases: [(&str, Make, [usize; 2]); 5] = [
        ("vit, shared block", vit, [1, 1]),
        ("vit, linear heads", vit, [1, 0]),
        ("vit, no shared block", vit, [0, 1]),
        ("resnet, shared stage", resnet, [1, 0]),
        ("resnet, no shared stage", resnet, [0, 1]),
    ];
    for (name, model, split) in cases {
        let cached = Cached::new(stirred(model(1)), split, 2);
        // Those of another model, or distillation from the original would have nothing to say.
        let heads = ThreeHeads::new(&stirred(model(2)), cached.split).unwrap();
        // Models that gradients would reach if anything let them through.
        let [original, teacher] = [&cached.original, &small_teacher()].map(|model| model.clone().train());
        for (kind, config) in losses() {
            let objective = Robustify(cached.pairs(&config, 3, &device));
            assert_reach(&format!("{name}, {kind}, cached"), &objective, &heads, &[]);
            let fresh = FreshPairs { original: &original, ..cached.fresh(&teacher, &config, 3, &device) };
            assert_reach(&format!("{name}, {kind}, fresh"), &Robustify(fresh), &heads, &[&original, &teacher]);
        }
    }
}
