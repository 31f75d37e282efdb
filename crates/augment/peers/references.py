"""Measures the reference implementations of the corruptions and of AugMix, as the example `throughput` of this crate
measures our own: the same PNG files, the same severity, the same lines of JSON. `cargo xtask bench-augment` runs both in turn.

    python references.py pictures --side 224 --folder DIR
    python references.py about
    python references.py speed --peers imagecorruptions,augmix-pillow --seconds 10 PNG...

`pictures` writes the photographs that scikit-image brings along; `about` tells the versions, and which peers are missing.
`speed` is the fifteen corruptions of a package at severity 3, or a triple for AugMix's loss: an image and two views of it,
normalised.

Both packages call `skimage.filters.gaussian` with an argument that scikit-image has renamed. The packages stay as they are;
the function is wrapped before they are imported.
"""

import argparse
import functools
import importlib
import importlib.metadata
import json
import pathlib
import platform
import time
import warnings

import cv2
import numpy as np
import skimage.data
import skimage.filters
from PIL import Image, ImageOps

CORRUPTIONS = [
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
]
PHOTOGRAPHS = ["astronaut", "chelsea", "coffee", "rocket"]
SEVERITY = 3
MEAN = np.float32([0.485, 0.456, 0.406])
DEVIATION = np.float32([0.229, 0.224, 0.225])


def rename_multichannel():
    """Lets `gaussian(..., multichannel=True)` mean `channel_axis=-1`, as it did before scikit-image 0.21."""
    original = skimage.filters.gaussian

    @functools.wraps(original)
    def gaussian(*args, multichannel=None, **others):
        if multichannel is not None:
            others["channel_axis"] = -1 if multichannel else None
        return original(*args, **others)

    skimage.filters.gaussian = gaussian


def write_pictures(side, folder):
    """The centre squares of the photographs, shrunk to `side` with Pillow's bicubic filter."""
    for name in PHOTOGRAPHS:
        photo = Image.fromarray(getattr(skimage.data, name)()).convert("RGB")
        ImageOps.fit(photo, (side, side), Image.BICUBIC).save(pathlib.Path(folder) / f"{name}.png")


def sign():
    return 1 if np.random.uniform() < 0.5 else -1


# The nine operations of AugMix's default set. Whole numbers are truncated, as the paper's code does.
def rotate(image, level):
    return image.rotate(sign() * int(3 * level), resample=Image.BILINEAR)


def affine(image, *matrix):
    return image.transform(image.size, Image.AFFINE, matrix, resample=Image.BILINEAR)


def thirds(side, level):
    return sign() * int(side / 3 * level / 10)


OPERATIONS = [
    lambda image, level: ImageOps.autocontrast(image),
    lambda image, level: ImageOps.equalize(image),
    lambda image, level: ImageOps.posterize(image, 4 - int(0.4 * level)),
    rotate,
    lambda image, level: ImageOps.solarize(image, 256 - int(25.6 * level)),
    lambda image, level: affine(image, 1, sign() * 0.03 * level, 0, 0, 1, 0),
    lambda image, level: affine(image, 1, 0, 0, sign() * 0.03 * level, 1, 0),
    lambda image, level: affine(image, 1, 0, thirds(image.size[0], level), 0, 1, 0),
    lambda image, level: affine(image, 1, 0, 0, 0, 1, thirds(image.size[1], level)),
]


def normalise(image):
    """Planes of 32-bit floats with ImageNet's means and deviations, as a network takes them."""
    return np.ascontiguousarray(((np.asarray(image, np.float32) / 255 - MEAN) / DEVIATION).transpose(2, 0, 1))


def augmix(image, normalise=normalise):
    """AugMix as in its paper (arXiv:1912.02781) and the code to it: width 3, depth 1 to 3, alpha 1; the image and the end of
    every chain are normalised, by NumPy here or by torchvision as in the authors' training scripts, and then mixed."""
    weights = np.float32(np.random.dirichlet([1.0] * 3))
    share = np.float32(np.random.beta(1.0, 1.0))
    mixture = 0
    for weight in weights:
        chain = image
        for _ in range(np.random.randint(1, 4)):
            operation = OPERATIONS[np.random.randint(len(OPERATIONS))]
            chain = operation(chain, np.random.uniform(0.1, SEVERITY))
        mixture = mixture + float(weight) * normalise(chain)
    return float(1 - share) * normalise(image) + float(share) * mixture


def measure(work, pictures, seconds):
    """Pictures and processor seconds of all threads. The first picture is not counted."""
    work(pictures[0])
    start, images = time.process_time(), 0
    while True:
        work(pictures[images % len(pictures)])
        images += 1
        spent = time.process_time() - start
        if spent >= seconds:
            return images, spent


def peers():
    """What is there, by name: the function that corrupts or augments, or the reason why there is none."""
    rename_multichannel()
    found = {"augmix-pillow": augmix}
    for package in ["imagecorruptions", "imagenet_c"]:
        try:
            corrupt = importlib.import_module(package).corrupt
            found[package] = corrupt
        except (ImportError, OSError) as error:
            found[package] = str(error).splitlines()[0]
    try:
        import torch
        from torchvision.transforms import AugMix, Compose, InterpolationMode, Normalize, ToTensor
        torch.set_num_threads(1)
        to_tensor = Compose([ToTensor(), Normalize(MEAN.tolist(), DEVIATION.tolist())])
        found["augmix-torch"] = functools.partial(augmix, normalise=to_tensor)
        mix = AugMix(SEVERITY, all_ops=False, interpolation=InterpolationMode.BILINEAR)
        found["augmix-torchvision"] = lambda photo: normalise(mix(photo))
    except (ImportError, OSError) as error:
        found["augmix-torch"] = found["augmix-torchvision"] = str(error).splitlines()[0]
    return found


def speed(names, paths, seconds):
    photographs = [Image.open(path).convert("RGB") for path in paths]
    arrays = [np.array(photo) for photo in photographs]
    found, works = peers(), []
    for name in names:
        peer = found[name]
        if isinstance(peer, str):
            raise SystemExit(f"{name} is not there: {peer}")
        if name.startswith("augmix"):
            works.append((name, "augmix_triple", lambda photo, peer=peer: [normalise(photo), peer(photo), peer(photo)], photographs))
            continue
        for corruption in CORRUPTIONS:
            work = functools.partial(peer, severity=SEVERITY, corruption_name=corruption)
            works.append((name, corruption, work, arrays))
    for name, work, function, pictures in works:
        line = {"peer": name, "work": work, "severity": SEVERITY}
        try:
            line["images"], line["cpu_seconds"] = measure(function, pictures, seconds / len(works))
        # A package may lack a file or fail with the versions that are there: that is a result, and no end of the others.
        except Exception as error:
            line["fault"] = f"{type(error).__name__}: {error}"
        print(json.dumps(line), flush=True)


def about():
    """The versions, and which peers are not there."""
    names = ["numpy", "scipy", "scikit-image", "opencv-python-headless", "Pillow", "imagecorruptions", "imagenet_c", "Wand",
             "torchvision", "numba"]
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    missing = {name: peer for name, peer in peers().items() if isinstance(peer, str)}
    print(json.dumps({"versions": versions, "missing": missing}))


def main():
    warnings.filterwarnings("ignore")
    cv2.setNumThreads(1)
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    pictures = commands.add_parser("pictures")
    pictures.add_argument("--side", type=int, required=True)
    pictures.add_argument("--folder", required=True)
    commands.add_parser("about")
    measured = commands.add_parser("speed")
    measured.add_argument("--peers", type=lambda names: names.split(","), required=True)
    measured.add_argument("--seconds", type=float, required=True)
    measured.add_argument("paths", nargs="+")
    given = parser.parse_args()
    if given.command == "pictures":
        write_pictures(given.side, given.folder)
    elif given.command == "about":
        about()
    else:
        np.random.seed(0)
        speed(given.peers, given.paths, given.seconds)


if __name__ == "__main__":
    main()
