use std::time::Instant;

use burn::tensor::activation;
use robustify_select::{Head, McConfig, ThreeHeads, mc};

use crate::answers::softmax;
use crate::classifier::{Trunk, host};
use crate::{Answered, Answers, HeadAnswer, PredictError, Predictor, Rows};

/// A model with three heads, asked with and without Monte Carlo dropout.
pub(crate) struct ThreeHeaded {
    pub identity: String,
    pub classes: Vec<String>,
    pub trunk: Trunk,
    pub heads: ThreeHeads,
    pub mc: McConfig,
}

impl Predictor for ThreeHeaded {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn trunk(&self) -> Option<&str> {
        Some(&self.trunk.identity)
    }

    fn answer(&self, rows: &Rows<'_>) -> Result<Answered, PredictError> {
        let (features, before) = self.trunk.features(rows)?;
        let clock = Instant::now();
        let statistics = mc::statistics(&self.heads, features.clone(), rows.ids(), &self.mc, rows.device());
        let time = before + clock.elapsed();
        let clock = Instant::now();
        let logits = self.heads.deterministic(features);
        // As the answers of a one-headed model become probabilities.
        let original = self.heads.is_preserving().then(|| host(logits[Head::Clean.index()].clone()));
        let probabilities = logits.map(|logits| host(activation::softmax(logits, 1)));
        let deterministic_time = Some(before + clock.elapsed());
        let classes = self.classes.len();
        let answers = statistics.into_iter().enumerate().map(|(row, passes)| {
            let of_row = row * classes..(row + 1) * classes;
            let deterministic = probabilities.each_ref().map(|head| head[of_row.clone()].to_vec());
            let answer = HeadAnswer { passes, deterministic };
            match &original {
                Some(logits) => answer.preserving(softmax(&logits[of_row])),
                None => answer,
            }
        });
        Ok(Answered { answers: Answers::Heads(answers.collect()), time, deterministic_time })
    }
}
