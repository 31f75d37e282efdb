# torch==2.9.0 safetensors==0.8.0 numpy==1.26.4
"""Writes the *.safetensors beside this file: tiny networks of random weights, computed by PyTorch in double precision, with
inputs and outputs. Rerun only when a case changes: `python make.py`.

- noise2net: one block on one image, with the biases that the normalisation removes;
- edsr, cae: small EDSR and CAE, weights under `w.` and their original names, with intermediate features.
"""

import pathlib

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

HERE = pathlib.Path(__file__).parent


def noise2net():
    hidden, kernels = 16, [(1, 2), (3, 3), (3, 1)]
    conv1 = nn.Conv2d(3, 4 * hidden, 1, bias=False)
    convs = [nn.Conv2d(hidden, hidden, k, padding=(k - 1) // 2 * d, dilation=d) for k, d in kernels]
    conv3 = nn.Conv2d(4 * hidden, 3, 1, bias=False)
    norm = lambda y: nn.BatchNorm2d(y.shape[1]).double().train()(y)
    for layer in [conv1, *convs, conv3]:
        layer.double()
    x = torch.randn(1, 3, 12, 10).double()
    parts = F.relu(norm(conv1(x))).split(hidden, 1)
    out, outs = None, []
    for conv, part in zip(convs, parts):
        out = F.relu(norm(conv(part if out is None else out + part)))
        outs.append(out)
    y = norm(conv3(torch.cat([*outs, parts[3]], 1)))
    tensors = {f"convs.{i}.weight": conv.weight for i, conv in enumerate(convs)}
    return tensors | {"conv1.weight": conv1.weight[:, :, 0, 0], "conv3.weight": conv3.weight[:, :, 0, 0], "input": x, "output": y}


def with_names(names, layers):
    return {f"w.{name}.{part}": getattr(layer, part) for name, layer in zip(names, layers) for part in ("weight", "bias")}


def edsr():
    width, blocks = 4, 6
    conv = lambda i, o, k=3: nn.Conv2d(i, o, k, padding=k // 2).double()
    mean = torch.tensor([0.4488, 0.4371, 0.4040]).double()
    names = ["sub_mean", "head.0", *[f"body.{b}.body.{h}" for b in range(blocks) for h in (0, 2)], f"body.{blocks}",
             "tail.0.0", "tail.0.2", "tail.1", "add_mean"]
    layers = [conv(3, 3, 1), conv(3, width), *[conv(width, width) for _ in range(2 * blocks + 1)],
              conv(width, 4 * width), conv(width, 4 * width), conv(width, 3), conv(3, 3, 1)]
    with torch.no_grad():
        for layer, sign in ((layers[0], -1), (layers[-1], 1)):
            layer.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
            layer.bias.copy_(sign * 255 * mean)
    net = dict(zip(names, layers))
    x = torch.rand(2, 3, 7, 6).double()
    head = net["head.0"](net["sub_mean"](255 * x))
    y = head
    for b in range(blocks):
        y = net[f"body.{b}.body.2"](F.relu(net[f"body.{b}.body.0"](y))) + y
    y = net[f"body.{blocks}"](y) + head
    for half in (0, 2):
        y = F.pixel_shuffle(net[f"tail.0.{half}"](y), 2)
    y = net["add_mean"](net["tail.1"](y)) / 255
    return with_names(names, layers) | {"input": x, "output": y}


def cae():
    w = 8
    conv, up = nn.Conv2d, nn.ConvTranspose2d
    block = lambda side: [f"{side}_{b}.{at}" for b in (1, 2, 3) for at in (1, 4)]
    names = ["e_conv_1.1", "e_conv_2.1", *block("e_block"), "e_conv_3.0", "d_up_conv_1.0", "d_up_conv_1.3", *block("d_block"),
             "d_up_conv_2.0", "d_up_conv_2.3", "d_up_conv_3.0", "d_up_conv_3.3"]
    layers = [conv(3, w // 2, 5, 2), conv(w // 2, w, 5, 2), *[conv(w, w, 3) for _ in range(6)], conv(w, w // 4, 5, padding=2),
              conv(w // 4, w // 2, 3), up(w // 2, w, 2, 2), *[conv(w, w, 3) for _ in range(6)],
              conv(w, w // 4, 3), up(w // 4, 2 * w, 2, 2), conv(2 * w, w // 8, 3), conv(w // 8, 3, 3)]
    layers = [layer.double() for layer in layers]
    net = dict(zip(names, layers))
    leaky, pad = F.leaky_relu, lambda y, n=(1, 1, 1, 1): F.pad(y, n)

    def residual(side, y):
        for b in (1, 2, 3):
            y = net[f"{side}_{b}.4"](pad(leaky(net[f"{side}_{b}.1"](pad(y))))) + y
        return y

    x = torch.rand(1, 3, 16, 20).double()
    y = leaky(net["e_conv_1.1"](pad(x, (1, 2, 1, 2))))
    y = leaky(net["e_conv_2.1"](pad(y, (1, 2, 1, 2))))
    code = torch.tanh(net["e_conv_3.0"](residual("e_block", y)))
    draws = torch.rand(code.shape)
    bits = (draws <= (1 + code) / 2).double()
    y = net["d_up_conv_1.3"](pad(leaky(net["d_up_conv_1.0"](2 * bits - 1))))
    y = residual("d_block", y)
    y = net["d_up_conv_2.3"](pad(leaky(net["d_up_conv_2.0"](y))))
    y = leaky(net["d_up_conv_3.0"](y))
    y = torch.tanh(net["d_up_conv_3.3"](F.pad(y, (2, 2, 2, 2), "reflect")))
    return with_names(names, layers) | {"input": x, "code": code, "draws": draws, "bits": bits, "output": y}


if __name__ == "__main__":
    for make in (noise2net, edsr, cae):
        torch.manual_seed(1)
        tensors = {name: value.detach().float().contiguous().clone() for name, value in make().items()}
        path = HERE / f"{make.__name__}.safetensors"
        save_file(tensors, path)
        print(f"{path.name}: {path.stat().st_size} bytes, output {tensors['output'].std():.3f}")
