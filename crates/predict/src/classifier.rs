use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};
use image::RgbImage;
use robustify_data::{Preprocess, batch};
use robustify_zoo::{CutPoint, Features, Model, Pass, Segment, Trace};

use crate::attached::{Told, last_inputs};
use crate::{Answered, Answers, Attached, Columns, PredictError, Predictor, Rows};

/// The part of a network before a cut, which several predictors may share.
pub(crate) struct Trunk {
    pub identity: String,
    pub model: Model,
    pub cut: CutPoint,
    pub seen: Preprocess,
}

impl Trunk {
    /// The features at the cut, computed once for all predictors with this trunk.
    pub fn features(&self, rows: &Rows<'_>) -> Result<(Features, Duration), PredictError> {
        rows.trunk(&self.identity, || {
            let input = input(rows, &self.seen)?;
            Ok(self.model.features(input, self.cut))
        })
    }
}

/// The network's input from the pixels of some rows.
pub(crate) fn input(rows: &Rows<'_>, seen: &Preprocess) -> Result<Tensor<4>, PredictError> {
    input_of(rows.pixels()?, seen, rows.device())
}

/// The network's input from pixels.
pub(crate) fn input_of(pixels: &[RgbImage], seen: &Preprocess, device: &Device) -> Result<Tensor<4>, PredictError> {
    if seen.steps().is_empty() {
        return Ok(batch::normalised(pixels, seen, device)?);
    }
    let own = pixels.iter().map(|image| seen.pixels(image)).collect::<Result<Vec<_>, _>>()?;
    Ok(batch::normalised(&own, seen, device)?)
}

pub(crate) fn host(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_to_vec().expect("converted to f32")
}

/// A model with one head.
pub(crate) struct Classifier {
    pub identity: String,
    pub classes: Vec<String>,
    pub body: Body,
    pub attached: Attached,
}

#[allow(clippy::large_enum_variant, reason = "there are few of them, and each holds a network in any case")]
pub(crate) enum Body {
    /// A network that shares nothing.
    Whole(Model, Preprocess),
    /// A trunk, and what comes behind it.
    Tail(Trunk, Segment),
}

impl Predictor for Classifier {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn trunk(&self) -> Option<&str> {
        match &self.body {
            Body::Whole(..) => None,
            Body::Tail(trunk, _) => Some(&trunk.identity),
        }
    }

    fn answer(&self, rows: &Rows<'_>) -> Result<Answered, PredictError> {
        let trace = Trace::default();
        let asked = match self.attached.is_empty() {
            true => Pass::eval(),
            false => Pass::eval().with_pre_logits(&trace),
        };
        let (logits, clock, before) = match &self.body {
            Body::Whole(model, seen) => {
                rows.pixels()?;
                let clock = Instant::now();
                (host(model.forward(input(rows, seen)?, &asked)), clock, Duration::ZERO)
            }
            Body::Tail(trunk, tail) => {
                let (features, before) = trunk.features(rows)?;
                let clock = Instant::now();
                (host(tail.forward(features, &asked).logits()), clock, before)
            }
        };
        let answers = Answers::Logits { classes: self.classes.len(), values: logits };
        let beside = match (&answers, last_inputs(trace).first()) {
            (Answers::Logits { values, .. }, Some(features)) => {
                let probabilities = answers.probabilities().concat();
                self.attached.columns(&[Told { logits: values, probabilities: &probabilities, features }])
            }
            _ => Columns::default(),
        };
        Ok(Answered { answers, time: before + clock.elapsed(), deterministic_time: None, beside })
    }
}
