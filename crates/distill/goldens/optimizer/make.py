# torch==2.9.0 safetensors==0.8.0 numpy==1.26.4
"""Writes golden.safetensors: five steps of AdamW with parameter groups, warm-up, cosine decay and clipping by the global norm.

Tensors: `start.<name>` the parameters of two affine maps, `grad<step>.<name>` the gradients given to each step,
`norm` their global norms before clipping to 1, `rate` the learning rate of each step at scale one, `step<step>.<name>` the
parameters after each step. `shared` learns at half the rate; biases have no weight decay.
Rerun only when a case changes: `python make.py`.
"""

import pathlib

import torch
from safetensors.torch import save_file

STEPS, WARMUP, RATE, DECAY = 5, 2, 0.02, 0.1
generator = torch.Generator().manual_seed(1)
shapes = {"shared.weight": (4, 3), "shared.bias": (4,), "clean.weight": (2, 4), "clean.bias": (2,)}
parameters = {name: torch.nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in shapes.items()}
groups = [
    {"params": [parameter], "lr": RATE * (0.5 if name.startswith("shared") else 1.0),
     "weight_decay": DECAY if parameter.dim() > 1 else 0.0}
    for name, parameter in parameters.items()
]
optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6)
schedulers = torch.optim.lr_scheduler
schedule = schedulers.SequentialLR(optimizer, [
    schedulers.LinearLR(optimizer, 1 / WARMUP, total_iters=WARMUP - 1),
    schedulers.CosineAnnealingLR(optimizer, STEPS - WARMUP + 1),
], milestones=[WARMUP - 1])

out = {f"start.{name}": parameter.detach().clone() for name, parameter in parameters.items()}
norms, rates = [], []
for step in range(STEPS):
    for name, parameter in parameters.items():
        # The second step's gradients stay below the limit.
        parameter.grad = torch.randn(parameter.shape, generator=generator) * (0.05 if step == 1 else 1.0)
        out[f"grad{step}.{name}"] = parameter.grad.clone()
    norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0).item())
    rates.append(optimizer.param_groups[-1]["lr"])
    optimizer.step()
    schedule.step()
    out.update({f"step{step}.{name}": parameter.detach().clone() for name, parameter in parameters.items()})
out["norm"], out["rate"] = torch.tensor(norms), torch.tensor(rates)
save_file(out, pathlib.Path(__file__).parent / "golden.safetensors")
