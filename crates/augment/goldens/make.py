"""Selects and repacks the golden data of this folder from a folder of reference outputs.

    python make.py ORACLES

ORACLES holds `corruptions/clean`, `corruptions/det`, `corruptions/trace` and `augmix`: outputs of the authors' generators
(numpy 1.26.4, scipy 1.11.4, scikit-image 0.21.0, OpenCV 4.10.0.84, Pillow 10.4.0, imagecorruptions 1.1.2 and
hendrycks/robustness make_cifar_c.py). This script runs with numpy 2 and Pillow 10 or later and computes
nothing itself but the two JPEG files.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

PHOTOS = ["astronaut", "rocket"]
DETERMINISTIC = ["brightness", "contrast", "defocus_blur", "gaussian_blur", "jpeg_compression", "pixelate", "saturate", "zoom_blur"]
# Corruption, severities, type of the stored draws. Photo of severity 2: astronaut; of 5: chelsea.
TRACES = [
    ("gaussian_noise", [5], "<f8"),
    ("speckle_noise", [5], "<f8"),
    ("shot_noise", [2, 5], "<u2"),
    ("glass_blur", [2, 5], "i1"),
    ("motion_blur", [2, 5], "<f8"),
    ("snow", [2, 5], "<f8"),
    ("fog", [2, 5], "<f8"),
    ("elastic_transform", [2, 5], "<f8"),
    ("spatter", [2, 5], "<f8"),
]
# The same of imagecorruptions, with their photos.
IMAGECORRUPTIONS = [("elastic_transform", 3, "chelsea"), ("snow", 4, "astronaut"), ("motion_blur", 5, "chelsea")]


def main() -> None:
    oracles, here = Path(sys.argv[1]), Path(__file__).parent
    for folder in ["clean", "cifar-c", "imagenet-c", "trace", "imagecorruptions", "pillow", "jpeg"]:
        (here / folder).mkdir(exist_ok=True)
    source = oracles / "corruptions"
    for photo in [*PHOTOS, "chelsea"]:
        shutil.copy(source / "clean/32" / f"{photo}.png", here / "clean")
    for corruption in DETERMINISTIC:
        for photo in PHOTOS:
            shutil.copy(source / "det/c10c_32" / f"{corruption}_{photo}.png", here / "cifar-c")
        shutil.copy(source / "det/ic_32" / f"{corruption}_astronaut.png", here / "imagenet-c")
    for corruption, severities, kind in TRACES:
        trace = np.load(source / "trace" / f"c10c_32_{corruption}.npz")
        for severity in severities:
            save(trace, corruption, severity, kind, here / "trace")
    for corruption, severity, _photo in IMAGECORRUPTIONS:
        trace = np.load(source / "trace" / f"ic_32_{corruption}.npz")
        save(trace, corruption, severity, "<f8", here / "imagecorruptions")
    photo = Image.open(here / "clean/astronaut.png").convert("RGB")
    photo.save(here / "jpeg/astronaut_85.jpg", quality=85, optimize=True)
    photo.crop((0, 0, 19, 27)).save(here / "jpeg/astronaut_19x27_25.jpg", quality=25, optimize=True)
    ops = np.load(oracles / "augmix/pil_ops_32_astronaut.npz")
    Image.fromarray(np.concatenate([ops[name] for name in ops.files])).save(here / "pillow/astronaut.png", optimize=True)
    (here / "pillow/ops.txt").write_text("".join(f"{name}\n" for name in ops.files))


def save(trace, corruption: str, severity: int, kind: str, folder: Path) -> None:
    prefix = f"s{severity}_"
    names = [name for name in trace.files if name.startswith(prefix) and not name.endswith("_out")]
    draws = np.concatenate([trace[name].ravel() for name in names]).astype(kind)
    draws.tofile(folder / f"{corruption}_{severity}.bin")
    Image.fromarray(trace[f"{prefix}out"]).save(folder / f"{corruption}_{severity}.png", optimize=True)


main()
