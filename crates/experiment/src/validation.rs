//! A look at the pre-trained model on clean validation images, before hours are spent on it.

use robustify_bench::evaluate;
use robustify_data::Preprocess;
use robustify_methods::Lab;
use robustify_zoo::Model;

/// Says how much of the clean validation images the model gets right. Settings are chosen on such numbers, never on the test
/// images. A model that guesses, or that would be right if its classes had another order, is warned of, with the likely cause.
pub(crate) fn check(model: &Model, lab: &Lab<'_>) -> anyhow::Result<()> {
    let (images, preprocess) = (&lab.splits.validation, lab.config.original.preprocess.parse::<Preprocess>()?);
    let said = evaluate::predictions(model, images, &preprocess, &lab.machine.workers, &lab.machine.device)?;
    let found = Found::new(&said, images.labels(), images.classes().len());
    lab.watch.say(&format!(
        "validation: the original model is right on {:.1} % of {} clean images",
        100.0 * found.accuracy(),
        images.len()
    ));
    if let Some(warning) = found.warning(images.classes()) {
        lab.watch.warn(&warning);
    }
    Ok(())
}

/// Images below which guessing cannot be told from knowing.
const FEW: usize = 20;

/// Classes for which the message writes down the whole order.
const WRITTEN: usize = 20;

/// What a model said, against the labels.
struct Found {
    images: usize,
    right: usize,
    /// Images of the most frequent class: what a model would get right that says nothing else.
    most: usize,
    /// The label that fits each class of the model best, by which no label is taken twice.
    order: Vec<Option<usize>>,
    /// Images that would be right in that order.
    reordered: usize,
}

impl Found {
    fn new(said: &[usize], labels: &[usize], classes: usize) -> Self {
        let mut counts = vec![0usize; classes * classes];
        for (&class, &label) in said.iter().zip(labels).filter(|(class, _)| **class < classes) {
            counts[class * classes + label] += 1;
        }
        let of_label = |label: usize| labels.iter().filter(|&&other| other == label).count();
        let most = (0..classes).map(of_label).max().unwrap_or(0);
        let right = (0..classes).map(|class| counts[class * classes + class]).sum();
        // The greatest counts first: where classes are told apart at all, this is the best order.
        let mut pairs: Vec<usize> = (0..counts.len()).filter(|&pair| counts[pair] > 0).collect();
        pairs.sort_by_key(|&pair| (std::cmp::Reverse(counts[pair]), pair));
        let (mut order, mut taken, mut reordered) = (vec![None; classes], vec![false; classes], 0);
        for pair in pairs {
            let (class, label) = (pair / classes, pair % classes);
            if order[class].is_none() && !taken[label] {
                (order[class], taken[label]) = (Some(label), true);
                reordered += counts[pair];
            }
        }
        Self { images: labels.len(), right, most, order, reordered }
    }

    fn accuracy(&self) -> f64 {
        self.share(self.right)
    }

    fn share(&self, count: usize) -> f64 {
        count as f64 / self.images.max(1) as f64
    }

    /// What a person should look at, if anything.
    fn warning(&self, classes: &[String]) -> Option<String> {
        let (right, chance, reordered) = (self.accuracy(), self.share(self.most), self.share(self.reordered));
        // A few images for each class are needed to tell an order from luck.
        let is_shuffled = self.images >= 4 * classes.len() && reordered > right + 0.2;
        if is_shuffled {
            let order: Option<Vec<&str>> = self.order.iter().map(|label| Some(classes[(*label)?].as_str())).collect();
            let written = match order.filter(|order| order.len() <= WRITTEN) {
                Some(order) => format!(", which fits best: original.classes={}", serde_json::json!(order)),
                None => String::new(),
            };
            return Some(format!(
                "the original model is right on {:.1} % of the validation images, and would be on {:.1} % if its classes had another \
                 order than the data's; name the order of the weights in original.classes{written}",
                100.0 * right,
                100.0 * reordered
            ));
        }
        let chance_error = (chance * (1.0 - chance) / self.images.max(1) as f64).sqrt();
        // Of a few images nothing can be said.
        (self.images >= FEW && right < 1.0 && right < chance + 2.0 * chance_error).then(|| {
            format!(
                "the original model is right on {:.1} % of the validation images, and {:.1} % are of one class, so it does no better than \
                 guessing: is original.preprocess that of the weights, are these its classes, and are they trained weights?",
                100.0 * right,
                100.0 * chance
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_in_another_order_and_guessing_are_told_apart() {
        let classes = ["a", "b", "c"].map(str::to_owned);
        let labels: Vec<usize> = (0..60).map(|image| image % 3).collect();
        let warning = |said: &[usize]| Found::new(said, &labels, 3).warning(&classes);
        assert_eq!(warning(&labels), None);
        let shifted: Vec<usize> = labels.iter().map(|label| (label + 1) % 3).collect();
        let said = warning(&shifted).unwrap();
        assert!(said.contains("0.0 %") && said.contains(r#"original.classes=["c","a","b"]"#), "{said}");
        let guessed: Vec<usize> = (0..60).map(|image| image / 3 % 3).collect();
        let said = warning(&guessed).unwrap();
        assert!(said.contains("guessing") && said.contains("33.3 %"), "{said}");
    }
}
