# torch==2.9.0 safetensors==0.8.0 numpy==1.26.4
"""Writes golden.safetensors: distillation and cross-entropy losses, summed over rows, with their gradients.

Tensors: `student`, `teacher` logits `[12, 10]` (the last two rows are extreme), `labels` as floats; `kd<tau>.loss` and
`kd<tau>.grad` for tau 1, 2, 4; `ce<percent>.loss` and `ce<percent>.grad` for label smoothing of 0 and 10 percent.
Rerun only when a case changes: `python make.py`.
"""

import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

generator = torch.Generator().manual_seed(1)
student = torch.randn(12, 10, generator=generator) * 2
teacher = torch.randn(12, 10, generator=generator) * 2
labels = torch.randint(0, 10, (12,), generator=generator)
student[-2:] *= 20
teacher[-1] *= 20
out = {"student": student, "teacher": teacher, "labels": labels.float()}


def add(name, loss_of):
    logits = student.clone().requires_grad_()
    loss = loss_of(logits)
    loss.backward()
    out[f"{name}.loss"], out[f"{name}.grad"] = loss.detach().reshape(1), logits.grad


for tau in [1, 2, 4]:
    kl = torch.nn.KLDivLoss(reduction="sum")
    add(f"kd{tau}", lambda x: kl(F.log_softmax(x / tau, 1), F.softmax(teacher / tau, 1)) * tau**2)
for percent in [0, 10]:
    add(f"ce{percent}", lambda x: F.cross_entropy(x, labels, reduction="sum", label_smoothing=percent / 100))
save_file(out, pathlib.Path(__file__).parent / "golden.safetensors")
