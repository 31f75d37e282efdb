//! From the classes of a model to those of a data set that has fewer, or coarser ones.
//!
//! ImageNet-A and ImageNet-R have 200 of ImageNet's 1,000 classes: the logits of the others are left out before the largest is
//! sought. A class of ObjectNet stands for one or more classes of ImageNet: it has the largest of their logits.
//! Sources: Hendrycks et al. 2021, arXiv:2006.16241 and arXiv:1907.07174; Barbu et al. 2019 (ObjectNet).

/// For every class of a data set, the classes of a model that mean it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassMap {
    groups: Vec<Vec<usize>>,
}

/// A class map that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassMapError {
    /// A class that no class of the model means.
    #[error("class {0} of the data set stands for no class of the model")]
    Empty(usize),
    /// A class that the model does not have.
    #[error("the map names class {class} of the model, which has {classes}")]
    Beyond {
        /// What the map names.
        class: usize,
        /// How many the model has.
        classes: usize,
    },
}

impl ClassMap {
    /// A data set with some of the model's classes, in ascending order of their numbers there.
    pub fn subset(mut classes: Vec<usize>) -> Self {
        classes.sort_unstable();
        Self { groups: classes.into_iter().map(|class| vec![class]).collect() }
    }

    /// A data set whose classes stand for one or more of the model's each.
    ///
    /// # Errors
    /// A class that stands for none.
    pub fn groups(groups: Vec<Vec<usize>>) -> Result<Self, ClassMapError> {
        match groups.iter().position(Vec::is_empty) {
            Some(class) => Err(ClassMapError::Empty(class)),
            None => Ok(Self { groups }),
        }
    }

    /// Number of classes of the data set.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether the data set has no class.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Scores of the data set's classes from those of the model's: of each the largest that means it. Of logits, not of
    /// probabilities, for whoever wants to compare with others.
    ///
    /// # Errors
    /// A class that the model does not have.
    pub fn project(&self, scores: &[f32]) -> Result<Vec<f32>, ClassMapError> {
        let of =
            |&class: &usize| scores.get(class).copied().ok_or(ClassMapError::Beyond { class, classes: scores.len() });
        let largest =
            |group: &Vec<usize>| group.iter().map(of).try_fold(f32::NEG_INFINITY, |most, score| Ok(most.max(score?)));
        self.groups.iter().map(largest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_left_out_or_put_together() {
        let scores = [0.1, 9.0, 0.3, -0.2, 0.4];
        assert_eq!(ClassMap::subset(vec![4, 0, 2]).project(&scores), Ok(vec![0.1, 0.3, 0.4]));
        let map = ClassMap::groups(vec![vec![3], vec![2, 4]]).unwrap();
        assert_eq!((map.project(&scores), map.len()), (Ok(vec![-0.2, 0.4]), 2));
        assert_eq!(map.project(&scores[..4]), Err(ClassMapError::Beyond { class: 4, classes: 4 }));
        assert_eq!(ClassMap::groups(vec![vec![1], vec![]]), Err(ClassMapError::Empty(1)));
    }
}
