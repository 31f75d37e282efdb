# torch==2.9.0 timm==1.0.31 open_clip_torch==3.3.0 safetensors==0.8.0 numpy==1.26.4
"""Writes <case>/golden.safetensors for every <case>/case.json beside this file: a tiny random model of timm, its outputs
and gradients. Rerun only when a case changes: `python make.py`.

Tensors: `w.<key>` the weights, `in.x` the images, `out.logits`, `mid.<cut>` what flows through the cut of that number,
`loss` and `grad.<key>` the mean cross-entropy with the labels of case.json and some of its gradients, `trace.<module>` the
outputs of the further modules that case.json lists as `trace`; for networks with BatchNorm the same in training mode under
`train.`, and `train.w.<key>` the running statistics after that one forward. positions.safetensors holds position embeddings
before and after timm resized them, swin_bias_tables tables of position biases resized to other windows: `<old>.<new>` of
`<old>`, by side of the window.
"""

import json
import pathlib
from functools import partial

import torch
from open_clip.modified_resnet import ModifiedResNet
from safetensors.torch import save_file
from timm.layers import LayerNorm, resample_abs_pos_embed
from timm.layers.pos_embed_rel import resize_rel_pos_bias_table
from timm.models.deit import VisionTransformerDistilled
from timm.models.resnet import BasicBlock, Bottleneck, ResNet, make_blocks
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.models.vision_transformer import VisionTransformer

VIT_GRADIENTS = ["patch_embed.proj.weight", "cls_token", "blocks.0.attn.qkv.bias", "blocks.0.mlp.fc1.bias", "blocks.1.norm1.weight",
                 "blocks.1.norm1.bias", "blocks.1.attn.qkv.weight", "blocks.1.attn.qkv.bias", "norm.weight", "head.weight"]
VARIANT_GRADIENTS = ["cls_token", "dist_token", "reg_token", "pos_embed", "norm_pre.weight", "blocks.0.norm1.weight", "blocks.0.ls1.gamma",
                     "blocks.1.ls2.gamma", "blocks.1.mlp.fc1.bias", "fc_norm.weight", "head_dist.bias"]
RESNET_GRADIENTS = ["conv1.weight", "bn1.weight", "layer2.0.conv2.weight", "layer2.0.downsample.1.bias", "fc.weight"]
CLIP_RESNET_GRADIENTS = [*RESNET_GRADIENTS[:-1], "bn3.bias", "attnpool.positional_embedding", "attnpool.v_proj.bias", "head.weight"]


def vit(config):
    # timm calls its last norm `fc_norm` and moves it behind the pool when the pool is `avg`, unless told otherwise.
    model = (VisionTransformerDistilled if config.get("distilled") else VisionTransformer)(
        img_size=config["image_size"], patch_size=config["patch_size"], embed_dim=config["width"], depth=config["depth"],
        num_heads=config["heads"], mlp_ratio=config["mlp_ratio"], num_classes=config["classes"],
        global_pool={"cls": "token", "mean": "avg"}[config["pool"]], fc_norm=config.get("fc_norm", False),
        class_token=config.get("class_token", True), reg_tokens=config.get("registers", 0),
        no_embed_class=config.get("no_embed_class", False), pre_norm=config.get("pre_norm", False),
        qkv_bias=config.get("qkv_bias", True), init_values=config.get("layer_scale"),
        act_layer=config.get("activation", "gelu"), norm_layer=partial(LayerNorm, eps=config.get("norm_eps", 1e-6)))
    if not config.get("head_bias", True):
        model.head = torch.nn.Linear(config["width"], config["classes"], bias=False)
    return model


def resnet(config):
    """timm fixes 64 channels in the stem, and four stages: both are replaced."""
    block = {"basic": BasicBlock, "bottleneck": Bottleneck}[config["block"]]
    width, layers = config["width"], config["layers"]
    channels = [width << stage for stage in range(len(layers))]
    model = ResNet(block, (1, 1, 1, 1), num_classes=config["classes"], channels=(4, 4, 4, 4))
    kernel = config["stem_kernel"]
    model.conv1 = torch.nn.Conv2d(3, width, kernel, config["stem_stride"], kernel // 2, bias=False)
    model.bn1 = torch.nn.BatchNorm2d(width)
    if not config["max_pool"]:
        model.maxpool = torch.nn.Identity()
    stages, info = make_blocks((block,) * len(layers), channels, layers, width, act_layer=torch.nn.ReLU,
                               norm_layer=torch.nn.BatchNorm2d, cardinality=1, base_width=64)
    built = dict(stages)
    for name in ("layer1", "layer2", "layer3", "layer4"):
        setattr(model, name, built.get(name, torch.nn.Identity()))
    model.fc = torch.nn.Linear(info[-1]["num_chs"], config["classes"])
    return model


class ClipResNet(ModifiedResNet):
    """CLIP's network with a classifier behind it."""

    def __init__(self, config):
        super().__init__(config["layers"], config["embed_dim"], config["heads"], config["image_size"], config["width"])
        self.head = torch.nn.Linear(config["embed_dim"], config["classes"])

    def forward(self, x):
        return self.head(super().forward(x))


def perturb(model, generator):
    """Makes every bias, norm and running statistic non-trivial."""
    stored = model.state_dict()
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if not value.dtype.is_floating_point or name not in stored:
                continue
            if name.endswith("running_mean"):
                value.normal_(0, 0.2, generator=generator)
            elif name.endswith("running_var") or (value.ndim == 1 and name.endswith(("weight", "gamma"))):
                value.uniform_(0.5, 1.5, generator=generator)
            elif value.ndim == 1:
                value.normal_(0, 0.1, generator=generator)
            elif value.ndim == 4:
                value.normal_(0, (1.5 / value[0].numel()) ** 0.5, generator=generator)
            else:
                value.normal_(0, 0.15, generator=generator)


def cuts(model, architecture, pool):
    """The modules before each cut but the last."""
    if architecture == "vit":
        return [model.norm_pre, *model.blocks]
    stages = [stage for stage in (model.layer1, model.layer2, model.layer3, model.layer4) if len(list(stage.parameters()))]
    return [model.avgpool if architecture == "clip_resnet" else model.maxpool, *stages]


def resized_positions():
    """Writes positions.safetensors: `<case>.from` [1, tokens, width], and `<case>.to` for another grid."""
    generator = torch.Generator().manual_seed(1)
    cases = {"up": ([4, 4], [7, 7], 1), "down": ([9, 9], [4, 4], 2), "tall": ([3, 5], [8, 4], 0), "wide": ([6, 4], [5, 11], 5)}
    tensors = {}
    for name, (old, new, prefix) in cases.items():
        positions = torch.randn(1, prefix + old[0] * old[1], 3, generator=generator)
        tensors[f"{name}.from"] = positions
        tensors[f"{name}.to"] = resample_abs_pos_embed(positions, new, old, num_prefix_tokens=prefix).contiguous()
        tensors[f"{name}.grids"] = torch.tensor([*old, *new, prefix], dtype=torch.float32)
    save_file(tensors, pathlib.Path(__file__).parent / "positions.safetensors")


def outputs(model, x, labels, gradients, prefix):
    model.zero_grad()
    logits = model(x)
    loss = torch.nn.functional.cross_entropy(logits, labels)
    loss.backward()
    named = dict(model.named_parameters())
    tensors = {f"{prefix}grad.{key}": named[key].grad for key in gradients}
    return tensors | {f"{prefix}out.logits": logits, f"{prefix}loss": loss}


def make(case):
    spec = json.loads((case / "case.json").read_text())
    config, labels = spec["config"], torch.tensor(spec["labels"])
    if config["architecture"] == "swin":
        return make_swin(case, config, labels)
    generator = torch.Generator().manual_seed(1)
    is_vit = config["architecture"] == "vit"
    model = {"vit": vit, "resnet": resnet, "clip_resnet": ClipResNet}[config["architecture"]](config)
    perturb(model, generator)
    # What is stored is free of rounding errors: they are ours to answer for alone.
    model.double()
    tensors = {f"w.{key}": value.clone() for key, value in model.state_dict().items() if value.dtype.is_floating_point}
    size = config["image_size"]
    # Halves lose nothing when they are read back, and keep the file small.
    halves = torch.randn(len(labels), 3, size, size, generator=generator).half()
    x = halves.double()
    gradients = {"vit": VIT_GRADIENTS, "resnet": RESNET_GRADIENTS, "clip_resnet": CLIP_RESNET_GRADIENTS}[config["architecture"]]
    if is_vit and "trace" in spec:
        named = dict(model.named_parameters())
        gradients = [key for key in VARIANT_GRADIENTS if key in named]
    hooks = []
    for name in spec.get("trace", []):
        def see(_, __, output, name=name):
            tensors[f"trace.{name}"] = output
        hooks.append(model.get_submodule(name).register_forward_hook(see))
    for index, module in enumerate(cuts(model, config["architecture"], config.get("pool"))):
        def keep(_, __, output, name=f"mid.{index}", last=is_vit and index == config["depth"]):
            # With the class token as the pool, nothing reads the other tokens after the last block.
            tensors[name] = output[:, 0] if last and config["pool"] == "cls" and not config.get("distilled") else output
        hooks.append(module.register_forward_hook(keep))
    tensors |= outputs(model.eval(), x, labels, gradients, "")
    for hook in hooks:
        hook.remove()
    if not is_vit:
        tensors |= outputs(model.train(), x, labels, gradients, "train.")
        running = {key: value for key, value in model.state_dict().items() if "running" in key}
        tensors |= {f"train.w.{key}": value.clone() for key, value in running.items()}
    tensors = {key: value.detach().float().contiguous().clone() for key, value in tensors.items()}
    save_file(tensors | {"in.x": halves}, case / "golden.safetensors")
    print(f"{case.name}: {(case / 'golden.safetensors').stat().st_size} bytes, logits {tensors['out.logits'].std():.3f}")


def swin(config):
    """The model, and the gradients that are stored of it."""
    shape = dict(img_size=config["image_size"], patch_size=config["patch_size"], embed_dim=config["width"],
                 depths=config["depths"], num_heads=config["heads"], window_size=[(side, side) for side in config["windows"]],
                 mlp_ratio=config["mlp_ratio"], num_classes=config["classes"], drop_path_rate=0.0)
    gradients = ["patch_embed.proj.weight", "patch_embed.norm.bias", "layers.0.blocks.0.norm1.weight", "layers.0.blocks.0.norm2.bias",
                 "layers.0.blocks.1.attn.qkv.weight", "layers.0.blocks.1.mlp.fc2.bias", "layers.1.downsample.norm.weight",
                 "layers.1.downsample.reduction.weight", "layers.1.blocks.0.attn.proj.bias", "norm.weight", "head.fc.weight"]
    if config["version"] == "v1":
        return SwinTransformer(**shape), gradients + [f"layers.{layer}.blocks.{block}.attn.relative_position_bias_table"
                                                      for layer, block in ((0, 0), (0, 1), (1, 0))]
    model = SwinTransformerV2(**shape, pretrained_window_sizes=config.get("pretrained_windows", [0] * len(config["depths"])))
    own = ["logit_scale", "q_bias", "v_bias", "cpb_mlp.0.weight", "cpb_mlp.0.bias", "cpb_mlp.2.weight"]
    return model, gradients + [f"layers.0.blocks.1.attn.{key}" for key in own]


def make_swin(case, config, labels):
    # The norms of version 2 divide by what attention and MLP happen to spread: with other seeds some spread is so small that
    # timm's own gradients in single precision are wrong in the fifth digit.
    generator = torch.Generator().manual_seed(2)
    model, gradients = swin(config)
    perturb(model, generator)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("logit_scale"):
                value.uniform_(0, 2, generator=generator)
                if name.startswith("layers.1.blocks.1"):
                    # The largest that counts is log 100, about 4.6.
                    value[0] = 5
    model.double().eval()
    tensors = {f"w.{key}": value.clone() for key, value in model.state_dict().items()}
    size = config["image_size"]
    halves = torch.randn(len(labels), 3, size, size, generator=generator).half()
    blocks = [block for layer in model.layers for block in layer.blocks]
    for index, module in enumerate([model.patch_embed, *blocks]):
        module.register_forward_hook(lambda _, __, output, name=f"mid.{index}": tensors.update({name: output}))
    tensors |= outputs(model, halves.double(), labels, gradients, "")
    tensors = {key: value.detach().float().contiguous().clone() for key, value in tensors.items()}
    save_file(tensors | {"in.x": halves}, case / "golden.safetensors")
    print(f"{case.name}: {(case / 'golden.safetensors').stat().st_size} bytes, logits {tensors['out.logits'].std():.3f}")


def make_bias_tables(case, heads=2):
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for old, new in [(7, 12), (12, 7), (7, 8), (4, 3), (2, 5), (3, 1), (1, 3)]:
        table = torch.randn((2 * old - 1) ** 2, heads, generator=generator)
        table = tensors.setdefault(f"{old}", table)
        shape = ((2 * new - 1) ** 2, heads)
        tensors[f"{old}.{new}"] = resize_rel_pos_bias_table(table, new_window_size=(new, new), new_bias_shape=shape)
    case.mkdir(exist_ok=True)
    save_file(tensors, case / "golden.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = pathlib.Path(__file__).parent
    make_bias_tables(folder / "swin_bias_tables")
    for path in sorted(folder.glob("*/case.json")):
        make(path.parent)
    resized_positions()
