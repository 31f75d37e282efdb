//! What is fitted to a finished model on the cached views: the posterior of its last layers, and where its robust head was right.

use std::rc::Rc;

use anyhow::{Context as _, Result, bail};
use burn::tensor::{Device, Tensor, activation};
use robustify_data::{Images, batch};
use robustify_distill::{ViewCache, ViewSpec};
use robustify_predict::{Attached, Made, RobustModel};
use robustify_report::digest;
use robustify_select::{Curvature, Head, Neighbours, Structure, ThreeHeads, argmax};
use robustify_zoo::weights::{self, State};
use robustify_zoo::{CutPoint, Features, Model, Pass, Segment, Trace};

use super::seal::{read_sealed, write_sealed};
use super::{Lab, Views};
use crate::Fitted;

/// Images whose views one thread computes at a time.
const IMAGES: usize = 32;
/// Such parts that are in memory at once, whatever the number of threads.
const PARTS: usize = 16;
/// The file of the stage.
const ATTACHED: &str = "attached.safetensors";

impl Lab<'_> {
    /// The model with what `select` asks to be fitted to it: `select.laplace` for every head, `select.vrf` for three heads. It was tuned
    /// on views behind the original's trunk, and one clean and one augmented view of every image are asked about: each head is fitted on
    /// views of the kind that it was tuned on. Cached features are read; where there are none, the two views are made once.
    ///
    /// # Errors
    /// A model without a trunk that can be cached, a file that cannot be written, or an interruption.
    pub fn attached(&self, fitted: Fitted) -> Result<Fitted> {
        let select = &self.config.select;
        let structure = select.laplace.structure();
        let is_vrf = select.vrf && matches!(fitted.model.made, Made::ThreeHeads(..));
        if structure.is_none() && !is_vrf {
            return Ok(fitted);
        }
        let tail = Tail::of(&fitted.model).with_context(|| fitted.model.method.clone())?;
        let structure = match &tail.norms {
            Err(reason) if structure.is_some() => {
                self.watch.say(&format!(
                    "{}: no posterior of its last layer (select.laplace): {reason}",
                    fitted.model.method
                ));
                None
            }
            _ => structure,
        };
        if structure.is_none() && !is_vrf {
            return Ok(fitted);
        }
        let name = format!("last-layer-{}", fitted.model.method);
        let stage = self.stage(&name, &(&fitted.hash, structure, is_vrf))?;
        let path = stage.path(ATTACHED);
        let state = match read_sealed(&path, self.watch) {
            Some(state) => state,
            None => {
                let views = self.config.views.cached.then(|| self.views()).transpose()?;
                let source = Source::of(self, views.as_ref())?;
                let attached = stage.timed(|| self.fit_last_layers(&tail, &source, structure, is_vrf))??;
                let state = attached.state();
                write_sealed(&path, &weights::to_bytes(&state))?;
                state
            }
        };
        let attached = Attached::from_state(state, tail.heads(), self.classes().len());
        let attached = attached.map_err(|reason| anyhow::anyhow!("{}: {reason}", path.display()))?;
        if is_vrf && attached.neighbours.is_none() {
            self.watch.say("select.vrf: the robust head is the only right one of no training view, so there is no mixture by distance");
        }
        let hash = digest::of(&("attached", &fitted.hash, stage.result(&[ATTACHED])?))?;
        let cost = fitted.cost + stage.cost();
        Ok(Fitted { model: RobustModel { attached, ..fitted.model }, hash, cost })
    }

    fn fit_last_layers(
        &self,
        tail: &Tail,
        source: &Source<'_>,
        structure: Option<Structure>,
        is_vrf: bool,
    ) -> Result<Attached> {
        let (all, device) = (self.images(), &self.machine.device);
        let images: Vec<usize> = (0..all.len()).collect();
        let mut whole: Option<Part> = None;
        for group in images.chunks(IMAGES * PARTS) {
            self.watch.check(robustify_watch::Stopped::Saved)?;
            let parts = group.chunks(IMAGES).map(<[usize]>::to_vec).collect();
            let parts = self
                .machine
                .workers
                .map(parts, |images: Vec<usize>| Part::of(all, tail, source, &images, structure, device));
            for part in parts {
                match &mut whole {
                    Some(whole) => whole.merge(part?),
                    None => whole = Some(part?),
                }
            }
        }
        let Part { curvatures, better, width } = whole.context("there is no training image")?;
        let posterior = |(curvature, norm): (Curvature, &f64)| {
            curvature
                .posterior(*norm)
                .context("the curvature of its last layer has no marginal likelihood with a maximum")
        };
        let norms = tail.norms.as_deref().unwrap_or_default();
        let laplace = structure.map(|_| curvatures.into_iter().zip(norms).map(posterior).collect());
        let neighbours = is_vrf.then(|| Neighbours::new(&better, width, 2 * images.len())).flatten();
        Ok(Attached { laplace: laplace.transpose()?, neighbours })
    }
}

/// Where features of views come from.
enum Source<'a> {
    /// They were computed for tuning.
    Cached(&'a ViewCache),
    /// Nobody keeps them: views are made, and go through the trunk.
    Made(&'a Images, ViewSpec, &'a Model, CutPoint),
}

impl<'a> Source<'a> {
    fn of(lab: &'a Lab<'_>, views: Option<&'a Rc<Views>>) -> Result<Self> {
        if let Some(views) = views {
            return Ok(Self::Cached(&views.cache));
        }
        let model = &lab.original()?.model;
        Ok(Self::Made(lab.images(), lab.view_spec()?, model, lab.config.split.backbone_end(model)?))
    }

    /// Features of the first clean view of some images, then of their first augmented one.
    fn features(&self, images: &[usize], device: &Device) -> Result<Features> {
        match self {
            Self::Cached(cache) => {
                let row = |kind: usize| images.iter().map(move |image| image * cache.views() + kind * cache.clean);
                Ok(cache.features(&row(0).chain(row(1)).collect::<Vec<_>>(), device))
            }
            Self::Made(all, spec, model, cut) => {
                let view = |view: usize| images.iter().map(move |&image| spec.pixels(all, image, view));
                let pixels = view(0).chain(view(spec.clean)).collect::<Result<Vec<_>, _>>()?;
                Ok(model.features(batch::normalised(&pixels, &spec.preprocess, device)?, *cut))
            }
        }
    }
}

/// What comes behind the trunk, and the squared norm of each last layer.
struct Tail {
    behind: Behind,
    /// Or why there is none.
    norms: Result<Vec<f64>, String>,
}

#[allow(clippy::large_enum_variant, reason = "there is one of them")]
enum Behind {
    One(Segment),
    Three(ThreeHeads),
}

impl Tail {
    fn of(model: &RobustModel) -> Result<Self> {
        let classes = model.classes.len();
        match (&model.made, model.cut) {
            (Made::ThreeHeads(heads, _), _) => {
                let (state, original) = (weights::state(heads), weights::state(&model.model));
                let norm = |head: Head| match head {
                    // The original's classifier is that of the network, and no head has one.
                    Head::Clean if heads.is_preserving() => squared_norm(&original, "", classes),
                    _ => squared_norm(&state, &format!("{}.", head.name()), classes),
                };
                let norms = Head::ALL.into_iter().map(norm).collect();
                Ok(Self { behind: Behind::Three(heads.clone()), norms })
            }
            (Made::Classifier, Some(split)) => {
                let cut = split.backbone_end(&model.model)?;
                let norms = squared_norm(&weights::state(&model.model), "", classes).map(|norm| vec![norm]);
                Ok(Self { behind: Behind::One(model.model.segment(cut, model.model.last_cut())), norms })
            }
            _ => bail!("it has no trunk whose features are cached"),
        }
    }

    fn heads(&self) -> usize {
        match self.behind {
            Behind::One(_) => 1,
            Behind::Three(_) => 3,
        }
    }

    /// Logits and inputs of the last layer of each head.
    fn forward(&self, features: Features) -> Vec<(Tensor<2>, Tensor<2>)> {
        let trace = Trace::default();
        let pass = Pass::eval().with_pre_logits(&trace);
        let logits = match &self.behind {
            Behind::One(segment) => vec![segment.forward(features, &pass).logits()],
            Behind::Three(heads) => heads.deterministic(features, &pass).to_vec(),
        };
        let inputs = trace.into_steps().into_iter().map(|(_, input)| input.flatten());
        logits.into_iter().zip(inputs).collect()
    }
}

/// Sum of the squares of a classifier's weights and biases.
fn squared_norm(state: &State, prefix: &str, classes: usize) -> Result<f64, String> {
    if state.contains_key(&format!("{prefix}head_dist.weight")) {
        return Err("it has two classifiers, and a posterior is of one".into());
    }
    let of = |layer: &str| {
        let entry = |kind: &str| state.get(&format!("{prefix}{layer}.{kind}"));
        let weight = entry("weight").filter(|entry| entry.shape.len() == 2 && entry.shape[0] == classes)?;
        let biases = entry("bias").map_or(&[][..], |entry| &entry.values);
        Some(weight.values.iter().chain(biases).map(|x| f64::from(*x).powi(2)).sum())
    };
    let layers = ["head", "fc", "head.fc"];
    layers.into_iter().find_map(of).ok_or_else(|| "it does not end in a linear layer to the classes".into())
}

/// What some images add.
struct Part {
    curvatures: Vec<Curvature>,
    /// Features of the robust head for the rows that it alone gets right.
    better: Vec<f32>,
    width: usize,
}

impl Part {
    fn of(
        all: &Images,
        tail: &Tail,
        source: &Source<'_>,
        images: &[usize],
        structure: Option<Structure>,
        device: &Device,
    ) -> Result<Self> {
        let count = images.len();
        let told = tail.forward(source.features(images, device)?);
        anyhow::ensure!(told.len() == tail.heads(), "the input of the last layer is not known in this network");
        let (mut curvatures, mut inputs, mut right) = (Vec::new(), Vec::new(), Vec::new());
        for (head, (logits, input)) in told.into_iter().enumerate() {
            let (classes, width) = (logits.dims()[1], input.dims()[1]);
            let probabilities = values(activation::softmax(logits, 1))?;
            let input = values(input)?;
            let own = match (tail.heads(), head) {
                (3, 0) => 0..count,
                (3, 2) => count..2 * count,
                _ => 0..2 * count,
            };
            let mut curvature = Curvature::new(structure.unwrap_or_default(), classes, width);
            if structure.is_some() {
                let part = |all: &'_ [f32], width: usize| all[own.start * width..own.end * width].to_vec();
                curvature.add(&part(&input, width), &part(&probabilities, classes));
            }
            let labels = images.iter().chain(images).map(|&image| all.labels()[image]);
            let is_right = probabilities.chunks_exact(classes).zip(labels).map(|(row, label)| argmax(row) == label);
            right.push(is_right.collect::<Vec<bool>>());
            curvatures.push(curvature);
            inputs.push((input, width));
        }
        let (input, width) = inputs.pop().context("no head")?;
        let alone = (0..2 * count).filter(|&row| tail.heads() == 3 && right[2][row] && !right[0][row]);
        let better = alone.flat_map(|row| input[row * width..(row + 1) * width].to_vec()).collect();
        Ok(Self { curvatures, better, width })
    }

    fn merge(&mut self, other: Self) {
        self.curvatures.iter_mut().zip(&other.curvatures).for_each(|(own, more)| own.merge(more));
        self.better.extend(other.better);
    }
}

fn values(tensor: Tensor<2>) -> Result<Vec<f32>> {
    tensor.into_data().convert::<f32>().try_to_vec().map_err(|error| anyhow::anyhow!("{error:?}"))
}
