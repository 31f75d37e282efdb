# torch==2.9.0 open_clip_torch==3.3.0 safetensors==0.8.0
"""Writes <case>.safetensors for every <case>.json beside this file: a tiny random CLIP of open_clip, its outputs and some
gradients. Rerun only when a case changes: `python make.py`.

A case holds open_clip's description of the network and the token ids of texts. Tensors: `w.<key>` the weights under
open_clip's names, `in.x` the images, `out.image_features`, `out.text_features`, `out.logits_per_image`, `loss` the mean
cross-entropy of image i with text i, and `grad.<key>` some of its gradients under the names, and in
the shapes, of the crate.
"""

import json
import pathlib

import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import save_file

# By the names that parameters have in the crate; where open_clip's differ, those behind them.
GRADIENTS = {
    "logit_scale": "", "text.token_embedding.weight": "token_embedding.weight", "text.positional_embedding": "positional_embedding",
    "text.text_projection": "text_projection", "text.ln_final.weight": "ln_final.weight",
    "text.transformer.resblocks.0.attn.in_proj_weight": "transformer.resblocks.0.attn.in_proj_weight",
    "text.transformer.resblocks.1.mlp.c_fc.bias": "transformer.resblocks.1.mlp.c_fc.bias",
    "visual.cls_token": "visual.class_embedding", "visual.norm_pre.weight": "visual.ln_pre.weight",
    "visual.head.weight": "visual.proj", "visual.conv1.weight": "", "visual.attnpool.positional_embedding": "",
    "visual.attnpool.q_proj.bias": "", "visual.layer2.0.downsample.1.weight": "",
}


def perturb(model, generator):
    """Makes every weight, bias, norm and running statistic non-trivial."""
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if not value.dtype.is_floating_point or "attn_mask" in name or name == "logit_scale":
                continue
            if name.endswith("running_mean"):
                value.normal_(0, 0.2, generator=generator)
            elif name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
                value.uniform_(0.5, 1.5, generator=generator)
            elif value.ndim == 1:
                value.normal_(0, 0.1, generator=generator)
            elif value.ndim == 4:
                value.normal_(0, (1.5 / value[0].numel()) ** 0.5, generator=generator)
            else:
                value.normal_(0, 0.3, generator=generator)


def reshaped(ours, gradient):
    match ours:
        case "visual.head.weight":
            return gradient.T
        case "visual.cls_token":
            return gradient.reshape(1, 1, -1)
        case "logit_scale":
            return gradient.reshape(1)
    return gradient


def make(path):
    case = json.loads(path.read_text())
    config, ids = case["config"], torch.tensor(case["ids"])
    model = CLIP(config["embed_dim"], CLIPVisionCfg(**config["vision_cfg"]), CLIPTextCfg(**config["text_cfg"]),
                 quick_gelu=config["quick_gelu"])
    generator = torch.Generator().manual_seed(1)
    perturb(model, generator)
    # What is stored is free of rounding errors: they are ours to answer for alone.
    model.double().eval()
    state = {key: value for key, value in model.state_dict().items() if value.dtype.is_floating_point}
    tensors = {f"w.{key}": value.clone() for key, value in state.items()}
    size = config["vision_cfg"]["image_size"]
    # Halves lose nothing when they are read back, and keep the file small.
    halves = torch.randn(len(ids), 3, size, size, generator=generator).half()
    images, texts = model.encode_image(halves.double()), model.encode_text(ids)
    normalised = torch.nn.functional.normalize
    logits = model.logit_scale.exp() * normalised(images, dim=-1) @ normalised(texts, dim=-1).T
    loss = torch.nn.functional.cross_entropy(logits, torch.arange(len(ids)))
    loss.backward()
    named = dict(model.named_parameters())
    tensors |= {"out.image_features": images, "out.text_features": texts, "out.logits_per_image": logits, "loss": loss}
    for ours, theirs in GRADIENTS.items():
        if (theirs or ours) in named and not (ours == "visual.conv1.weight" and "visual.proj" in named):
            tensors[f"grad.{ours}"] = reshaped(ours, named[theirs or ours].grad)
    tensors = {key: value.detach().float().contiguous().clone() for key, value in tensors.items()}
    file = path.with_suffix(".safetensors")
    save_file(tensors | {"in.x": halves}, file)
    print(f"{path.stem}: {file.stat().st_size} bytes, logits {logits.flatten().tolist()}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for path in sorted(pathlib.Path(__file__).parent.glob("*.json")):
        make(path)
