//! A data set under the classes of a model.

use std::sync::Arc;

use burn_dataset::Dataset;
use sha2::{Digest, Sha256};

use crate::error::{DataError, Result};
use crate::set::{ImageSet, Images, Sample, Skipped, Subset, hex};

/// The images of a data set with the classes of a model, whose order may be another and of which the data may have some alone.
/// Images and identities stay.
#[derive(Clone)]
pub struct Relabelled {
    whole: Images,
    classes: Vec<String>,
    labels: Vec<usize>,
    places: Vec<usize>,
}

impl Relabelled {
    /// The images of `whole` with `classes`; `places` are the indices there of its own classes, in their order.
    ///
    /// # Errors
    /// [`DataError::Settings`] unless every class of `whole` has a place in `classes`.
    pub fn new(whole: Images, classes: Vec<String>, places: Vec<usize>) -> Result<Self> {
        if places.len() != whole.classes().len() || places.iter().any(|&place| place >= classes.len()) {
            let (own, given, all) = (whole.classes().len(), places.len(), classes.len());
            return Err(DataError::Settings(format!("{}: {given} places among {all} for {own} classes", whole.name())));
        }
        Ok(Self::placed(whole, classes, places))
    }

    /// The images of `whole` that are of `classes`, which are its own names, in that order.
    ///
    /// # Errors
    /// [`DataError::Settings`] for a class that `whole` does not have, or one that is named twice.
    pub fn only(whole: Images, classes: &[String]) -> Result<Self> {
        let place = |name: &String| classes.iter().position(|class| class == name);
        let own = whole.classes().to_vec();
        let unknown = classes.iter().find(|class| !own.contains(class));
        let twice = classes.iter().enumerate().find(|(index, class)| classes[..*index].contains(class));
        if let Some(class) = unknown.or(twice.map(|(_, class)| class)) {
            let fault = if unknown.is_some() { "is none of its classes" } else { "is named twice" };
            return Err(DataError::Settings(format!("{}: `{class}` {fault}: {}", whole.name(), own.join(", "))));
        }
        let chosen: Vec<usize> =
            (0..whole.len()).filter(|&index| place(&own[whole.labels()[index]]).is_some()).collect();
        // Of the classes that are left out there is no image.
        let places = own.iter().map(|name| place(name).unwrap_or(0)).collect();
        Ok(Self::placed(Arc::new(Subset::new(whole, chosen)?), classes.to_vec(), places))
    }

    fn placed(whole: Images, classes: Vec<String>, places: Vec<usize>) -> Self {
        let labels = whole.labels().iter().map(|&label| places[label]).collect();
        Self { whole, classes, labels, places }
    }
}

impl Dataset<Sample, DataError> for Relabelled {
    fn get(&self, index: usize) -> Result<Sample> {
        let sample = self.whole.get(index)?;
        Ok(Sample { label: self.places[sample.label], ..sample })
    }

    fn len(&self) -> usize {
        self.whole.len()
    }
}

impl ImageSet for Relabelled {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self) -> &str {
        self.whole.name()
    }

    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(format!("relabelled {} {:?} {:?}", self.whole.fingerprint(), self.classes, self.places));
        hex(hash)
    }

    fn skipped(&self) -> &[Skipped] {
        self.whole.skipped()
    }

    fn labels(&self) -> &[usize] {
        &self.labels
    }

    fn id(&self, index: usize) -> Result<u64> {
        self.whole.id(index)
    }

    fn dimensions(&self, index: usize) -> Result<(u32, u32)> {
        self.whole.dimensions(index)
    }

    fn origin(&self, index: usize) -> String {
        self.whole.origin(index)
    }
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;
    use crate::MemorySet;

    #[test]
    fn labels_follow_their_classes() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let pictures = vec![RgbImage::new(4, 4); 3];
        let set = MemorySet::from_images("set", &pictures, vec![0, 1, 1], names(&["dog", "cat"])).unwrap();
        let images: Images = Arc::new(set);
        let as_model = Relabelled::new(Arc::clone(&images), names(&["cat", "cow", "dog"]), vec![2, 0]).unwrap();
        assert_eq!(as_model.labels(), [2, 0, 0]);
        assert_eq!(as_model.get(1).unwrap().label, 0);
        assert_eq!(as_model.id(2).unwrap(), images.id(2).unwrap());
        assert_ne!(as_model.fingerprint(), images.fingerprint());
        assert!(Relabelled::new(images, names(&["cat"]), vec![0, 1]).is_err());
    }
}
