# torch==2.9.0 timm==1.0.31 open_clip_torch==3.3.0
"""Writes two files beside this one, from what timm and open_clip say of their models; no weights are downloaded.

`keys.json`: names and shapes of the state dicts. A number in braces stands for every number of a range, so
`blocks.{0-11}.norm1.bias` are twelve tensors.

`pretrained.json`: of timm's pre-trained models of these families, how images are prepared, the number of classes, the licence,
the repository, and whether the name of the architecture alone means this one (`timm.get_pretrained_cfg`).
"""

import collections
import json
import pathlib
import re

import open_clip
import timm
import torch

TIMM = """resnet18 resnet34 resnet50 resnet101 resnet152 resnet50_clip.openai vit_tiny_patch16_224 vit_small_patch16_224 vit_base_patch16_224
vit_large_patch16_224 vit_base_patch32_224 vit_base_patch8_224 vit_base_patch16_224.mae vit_large_patch16_224.mae vit_base_patch16_224.dino
vit_small_patch16_224.dino vit_small_patch14_dinov2 vit_base_patch14_dinov2 vit_small_patch14_reg4_dinov2 vit_base_patch14_reg4_dinov2
vit_base_patch16_clip_224.openai vit_base_patch32_clip_224.openai vit_large_patch14_clip_336.openai deit_tiny_patch16_224
deit_small_patch16_224 deit_base_patch16_224 deit_tiny_distilled_patch16_224 deit_base_distilled_patch16_224 deit3_small_patch16_224
deit3_base_patch16_224 swin_tiny_patch4_window7_224 swin_small_patch4_window7_224 swin_base_patch4_window7_224 swinv2_tiny_window8_256
swinv2_small_window8_256 swinv2_base_window8_256 swinv2_base_window16_256 test_vit test_vit2""".split()
FAMILIES = r"""(resnet(18|34|50|101|152)(_clip)?|(vit|deit3?)_(tiny|small|medium|base|large|huge)_(distilled_)?patch\d+
(_reg4)?(_clip(_quickgelu)?)?_(\d+|dinov2)|swin(v2)?_(tiny|small|base|large|s3)_.*|test_vit2?)\..*""".replace("\n", "")
OPEN_CLIP = """RN50 RN50-quickgelu RN101 RN101-quickgelu ViT-B-32 ViT-B-32-quickgelu ViT-B-16 ViT-B-16-quickgelu ViT-L-14 ViT-L-14-336
ViT-L-14-336-quickgelu""".split()


def shortened(state):
    """Blocks of one kind with the same tensors become one line."""
    groups = collections.defaultdict(list)
    for name, tensor in state.items():
        found = re.search(r"(?:blocks|resblocks|layer\d|stages\.\d)\.(\d+)\.", name)
        key, number = (name, None) if not found else (name[:found.start(1)] + "*" + name[found.end(1):], int(found.group(1)))
        groups[key, tuple(tensor.shape)].append(number)
    lines = {}
    for (key, shape), numbers in groups.items():
        runs = []
        for number in numbers:
            if runs and number is not None and number == runs[-1][1] + 1:
                runs[-1][1] = number
            else:
                runs.append([number, number])
        for first, last in runs:
            name = key if first is None else key.replace("*", str(first) if first == last else "{%d-%d}" % (first, last))
            lines[name] = list(shape)
    return lines


def facts(name):
    pretrained = timm.get_pretrained_cfg(name)
    wanted = "input_size mean std interpolation crop_pct crop_mode num_classes license hf_hub_id".split()
    default = timm.get_pretrained_cfg(pretrained.architecture).tag == pretrained.tag
    return {**{key: getattr(pretrained, key) for key in wanted}, "default": default}


lines = ["%s: %s" % (json.dumps(name), json.dumps(facts(name))) for name in timm.list_pretrained() if re.fullmatch(FAMILIES, name)]
pathlib.Path(__file__).with_name("pretrained.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")

keys = {}
for name in TIMM:
    with torch.device("meta"):
        keys[name] = shortened(timm.create_model(name, pretrained=False).state_dict())
for name in OPEN_CLIP:
    keys[name] = shortened(open_clip.create_model(name, pretrained=None, device="cpu").state_dict())
lines = ['%s: {\n%s\n}' % (json.dumps(model), ",\n".join("%s: %s" % (json.dumps(k), json.dumps(v)) for k, v in state.items()))
         for model, state in keys.items()]
pathlib.Path(__file__).with_name("keys.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
