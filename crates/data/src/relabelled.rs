//! A data set under the classes of a model.

use burn_dataset::Dataset;
use sha2::{Digest, Sha256};

use crate::error::{DataError, Result};
use crate::set::{ImageSet, Images, Sample, Skipped, hex};

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
        let labels = whole.labels().iter().map(|&label| places[label]).collect();
        Ok(Self { whole, classes, labels, places })
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
    use std::sync::Arc;

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
