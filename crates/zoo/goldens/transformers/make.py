"""Folders as Hugging Face transformers writes them, with what it answers: random weights, tiny networks.

    python make.py  # transformers 5.24.0; writes FAMILY/{config.json,model.safetensors,expected.safetensors} beside itself
"""
import pathlib

import torch
import transformers as T
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
VIT = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40, image_size=32, patch_size=8, num_labels=5)
DINOV2 = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, mlp_ratio=2, image_size=32, patch_size=8)
SWIN = dict(image_size=32, patch_size=2, embed_dim=12, depths=[2, 2], num_heads=[2, 3], window_size=4, num_labels=5)
FAMILIES = {
    "vit": lambda: T.ViTForImageClassification(T.ViTConfig(**VIT)),
    "deit": lambda: T.DeiTForImageClassificationWithTeacher(T.DeiTConfig(**VIT)),
    "dinov2": lambda: T.Dinov2Model(T.Dinov2Config(**DINOV2)),
    "dinov2_with_registers": lambda: T.Dinov2WithRegistersModel(T.Dinov2WithRegistersConfig(num_register_tokens=2, **DINOV2)),
    "swin": lambda: T.SwinForImageClassification(T.SwinConfig(**SWIN)),
    "swinv2": lambda: T.Swinv2ForImageClassification(T.Swinv2Config(**SWIN)),
    "resnet": lambda: T.ResNetForImageClassification(
        T.ResNetConfig(embedding_size=8, hidden_sizes=[32, 64], depths=[2, 1], layer_type="bottleneck", num_labels=5)),
    "clip": lambda: T.CLIPModel(T.CLIPConfig(
        vision_config=dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48, image_size=32, patch_size=8),
        text_config=dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=64,
                         max_position_embeddings=12, eos_token_id=63, bos_token_id=62, pad_token_id=0),
        projection_dim=12)),
}


def randomised(model, seed):
    """Nothing at zero or one, where a mistake would not show."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if "running_var" in name:
            tensor.copy_(noise.abs() + 0.5)
        elif "norm" in name and name.endswith("weight"):
            tensor.copy_(1 + 0.2 * noise)
        elif name == "logit_scale":
            tensor.copy_(torch.tensor(1.7))
        else:
            tensor.copy_(0.2 * noise)
    return model.eval()


with torch.no_grad():
    for seed, (name, make) in enumerate(FAMILIES.items()):
        folder = HERE / name
        model = randomised(make(), seed)
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(100 + seed))
        out = {"pixels": pixels}
        if name == "clip":
            ids = torch.tensor([[62, 5, 9, 63] + [0] * 8, [62, 7, 63] + [0] * 9])
            said = model(input_ids=ids, pixel_values=pixels)
            out |= {"ids": ids, "image": said.image_embeds, "text": said.text_embeds, "logits": said.logits_per_image}
        elif name.startswith("dinov2"):
            out["logits"] = model(pixels).pooler_output
        else:
            out["logits"] = model(pixels).logits
        save_file({key: value.contiguous() for key, value in out.items()}, folder / "expected.safetensors")
