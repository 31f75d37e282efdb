//! A network that goes on learning while it answers, without labels: Tent and SAR.
//!
//! Both make its answers surer, by steps on the scales and shifts of its norms alone. BatchNorm normalises by the statistics of the batch.
//! What it says of an image therefore depends on all images that it was asked about before, and on those beside it. So it begins anew
//! with every call, that is with every cell of a benchmark, and goes through the images in an order that is drawn from their
//! identities, in batches that are as even as can be: nothing else has an influence, neither threads nor the order in which images are
//! stored, which would otherwise be that of the classes.
//!
//! Sources: Wang et al. 2021, "Tent", arXiv:2006.10726, DequanWang/tent, `tent.py`; Niu et al. 2023, "Towards stable test-time adaptation in
//! dynamic wild world" (SAR), arXiv:2302.12400, mr-eggplant/SAR, `sar.py`, `sam.py`, `main.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData, activation};
use image::RgbImage;
use robustify_data::Preprocess;
use robustify_rng::Key;
use robustify_zoo::{BatchStatistics, Model, Pass, ZooError, weights};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::classifier::{host, input_of};
use crate::{Answered, Answers, Columns, PredictError, Predictor, Rows};

/// How a network learns while it answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adaptation {
    /// Images of a batch, at most: each makes one step.
    pub batch: usize,
    /// Seed of the order of the images.
    pub seed: u64,
    /// How a step is made of gradients.
    pub optimizer: AdaptationStep,
    /// Learning rate.
    pub rate: f64,
    /// What SAR does beyond Tent; nothing for Tent.
    pub sharpness_aware: Option<SharpnessAware>,
}

/// How a step is made of gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdaptationStep {
    /// Stochastic gradient descent with a momentum of 0.9.
    Sgd,
    /// Adam with decay rates of 0.9 and 0.999.
    Adam,
}

/// What SAR does beyond Tent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharpnessAware {
    /// Images count whose entropy is below this share of the largest one, `ln classes`.
    pub margin: f64,
    /// Length of the way uphill at whose end the gradient of a step is taken (sharpness-aware minimisation).
    pub rho: f64,
    /// The network begins anew where the running mean of the loss falls below this: answers have become too sure to be right.
    pub reset_below: f64,
    /// Blocks or stages at the end whose norms stay, as the final norm does.
    pub left_out: usize,
}

impl AdaptationStep {
    /// Decay of the mean of gradients.
    const MOMENTUM: f64 = 0.9;
    /// Decay of Adam's mean of squared gradients, and what is added to its root.
    const SQUARES: f64 = 0.999;
    const EPS: f64 = 1e-8;
}

/// Part of the running mean of the loss that a batch leaves as it was.
const KEPT: f64 = 0.9;

impl Adaptation {
    /// Positions of images by batch, in the order in which they are answered.
    fn batches(&self, ids: &[u64]) -> Vec<Vec<usize>> {
        let key = Key::new(self.seed, "order of adaptation");
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|&position| (key.with(ids[position]).digest(), position));
        let count = ids.len().div_ceil(self.batch.max(1)).max(1);
        (0..count).map(|batch| order[batch * ids.len() / count..(batch + 1) * ids.len() / count].to_vec()).collect()
    }

    /// Names of what is stepped.
    fn parameters(&self, model: &Model) -> Result<BTreeSet<String>, ZooError> {
        let mut names: BTreeSet<String> = weights::norm_affines(model).into_iter().collect();
        if let Some(SharpnessAware { left_out, .. }) = self.sharpness_aware {
            let tail = model.segment(model.cut_before_last(left_out)?, model.last_cut());
            for name in weights::names_in(model, &tail).values() {
                names.remove(name);
            }
        }
        if names.is_empty() {
            return Err(ZooError::Config("no norm is left whose scale and shift could adapt".into()));
        }
        Ok(names)
    }
}

/// A network that adapts, as something to ask.
pub(crate) struct Adapting {
    pub identity: String,
    pub classes: Vec<String>,
    /// Takes gradients for what is stepped alone.
    model: Model,
    seen: Preprocess,
    adaptation: Adaptation,
}

impl Adapting {
    pub fn new(
        identity: String,
        classes: Vec<String>,
        model: &Model,
        seen: Preprocess,
        adaptation: Adaptation,
    ) -> Result<Self, ZooError> {
        let names = adaptation.parameters(model)?;
        let model = weights::tuned_only(model.clone(), |name| names.contains(name));
        Ok(Self { identity, classes, model, seen, adaptation })
    }
}

impl Predictor for Adapting {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn trunk(&self) -> Option<&str> {
        None
    }

    fn adapts(&self) -> bool {
        true
    }

    fn answer(&self, rows: &Rows<'_>) -> Result<Answered, PredictError> {
        let (ids, classes) = (rows.ids(), self.classes.len());
        let mut values = vec![0.0; ids.len() * classes];
        let (mut session, mut time) = (Session::new(self), Duration::ZERO);
        for positions in self.adaptation.batches(ids).into_iter().filter(|positions| !positions.is_empty()) {
            let pixels = rows.pixels_at(&positions)?;
            let clock = Instant::now();
            let logits = session.answer(&pixels, rows.device())?;
            time += clock.elapsed();
            for (position, logits) in positions.into_iter().zip(logits.chunks_exact(classes)) {
                values[position * classes..(position + 1) * classes].copy_from_slice(logits);
            }
        }
        Ok(Answered {
            answers: Answers::Logits { classes, values },
            time,
            deterministic_time: None,
            beside: Columns::default(),
        })
    }
}

/// Tensors of what is stepped, by name.
type Tensors = BTreeMap<String, Tensor<1>>;

/// A network between two batches.
struct Session<'a> {
    of: &'a Adapting,
    model: Model,
    /// Running means of gradients, and of their squares.
    moments: [Tensors; 2],
    steps: i32,
    /// Running mean of SAR's loss.
    loss: Option<f64>,
}

/// What a forward under autodiff gives.
struct Forward {
    model: Model,
    logits: Tensor<2>,
    /// Entropy of each answer.
    entropies: Tensor<1>,
}

impl<'a> Session<'a> {
    fn new(of: &'a Adapting) -> Self {
        Self { of, model: of.model.clone(), moments: Default::default(), steps: 0, loss: None }
    }

    /// The logits of a batch, and then a step.
    fn answer(&mut self, pixels: &[RgbImage], device: &Device) -> Result<Vec<f32>, PredictError> {
        let images = input_of(pixels, &self.of.seen, device)?;
        let Forward { model, logits, entropies } = forward(&self.model, images.clone());
        let said = host(logits.without_autodiff());
        let all = vec![true; pixels.len()];
        match self.of.adaptation.sharpness_aware {
            None => {
                let (_, gradients) = descent(&model, entropies, &all);
                self.step(gradients);
            }
            Some(settings) => self.sharpness_aware(&settings, images, model, entropies),
        }
        Ok(said)
    }

    /// SAR's step: along the gradient that sure answers have a little uphill from here.
    fn sharpness_aware(&mut self, settings: &SharpnessAware, images: Tensor<4>, model: Model, entropies: Tensor<1>) {
        let margin = settings.margin * (self.of.classes.len() as f64).ln();
        let sure = below(&entropies, margin);
        let (_, gradients) = descent(&model, entropies, &sure);
        let norm = gradients.values().map(|g| number((g.clone() * g.clone()).sum())).sum::<f64>().sqrt();
        let scale = settings.rho / (norm + 1e-12);
        let uphill = weights::changed(self.model.clone(), |name, old| Some(old + gradients.get(name)?.clone() * scale));
        let Forward { model, entropies, .. } = forward(&uphill, images);
        // Of those that were sure, the ones that still are.
        let still: Vec<bool> =
            below(&entropies, margin).iter().zip(&sure).map(|(still, sure)| *still && *sure).collect();
        let (loss, gradients) = descent(&model, entropies, &still);
        if let Some(loss) = loss {
            self.loss = Some(self.loss.map_or(loss, |mean| KEPT * mean + (1.0 - KEPT) * loss));
        }
        self.step(gradients);
        if self.loss.is_some_and(|mean| mean < settings.reset_below) {
            *self = Self::new(self.of);
        }
    }

    /// A step of the optimizer. Without gradients, where no image counted, those are zero, and what is left of earlier ones moves on.
    fn step(&mut self, gradients: Tensors) {
        let Adaptation { optimizer, rate, .. } = self.of.adaptation;
        self.steps += 1;
        let [means, squares] = &mut self.moments;
        let bias = |decay: f64| 1.0 - decay.powi(self.steps);
        let update = |name: &str| -> Option<Tensor<1>> {
            let gradient = gradients.get(name).cloned();
            let fresh = match optimizer {
                AdaptationStep::Sgd => gradient.clone(),
                AdaptationStep::Adam => gradient.clone().map(|g| g * (1.0 - AdaptationStep::MOMENTUM)),
            };
            let mean = sum(means.remove(name).map(|mean| mean * AdaptationStep::MOMENTUM), fresh)?;
            means.insert(name.to_owned(), mean.clone());
            Some(match optimizer {
                AdaptationStep::Sgd => mean * rate,
                AdaptationStep::Adam => {
                    let fresh = gradient.map(|g| g.clone() * g * (1.0 - AdaptationStep::SQUARES));
                    let square = sum(squares.remove(name).map(|square| square * AdaptationStep::SQUARES), fresh)?;
                    squares.insert(name.to_owned(), square.clone());
                    let root = (square / bias(AdaptationStep::SQUARES)).sqrt() + AdaptationStep::EPS;
                    mean / root * (rate / bias(AdaptationStep::MOMENTUM))
                }
            })
        };
        let mut update = update;
        self.model = weights::changed(self.model.clone(), |name, old| Some(old - update(name)?));
    }
}

fn sum(old: Option<Tensor<1>>, new: Option<Tensor<1>>) -> Option<Tensor<1>> {
    match (old, new) {
        (Some(old), Some(new)) => Some(old + new),
        (old, new) => old.or(new),
    }
}

fn forward(model: &Model, images: Tensor<4>) -> Forward {
    let model = model.clone().train();
    let statistics = BatchStatistics::default();
    let logits = model.forward(images.autodiff(), &Pass::eval().with_statistics(&statistics));
    let log = activation::log_softmax(logits.clone(), 1);
    let rows = logits.dims()[0];
    let entropies = -(log.clone().exp() * log).sum_dim(1).reshape([rows]);
    Forward { model, logits, entropies }
}

/// Which of some numbers are below a limit.
fn below(entropies: &Tensor<1>, limit: f64) -> Vec<bool> {
    numbers(entropies.clone()).into_iter().map(|entropy| f64::from(entropy) < limit).collect()
}

/// The mean of the entropies that count, and its gradients; neither if none does.
fn descent(model: &Model, entropies: Tensor<1>, counted: &[bool]) -> (Option<f64>, Tensors) {
    let count = counted.iter().filter(|&&counts| counts).count();
    if count == 0 {
        return (None, Tensors::new());
    }
    let share = |&counts: &bool| if counts { 1.0 / count as f32 } else { 0.0 };
    let shares: Vec<f32> = counted.iter().map(share).collect();
    let device = entropies.device().without_autodiff();
    let shares = Tensor::<1>::from_data(TensorData::new(shares, [counted.len()]), &device);
    let loss = (entropies * shares).sum();
    let mut backward = loss.backward();
    let gradients = weights::gradients(model, &mut backward);
    (Some(number(loss.without_autodiff())), gradients)
}

fn numbers(tensor: Tensor<1>) -> Vec<f32> {
    tensor.without_autodiff().into_data().convert::<f32>().try_to_vec().expect("converted to f32")
}

fn number(tensor: Tensor<1>) -> f64 {
    numbers(tensor).into_iter().map(f64::from).sum()
}
