"""Measures PyTorch on the models of models.json, as `robustify bench-models` measures our own: the same batches, the same
steps, the same lines of JSON. Needs torch alone: `python models.py --model vit_d192_L6_h3_p4 --seconds 5`.

Eager mode, 32-bit floats, CPU, PyTorch's own threads; attention through `scaled_dot_product_attention`.
"""

import argparse
import json
import pathlib
import time

import torch
from torch import nn
from torch.nn import functional as F


def batch_of(image_size):
    """Images of a batch, as `robustify bench-models` has them."""
    return 64 if image_size < 128 else 16


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        rows, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(rows, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows, tokens, width))


class Block(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(width, 1e-6), Attention(width, heads), nn.LayerNorm(width, 1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, patch = config["width"], config["patch_size"]
        layers, inputs = [], 3
        for conv in config.get("stem", []):
            layers += [nn.Conv2d(inputs, conv["channels"], conv["kernel"], conv["stride"], conv["kernel"] // 2), nn.ReLU()]
            inputs = conv["channels"]
        self.embed = nn.Sequential(*layers[:-1]) if layers else nn.Conv2d(3, width, patch, patch)
        tokens = (config["image_size"] // patch) ** 2 + 1
        self.cls, self.pos = nn.Parameter(torch.randn(1, 1, width) * 0.02), nn.Parameter(torch.randn(1, tokens, width) * 0.02)
        hidden = int(width * config["mlp_ratio"])
        self.blocks = nn.Sequential(*[Block(width, config["heads"], hidden) for _ in range(config["depth"])])
        self.mean = config.get("pool") == "mean"
        self.norm, self.head = nn.LayerNorm(width, 1e-6), nn.Linear(width, config["classes"])

    def forward(self, images):
        x = self.embed(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        x = self.norm(self.blocks(x))
        return self.head(x[:, 1:].mean(1) if self.mean else x[:, 0])


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class Bottleneck(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        planes = outputs // 4
        self.conv1, self.bn1 = nn.Conv2d(inputs, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = nn.Conv2d(planes, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, kernel = config["width"], config["stem_kernel"]
        kind, expansion = {"basic": (BasicBlock, 1), "bottleneck": (Bottleneck, 4)}[config["block"]]
        self.conv1 = nn.Conv2d(3, width, kernel, config["stem_stride"], kernel // 2, bias=False)
        self.pool = nn.MaxPool2d(3, 2, 1) if config["max_pool"] else nn.Identity()
        self.bn1, blocks, inputs = nn.BatchNorm2d(width), [], width
        for stage, count in enumerate(config["layers"]):
            for block in range(count):
                outputs = (width << stage) * expansion
                blocks.append(kind(inputs, outputs, 2 if stage and not block else 1))
                inputs = outputs
        self.blocks, self.fc = nn.Sequential(*blocks), nn.Linear(inputs, config["classes"])

    def forward(self, images):
        x = self.blocks(self.pool(F.relu(self.bn1(self.conv1(images)))))
        return self.fc(x.mean((2, 3)))


def measure(step, batch, seconds):
    """Images a second, by the clock and by the processor's time."""
    step()
    start, processor, images = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds or images < 2 * batch:
        step()
        images += batch
    return images / (time.perf_counter() - start), images / (time.process_time() - processor)


def steps(model, config):
    """What is measured: a forward without gradients, and a step of training with cross-entropy and AdamW."""
    torch.manual_seed(1)
    size, batch = config["image_size"], batch_of(config["image_size"])
    images, labels = torch.randn(batch, 3, size, size), torch.arange(batch) % config["classes"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)

    def forward():
        with torch.inference_mode():
            model.eval()(images)

    def train():
        optimizer.zero_grad()
        loss = F.cross_entropy(model.train()(images), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return {"forward": forward, "train": train}


def main():
    configs = json.loads((pathlib.Path(__file__).parent / "models.json").read_text())
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--model", choices=configs, required=True)
    arguments.add_argument("--seconds", type=float, default=5.0)
    arguments.add_argument("--threads", type=int)
    given = arguments.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    config = configs[given.model]
    model = {"vit": ViT, "resnet": ResNet}[config["architecture"]](config)
    for work, step in steps(model, config).items():
        by_clock, by_processor = measure(step, batch_of(config["image_size"]), given.seconds)
        print(json.dumps({
            "peer": f"PyTorch {torch.__version__}", "model": given.model, "work": work, "threads": torch.get_num_threads(),
            "images_per_second": by_clock, "images_per_cpu_second": by_processor,
        }), flush=True)


if __name__ == "__main__":
    main()
