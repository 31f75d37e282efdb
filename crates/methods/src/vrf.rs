//! VRF, variance reduction fusion: the original and the fine-tuned model mixed by the distance of an image to the training images that
//! only the fine-tuned one gets right. Nothing is trained beyond fine-tuning; every image takes both forwards.
//!
//! Source: Zhu et al. 2024, arXiv:2411.06966; BeierZhu/VRF, `src/knn_distance.py`, `src/main.py`. The authors fit temperatures so that mean
//! confidence is accuracy on the test set; here they are fitted by likelihood on validation images.

use anyhow::{Context as _, Result};
use robustify_bench::evaluate;
use robustify_data::{Preprocess, batch};
use robustify_predict::{Attached, Made, Pair, PairSettings, Together};
use robustify_report::digest;
use robustify_select::Neighbours;
use robustify_zoo::weights::{self, Entry, State};
use robustify_zoo::{Features, Pass, Trace};

use crate::lab::{read_sealed, write_sealed};
use crate::{Fitted, Lab, Method, Work};

/// Two models by distance.
pub(crate) struct Vrf;

/// The file of the stage.
const NEIGHBOURS: &str = "neighbours.safetensors";

impl Method for Vrf {
    fn name(&self) -> &'static str {
        "vrf"
    }

    fn title(&self) -> &'static str {
        "VRF"
    }

    fn about(&self) -> &'static str {
        "original and fine-tuned model mixed, more of the tuned one near training images that it alone gets right"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["finetune"]
    }

    fn work(&self, lab: &Lab<'_>) -> Result<Work> {
        let images = lab.images().len() as f64;
        Ok(Work { forwards: 2.0 * images, pictures: images, answer: 2.0, ..Work::default() })
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let (original, tuned) = (lab.fits("original")?, lab.fits("finetune")?);
        let (original, tuned) = (&original[0], &tuned[0]);
        let stage = lab.stage(self.name(), &(&original.hash, &tuned.hash, lab.images().fingerprint()))?;
        let path = stage.path(NEIGHBOURS);
        let mut state = match read_sealed(&path, lab.watch) {
            Some(state) => state,
            None => {
                let (features, width) = stage.timed(|| alone_right(lab, original, tuned))??;
                let shape = vec![features.len() / width.max(1), width];
                let state = State::from([("features".to_owned(), Entry { shape, values: features })]);
                write_sealed(&path, &weights::to_bytes(&state))?;
                state
            }
        };
        let features = state.remove("features").with_context(|| format!("{}: no features", path.display()))?;
        let width = features.shape.get(1).copied().unwrap_or_default();
        let Some(neighbours) = Neighbours::new(&features.values, width, lab.images().len()) else {
            lab.watch.warn(
                "vrf: fine-tuning alone is right on no training image, so nothing says where it is the better model; there is no such row",
            );
            return Ok(Vec::new());
        };
        let temperatures = lab.temperatures([original, tuned])?;
        let settings = PairSettings { tuned_cut: tuned.model.cut, temperatures, by: Together::Vrf };
        let hash = digest::of(&("vrf", &original.hash, stage.result(&[NEIGHBOURS])?, settings))?;
        let mut fitted = original.clone();
        fitted.hash = hash;
        fitted.cost = tuned.cost + stage.cost();
        fitted.model.method = self.name().into();
        fitted.model.made = Made::Pair(Pair { tuned: tuned.model.model.clone(), settings });
        fitted.model.attached = Attached { neighbours: Some(neighbours), ..Attached::default() };
        Ok(vec![fitted])
    }
}

/// Features of the training images that the tuned model gets right and the original wrong, before its last layer, and their width.
fn alone_right(lab: &Lab<'_>, original: &Fitted, tuned: &Fitted) -> Result<(Vec<f32>, usize)> {
    let (images, device) = (lab.images(), &lab.machine.device);
    let preprocess: Preprocess = lab.config.original.preprocess.parse()?;
    let parts = lab.machine.workers.map(evaluate::chunks(images.len()), |range| -> Result<(Vec<f32>, usize)> {
        let labels = &images.labels()[range.clone()];
        let pixels = range.map(|index| {
            let sample = images.get(index)?;
            preprocess.pixels(&sample.image).map_err(|error| error.of_image(images, index))
        });
        let input = batch::normalised(&pixels.collect::<Result<Vec<_>, _>>()?, &preprocess, device)?;
        let said = evaluate::argmax(original.model.model.forward(input.clone(), &Pass::eval()));
        let trace = Trace::default();
        let tuned = tuned.model.model.forward(input, &Pass::eval().with_pre_logits(&trace));
        let (_, features) =
            trace.into_steps().pop().context("the input of the last layer is not known in this network")?;
        let width = features.dims()[1..].iter().product();
        let features = values(features)?;
        let mut found = Vec::new();
        for (row, tuned) in evaluate::argmax(tuned).into_iter().enumerate() {
            if tuned == labels[row] && said[row] != labels[row] {
                found.extend_from_slice(&features[row * width..(row + 1) * width]);
            }
        }
        Ok((found, width))
    });
    let (mut all, mut width) = (Vec::new(), 0);
    for part in parts {
        let (found, elements) = part?;
        all.extend(found);
        width = elements;
    }
    Ok((all, width))
}

fn values(features: Features) -> Result<Vec<f32>> {
    let data = features.flatten().into_data().convert::<f32>();
    data.try_to_vec().map_err(|error| anyhow::anyhow!("{error:?}"))
}
