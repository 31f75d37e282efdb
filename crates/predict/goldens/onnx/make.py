"""torch 2.15.0, torchvision 0.29.2, timm 1.0.31, onnx 1.23.2, onnxruntime 1.32.0, onnxscript 0.7.2: tiny random classifiers as
PyTorch's two exporters write them, and what onnxruntime says of three pictures. `python make.py` writes all files beside it.

`logits.json` has, for each file, the preprocessing and the logits of the three pictures of `picture`.
"""

import json
import pathlib
import warnings

import numpy as np
import onnx
import onnxruntime
import timm
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

HERE = pathlib.Path(__file__).parent
CLASSES = 5
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
warnings.filterwarnings("ignore")


def picture(number, side):
    """Picture 0, 1 or 2: levels of red, green and blue, `[side, side, 3]`."""
    y, x, c = np.meshgrid(np.arange(side), np.arange(side), np.arange(3), indexing="ij")
    return ((x * 7 + y * 13 + c * 71 + number * 29 + (x * y) % 17 * 5) % 256).astype(np.uint8)


class Narrow(ResNet):
    """torchvision's ResNet with a block a stage and a sixteenth of the channels."""

    def __init__(self):
        super().__init__(BasicBlock, [1, 1, 1, 1], num_classes=CLASSES)
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 7, 2, 3, bias=False), nn.BatchNorm2d(4)
        self.fc = nn.Linear(32, CLASSES)

    def _make_layer(self, block, planes, blocks, stride=1, dilate=False):
        self.inplanes = 4 if planes == 64 else self.inplanes
        return super()._make_layer(block, planes // 16, blocks, stride, dilate)


class Served(nn.Module):
    """A classifier with what serves it: rows of pixels with levels from 0 to 255 go in, probabilities come out."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(MEAN))
        self.register_buffer("std", 255 * torch.tensor(STD))
        self.net = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, CLASSES))

    def forward(self, x):
        return self.net(((x - self.mean) / self.std).permute(0, 3, 1, 2)).softmax(1)


class Digits(nn.Module):
    """One channel of levels as bytes."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3, 2), nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.fc(self.conv((x.float() - 33.0) / 79.0).relu().mean((2, 3)))


def random(net):
    """Weights and statistics of which something comes out that differs between pictures."""
    generator = torch.Generator().manual_seed(7)
    for name, value in list(net.named_parameters()) + list(net.named_buffers()):
        if not value.is_floating_point() or name in ("mean", "std"):
            continue
        noise = torch.randn(value.shape, generator=generator)
        scale = 1.4 / max(1.0, value[0].numel()) ** 0.5 if value.ndim > 1 else 0.3
        centre = 1.0 if name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")) else 0.0
        value.data = (centre + (noise * scale).clamp(-0.8, 0.8)).contiguous()
    return net.eval()


def export(name, net, shape, dtype=torch.float32, **options):
    path = HERE / f"{name}.onnx"
    example = torch.zeros(shape, dtype=dtype)
    torch.onnx.export(random(net), (example,), path, verbose=False, **options)
    model = onnx.load(path, load_external_data=False)
    # Where each node came from in the Python code: more bytes than all the rest.
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in list(model.graph.value_info) + list(model.graph.input) + list(model.graph.output) + list(model.graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
    del model.metadata_props[:], model.graph.metadata_props[:]
    if name == "served":
        names = ", ".join(f"{index}: 'class {index}'" for index in range(CLASSES))
        onnx.helper.set_model_props(model, {"names": "{" + names + "}", "author": "make.py"})
    path.write_bytes(model.SerializeToString())
    return path


def answers(path, batch, side, prepare):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = [prepare(picture(number, side)) for number in range(3)]
    rows += [rows[-1]] * (-len(rows) % batch)
    name = session.get_inputs()[0].name
    out = [session.run(None, {name: np.stack(rows[at : at + batch])})[0] for at in range(0, len(rows), batch)]
    return np.concatenate(out)[:3].astype(np.float64)


def macs(net, shape, attention=0):
    """Multiply-accumulates for one image: convolutions and linear layers, and what attention adds to them."""
    total = [attention]

    def count(layer, _, out):
        inside = layer.weight[0].numel()
        total[0] += out.numel() // shape[0] * inside

    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(count)
    net(torch.zeros(shape))
    return total[0]


def planes(mean, std):
    return lambda pixels: ((pixels / 255 - mean) / std).transpose(2, 0, 1).astype(np.float32)


def main():
    imagenet, half = planes(MEAN, STD), planes((0.5,) * 3, (0.5,) * 3)
    cases, old = {}, {"dynamo": False, "opset_version": 17}

    def case(path, side, normalise, logits, macs):
        cases[path.stem] = {"side": side, "normalize": normalise, "logits": logits.tolist(), "macs": macs}

    any_batch = {"dynamic_axes": {"input": {0: "batch"}}, "input_names": ["input"], "output_names": ["logits"]}
    net, shape = Narrow(), (1, 3, 64, 64)
    path = export("resnet", net, shape, **old, **any_batch)
    case(path, 64, "imagenet", answers(path, 1, 64, imagenet), macs(net, shape))

    vit = timm.models.VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=3, num_classes=CLASSES)
    # As a beginner exports: nothing but the model, an example and a file. The weights come to lie in a second file.
    path = export("vit", vit, (1, 3, 32, 32))
    tokens, width, depth = 17, 24, 1
    case(path, 32, "half", answers(path, 1, 32, half), macs(vit, (1, 3, 32, 32), 2 * tokens**2 * width * depth))

    net = timm.models.efficientnet._gen_efficientnet("efficientnet_b0", 0.07, 0.3, 4, num_classes=CLASSES)
    path = export("efficientnet", net, (2, 3, 48, 48), **old)
    case(path, 48, "imagenet", answers(path, 2, 48, imagenet), macs(net, (2, 3, 48, 48)))

    net = Served()
    path = export("served", net, (1, 24, 24, 3), **old)
    case(path, 24, "", np.log(answers(path, 1, 24, lambda pixels: pixels.astype(np.float32))), macs(net, (1, 24, 24, 3)))

    net = Digits()
    path = export("digits", net, (1, 1, 28, 28), torch.uint8, **old, **any_batch)
    luma = lambda pixels: ((pixels @ np.array([19595, 38470, 7471]) + 0x8000) >> 16).astype(np.uint8)[None]
    case(path, 28, "", answers(path, 1, 28, luma), macs(net, (1, 1, 28, 28)))
    (HERE / "logits.json").write_text(json.dumps(cases, indent=1) + "\n")


main()
