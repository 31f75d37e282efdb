//! What a checkpoint is likely to be, for messages.

use super::names::Shapes;

/// A name that only this kind of model has, and what the model is.
const KINDS: &[(&str, &str)] = &[
    ("visual.conv1.weight", "CLIP (OpenAI, open_clip)"),
    ("class_embedding", "CLIP's image tower (OpenAI, open_clip)"),
    ("attnpool.positional_embedding", "CLIP's ResNet (OpenAI, open_clip)"),
    ("encoder.layers.encoder_layer_0.ln_1.weight", "a ViT of torchvision"),
    ("features.0.0.weight", "a Swin of torchvision, or another of its models made of `features`"),
    ("layers.0.blocks.0.attn.cpb_mlp.0.weight", "SwinV2"),
    ("layers.0.blocks.0.attn.relative_position_bias_table", "Swin"),
    ("vit.embeddings.cls_token", "a ViT of Hugging Face transformers"),
    ("deit.embeddings.cls_token", "a DeiT of Hugging Face transformers"),
    ("dinov2.embeddings.cls_token", "a DINOv2 of Hugging Face transformers"),
    ("swin.embeddings.patch_embeddings.projection.weight", "a Swin of Hugging Face transformers"),
    ("swinv2.embeddings.patch_embeddings.projection.weight", "a SwinV2 of Hugging Face transformers"),
    ("resnet.embedder.embedder.convolution.weight", "a ResNet of Hugging Face transformers"),
    ("vision_model.embeddings.class_embedding", "CLIP of Hugging Face transformers"),
    ("vision_model.head.probe", "SigLIP of Hugging Face transformers, whose towers are not among the models here"),
    ("embeddings.cls_token", "a ViT of Hugging Face transformers"),
    ("convnext.embeddings.patch_embeddings.weight", "a ConvNeXt of Hugging Face transformers"),
    ("stages.0.blocks.0.conv_dw.weight", "ConvNeXt"),
    ("conv_stem.weight", "EfficientNet or MobileNet"),
    ("mixer.blocks.0.norm1.weight", "an MLP-Mixer"),
];

/// A few words on what a checkpoint with these tensors is; `None` when they say nothing.
pub(super) fn architecture(found: &Shapes) -> Option<String> {
    if let Some((_, what)) = KINDS.iter().find(|(name, _)| found.contains_key(*name)) {
        return Some((*what).to_owned());
    }
    let count =
        |before: &str, after: &str| (0..).take_while(|n| found.contains_key(&format!("{before}{n}{after}"))).count();
    if let Some([width, _]) = found.get("blocks.0.attn.proj.weight").map(Vec::as_slice) {
        let depth = count("blocks.", ".attn.proj.weight");
        let patch = match found.get("patch_embed.proj.weight").map(Vec::as_slice) {
            Some([_, _, side, _]) => format!(" and patches of {side} pixels"),
            _ => String::new(),
        };
        return Some(format!("a ViT with {depth} blocks, {width} channels{patch}"));
    }
    if found.contains_key("layer1.0.conv1.weight") {
        let blocks = [1, 2, 3, 4].map(|layer| count(&format!("layer{layer}."), ".conv1.weight"));
        let kind = if found.contains_key("layer1.0.conv3.weight") { "bottleneck" } else { "basic" };
        return Some(format!("a ResNet with {blocks:?} {kind} blocks"));
    }
    None
}
