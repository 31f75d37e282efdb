//! Visual prompt tuning.

use robustify_distill::PromptTuning;
use robustify_zoo::vit::PromptConfig;
use robustify_zoo::weights;

use crate::common::{flex, gradients, train, vit};
use crate::training::image_training;

#[test]
fn prompts_and_classifier_learn_while_the_network_stays_and_a_break_changes_nothing() {
    let prompts = PromptConfig { tokens: 2, deep: true, projection: 3 };
    let model = PromptTuning::frozen(vit(1).with_prompts(prompts, 1, &flex()).unwrap());
    let training = |dropout| PromptTuning { images: image_training(Some("rand_conv"), 8, 3, 1), dropout };
    let whole = train(&training(0.3), &model, 1, &[]);
    for (name, entry) in weights::state(&model) {
        let is_tuned = name.contains("prompt") || name.starts_with("head.");
        assert_eq!(whole.state[&name] != entry, is_tuned, "{name}");
    }
    assert_eq!(train(&training(0.3), &model, 2, &[3]), whole, "interrupted, on two threads");
    let (with, without) = (gradients(&training(0.3), &model).0, gradients(&training(0.0), &model).0);
    assert!(with != without, "dropout without effect");
    assert!(with.keys().eq([
        "deep_prompt_embeddings",
        "head.bias",
        "head.weight",
        "prompt_embeddings",
        "prompt_proj.bias",
        "prompt_proj.weight"
    ]));
}
