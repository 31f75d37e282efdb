//! Model Stock: two fine-tunings that differ in their seeds, averaged, and drawn back to the original model tensor by tensor, the
//! farther the less the two agree.
//!
//! With θ the angle between the two tensors' ways from the original, `t = 2 cos θ / (1 + cos θ)`, and the result is `(1 - t) original + t mean`.
//! Source: Jang et al. 2024, arXiv:2403.19522, equation 2 and section 4. Where the ways are more than a right angle apart the paper is
//! silent and the formula leaves the triangle of the three models: the original stays then.

use anyhow::{Result, anyhow};
use robustify_report::digest;
use robustify_rng::Key;
use robustify_zoo::weights::{self, Entry, State};

use crate::finetune::{Settings, tuned};
use crate::lab::{Cost, Pretrained};
use crate::{Fitted, Lab, Method, Work};

/// Two fine-tunings between themselves and the original.
pub(crate) struct ModelStock;

impl Method for ModelStock {
    fn name(&self) -> &'static str {
        "model_stock"
    }

    fn title(&self) -> &'static str {
        "Model Stock"
    }

    fn about(&self) -> &'static str {
        "two fine-tunings averaged, and drawn back to the original where they disagree"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["finetune"]
    }

    fn work(&self, lab: &Lab<'_>) -> Result<Work> {
        let settings: Settings = lab.settings("finetune")?;
        Ok(settings.first().work(lab))
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let settings = lab.settings::<Settings>("finetune")?.first();
        let (original, fits) = (lab.original()?, lab.fits("finetune")?);
        let first = &fits[0];
        // A seed that no run of several seeds has for its own fine-tuning, or the runs would not be independent of each other.
        let seed = Key::new(lab.config.tuning.seed, "model stock").digest();
        let optimizer = settings.optimizer(&lab.config);
        // What both start from was paid for by the first.
        let paid = Pretrained { cost: Cost::default(), ..original.clone() };
        let second = tuned(lab, self.name(), &paid, &settings, &optimizer, seed)?;
        let [start, one, two] = [&original.model, &first.model.model, &second.model.model].map(weights::state);
        let stock = stock(start, &one, &two)?;
        let model =
            weights::with_state(original.model.clone(), stock).map_err(|faults| anyhow!("{}", faults.join("; ")))?;
        let hash = digest::of(&("model_stock", &original.hash, &first.hash, &second.hash))?;
        let mut fitted = lab.fitted(self.name(), original, model, hash, first.cost + second.cost)?;
        fitted.model.cut = None;
        Ok(vec![fitted])
    }
}

/// Each tensor of `start`, moved towards the mean of those of two tuned models.
fn stock(mut start: State, one: &State, two: &State) -> Result<State> {
    for (name, entry) in &mut start {
        let of = |state: &'_ State| state.get(name).filter(|tuned| tuned.shape == entry.shape).cloned();
        let pair = of(one).zip(of(two));
        let (one, two) = pair.ok_or_else(|| anyhow!("tensor {name} is not of one shape in all three models"))?;
        let share = share(entry, &one, &two);
        for ((value, &one), &two) in entry.values.iter_mut().zip(&one.values).zip(&two.values) {
            let mean = (f64::from(one) + f64::from(two)) / 2.0;
            *value = ((1.0 - share) * f64::from(*value) + share * mean) as f32;
        }
    }
    Ok(start)
}

/// The share `t` of the mean, in `[0, 1]`; 0 where one of the two has not moved.
fn share(start: &Entry, one: &Entry, two: &Entry) -> f64 {
    let (mut inner, mut squares) = (0.0, [0.0; 2]);
    for ((&start, &one), &two) in start.values.iter().zip(&one.values).zip(&two.values) {
        let [one, two] = [one, two].map(|tuned| f64::from(tuned) - f64::from(start));
        inner += one * two;
        squares[0] += one * one;
        squares[1] += two * two;
    }
    let length = (squares[0] * squares[1]).sqrt();
    let cosine = if length > 0.0 { (inner / length).clamp(0.0, 1.0) } else { 0.0 };
    2.0 * cosine / (1.0 + cosine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(values: [f32; 2]) -> State {
        State::from([("w".to_owned(), Entry { shape: vec![2], values: values.to_vec() })])
    }

    #[test]
    fn the_less_two_ways_agree_the_nearer_the_result_is_to_the_start() {
        let start = [1.0, 1.0];
        let of = |one, two| stock(state(start), &state(one), &state(two)).unwrap()["w"].values.clone();
        // In one direction: the mean.
        assert_eq!(of([2.0, 1.0], [4.0, 1.0]), [3.0, 1.0]);
        // 60 degrees apart: two thirds of the way, where the foot of the perpendicular on the mean lies.
        let found = of([2.0, 1.0], [1.5, 1.0 + 0.75_f32.sqrt()]);
        let expected = [1.0 + 2.0 / 3.0 * 0.75, 1.0 + 2.0 / 3.0 * 0.75_f32.sqrt() / 2.0];
        assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6), "{found:?}");
        // At a right angle, against each other, or not moved at all: the start.
        for (one, two) in [([2.0, 1.0], [1.0, 2.0]), ([2.0, 1.0], [0.0, 1.0]), ([2.0, 1.0], start)] {
            assert_eq!(of(one, two), start);
        }
        assert!(stock(state(start), &state(start), &State::new()).is_err());
    }
}
