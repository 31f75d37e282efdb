//! A classifier for some of a model's classes, in any order.

use burn::tensor::Device;

use crate::clip::TextMatrix;
use crate::weights::{self, Entry};
use crate::{Model, ZooError};

/// Names of the classifiers' parameters, whose first dimension is the classes: ViT and Swin, ResNet, SwinV2 of timm, distilled DeiT.
const CLASSIFIERS: [&str; 8] = [
    "head.weight",
    "head.bias",
    "fc.weight",
    "fc.bias",
    "head.fc.weight",
    "head.fc.bias",
    "head_dist.weight",
    "head_dist.bias",
];

impl Model {
    /// The same model for the classes `chosen` alone, in that order, by their indices in the present one: the logit `i` of
    /// what comes out is the logit `chosen[i]` of what went in.
    ///
    /// # Errors
    /// A class that the model does not have, or a model without a classifier.
    pub fn with_chosen_classes(self, chosen: &[usize], device: &Device) -> Result<Self, ZooError> {
        let classes = self.classes();
        if let Some(past) = chosen.iter().find(|&&class| class >= classes) {
            return Err(ZooError::Config(format!("class {past} of a model of {classes} classes")));
        }
        if let Some(readout) = self.readout() {
            let texts = readout.texts();
            let texts = TextMatrix { rows: rows(&texts.rows, chosen), ..texts };
            return self.with_texts(Some(&texts), device);
        }
        let mut state = weights::state(&self);
        let mut found = false;
        for name in CLASSIFIERS {
            if let Some(entry) = state.get_mut(name) {
                *entry = rows(entry, chosen);
                found = true;
            }
        }
        if !found {
            return Err(ZooError::Config("the model has no classifier, so no classes can be chosen".into()));
        }
        weights::with_state(self.with_classifier(chosen.len(), device), state)
            .map_err(|faults| ZooError::Config(faults.join("; ")))
    }
}

/// Some rows of a tensor, in a given order.
fn rows(entry: &Entry, chosen: &[usize]) -> Entry {
    let width: usize = entry.shape[1..].iter().product();
    let values = chosen.iter().flat_map(|&row| &entry.values[row * width..(row + 1) * width]).copied().collect();
    Entry { shape: [&[chosen.len()], &entry.shape[1..]].concat(), values }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::*;
    use crate::Pass;

    #[test]
    fn logits_follow_their_classes() {
        let device = robustify_device::open(Some("flex")).unwrap();
        let networks = [
            r#"{"architecture": "vit", "image_size": 8, "patch_size": 4, "width": 8, "depth": 1, "heads": 2, "classes": 4}"#,
            r#"{"architecture": "resnet", "image_size": 8, "stem_kernel": 3, "stem_stride": 1, "width": 4, "layers": [1, 1],
                "block": "basic", "classes": 4}"#,
        ];
        for network in networks {
            let model = Model::new(&serde_json::from_str(network).unwrap(), 1, &device).unwrap();
            let images = Tensor::<4>::ones([1, 3, 8, 8], &device);
            let logits = |model: &Model| -> Vec<f32> {
                model.forward(images.clone(), &Pass::eval()).into_data().try_to_vec().unwrap()
            };
            let (before, chosen) = (logits(&model), [3, 0, 1]);
            let after = logits(&model.clone().with_chosen_classes(&chosen, &device).unwrap());
            for (logit, class) in after.iter().zip(chosen) {
                assert!((logit - before[class]).abs() < 1e-6, "{after:?} of {before:?}");
            }
            assert!(model.with_chosen_classes(&[4], &device).is_err());
        }
    }
}
