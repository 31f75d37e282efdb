//! Training of the autoencoder on the user's images.

use std::error::Error;

use burn::tensor::{Device, Tensor};
use image::RgbImage;
use robustify_rng::Key;

use crate::autoencoder::{decode, encode};
use crate::layers::{Layer, Table};
use crate::{Autoencoder, AutoencoderConfig, DeepAugmentError, pixels};

/// AdamW's decay rates of both moments, and what is added to the root of the second. Source: Loshchilov & Hutter 2019,
/// arXiv:1711.05101.
const BETAS: [f64; 2] = [0.9, 0.999];
const EPS: f64 = 1e-8;

/// How an autoencoder is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    /// The network's size.
    pub network: AutoencoderConfig,
    /// Passes over the images.
    pub epochs: usize,
    /// Images a step.
    pub batch_size: usize,
    /// Side of the random square that is cut from an image, in pixels, a multiple of 4; smaller images get their edges
    /// repeated.
    pub crop: u32,
    /// Learning rate after a twentieth of the steps, over which it rises; then it falls linearly to zero.
    pub learning_rate: f64,
    /// Decoupled weight decay of the kernels.
    pub weight_decay: f64,
    /// Seed of weights, order and crops.
    pub seed: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            network: AutoencoderConfig::default(),
            epochs: 5,
            batch_size: 16,
            crop: 96,
            learning_rate: 2e-3,
            weight_decay: 1e-4,
            seed: 0,
        }
    }
}

impl TrainConfig {
    /// Faults, as sentences; empty when it can be used.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.network.faults();
        if self.epochs == 0 || self.batch_size == 0 {
            faults.push("epochs and batch_size are at least 1".to_owned());
        }
        if self.crop == 0 || !self.crop.is_multiple_of(Autoencoder::MULTIPLE) {
            faults.push(format!("crop {} is no positive multiple of 4", self.crop));
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            faults.push(format!("learning_rate {} is not positive", self.learning_rate));
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            faults.push(format!("weight_decay {} is negative", self.weight_decay));
        }
        faults
    }
}

/// A trained autoencoder and the mean squared error of every epoch, for pixels in `[0, 1]`, taken while it learnt.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The network, on the device it was trained on.
    pub network: Autoencoder,
    /// One number an epoch.
    pub losses: Vec<f64>,
}

/// Trains an autoencoder on `count` images, of any sizes, that `image` reads by index; it is asked for every image once an
/// epoch, in random order. Equal seeds and images give equal weights on the same backend (bit-exact on flex).
///
/// # Errors
/// A configuration with faults, no images, an image that cannot be had, or a loss that is no number.
pub fn train<E: Into<Box<dyn Error + Send + Sync>>>(
    count: usize,
    mut image: impl FnMut(usize) -> Result<RgbImage, E>,
    config: &TrainConfig,
    device: &Device,
) -> Result<Trained, DeepAugmentError> {
    let mut faults = config.faults();
    if count == 0 {
        faults.push("there are no images to train on".to_owned());
    }
    if !faults.is_empty() {
        return Err(DeepAugmentError::Config { what: "training of the autoencoder", faults });
    }
    let network = Autoencoder::new(&config.network, config.seed, device)?;
    let mut optimizer = AdamW::new(&network.layers.table, config, config.epochs * count.div_ceil(config.batch_size));
    let mut losses = Vec::with_capacity(config.epochs);
    for epoch in 0..config.epochs {
        let key = Key::new(config.seed, "autoencoder training").with(epoch as u64);
        let mut order: Vec<usize> = (0..count).collect();
        key.stream().shuffle(&mut order);
        let mut sum = 0.0;
        for batch in order.chunks(config.batch_size) {
            let mut crops = Vec::with_capacity(batch.len());
            for &index in batch {
                let pixels = image(index).map_err(|error| DeepAugmentError::Source { index, source: error.into() })?;
                let mut stream = key.with(index as u64).stream();
                let [x, y] =
                    [pixels.width(), pixels.height()].map(|side| stream.below(side.saturating_sub(config.crop) + 1));
                crops.push(pixels::tensor(&pixels, [x, y], [config.crop; 2], device)?);
            }
            let loss = optimizer.step(Tensor::cat(crops, 0));
            if !loss.is_finite() {
                let learning_rate = config.learning_rate;
                return Err(DeepAugmentError::Diverged { epoch: epoch + 1, loss, learning_rate });
            }
            sum += loss * batch.len() as f64;
        }
        losses.push(sum / count as f64);
    }
    Ok(Trained { network: network.with_table(optimizer.table), losses })
}

/// The weights and both moments of every tensor.
struct AdamW {
    table: Table,
    moments: [Table; 2],
    learning_rate: f64,
    weight_decay: f64,
    steps: usize,
    total: usize,
}

impl AdamW {
    fn new(table: &Table, config: &TrainConfig, total: usize) -> Self {
        let zeros = |layer: &Layer| Layer { weight: layer.weight.zeros_like(), bias: layer.bias.zeros_like() };
        let zeros: Table = table.iter().map(|(name, layer)| (name.clone(), zeros(layer))).collect();
        let (learning_rate, weight_decay) = (config.learning_rate, config.weight_decay);
        Self { table: table.clone(), moments: [zeros.clone(), zeros], learning_rate, weight_decay, steps: 0, total }
    }

    /// The learning rate rises linearly over a twentieth of the steps and then falls linearly to zero.
    fn rate(&self) -> f64 {
        let (step, total) = (self.steps as f64, self.total as f64);
        self.learning_rate * (20.0 * (step + 1.0) / total).min(1.0) * (1.0 - step / total)
    }

    /// One step towards the reconstruction of a batch; returns the loss before it.
    fn step(&mut self, images: Tensor<4>) -> f64 {
        let leaf = |layer: &Layer| Layer {
            weight: layer.weight.clone().autodiff().require_grad(),
            bias: layer.bias.clone().autodiff().require_grad(),
        };
        let leaves: Table = self.table.iter().map(|(name, layer)| (name.clone(), leaf(layer))).collect();
        let images = images.autodiff();
        let error = decode(&leaves, encode(&leaves, images.clone())) - images;
        let loss = (error.clone() * error).mean();
        let mut gradients = loss.backward();
        let rate = self.rate();
        self.steps += 1;
        let correction = BETAS.map(|beta| 1.0 - beta.powi(self.steps as i32));
        let [first, second] = &mut self.moments;
        for (name, layer) in &mut self.table {
            let (Some(m), Some(v)) = (first.get_mut(name), second.get_mut(name)) else { continue };
            let kept = 1.0 - rate * self.weight_decay;
            if let Some(gradient) = leaves[name].weight.grad_remove(&mut gradients) {
                let change = update(&mut m.weight, &mut v.weight, gradient, correction);
                layer.weight = layer.weight.clone() * kept - change * rate;
            }
            if let Some(gradient) = leaves[name].bias.grad_remove(&mut gradients) {
                layer.bias = layer.bias.clone() - update(&mut m.bias, &mut v.bias, gradient, correction) * rate;
            }
        }
        f64::from(loss.into_scalar::<f32>())
    }
}

/// Moves both moments; returns the direction of the step.
fn update<const D: usize>(
    m: &mut Tensor<D>,
    v: &mut Tensor<D>,
    gradient: Tensor<D>,
    correction: [f64; 2],
) -> Tensor<D> {
    *m = m.clone() * BETAS[0] + gradient.clone() * (1.0 - BETAS[0]);
    *v = v.clone() * BETAS[1] + gradient.clone() * gradient * (1.0 - BETAS[1]);
    m.clone() / correction[0] / ((v.clone() / correction[1]).sqrt() + EPS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// Smooth colour gradients with a bright disc, all different.
    fn pictures() -> Vec<RgbImage> {
        let picture = |n: u32| {
            RgbImage::from_fn(16, 16, |x, y| {
                let inside = (x as i32 - n as i32 - 4).pow(2) + (y as i32 - 8).pow(2) < 16;
                image::Rgb([if inside { 230 } else { (x * 12) as u8 }, (y * 14) as u8, (n * 30) as u8])
            })
        };
        (0..8).map(picture).collect()
    }

    fn config() -> TrainConfig {
        let network = AutoencoderConfig { width: 16, code: 8 };
        TrainConfig { network, epochs: 60, batch_size: 8, crop: 16, learning_rate: 5e-3, weight_decay: 1e-4, seed: 1 }
    }

    #[test]
    fn eight_images_are_learnt_by_heart() {
        let pictures = pictures();
        let source = |index: usize| Ok::<_, DeepAugmentError>(pictures[index].clone());
        let device = testing::device();
        let trained = train(8, source, &config(), &device).unwrap();
        let (first, last) = (trained.losses[0], trained.losses[59]);
        assert!(first > 5.0 * last, "{first} to {last}");
        // The loss is that of the network that comes back, not of some other one.
        let images = pictures.iter().map(|picture| pixels::tensor(picture, [0, 0], [16; 2], &device).unwrap());
        let images = Tensor::cat(images.collect(), 0);
        let error = testing::values(trained.network.forward(images.clone()) - images);
        let error = error.iter().map(|x| f64::from(x * x)).sum::<f64>() / error.len() as f64;
        assert!(error < 1.1 * last, "{error} against {last}");
    }

    #[test]
    fn equal_seeds_give_equal_weights() {
        let pictures = pictures();
        let source = |index: usize| Ok::<_, DeepAugmentError>(pictures[index].clone());
        let weights = |seed| {
            let config = TrainConfig { epochs: 2, batch_size: 3, crop: 12, seed, ..config() };
            train(8, source, &config, &testing::device()).unwrap().network.to_bytes()
        };
        assert_eq!(weights(1), weights(1));
        assert_ne!(weights(1), weights(2));
    }

    #[test]
    fn faults_are_told_all_at_once_and_a_missing_image_by_its_index() {
        let device = testing::device();
        let config = TrainConfig { epochs: 0, crop: 10, learning_rate: f64::NAN, ..config() };
        let nothing = |_: usize| Err::<RgbImage, _>("no such file");
        assert_eq!(
            train(0, nothing, &config, &device).unwrap_err().to_string(),
            "training of the autoencoder: epochs and batch_size are at least 1; crop 10 is no positive multiple of 4; \
             learning_rate NaN is not positive; there are no images to train on"
        );
        let error = train(1, nothing, &self::config(), &device).unwrap_err().to_string();
        assert_eq!(error, "image 0 of the training set: no such file");
    }
}
