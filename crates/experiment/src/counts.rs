//! Counting multiply-accumulates by the sizes of a network.

use robustify_zoo::ModelConfig;

/// The name for people of a network's kind.
pub(crate) fn architecture(network: &ModelConfig) -> &'static str {
    match network {
        ModelConfig::Vit(_) => "ViT",
        ModelConfig::ResNet(_) => "ResNet",
        ModelConfig::Swin(_) => "Swin",
        ModelConfig::ClipResNet(_) => "CLIP's ResNet",
    }
}

/// Multiply-accumulates of the last `blocks` blocks or stages with the classifier, for one image: what is repeated for every head.
/// Exact for ViTs and residual networks; of others the blocks' share.
pub(crate) fn tail_macs(network: &ModelConfig, blocks: usize) -> u64 {
    let classifier = (network.feature_width() * network.classes()) as u64;
    let without = match network {
        ModelConfig::Vit(config) if blocks < config.depth => {
            let mut config = config.clone();
            config.depth -= blocks;
            ModelConfig::Vit(config).macs()
        }
        ModelConfig::ResNet(config) if blocks < config.layers.len() => {
            let mut config = config.clone();
            config.layers.truncate(config.layers.len() - blocks);
            config.classes = 0;
            return network.macs() - ModelConfig::ResNet(config).macs();
        }
        other => {
            let whole = other.macs() - classifier;
            return classifier + whole * blocks as u64 / other.blocks().max(1) as u64;
        }
    };
    network.macs() - without + classifier
}

#[cfg(test)]
mod tests {
    use robustify_zoo::registry;

    use super::*;

    #[test]
    fn the_tail_is_what_a_head_repeats() {
        // Robustify's paper has 1.2 to 3.4 thousand million for a block of ViT-L/14, by what of it a head owns.
        let large = (registry::find("vit_large_patch14_clip_224.openai").unwrap().config)();
        let block = tail_macs(&large, 1) as f64 / 1e9;
        assert!((3.2..3.5).contains(&block), "{block}");
        let resnet = (registry::find("resnet50.tv_in1k").unwrap().config)();
        assert_eq!(tail_macs(&resnet, 0), 2048 * 1000);
        // The last stage of a ResNet-50 is about a fifth of it.
        let stage = tail_macs(&resnet, 1) as f64 / resnet.macs() as f64;
        assert!((0.15..0.25).contains(&stage), "{stage}");
    }
}
