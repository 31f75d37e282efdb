//! A classifier, by cross-entropy on labelled images.

use robustify_bench::evaluate;

use super::{Made, Pretraining, Score, Session};

/// Labels.
pub(super) struct Supervised;

impl Pretraining for Supervised {
    fn name(&self) -> &'static str {
        "supervised"
    }

    fn about(&self) -> &'static str {
        "the labels of the images, by cross-entropy"
    }

    fn train(&self, session: &Session<'_>) -> anyhow::Result<Made> {
        let model = session.train(&session.image_training()?, session.network()?)?;
        let (bytes, model) = session.written(model)?;
        let (test, machine) = (&session.test, session.machine);
        let value = evaluate::accuracy(&model, test, &session.preprocess()?, &machine.workers, &machine.device)?;
        Ok(Made { bytes, scores: vec![Score { measure: "test accuracy".into(), value, images: test.len() }] })
    }
}
