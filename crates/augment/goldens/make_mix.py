"""Makes the golden data of resizing, of the hue and of PixMix in this folder.

    python make_mix.py PIXMIX

Runs with numpy 2 and Pillow 13.0.0. PIXMIX is a file of arrays of the authors' PixMix code (torch 2.9.0): `img1`, `img2`,
`ab`, and for every pair (a, b) the results `add_<i>` and `mul_<i>` of its two mixings.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

FILTERS = {"nearest": 0, "box": 4, "bilinear": 2, "bicubic": 3, "lanczos": 1}
# Down and up; the third shrinks its height so much more than its width that Pillow 13 begins with the columns.
SIZES = [(20, 25), (45, 21), (30, 12), (7, 9)]
SHIFTS = [-0.5, -0.1, 0.03, 0.25]


def shifted(image: Image.Image, shift: float) -> Image.Image:
    """torchvision's `adjust_hue` on an image of Pillow."""
    hue, saturation, value = image.convert("HSV").split()
    steps = np.int32(shift * 255).astype("uint8")
    hue = Image.fromarray(np.array(hue) + steps)
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


def main() -> None:
    here = Path(__file__).parent
    clean = Image.open(here / "clean/astronaut.png").convert("RGB")
    resized = [clean.resize(size, code) for code in FILTERS.values() for size in SIZES]
    (here / "resize/astronaut.bin").write_bytes(b"".join(image.tobytes() for image in resized))
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8))
    stack = [noise] + [shifted(noise, shift) for shift in SHIFTS]
    Image.fromarray(np.concatenate([np.array(image) for image in stack])).save(here / "pillow/hue.png", optimize=True)
    arrays = np.load(sys.argv[1])
    part = [arrays[name][:8, :8].ravel() for name in ["img1", "img2"]]
    for index, pair in enumerate(arrays["ab"]):
        part += [pair, arrays[f"add_{index}"][:8, :8].ravel(), arrays[f"mul_{index}"][:8, :8].ravel()]
    np.concatenate(part).astype("<f4").tofile(here / "pixmix.bin")


main()
