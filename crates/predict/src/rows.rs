use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use image::RgbImage;
use robustify_zoo::Features;

use crate::PredictError;

type Pixels<'a> = Box<dyn Fn(&[usize]) -> Result<Vec<RgbImage>, PredictError> + 'a>;

/// Some images, and what predictors computed of them so far.
///
/// Pixels are made when somebody asks for them first: a predictor whose trunk is stored never does.
pub struct Rows<'a> {
    ids: Vec<u64>,
    device: &'a Device,
    make: Pixels<'a>,
    pixels: OnceCell<Vec<RgbImage>>,
    trunks: RefCell<BTreeMap<String, (Features, Duration)>>,
}

impl<'a> Rows<'a> {
    /// Images of one size with their identities, which key the dropout masks; `make` gives the pixels in the same order.
    pub fn new(ids: Vec<u64>, device: &'a Device, make: impl Fn() -> Result<Vec<RgbImage>, PredictError> + 'a) -> Self {
        let chosen = move |positions: &[usize]| {
            let all = make()?;
            Ok(positions.iter().filter_map(|&position| all.get(position).cloned()).collect())
        };
        Self { ids, device, make: Box::new(chosen), pixels: OnceCell::new(), trunks: RefCell::default() }
    }

    /// The same where `make` gives the pixels of one image, by its position, so that some can be had without the others.
    pub fn single(
        ids: Vec<u64>,
        device: &'a Device,
        make: impl Fn(usize) -> Result<RgbImage, PredictError> + 'a,
    ) -> Self {
        let chosen = move |positions: &[usize]| positions.iter().map(|&position| make(position)).collect();
        Self { ids, device, make: Box::new(chosen), pixels: OnceCell::new(), trunks: RefCell::default() }
    }

    /// Images whose pixels are there already.
    pub fn ready(ids: Vec<u64>, device: &'a Device, pixels: Vec<RgbImage>) -> Self {
        let rows = Self::new(ids, device, || Ok(Vec::new()));
        // Nobody else can have set it.
        let _ = rows.pixels.set(pixels);
        rows
    }

    /// The same rows with a trunk's features that were computed before.
    #[must_use]
    pub fn with_trunk(self, trunk: &str, features: Features) -> Self {
        self.trunks.borrow_mut().insert(trunk.to_owned(), (features, Duration::ZERO));
        self
    }

    /// Identities of the images.
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// Where to compute.
    pub fn device(&self) -> &Device {
        self.device
    }

    /// The pixels.
    ///
    /// # Errors
    /// Images that cannot be read or corrupted.
    pub fn pixels(&self) -> Result<&[RgbImage], PredictError> {
        if self.pixels.get().is_none() {
            let all: Vec<usize> = (0..self.ids.len()).collect();
            let made = (self.make)(&all)?;
            // Nobody else can have set it: the cell belongs to one thread.
            let _ = self.pixels.set(made);
        }
        Ok(self.pixels.get().map_or(&[], Vec::as_slice))
    }

    /// The pixels of the images at some positions, made for this call unless all are there already.
    ///
    /// # Errors
    /// Images that cannot be read or corrupted.
    pub fn pixels_at(&self, positions: &[usize]) -> Result<Vec<RgbImage>, PredictError> {
        match self.pixels.get() {
            Some(pixels) => Ok(positions.iter().filter_map(|&position| pixels.get(position).cloned()).collect()),
            None => (self.make)(positions),
        }
    }

    /// A trunk's features and the time they took: computed by whoever asks first, and kept for the others.
    ///
    /// # Errors
    /// What `compute` says.
    pub fn trunk(
        &self,
        trunk: &str,
        compute: impl FnOnce() -> Result<Features, PredictError>,
    ) -> Result<(Features, Duration), PredictError> {
        if let Some(known) = self.trunks.borrow().get(trunk) {
            return Ok(known.clone());
        }
        let clock = Instant::now();
        let features = compute()?;
        // Reading one number waits for a device that computes asynchronously.
        features.clone().flatten().slice([0..1, 0..1]).into_data();
        let entry = (features, clock.elapsed());
        self.trunks.borrow_mut().insert(trunk.to_owned(), entry.clone());
        Ok(entry)
    }

    /// The features of a trunk, if somebody asked for them.
    pub fn known_trunk(&self, trunk: &str) -> Option<Features> {
        self.trunks.borrow().get(trunk).map(|(features, _)| features.clone())
    }
}
