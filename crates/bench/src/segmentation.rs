//! How well label maps fit the truth: one confusion matrix for the whole set, and what is made of it.
//!
//! Source: Long et al. 2015, arXiv:1411.4038, section 5 (mean intersection over union, pixel and mean accuracy).

/// Pixels by their true and their predicted class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    ignored: Option<usize>,
    /// `[truth, prediction]`.
    counts: Vec<u64>,
}

/// Label maps that cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentationError {
    /// Maps of different sizes.
    #[error("the true map has {truth} pixels and the predicted one {prediction}; both must have the same size")]
    Size {
        /// Pixels of the true map.
        truth: usize,
        /// Pixels of the predicted map.
        prediction: usize,
    },
    /// A class that there is not.
    #[error("pixel {pixel} has class {class}; there are {classes} classes, from 0")]
    Class {
        /// Place of the pixel in its map.
        pixel: usize,
        /// What it has.
        class: usize,
        /// How many there are.
        classes: usize,
    },
}

impl Confusion {
    /// Of no pixel yet. Pixels whose truth is `ignored` (255 by custom) do not count.
    pub fn new(classes: usize, ignored: Option<usize>) -> Self {
        Self { classes, ignored, counts: vec![0; classes * classes] }
    }

    /// Adds the pixels of a map.
    ///
    /// # Errors
    /// Maps of different sizes, or a class beyond the number of classes; nothing is added then.
    pub fn add(&mut self, truth: &[usize], prediction: &[usize]) -> Result<(), SegmentationError> {
        if truth.len() != prediction.len() {
            return Err(SegmentationError::Size { truth: truth.len(), prediction: prediction.len() });
        }
        let counted =
            || truth.iter().zip(prediction).enumerate().filter(|(_, (truth, _))| Some(**truth) != self.ignored);
        let beyond = |(pixel, (&truth, &prediction)): (usize, (&usize, &usize))| {
            let class = truth.max(prediction);
            (class >= self.classes).then_some(SegmentationError::Class { pixel, class, classes: self.classes })
        };
        if let Some(error) = counted().find_map(beyond) {
            return Err(error);
        }
        let places: Vec<usize> = counted().map(|(_, (truth, prediction))| truth * self.classes + prediction).collect();
        places.into_iter().for_each(|place| self.counts[place] += 1);
        Ok(())
    }

    /// Pixels of a true and a predicted class.
    pub fn count(&self, truth: usize, prediction: usize) -> u64 {
        self.counts[truth * self.classes + prediction]
    }

    /// Of every class, pixels that have it in both maps over pixels that have it in either; none of a class that is in neither.
    pub fn intersection_over_union(&self) -> Vec<Option<f64>> {
        self.of_classes(|class| self.of_truth(class) + self.of_prediction(class) - self.count(class, class))
    }

    /// Of every class, the part of its true pixels that is right; none of a class that is not in the truth.
    pub fn class_accuracy(&self) -> Vec<Option<f64>> {
        self.of_classes(|class| self.of_truth(class))
    }

    /// The mean of [`Self::intersection_over_union`] over the classes that have one: mIoU.
    pub fn mean_intersection_over_union(&self) -> Option<f64> {
        mean(&self.intersection_over_union())
    }

    /// The mean of [`Self::class_accuracy`] over the classes that have one.
    pub fn mean_accuracy(&self) -> Option<f64> {
        mean(&self.class_accuracy())
    }

    /// The part of all pixels that is right.
    pub fn pixel_accuracy(&self) -> Option<f64> {
        let right: u64 = (0..self.classes).map(|class| self.count(class, class)).sum();
        part(right, self.counts.iter().sum())
    }

    fn of_classes(&self, whole: impl Fn(usize) -> u64) -> Vec<Option<f64>> {
        (0..self.classes).map(|class| part(self.count(class, class), whole(class))).collect()
    }

    fn of_truth(&self, class: usize) -> u64 {
        (0..self.classes).map(|prediction| self.count(class, prediction)).sum()
    }

    fn of_prediction(&self, class: usize) -> u64 {
        (0..self.classes).map(|truth| self.count(truth, class)).sum()
    }
}

fn part(some: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| some as f64 / all as f64)
}

fn mean(values: &[Option<f64>]) -> Option<f64> {
    let there: Vec<f64> = values.iter().copied().flatten().collect();
    (!there.is_empty()).then(|| there.iter().sum::<f64>() / there.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_are_nowhere_do_not_count_and_those_that_were_guessed_do() {
        let mut confusion = Confusion::new(4, Some(255));
        confusion.add(&[0, 0, 1, 255], &[0, 1, 1, 3]).unwrap();
        assert_eq!(confusion.intersection_over_union(), [Some(0.5), Some(0.5), None, None]);
        assert_eq!(confusion.mean_intersection_over_union(), Some(0.5));
        confusion.add(&[1], &[2]).unwrap();
        assert_eq!(confusion.intersection_over_union()[2], Some(0.0));
        assert_eq!((confusion.class_accuracy()[2], confusion.mean_accuracy()), (None, Some(0.5)));
        assert_eq!(confusion.pixel_accuracy(), Some(0.5));
    }

    #[test]
    fn maps_that_do_not_fit_are_refused_and_change_nothing() {
        let mut confusion = Confusion::new(2, None);
        let before = confusion.clone();
        assert_eq!(confusion.add(&[0], &[0, 1]), Err(SegmentationError::Size { truth: 1, prediction: 2 }));
        let error = SegmentationError::Class { pixel: 1, class: 2, classes: 2 };
        assert_eq!(confusion.add(&[0, 2], &[0, 1]), Err(error));
        assert_eq!(confusion, before);
        assert_eq!(before.pixel_accuracy(), None);
    }
}
