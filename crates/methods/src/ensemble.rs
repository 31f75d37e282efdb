//! The untuned ensemble of the original model and the small robust teacher, made from their stored answers: what a reader
//! would try before training anything on top of the large model. It costs the inference of both.

use anyhow::Result;
use robustify_bench::Blend;

use crate::{Fitted, Lab, Method};

/// Original and teacher together.
pub(crate) struct Ensemble;

impl Method for Ensemble {
    fn name(&self) -> &'static str {
        "ensemble"
    }

    fn title(&self) -> &'static str {
        "ensemble of both"
    }

    fn about(&self) -> &'static str {
        "answers of the original model and the teacher, averaged, weighted or routed"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["teacher"]
    }

    fn blends(&self) -> Vec<Blend> {
        vec![Blend::new("ensemble", &["original", "teacher"])]
    }

    fn fit(&self, _: &Lab<'_>) -> Result<Vec<Fitted>> {
        Ok(Vec::new())
    }
}
