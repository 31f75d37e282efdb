//! What attention looks like: how far heads look, how alike they are, and the shape of the average map of a layer.
//!
//! Weights are looked at while a forward computes them and are dropped with their layer: what is kept are [`Sums`], whose size depends on
//! the network alone. Distances follow Dosovitskiy et al. 2021, arXiv:2010.11929, appendix D.7, in both conventions that are in use: rows
//! over patches as they are, and divided by their sum, so that weight on the class token does not make a head look nearer.

mod geometry;
mod map;
mod sums;

use std::sync::Mutex;

use anyhow::{Context as _, Result, anyhow};
use burn::tensor::Tensor;
use robustify_data::Images;
use robustify_device::Machine;
use robustify_report::diagnosis::{AttentionRecord, LayerRecord};
use robustify_watch::{Stopped, Watch};
use robustify_zoo::{AttentionLayer, Onlooker, Pass};

pub use geometry::Geometry;
pub use map::Map;
pub use sums::{Found, Sums};

use crate::heat;
use crate::subject::Subject;

/// Weights of attention that one forward may hold at a time, in numbers: with 16 MiB of them a layer is cheap beside the network.
const WEIGHTS: usize = 4 << 20;
/// The most images of one forward.
const ROWS: usize = 16;

/// Sums of all layers of a network, in the order of a forward.
pub struct Looking {
    names: Vec<String>,
    geometries: Vec<Geometry>,
    state: Mutex<(Vec<Sums>, Option<String>)>,
}

impl Looking {
    /// Nothing seen yet of some layers.
    pub fn new(layers: &[AttentionLayer]) -> Self {
        let geometries: Vec<Geometry> = layers.iter().map(Geometry::new).collect();
        let sums = geometries.iter().map(Sums::new).collect();
        let names = layers.iter().map(|layer| layer.name.clone()).collect();
        Self { names, geometries, state: Mutex::new((sums, None)) }
    }

    /// What was found of every layer.
    ///
    /// # Errors
    /// Weights that could not be taken from the device.
    pub fn found(self) -> Result<Vec<Found>> {
        let (sums, fault) = self.state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        match fault {
            Some(fault) => Err(anyhow!(fault)),
            None => Ok(sums.iter().zip(&self.geometries).map(|(sums, geometry)| sums.found(geometry)).collect()),
        }
    }

    fn merge(&self, later: &Self) {
        let lock = |looking: &Self| looking.state.lock().map(|state| state.clone()).unwrap_or_default();
        let (sums, fault) = lock(later);
        let mut own = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        own.0.iter_mut().zip(&sums).for_each(|(own, later)| own.merge(later));
        own.1 = own.1.take().or(fault);
    }
}

impl Onlooker for Looking {
    fn saw(&self, layer: &str, weights: Tensor<4>) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let place = self.names.iter().position(|name| name == layer);
        match (place, weights.into_data().convert::<f32>().try_to_vec::<f32>()) {
            (Some(place), Ok(values)) => state.0[place].add(&self.geometries[place], &values),
            (None, _) => state.1 = Some(format!("attention of a layer `{layer}` that the network does not have")),
            (_, Err(error)) => state.1 = Some(format!("attention of {layer} cannot be read: {error:?}")),
        }
    }
}

/// Looks at the attention of a model for some images. Images are read as they are needed.
///
/// # Errors
/// A model without attention, images that cannot be read, and a stop that was asked for.
pub fn look(subject: &Subject, images: &Images, machine: &Machine, watch: &dyn Watch) -> Result<AttentionRecord> {
    let layers = subject.network.attention();
    anyhow::ensure!(!layers.is_empty(), "{}: a network without attention", subject.name);
    let largest = layers.iter().map(|layer| Geometry::new(layer).weights()).max().unwrap_or(1);
    let rows = (WEIGHTS / largest.max(1)).clamp(1, ROWS);
    let all: Vec<usize> = (0..images.len()).collect();
    let shards: Vec<Vec<usize>> = all.chunks(rows).map(<[usize]>::to_vec).collect();
    let whole = Looking::new(&layers);
    let mut progress = watch.progress(&format!("attention of {}", subject.name), images.len());
    let mut done = 0;
    for group in shards.chunks(machine.workers.threads()) {
        watch.check(Stopped::Saved)?;
        let parts = machine.workers.map(group.to_vec(), |shard| -> Result<Looking> {
            let looking = Looking::new(&layers);
            let input = subject.input(images, &shard, &machine.device)?;
            drop(subject.model.forward(input, &Pass::eval().with_attention(&looking)));
            Ok(looking)
        });
        for part in parts {
            whole.merge(&part?);
        }
        done += group.iter().map(Vec::len).sum::<usize>();
        progress.set(done, "");
    }
    progress.finish(&format!("{} images", images.len()));
    let found = whole.found()?;
    let records = layers.iter().zip(&found).map(|(layer, found)| record(layer, found));
    Ok(AttentionRecord {
        images: images.len(),
        image_size: subject.network.image_size(),
        layers: records.collect::<Result<_>>().context("the average maps")?,
    })
}

fn record(layer: &AttentionLayer, found: &Found) -> Result<LayerRecord> {
    let geometry = Geometry::new(layer);
    Ok(LayerRecord {
        name: layer.name.clone(),
        window: layer.window,
        distance: found.distance.clone(),
        uniform: geometry.uniform(),
        similarity: found.similarity(),
        map: found.shape(),
        picture: heat::picture(&found.map.renormalised)?,
    })
}
