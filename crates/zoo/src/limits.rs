//! Sizes that no machine holds: found out from the configuration alone, before anything is multiplied, drawn or allocated.

use crate::ModelConfig;

/// The largest number among a network's sizes: far beyond any network, and products of a few of them do not overflow.
const LARGEST: usize = 1 << 20;

/// The most memory that a network's weights may take, in GiB: what one machine can train, with gradients and moments beside them.
const MOST_GIB: f64 = 64.0;

impl ModelConfig {
    /// Memory that the weights take as 32-bit floats, in bytes, without building anything. Matrices and kernels are counted, biases and
    /// norms are not, which is a few percent too little at most. Only of a configuration whose sizes have no fault.
    pub fn weight_bytes(&self) -> f64 {
        4.0 * match self {
            Self::Vit(config) => config.weights(),
            Self::ResNet(config) => config.weights(),
            Self::Swin(config) => config.weights(),
            Self::ClipResNet(config) => config.weights(),
        }
    }

    /// Sizes that are beyond any network, a sentence each.
    pub(crate) fn oversized(&self) -> Vec<String> {
        let too_large = self.sizes().into_iter().filter(|&(_, size)| size > LARGEST);
        too_large.map(|(name, size)| format!("{name} {size} is above {LARGEST}, which no network needs")).collect()
    }

    /// A sentence if the weights take more memory than a machine has.
    pub(crate) fn overweight(&self) -> Option<String> {
        let gib = self.weight_bytes() / f64::from(1 << 30);
        (gib > MOST_GIB).then(|| {
            format!(
                "its weights would take {gib:.0} GiB, above the {MOST_GIB:.0} GiB that a machine may be expected to have; make the \
                 network narrower or less deep"
            )
        })
    }

    /// Everything that memory grows with, by name.
    fn sizes(&self) -> Vec<(&'static str, usize)> {
        let named = |name: &'static str, list: &[usize]| list.iter().map(|&size| (name, size)).collect::<Vec<_>>();
        let mut sizes = vec![("image_size", self.image_size()), ("classes", self.classes())];
        match self {
            Self::Vit(config) => {
                let whole = [("patch_size", config.patch_size), ("width", config.width), ("depth", config.depth)];
                sizes.extend(whole);
                sizes.extend([("heads", config.heads), ("registers", config.registers)]);
                sizes.extend([("projection", config.projection), ("mlp_ratio", config.mlp_ratio as usize)]);
                if let Some(prompts) = config.prompts {
                    sizes.extend([("prompts.tokens", prompts.tokens), ("prompts.projection", prompts.projection)]);
                }
                for conv in &config.stem {
                    sizes.extend(named("a number of the stem", &[conv.channels, conv.kernel, conv.stride]));
                }
            }
            Self::ResNet(config) => {
                sizes.extend([("width", config.width), ("stem_kernel", config.stem_kernel)]);
                sizes.push(("stem_stride", config.stem_stride));
                sizes.extend(named("a number of layers", &config.layers));
            }
            Self::Swin(config) => {
                sizes.extend([("width", config.width), ("patch_size", config.patch_size)]);
                sizes.push(("mlp_ratio", config.mlp_ratio as usize));
                sizes.extend(named("a number of depths", &config.depths));
                sizes.extend(named("a number of heads", &config.heads));
                sizes.extend(named("a number of windows", &config.windows));
                sizes.extend(named("a number of pretrained_windows", &config.pretrained_windows));
                // Every layer doubles the width.
                let last = config.width as f64 * 2.0_f64.powi(config.depths.len() as i32 - 1);
                sizes.push(("the width of the last layer", last as usize));
            }
            Self::ClipResNet(config) => {
                sizes.extend([("width", config.width), ("heads", config.heads), ("embed_dim", config.embed_dim)]);
                sizes.extend(named("a number of layers", &config.layers));
            }
        }
        sizes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resnet::{BlockKind, ResNetConfig};
    use crate::vit::VitConfig;
    use crate::{Model, registry, weights};

    #[test]
    fn weights_are_counted_without_building_the_network() {
        let device = robustify_device::open(Some("flex")).unwrap();
        for name in ["vit_tiny_patch16_224", "resnet50.a1_in1k", "swin_tiny_patch4_window7_224", "resnet50_clip.openai"]
        {
            let config = (registry::find(name).unwrap().config)();
            let built = 4.0 * weights::parameters(&Model::blank(&config, &device).unwrap()) as f64;
            let counted = config.weight_bytes();
            assert!((0.97 * built..=built).contains(&counted), "{name}: {counted} of {built}");
        }
    }

    #[test]
    fn what_no_machine_holds_is_refused_before_it_is_built() {
        let device = robustify_device::open(Some("flex")).unwrap();
        let wide = ResNetConfig { width: 100_000, ..ResNetConfig::imagenet(BlockKind::Basic, [2; 4]) };
        let deep = VitConfig { depth: 2_000_000_000, ..VitConfig::plain(224, 16, 192, 12, 3) };
        for (config, said) in [(ModelConfig::ResNet(wide), "GiB"), (ModelConfig::Vit(deep), "depth 2000000000")] {
            let fault = Model::new(&config, 0, &device).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(fault.contains(said), "{fault}");
            assert_eq!(config.faults().len(), 1, "{:?}", config.faults());
        }
        assert_eq!(ModelConfig::Swin(crate::swin::SwinConfig::giant()).faults(), Vec::<String>::new());
    }
}
