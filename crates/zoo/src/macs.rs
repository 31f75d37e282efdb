//! Multiply-accumulates of parts of a network, for one pass and for several stochastic ones.

use std::ops::Range;

use crate::ModelConfig;

impl ModelConfig {
    /// Multiply-accumulates of a forward of one image by units, those of [`Model::units`](crate::Model::units); their sum is
    /// [`Self::macs`]. Every row of every block is counted, as fvcore does.
    pub fn unit_macs(&self) -> Vec<u64> {
        match self {
            Self::Vit(config) => config.unit_macs(),
            Self::ResNet(config) => config.unit_macs(),
            Self::Swin(config) => config.unit_macs(),
            Self::ClipResNet(config) => config.unit_macs(),
        }
    }

    /// What [`Segment::forward_passes`](crate::Segment::forward_passes) computes for one image of the units `units`, with dropout
    /// in them: what no mask can change once, all else `passes` times, and no row that nobody reads. For a Swin Transformer every unit
    /// is counted `passes` times.
    pub fn segment_macs(&self, units: Range<usize>, passes: usize) -> u64 {
        let all = self.unit_macs();
        let (head, times) = (all.len() - 1, passes.max(1) as u64);
        let sum = |units: Range<usize>| all.get(units).unwrap_or_default().iter().sum::<u64>();
        let classifier = (self.feature_width() * self.classes()) as u64;
        let end = match self {
            _ if !units.contains(&head) => 0,
            // The pool is before the dropout.
            Self::ResNet(_) | Self::ClipResNet(_) => all[head] + (times - 1) * classifier,
            Self::Vit(_) | Self::Swin(_) => times * all[head],
        };
        let blocks = units.start..units.end.min(head);
        match self {
            Self::ResNet(_) | Self::ClipResNet(_) => end + sum(blocks),
            // The class token is read, and the last block among these units.
            Self::Vit(config) if config.reads_cls_alone() && blocks.end == head && blocks.contains(&(head - 1)) => {
                let rest = blocks.start..head - 1;
                let last =
                    if rest.is_empty() { config.cls_block_macs(passes) } else { times * config.cls_block_macs(1) };
                end + times * sum(rest) + last
            }
            _ => end + times * sum(blocks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_all_of_a_network_and_passes_repeat_what_masks_can_change() {
        let vit = r#"{"architecture": "vit", "image_size": 16, "patch_size": 8, "width": 12, "depth": 3, "heads": 2, "classes": 4}"#;
        let resnet = r#"{"architecture": "resnet", "image_size": 16, "stem_kernel": 3, "stem_stride": 2, "width": 6,
            "layers": [1, 1], "block": "basic", "classes": 4}"#;
        for config in [vit, resnet].map(|text| serde_json::from_str::<ModelConfig>(text).unwrap()) {
            let units = config.unit_macs();
            assert_eq!((units.len(), units.iter().sum()), (config.blocks() + 2, config.macs()));
            let (head, blocks) = (units.len() - 1, config.blocks());
            let tail = |passes| config.segment_macs(blocks..head + 1, passes);
            // Ten passes through the last unit and the classifier cost less than ten times one.
            assert!(tail(1) < tail(10) && tail(10) < 10 * tail(1), "{config:?}");
            // The stem and the blocks before the last one are counted whole.
            assert_eq!(config.segment_macs(0..blocks, 1), units[..blocks].iter().sum::<u64>());
        }
        let vit: ModelConfig = serde_json::from_str(vit).unwrap();
        assert!(
            vit.segment_macs(3..4, 1) < vit.unit_macs()[3],
            "the class token's row alone costs as much as all rows"
        );
        let two = |passes| vit.segment_macs(2..4, passes);
        assert_eq!(two(5), 5 * two(1), "masks of the first of two blocks change all that follows");
    }
}
