//! Shards of a batch that are computed side by side give the bits of one after the other.

use crate::golden;

use crate::golden::{cross_entropy, gradients_of};
use burn::module::Module;
use robustify_device::Workers;
use robustify_zoo::Pass;
use robustify_zoo::weights::State;

#[test]
fn gradients_do_not_depend_on_the_number_of_threads() {
    let device = robustify_device::open(Some("flex")).unwrap();
    for case in golden::all() {
        let plain = case.model(&device);
        let images = case.images(&device);
        let step = |row: usize| -> State {
            // Leaves of its own for every shard: graphs that share a node can deadlock in their backward passes.
            let model = plain.clone().train();
            let logits = model.forward(images.clone().narrow(0, row % case.labels.len(), 1), &Pass::eval());
            gradients_of(&model, &cross_entropy(logits, &[row as i64]).backward())
        };
        let one_after_the_other = (0..10).map(step).collect::<Vec<_>>();
        assert!(one_after_the_other[0].len() >= 10 && one_after_the_other[0] != one_after_the_other[1]);
        for threads in [1, 2, 4] {
            let workers = Workers::new(threads).unwrap();
            let side_by_side = workers.map((0..10).collect(), step);
            assert!(side_by_side == one_after_the_other, "{}: {threads} threads give other bits", case.name);
        }
    }
}
