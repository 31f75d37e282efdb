# torch==2.9.0 safetensors==0.8.0 numpy==1.26.4
"""Writes the files beside this script: one state dict as programs save it, and what it holds. `python make.py`.

`expected.safetensors`: every tensor as 32-bit floats. `zip.pth` and `legacy.pth`: PyTorch's two formats, with views,
shared storages, parameters and all element types, in a training checkpoint (arguments, optimizer, NumPy numbers).
`script.pt`: a TorchScript archive, as OpenAI has CLIP's, of half precision, with `expected.script.safetensors`.
`twice.pth` and `twice_legacy.pth`: containers that occur at several places, written once and referred to later.
`types.safetensors`: floats of all widths that the format has, with `expected.types.safetensors`.
"""

import argparse
import pathlib

import numpy
import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent


def state_dict():
    torch.manual_seed(4)
    base = torch.randn(5, 6)
    tensors = {
        "f32": torch.randn(3, 2),
        "f64": torch.randn(4, dtype=torch.float64),
        "f16": torch.randn(2, 3).half(),
        "bf16": torch.randn(2, 3).bfloat16(),
        "i64": torch.arange(-2, 3),
        "i32": torch.arange(3, dtype=torch.int32),
        "u8": torch.tensor([0, 7, 255], dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "view.offset": base[2:4],
        "view.transposed": base.t(),
        "view.strided": base[1::2, ::3],
        "view.repeated": base[0, :1].expand(3),
        "parameter": torch.nn.Parameter(torch.randn(2, 2)),
    }
    return tensors


def training(tensors):
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    return {
        "model": torch.nn.modules.container.OrderedDict(tensors), "optimizer": optimizer.state_dict(), "epoch": 3,
        "args": argparse.Namespace(lr=1e-3, device=torch.device("cpu"), layers=(2, 2), name=None),
        "best": numpy.float64(0.5), "dtype": torch.float16, "seed": 2**70,
    }


def twice():
    plain = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.tensor([-1.0])}
    ordered = torch.nn.modules.container.OrderedDict(plain)
    listed = [torch.tensor([7.0]), plain]
    return {
        "list": [plain], "best": plain, "model": plain, "deep": {"er": {"plain": plain}}, "ordered": ordered,
        "ordered_again": ordered, "listed": listed, "listed_again": listed, "numbers": [1, 2],
    }


def main():
    torch.save(twice(), HERE / "twice.pth")
    torch.save(twice(), HERE / "twice_legacy.pth", _use_new_zipfile_serialization=False)
    tensors = state_dict()
    torch.save(training(tensors), HERE / "zip.pth")
    torch.save(training(tensors), HERE / "legacy.pth", _use_new_zipfile_serialization=False)
    save_file({name: tensor.detach().float().contiguous().clone() for name, tensor in tensors.items()}, HERE / "expected.safetensors")
    torch.manual_seed(5)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 2), torch.nn.Sequential(torch.nn.ReLU(), torch.nn.BatchNorm2d(2)))
    network = network.half()
    network.register_parameter("scale", torch.nn.Parameter(torch.tensor(2.5)))
    torch.jit.save(torch.jit.script(network), HERE / "script.pt")
    state = network.state_dict().items()
    save_file({name: tensor.detach().float() for name, tensor in state}, HERE / "expected.script.safetensors")
    values = torch.tensor([0.0, 1.0, -1.5, 0.001953125, 448.0, -0.0625, 3.25])
    types = {"f8_e4m3": torch.float8_e4m3fn, "f8_e5m2": torch.float8_e5m2, "f16": torch.float16, "bf16": torch.bfloat16,
             "f64": torch.float64, "i8": torch.int8, "i16": torch.int16}
    cast = {name: values.to(dtype) for name, dtype in types.items()}
    save_file(cast, HERE / "types.safetensors")
    save_file({name: tensor.float() for name, tensor in cast.items()}, HERE / "expected.types.safetensors")


main()
