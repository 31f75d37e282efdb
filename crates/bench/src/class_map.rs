//! From the classes of a model to those of a data set that has fewer, or coarser ones.
//!
//! ImageNet-A and ImageNet-R have 200 of ImageNet's 1,000 classes: the logits of the others are left out before the largest is
//! sought. A class of ObjectNet stands for one or more classes of ImageNet: it has the largest of their logits.
//! Sources: Hendrycks et al. 2021, arXiv:2006.16241 and arXiv:1907.07174; Barbu et al. 2019 (ObjectNet).

use robustify_predict::{Answers, Columns, HeadAnswer};
use serde::{Deserialize, Serialize};

use crate::store::Stored;

/// For every class of a data set, the classes of a model that mean it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<usize>>", into = "Vec<Vec<usize>>")]
pub struct ClassMap {
    groups: Vec<Vec<usize>>,
}

/// A class map that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassMapError {
    /// Classes that are others, or stand in another order.
    #[error("{0}")]
    Unlike(String),
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

    /// A data set whose classes are those of the model, in its order.
    ///
    /// # Errors
    /// Other names, or the same in another order.
    pub fn same(suite: &[String], model: &[String]) -> Result<Self, ClassMapError> {
        if suite == model {
            return Ok(Self::subset((0..suite.len()).collect()));
        }
        let differs = suite.iter().zip(model).position(|(wanted, found)| wanted != found);
        Err(ClassMapError::Unlike(match differs {
            Some(at) => format!("class {at} is `{}` in the data and `{}` in the model", suite[at], model[at]),
            None => format!("the data has {} classes, the model {}", suite.len(), model.len()),
        }))
    }

    /// Whether a model of so many classes answers for the data set's as it is.
    pub fn is_same(&self, classes: usize) -> bool {
        self.groups.len() == classes && self.groups.iter().enumerate().all(|(own, group)| **group == [own])
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

    /// The probabilities of the data set's classes from those of the model's: as if its logits had been projected before the softmax.
    fn share(&self, probabilities: &[f32]) -> Result<Vec<f32>, ClassMapError> {
        let kept = self.project(probabilities)?;
        let sum: f64 = kept.iter().copied().map(f64::from).sum();
        Ok(match sum > 0.0 {
            true => kept.iter().map(|&part| (f64::from(part) / sum) as f32).collect(),
            // All others had everything, to the last bit.
            false => vec![1.0 / kept.len() as f32; kept.len()],
        })
    }

    /// What a model said, in the data set's classes. Logits are projected; probabilities, of heads and of means over passes, keep their
    /// ratios and sum to one again. Uncertainties stay those over all classes of the model.
    ///
    /// # Errors
    /// A class that the model does not have.
    pub fn answers(&self, answers: Answers) -> Result<Answers, ClassMapError> {
        if self.is_same(answers.classes()) || answers.is_empty() {
            return Ok(answers);
        }
        let three = |heads: [Vec<f32>; 3]| -> Result<[Vec<f32>; 3], ClassMapError> {
            let [clean, combined, robust] = heads.each_ref().map(|head| self.share(head));
            Ok([clean?, combined?, robust?])
        };
        Ok(match answers {
            Answers::Logits { classes, values } => {
                let rows: Vec<Vec<f32>> =
                    values.chunks_exact(classes).map(|row| self.project(row)).collect::<Result<_, _>>()?;
                Answers::Logits { classes: self.len(), values: rows.concat() }
            }
            Answers::Heads(heads) => Answers::Heads(
                heads
                    .into_iter()
                    .map(|HeadAnswer { passes, deterministic }| {
                        let probabilities = three(passes.probabilities.clone())?;
                        Ok(HeadAnswer {
                            passes: passes.with_answers(probabilities),
                            deterministic: three(deterministic)?,
                        })
                    })
                    .collect::<Result<_, _>>()?,
            ),
        })
    }

    /// Stored answers in the data set's classes, with what is beside them; see [`ClassMap::answers`].
    ///
    /// # Errors
    /// A class that the model does not have.
    pub fn stored(&self, stored: Stored) -> Result<Stored, ClassMapError> {
        let classes = stored.answers.classes();
        if self.is_same(classes) || stored.answers.is_empty() {
            return Ok(stored);
        }
        let mut beside = Columns::default();
        for (name, column) in stored.beside.iter() {
            // Of the columns, these alone are of classes.
            if name == Columns::PROBIT && column.width % classes == 0 {
                let rows: Vec<Vec<f32>> =
                    column.values.chunks_exact(classes).map(|row| self.share(row)).collect::<Result<_, _>>()?;
                beside.insert(name, column.width / classes * self.len(), rows.concat());
            } else {
                beside.insert(name, column.width, column.values.clone());
            }
        }
        Ok(Stored { answers: self.answers(stored.answers)?, beside, ..stored })
    }
}

impl TryFrom<Vec<Vec<usize>>> for ClassMap {
    type Error = ClassMapError;

    fn try_from(groups: Vec<Vec<usize>>) -> Result<Self, ClassMapError> {
        Self::groups(groups)
    }
}

impl From<ClassMap> for Vec<Vec<usize>> {
    fn from(map: ClassMap) -> Self {
        map.groups
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

    #[test]
    fn the_same_classes_are_as_they_are_and_others_say_where_they_differ() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let same = ClassMap::same(&names(&["a", "b"]), &names(&["a", "b"])).unwrap();
        assert!(same.is_same(2) && !same.is_same(3) && !ClassMap::subset(vec![0, 2]).is_same(2));
        let turned = ClassMap::same(&names(&["a", "b"]), &names(&["b", "a"])).unwrap_err();
        assert_eq!(turned.to_string(), "class 0 is `a` in the data and `b` in the model");
        let fewer = ClassMap::same(&names(&["a", "b"]), &names(&["a"])).unwrap_err();
        assert_eq!(fewer.to_string(), "the data has 2 classes, the model 1");
    }

    #[test]
    fn answers_lose_the_classes_that_the_data_does_not_have() {
        let map = ClassMap::groups(vec![vec![3], vec![0, 1]]).unwrap();
        let logits = Answers::Logits { classes: 4, values: vec![1.0, 2.0, 9.0, 0.5, 4.0, -1.0, 9.0, 6.0] };
        let Answers::Logits { classes, values } = map.answers(logits).unwrap() else { panic!() };
        assert_eq!((classes, values), (2, vec![0.5, 2.0, 6.0, 4.0]));
        // A tenth against the larger of three tenths and two: a quarter and three quarters.
        assert_eq!(map.share(&[0.3, 0.2, 0.4, 0.1]).unwrap(), vec![0.25, 0.75]);
        assert_eq!(map.share(&[0.0, 0.0, 1.0, 0.0]).unwrap(), vec![0.5, 0.5]);
    }
}
