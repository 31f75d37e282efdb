//! Images in, images out.

use burn::tensor::{Device, Tensor};
use image::RgbImage;
use image::imageops::{FilterType, resize};
use robustify_rng::Key;

use crate::edsr::SCALE;
use crate::layers::{Layers, Table};
use crate::recipe::{Plan, WeightPerturb};
use crate::{Autoencoder, Cae, DeepAugmentError, Edsr, Noise2Net, pixels};

/// Mean and standard deviation of ImageNet's channels, which Noise2Net's input is normalised by.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// A network to perturb.
#[derive(Clone, Debug)]
pub enum Network {
    /// The user's own.
    Autoencoder(Autoencoder),
    /// The authors' first.
    Cae(Cae),
    /// The authors' second.
    Edsr(Edsr),
}

impl From<Autoencoder> for Network {
    fn from(network: Autoencoder) -> Self {
        Self::Autoencoder(network)
    }
}

impl From<Cae> for Network {
    fn from(network: Cae) -> Self {
        Self::Cae(network)
    }
}

impl From<Edsr> for Network {
    fn from(network: Edsr) -> Self {
        Self::Edsr(network)
    }
}

impl Network {
    pub(crate) fn layers(&self) -> &Layers {
        match self {
            Self::Autoencoder(net) => &net.layers,
            Self::Cae(net) => &net.layers,
            Self::Edsr(net) => &net.layers,
        }
    }

    /// What is drawn for a key; no weight is touched yet.
    fn plan(&self, list: &WeightPerturb, key: Key) -> Plan {
        let mut stream = key.with_str("plan").stream();
        let weights = list.draw(&mut stream);
        let features = match self {
            Self::Autoencoder(_) => Autoencoder::latent(&mut stream),
            Self::Cae(_) => Cae::latent(&mut stream),
            Self::Edsr(net) => net.latent(&mut stream),
        };
        Plan { weights, ..features }
    }

    /// Sends an image of any size through the network with the weights of `table`.
    fn restore(&self, table: &Table, image: &RgbImage, plan: &Plan, key: Key) -> Result<RgbImage, DeepAugmentError> {
        let size = [image.width(), image.height()];
        let device = &self.layers().device;
        let padded = |multiple, minimum| {
            pixels::tensor(image, [0, 0], size.map(|side: u32| side.next_multiple_of(multiple).max(minimum)), device)
        };
        let output = match self {
            Self::Autoencoder(_) => Autoencoder::run(table, padded(Autoencoder::MULTIPLE, 1)?, plan, key),
            Self::Cae(_) => Cae::run(table, padded(Cae::MULTIPLE, Cae::MINIMUM)?, plan, key),
            Self::Edsr(net) => {
                let small = size.map(|side| side.div_ceil(SCALE));
                let shrunk = resize(image, small[0], small[1], FilterType::Triangle);
                let output = net.run(table, pixels::tensor(&shrunk, [0, 0], small, device)?, plan, key);
                let large = pixels::image(output, small.map(|side| side * SCALE));
                return Ok(if large.dimensions() == image.dimensions() {
                    large
                } else {
                    resize(&large, size[0], size[1], FilterType::Triangle)
                });
            }
        };
        Ok(pixels::image(output, size))
    }
}

/// Augments images by random or by perturbed networks. What happens to an image depends on its pixels and its key alone.
///
/// Weights are perturbed anew for every image, where the authors draw new ones for one image in twenty. Images keep their
/// sizes: an autoencoder sees them as they are (the authors resize the shorter side to 512 pixels), EDSR sees them at a
/// quarter of the width and height and restores their size (the authors: 128 pixels, and 512 again).
#[derive(Clone, Debug)]
pub struct DeepAugment {
    method: Method,
    device: Device,
}

#[derive(Clone, Debug)]
enum Method {
    Noise2Net(Noise2Net),
    Perturbed(Box<Network>, WeightPerturb),
}

impl DeepAugment {
    /// Augmentation by Noise2Net, on a device.
    pub fn noise2net(settings: Noise2Net, device: &Device) -> Self {
        Self { method: Method::Noise2Net(settings), device: device.clone() }
    }

    /// Augmentation by a network with perturbed weights and features, on the network's device.
    pub fn perturbed(network: impl Into<Network>) -> Self {
        let network = network.into();
        let list = match &network {
            Network::Autoencoder(net) => net.perturbations(),
            Network::Cae(net) => net.perturbations(),
            Network::Edsr(net) => net.perturbations(),
        };
        let device = network.layers().device.clone();
        Self { method: Method::Perturbed(Box::new(network), list), device }
    }

    /// Draws the operations on weights from another list than the network's own. Noise2Net has none.
    #[must_use]
    pub fn with_perturbations(mut self, list: WeightPerturb) -> Self {
        if let Method::Perturbed(_, perturbations) = &mut self.method {
            *perturbations = list;
        }
        self
    }

    /// What happens to the image of this key, in one line, for a manifest: `noise2net`, or the operations, as
    /// `gain@d_block_1.1 latent:flip-all`.
    pub fn describe(&self, key: Key) -> String {
        match &self.method {
            Method::Noise2Net(_) => "noise2net".to_owned(),
            Method::Perturbed(network, list) => network.plan(list, key).to_string(),
        }
    }

    /// Augments images, each of its own size, with one key each. Never more than one is on the device.
    ///
    /// # Errors
    /// As many keys as images are needed, and images need pixels.
    pub fn apply(&self, images: &[RgbImage], keys: &[Key]) -> Result<Vec<RgbImage>, DeepAugmentError> {
        if images.len() != keys.len() {
            return Err(DeepAugmentError::Keys { images: images.len(), keys: keys.len() });
        }
        images.iter().zip(keys).map(|(image, &key)| self.one(image, key)).collect()
    }

    /// The only error is that of an image without pixels.
    pub(crate) fn one(&self, image: &RgbImage, key: Key) -> Result<RgbImage, DeepAugmentError> {
        let size = [image.width(), image.height()];
        match &self.method {
            Method::Noise2Net(net) => {
                let [mean, std] =
                    [MEAN, STD].map(|values| Tensor::<1>::from_data(values, &self.device).reshape([1, 3, 1, 1]));
                let input = pixels::tensor(image, [0, 0], size, &self.device)?;
                let output = net.apply((input - mean.clone()) / std.clone(), &[key])?;
                Ok(pixels::image(output * std + mean, size))
            }
            Method::Perturbed(network, list) => {
                let layers = network.layers();
                let plan = network.plan(list, key);
                let changed = WeightPerturb::apply(&plan.weights, &layers.state, key.with_str("weights"));
                network.restore(&layers.table_with(&changed), image, &plan, key)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Golden};
    use crate::{AutoencoderConfig, CaeConfig, EdsrConfig};

    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 9) as u8, (y * 11) as u8, (x * y) as u8]))
    }

    fn methods(device: &Device) -> Vec<DeepAugment> {
        let edsr = Golden::read(include_bytes!("../goldens/edsr.safetensors")).under("w.");
        let edsr = Edsr::new(&EdsrConfig { blocks: 6, features: 4 }, edsr, "golden", device).unwrap();
        let cae = Golden::read(include_bytes!("../goldens/cae.safetensors")).under("w.");
        let cae = Cae::new(&CaeConfig { width: 8 }, cae, "golden", device).unwrap();
        let own = Autoencoder::new(&AutoencoderConfig { width: 6, code: 3 }, 1, device).unwrap();
        vec![
            DeepAugment::noise2net(Noise2Net { hidden: 4, ..Noise2Net::default() }, device),
            DeepAugment::perturbed(own),
            DeepAugment::perturbed(cae),
            DeepAugment::perturbed(edsr),
        ]
    }

    #[test]
    fn images_of_any_size_keep_it_and_depend_on_their_keys_alone() {
        let images = [picture(1, 1), picture(3, 18), picture(21, 6), picture(21, 6)];
        for method in methods(&testing::device()) {
            for seed in 0..6 {
                let keys: Vec<Key> = (0..4).map(|id| Key::new(seed, "image").with(id)).collect();
                let together = method.apply(&images, &keys).unwrap();
                assert!(images.iter().zip(&together).all(|(old, new)| old.dimensions() == new.dimensions()));
                assert_eq!(together[2..3], method.apply(&images[2..3], &keys[2..3]).unwrap());
                assert_ne!(together[2], together[3], "{}", method.describe(keys[2]));
            }
        }
    }

    #[test]
    fn a_manifest_can_name_what_was_drawn() {
        let device = testing::device();
        let [noise, own, ..] = &methods(&device)[..] else { panic!("there are four methods") };
        assert_eq!(noise.describe(Key::new(1, "")), "noise2net");
        let none = own.clone().with_perturbations(WeightPerturb { recipes: vec![], draws: 1 });
        let lines: Vec<String> = (0..20).map(|id| own.describe(Key::new(id, ""))).collect();
        assert!(lines.iter().all(|line| line.contains("coder_") || line.contains('@')), "{lines:?}");
        assert!(!none.describe(Key::new(1, "")).contains('@'));
    }

    #[test]
    fn what_cannot_be_augmented_is_an_error() {
        for method in methods(&testing::device()) {
            let error = method.apply(&[picture(2, 2)], &[]).unwrap_err().to_string();
            assert_eq!(error, "1 images were given with 0 keys; every image needs its own");
            assert!(method.apply(&[RgbImage::new(0, 3)], &[Key::new(1, "")]).is_err());
            assert_eq!(method.apply(&[], &[]).unwrap(), []);
        }
    }
}
