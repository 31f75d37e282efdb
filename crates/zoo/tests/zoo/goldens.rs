//! Parity with timm: see `goldens/README.md`.

use crate::golden;

#[test]
#[allow(clippy::print_stdout, reason = "the margin is worth seeing, with --nocapture")]
fn every_golden_model_gives_timms_features_logits_and_gradients() {
    let device = robustify_device::open(Some("flex")).unwrap();
    for case in golden::all() {
        let worst = case.check(&device, 5e-5, 5e-5);
        println!("{}: largest difference {worst:.1e} of a tensor's largest element", case.name);
    }
}
