use std::time::Instant;

use burn::tensor::{Tensor, activation};
use robustify_select::{Head, McConfig, ThreeHeads, mc};
use robustify_zoo::{Pass, Trace};

use crate::answers::softmax;
use crate::attached::{Told, last_inputs};
use crate::classifier::{Trunk, host};
use crate::{Answered, Answers, Attached, Columns, HeadAnswer, PredictError, Predictor, Rows};

/// A model with three heads, asked with and without Monte Carlo dropout.
pub(crate) struct ThreeHeaded {
    pub identity: String,
    pub classes: Vec<String>,
    pub trunk: Trunk,
    pub heads: ThreeHeads,
    pub mc: McConfig,
    pub attached: Attached,
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
        let trace = Trace::default();
        let asked = match self.attached.is_empty() {
            true => Pass::eval(),
            false => Pass::eval().with_pre_logits(&trace),
        };
        let logits = self.heads.deterministic(features, &asked);
        // As the answers of a one-headed model become probabilities.
        let original = self.heads.is_preserving().then(|| host(logits[Head::Clean.index()].clone()));
        let probabilities = logits.clone().map(|logits| host(activation::softmax(logits, 1)));
        let beside = self.beside(logits, &probabilities, trace);
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
        Ok(Answered { answers: Answers::Heads(answers.collect()), time, deterministic_time, beside })
    }
}

impl ThreeHeaded {
    /// What the attached parts say, from the pass without dropout.
    fn beside(&self, logits: [Tensor<2>; 3], probabilities: &[Vec<f32>; 3], trace: Trace) -> Columns {
        let features = last_inputs(trace);
        if features.len() != logits.len() {
            return Columns::default();
        }
        let logits = logits.map(host);
        let told = logits.iter().zip(probabilities).zip(&features);
        let told = told.map(|((logits, probabilities), features)| Told { logits, probabilities, features });
        self.attached.columns(&told.collect::<Vec<_>>())
    }
}
