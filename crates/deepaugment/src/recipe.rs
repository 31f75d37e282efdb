//! What is drawn for one image: operations on weights with their layers, and operations on features.

use std::fmt;

use robustify_rng::{Key, Stream};

use crate::state::State;
use crate::{LatentOp, WeightOp};

/// One entry of a network's list of weight perturbations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The alternatives, one of which is taken a pick: operations that belong together, with the layers they are for.
    pub targets: Vec<Vec<(WeightOp, String)>>,
    /// How many alternatives are picked, with replacement.
    pub picks: usize,
}

impl Recipe {
    /// One operation on `picks` of several layers.
    pub fn new<S: Into<String>>(op: WeightOp, layers: impl IntoIterator<Item = S>, picks: usize) -> Self {
        Self { targets: layers.into_iter().map(|layer| vec![(op, layer.into())]).collect(), picks }
    }
}

/// What a network lets be done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightPerturb {
    /// The list to draw from, each entry as likely as the others.
    pub recipes: Vec<Recipe>,
    /// Entries drawn an image, with replacement.
    pub draws: usize,
}

impl WeightPerturb {
    /// The operations drawn for an image, in the order they apply.
    pub fn draw(&self, stream: &mut Stream) -> Vec<(WeightOp, String)> {
        let mut steps = Vec::new();
        for _ in 0..self.draws {
            let Some(recipe) = pick(&self.recipes, stream) else { break };
            for _ in 0..recipe.picks {
                steps.extend(pick(&recipe.targets, stream).into_iter().flatten().cloned());
            }
        }
        steps
    }

    /// Carries out `steps` on weights called `<layer>.weight` and `<layer>.bias`; returns those that changed. Layers that
    /// `weights` does not have are passed over.
    pub fn apply(steps: &[(WeightOp, String)], weights: &State, key: Key) -> State {
        let mut changed = State::new();
        for (index, (op, layer)) in steps.iter().enumerate() {
            let [weight, bias] = ["weight", "bias"].map(|part| format!("{layer}.{part}"));
            let take = |changed: &mut State, name| changed.remove(name).or_else(|| weights.get(name).cloned());
            let Some(mut weight_entry) = take(&mut changed, &weight) else { continue };
            let mut bias_entry = take(&mut changed, &bias);
            op.apply(&mut weight_entry, bias_entry.as_mut(), &mut key.with(index as u64).stream());
            changed.insert(weight, weight_entry);
            changed.extend(bias_entry.map(|entry| (bias, entry)));
        }
        changed
    }
}

/// Everything drawn for one image. Its text goes into a manifest: `gain@d_block_1.1 latent:flip-all`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Operations on weights, with their layers.
    pub weights: Vec<(WeightOp, String)>,
    /// On the code of an autoencoder, or behind the head of EDSR.
    pub latent: Option<LatentOp>,
    /// Behind the fifth block of EDSR.
    pub body: Option<LatentOp>,
    /// Blocks of EDSR that are left out.
    pub skipped: Vec<usize>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weights = self.weights.iter().map(|(op, layer)| format!("{op}@{layer}"));
        let latent = self.latent.iter().map(|op| format!("latent:{op}"));
        let body = self.body.iter().map(|op| format!("body:{op}"));
        let skipped = self.skipped.iter().map(|block| format!("skip:{block}"));
        let parts: Vec<String> = weights.chain(latent).chain(body).chain(skipped).collect();
        f.write_str(if parts.is_empty() { "none" } else { "" })?;
        f.write_str(&parts.join(" "))
    }
}

pub(crate) fn pick<'a, T>(items: &'a [T], stream: &mut Stream) -> Option<&'a T> {
    items.get(stream.below(items.len() as u32) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::filled;

    fn weights() -> State {
        let names = ["a.weight", "a.bias", "b.weight", "b.bias"];
        let entry = |name: &str| if name.ends_with("bias") { filled(&[4], 1) } else { filled(&[4, 4, 3, 3], 2) };
        names.iter().map(|name| ((*name).to_owned(), entry(name))).collect()
    }

    #[test]
    fn what_is_drawn_depends_on_the_stream_and_keeps_pairs_together() {
        let pair = vec![(WeightOp::Mirror, "a".to_owned()), (WeightOp::NegateKernel, "b".to_owned())];
        let list = WeightPerturb { recipes: vec![Recipe { targets: vec![pair.clone()], picks: 2 }], draws: 3 };
        assert_eq!(list.draw(&mut Key::new(1, "").stream()), vec![pair; 6].concat());
        let list = WeightPerturb { recipes: vec![Recipe::new(WeightOp::Gain, ["a", "b"], 1)], draws: 20 };
        let drawn = list.draw(&mut Key::new(1, "").stream());
        assert!(["a", "b"].iter().all(|name| drawn.iter().any(|(_, layer)| layer == name)));
        assert_eq!(drawn, list.draw(&mut Key::new(1, "").stream()));
        assert_eq!(WeightPerturb { recipes: vec![], draws: 2 }.draw(&mut Key::new(1, "").stream()), []);
    }

    #[test]
    fn only_named_layers_change_and_steps_add_up() {
        let step = |op, layer: &str| (op, layer.to_owned());
        let steps = [step(WeightOp::Negate, "a"), step(WeightOp::Gain, "missing")];
        let changed = WeightPerturb::apply(&steps, &weights(), Key::new(1, ""));
        assert_eq!(changed.keys().collect::<Vec<_>>(), ["a.bias", "a.weight"]);
        let twice = [step(WeightOp::Negate, "a"), step(WeightOp::NegateKernel, "a")];
        let changed = WeightPerturb::apply(&twice, &weights(), Key::new(1, ""));
        assert_eq!(changed["a.weight"], weights()["a.weight"]);
        assert_ne!(changed["a.bias"], weights()["a.bias"]);
    }

    #[test]
    fn a_plan_is_one_line_for_a_manifest() {
        let plan = Plan {
            weights: vec![(WeightOp::Gain, "d_block_1.1".into())],
            latent: Some(LatentOp::FlipAll),
            body: None,
            skipped: vec![3, 7],
        };
        assert_eq!(plan.to_string(), "gain@d_block_1.1 latent:flip-all skip:3 skip:7");
        assert_eq!(Plan::default().to_string(), "none");
    }
}
