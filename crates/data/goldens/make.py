"""Makes the images in this folder. Pinned: pillow==13.0.0, numpy==1.26.4, torchvision==0.24.0.

    python make.py OUTPUT_FOLDER
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torchvision.transforms import v2

FILTERS = {
    "nearest": Image.NEAREST,
    "box": Image.BOX,
    "bilinear": Image.BILINEAR,
    "bicubic": Image.BICUBIC,
    "lanczos": Image.LANCZOS,
}


def main() -> None:
    out = Path(sys.argv[1])
    rng = np.random.default_rng(1)

    # Noise is the hardest content for a resize: every weight shows.
    source = Image.fromarray(rng.integers(0, 256, (17, 23, 3), dtype=np.uint8))
    source.save(out / "resize-source.png")
    for name, kind in FILTERS.items():
        # Width x height: shrunk, and grown with the shorter side to 36 as torchvision's Resize(36) does: int(36 * 23 / 17).
        source.resize((11, 7), kind).save(out / f"resize-{name}-down.png")
        source.resize((48, 36), kind).save(out / f"resize-{name}-up.png")
    # 23 x 17 becomes 27 x 20, and the crop starts at half a pixel: both roundings of torchvision show.
    chain = v2.Compose([v2.Resize(20, v2.InterpolationMode.BICUBIC), v2.CenterCrop(13)])
    chain(source).save(out / "chain-expected.png")
    v2.Pad(4, padding_mode="reflect")(source).save(out / "reflect-expected.png")

    # Smooth, so that JPEG decoders agree to a few levels.
    y, x = np.mgrid[0:24, 0:32]
    cmyk = np.stack([x * 7, y * 9, 200 - x * 3, 40 + y * 3], axis=-1).clip(0, 255).astype(np.uint8)
    Image.fromarray(cmyk, "CMYK").save(out / "cmyk.jpg", quality=95, subsampling=0)
    Image.open(out / "cmyk.jpg").convert("RGB").save(out / "cmyk-expected.png")

    # Noise on a slope, of odd sizes: every rounding of the transform, the chroma's filter and the colours shows.
    slope = np.linspace(30, 200, 21 * 13 * 3).reshape(13, 21, 3)
    photo = Image.fromarray((slope + np.random.default_rng(2).normal(0, 30, slope.shape)).clip(0, 255).astype(np.uint8))
    jpegs = {"420": {}, "422": {"subsampling": 1}, "444": {"subsampling": 0}, "progressive": {"progressive": True}}
    jpegs |= {"grey": {}, "restart": {"restart_marker_blocks": 1}, "rgb": {"keep_rgb": True, "subsampling": 0}}
    for name, options in jpegs.items():
        path = out / f"jpeg-{name}.jpg"
        (photo.convert("L") if name == "grey" else photo).save(path, quality=80, **options)
        Image.open(path).convert("RGB").save(out / f"jpeg-{name}-expected.png")

    # Seeds of damaged files: lossy WebP, without and with alpha, which the tests cannot write.
    photo.save(out / "lossy.webp", quality=80)
    glass = photo.copy()
    glass.putalpha(photo.convert("L"))
    glass.save(out / "glass.webp", quality=80)

    blocks = np.zeros((16, 24, 3), dtype=np.uint8)
    blocks[:8, :8], blocks[:8, 8:], blocks[8:] = (250, 20, 20), (20, 250, 20), (20, 20, 250)
    exif = Image.Exif()
    for orientation in (3, 6, 7):
        exif[0x0112] = orientation
        path = out / f"exif-{orientation}.jpg"
        Image.fromarray(blocks).save(path, quality=95, subsampling=0, exif=exif)
        ImageOps.exif_transpose(Image.open(path)).save(out / f"exif-{orientation}-expected.png")

    alpha = rng.integers(0, 256, (5, 4, 4), dtype=np.uint8)
    Image.fromarray(alpha, "RGBA").save(out / "alpha.png")
    Image.fromarray(alpha, "RGBA").convert("RGB").save(out / "alpha-expected.png")


if __name__ == "__main__":
    main()
