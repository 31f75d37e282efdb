#!/usr/bin/env python3
"""Make fashion-mnist-mini from the full Fashion-MNIST.

    python3 make.py FOLDER_OF_THE_FULL_SET OUTPUT_FOLDER

FOLDER_OF_THE_FULL_SET holds the four official files: {train,t10k}-{images-idx3,labels-idx1}-ubyte.gz.
Needs the Python standard library alone. The same input gives the same images, labels and index files everywhere; the
compressed bytes are the same for the same zlib.
"""

import gzip
import hashlib
import struct
import sys
import zlib
from pathlib import Path

SEED = "fashion-mnist-mini 1"
CLASSES = 10
SIDE = 28
# Name of the split, the official set it is drawn from, images per class. Splits of one official set are disjoint.
SPLITS = [("validation", "train", 100), ("train", "train", 1000), ("test", "t10k", 200)]


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, output = Path(sys.argv[1]), Path(sys.argv[2])
    output.mkdir(parents=True, exist_ok=True)
    taken = {"train": [0] * CLASSES, "t10k": [0] * CLASSES}
    written = []
    for split, official, per_class in SPLITS:
        images, labels = read_pair(source, official)
        indices = choose(labels, official, taken[official], per_class)
        image_bytes = b"".join(images[i * SIDE * SIDE : (i + 1) * SIDE * SIDE] for i in indices)
        label_bytes = bytes(labels[i] for i in indices)
        n = len(indices)
        files = {
            f"{split}-images-idx3-ubyte.gz": pack(struct.pack(">4I", 0x803, n, SIDE, SIDE) + image_bytes),
            f"{split}-labels-idx1-ubyte.gz": pack(struct.pack(">2I", 0x801, n) + label_bytes),
            f"{split}-indices.txt": "".join(f"{i}\n" for i in indices).encode(),
        }
        for name, content in files.items():
            (output / name).write_bytes(content)
            written.append((name, content))
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(written))
    (output / "SHA256SUMS").write_text(sums)


def choose(labels: bytes, official: str, taken: list, per_class: int) -> list:
    """The next `per_class` images of every class in the order of a keyed hash, sorted by official index.

    A hash of (seed, set, index) ranks the images, so that no version of a random generator matters.
    """
    chosen = []
    for label in range(CLASSES):
        members = [i for i, found in enumerate(labels) if found == label]
        members.sort(key=lambda i: hashlib.sha256(f"{SEED} {official} {i}".encode()).digest())
        start = taken[label]
        if start + per_class > len(members):
            sys.exit(f"{official}: class {label} has {len(members)} images, {start + per_class} are needed")
        chosen += members[start : start + per_class]
        taken[label] += per_class
    return sorted(chosen)


def read_pair(folder: Path, official: str) -> tuple:
    images = gzip.decompress((folder / f"{official}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{official}-labels-idx1-ubyte.gz").read_bytes())
    magic, count, height, width = struct.unpack(">4I", images[:16])
    label_magic, label_count = struct.unpack(">2I", labels[:8])
    images, labels = images[16:], labels[8:]
    header = (magic, height, width, label_magic)
    if header != (0x803, SIDE, SIDE, 0x801) or not count == label_count == len(labels) == len(images) // (SIDE * SIDE):
        sys.exit(f"{folder}: {official} is not the official Fashion-MNIST")
    return images, labels


def pack(content: bytes) -> bytes:
    """Gzip, level 9, no time, no name. `wbits=31` asks zlib itself for the gzip wrapper, whose time is then zero."""
    packer = zlib.compressobj(level=9, wbits=31, memLevel=9)
    return packer.compress(content) + packer.flush()


if __name__ == "__main__":
    main()
