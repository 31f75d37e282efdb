//! Images of which only the number is known, and the size of what a network would give for them.

use std::sync::Arc;

use robustify_data::{DataError, DataFormat, Dataset, ImageSet, Images, Layout, Sample, Skipped, Source, Splits};
use robustify_methods::Config;
use robustify_zoo::ModelConfig;
use robustify_zoo::vit::Pool;

/// Numbers that the network gives for an image before its last `blocks` blocks or stages.
pub(super) fn features(network: &ModelConfig, blocks: usize) -> usize {
    match network {
        // Behind the last block only what the classifier reads is left.
        ModelConfig::Vit(config) if blocks == 0 && config.pool == Pool::Cls && !config.distilled => config.width,
        ModelConfig::Vit(config) => {
            let [height, width] = config.grid();
            (height * width + config.prefix()) * config.width
        }
        ModelConfig::ResNet(config) => {
            let stages = config.layers.len().saturating_sub(blocks).max(1);
            let stem = config.stem_stride * if config.max_pool { 2 } else { 1 };
            let side = config.image_size.div_ceil(stem << (stages - 1));
            let widest = config.feature_width() >> (config.layers.len() - stages);
            side * side * widest
        }
        ModelConfig::Swin(config) => {
            let last = config.depths.len() - 1;
            let side = config.image_size.div_ceil(config.patch_size << last);
            side * side * (config.width << last)
        }
        // The map before the attention pool, a 32nd of the picture's side, twice as wide before the last stage and half as fine.
        ModelConfig::ClipResNet(config) => {
            let side = config.image_size.div_ceil(if blocks > 0 { 16 } else { 32 });
            side * side * config.width * if blocks > 0 { 16 } else { 32 }
        }
    }
}

/// Images of which only the number is known.
pub(super) struct StandIn {
    classes: Vec<String>,
    labels: Vec<usize>,
}

impl StandIn {
    /// Parts of so many training and test images, with the classes of the data, or as many as the model has.
    pub fn splits(config: &Config, (train, test): (usize, usize), classes: Option<&[String]>) -> Splits {
        let named = || (0..config.original.network.classes().max(2)).map(|class| class.to_string()).collect();
        let classes = classes.map_or_else(named, <[String]>::to_vec);
        let of = |count: usize| -> Images {
            let labels = (0..count).map(|index| index % classes.len()).collect();
            Arc::new(Self { classes: classes.clone(), labels })
        };
        let (folder, format) = (config.data.path.clone(), config.data.format.unwrap_or(DataFormat::Folder));
        let held_out = || Source::HeldOut;
        let layout =
            Layout { folder, format, train: held_out(), validation: held_out(), test: held_out(), divided: false };
        // As many as are looked at before a job.
        Splits {
            train: of(train),
            validation: of((train / 10).min(5_000)),
            test: of(test),
            layout,
            skipped: Vec::new(),
        }
    }
}

impl Dataset<Sample, DataError> for StandIn {
    fn get(&self, index: usize) -> Result<Sample, DataError> {
        Err(DataError::Index { set: self.name().to_owned(), index, len: 0 })
    }

    fn len(&self) -> usize {
        self.labels.len()
    }
}

impl ImageSet for StandIn {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self) -> &str {
        "images that were counted only"
    }

    fn fingerprint(&self) -> String {
        format!("{} counted", self.labels.len())
    }

    fn skipped(&self) -> &[Skipped] {
        &[]
    }

    fn labels(&self) -> &[usize] {
        &self.labels
    }

    fn id(&self, index: usize) -> Result<u64, DataError> {
        Ok(index as u64)
    }

    fn dimensions(&self, index: usize) -> Result<(u32, u32), DataError> {
        self.get(index).map(|sample| sample.image.dimensions())
    }

    fn origin(&self, _: usize) -> String {
        self.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use robustify_device::Machine;
    use robustify_zoo::Model;

    use super::*;

    #[test]
    fn what_is_counted_is_what_a_network_gives() {
        let machine = Machine::open(Some("flex"), Some(1)).unwrap();
        let vit = r#"{"architecture": "vit", "image_size": 16, "patch_size": 4, "width": 16, "depth": 2, "heads": 2, "classes": 10}"#;
        let resnet = r#"{"architecture": "resnet", "image_size": 16, "stem_kernel": 3, "stem_stride": 2, "width": 4, "layers": [1, 2],
            "block": "basic", "classes": 10}"#;
        for text in [vit, resnet] {
            let network: ModelConfig = serde_json::from_str(text).unwrap();
            let model = Model::new(&network, 1, &machine.device).unwrap();
            for blocks in [0, 1] {
                let input = burn::tensor::Tensor::zeros([1, 3, 16, 16], &machine.device);
                let given: usize =
                    model.features(input, model.cut_before_last(blocks).unwrap()).dims().iter().product();
                assert_eq!(features(&network, blocks), given, "{text} {blocks}");
            }
        }
    }
}
