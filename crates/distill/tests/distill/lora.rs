//! LoRA of the frozen part: where it begins, what it tunes, and that merging changes nothing.

use robustify_distill::{Lora, LoraConfig, LoraHeads, Robustify, TuningConfig};
use robustify_select::ThreeHeads;
use robustify_zoo::weights;
use robustify_zoo::{Model, ModelConfig};

use crate::common::{Cached, difference, flex, gradients, resnet, small_teacher, stirred, train, tuning, vit};

fn lora(cached: &Cached, rank: usize) -> Result<LoraHeads, robustify_zoo::ZooError> {
    let heads = ThreeHeads::new(&cached.original, cached.split).unwrap();
    let (cut, config) = (cached.split.backbone_end(&cached.original).unwrap(), LoraConfig { rank, alpha: 16.0 });
    LoraHeads::new(&cached.original, cut, heads, config, 7, &flex())
}

fn swin() -> Model {
    let config = r#"{"architecture": "swin", "version": "v1", "image_size": 16, "width": 8, "depths": [1, 1], "heads": [1, 2],
                     "windows": [4, 2], "classes": 4}"#;
    Model::new(&serde_json::from_str::<ModelConfig>(config).unwrap(), 1, &flex()).unwrap()
}

#[test]
fn updates_begin_as_nothing_and_reach_the_frozen_attention_and_the_heads_alone() {
    let (device, config, teacher) = (flex(), TuningConfig { dropout: 0.0, ..tuning() }, small_teacher());
    for (name, model, updated) in [("vit", vit(1), 4), ("swin", swin(), 2)] {
        let cached = Cached::new(stirred(model), [0, 1], 2);
        let start = lora(&cached, 2).unwrap();
        let fresh = || cached.fresh(&teacher, &config, 3, &device);
        let (ours, loss) = gradients(&Lora(fresh()), &start);
        let (robustify, plain) = gradients(&Robustify(fresh()), start.heads());
        assert!((loss - plain).abs() < 1e-6 * plain, "{name} begins at {loss}, robustify at {plain}");
        let heads =
            ours.iter().filter_map(|(name, entry)| Some((name.strip_prefix("heads.")?.to_owned(), entry.clone())));
        assert!(difference(&heads.collect(), &robustify) < 1e-5, "{name}: the heads learn something else");
        // Of the two matrices the one that is zero moves first.
        let moved = ours.iter().filter(|(name, entry)| name.ends_with(".b") && entry.values.iter().any(|&g| g != 0.0));
        assert_eq!(moved.count(), updated, "{name}");

        let before = weights::state(&cached.original);
        let end = train(&Lora(fresh()), &start, 2, &[]);
        assert!(end.history[1].loss < end.history[0].loss, "{name}: {:?}", end.history);
        assert_eq!(train(&Lora(fresh()), &start, 1, &[2]), end, "{name}: threads or an interruption change bits");
        let tuned = weights::with_state(start, end.state).unwrap();
        let merged = weights::state(&tuned.merged(&cached.original));
        let changed: Vec<&String> = before.keys().filter(|name| merged[*name] != before[*name]).collect();
        assert_eq!(changed.len(), updated, "{changed:?}");
        assert!(changed.iter().all(|name| name.contains(".attn.")), "{changed:?}");
        assert_eq!(weights::state(&cached.original), before, "the original changed");
    }
}

#[test]
fn a_network_without_attention_before_the_cut_is_refused() {
    let error = lora(&Cached::new(resnet(1), [0, 1], 1), 2).unwrap_err().to_string();
    assert!(error.contains("no attention"), "{error}");
    assert!(lora(&Cached::new(vit(1), [1, 2], 1), 2).is_err(), "nothing is frozen");
}
