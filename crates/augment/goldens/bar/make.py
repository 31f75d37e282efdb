"""Records runs of the reference implementation of ImageNet-C-bar and CIFAR-10-C-bar.

    python make.py REPOSITORY CLEAN OUT SIDE [CASE ...]

REPOSITORY is a checkout of facebookresearch/augmentation-corruption (ba4d5a5), CLEAN a folder of square photographs of SIDE
pixels (`../clean` for the golden data), and a CASE is `set/corruption/severity/photograph`; without any, those of the golden
data are made. Python 3.8, numpy 1.19.5, scipy 1.5.2, scikit-image 0.16.2, Pillow 9.5.0.

For every case OUT gets the corrupted image and a file of draws: the number of arrays and their lengths (u32), then the
numbers (f64), all little-endian. An array is what one call of a random function returned, except that seeds of
private generators are left out and that the calls made in a loop are joined as `JOINED` says.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

# For these, the draws from the private generator: joined into arrays of these many calls, the last repeating.
JOINED = {"perlin_noise": lambda draws: [514, 256], "sparkles": lambda draws: draws[1], "inverse_sparkles": lambda draws: draws[1]}
IMAGENET_ONLY = [
    "caustic_refraction", "inverse_sparkles", "perlin_noise", "blue_noise_sample", "plasma_noise", "cocentric_sine_waves",
    "single_frequency_greyscale", "brownish_noise",
]
CIFAR = [
    "pinch_and_twirl", "ripple", "circular_motion_blur", "lines", "transverse_chromatic_abberation", "checkerboard_cutout",
    "sparkles",
]
GOLDEN = [f"imagenet/{name}/4/astronaut" for name in IMAGENET_ONLY] + [f"cifar/{name}/3/chelsea" for name in CIFAR]

public: list = []
private: list = []


class Recorder(np.random.RandomState):
    """A generator that notes what it returns."""

    def randint(self, *args, **kwargs):
        return note(private, super().randint(*args, **kwargs))

    def uniform(self, *args, **kwargs):
        return note(private, super().uniform(*args, **kwargs))

    def randn(self, *args):
        return note(private, super().randn(*args))


def note(log: list, value):
    log.append(np.array(value, dtype=np.float64).ravel())
    return value


def watch(name: str) -> None:
    original = getattr(np.random, name)

    def watched(*args, **kwargs):
        value = original(*args, **kwargs)
        return value if kwargs.get("high") == 2**32 else note(public, value)

    setattr(np.random, name, watched)


def arrays(name: str) -> list:
    """The arrays of the last run."""
    if name in ("pinch_and_twirl", "lines"):
        return [np.concatenate(log) for log in (public, private) if log] if name == "pinch_and_twirl" else [
            *public, np.concatenate([np.empty(0), *private])
        ]
    joined, rest = [], list(private)
    for count in map(int, np.atleast_1d(JOINED[name](public)) if name in JOINED else [1] * len(rest)):
        joined.append(np.concatenate(rest[:count]))
        rest = rest[count:]
    assert not rest
    return public + joined


def main() -> None:
    repository, clean, out, side = sys.argv[1:5]
    sys.path.insert(0, str(Path(repository) / "imagenet_c_bar"))
    from transform_finder import transform_dict

    np.random.RandomState = Recorder
    for name in ["uniform", "randint", "permutation", "choice"]:
        watch(name)
    for case in sys.argv[5:] or GOLDEN:
        kind, name, severity, photograph = case.split("/")
        table = (Path(repository) / "imagenet_c_bar" / f"{'cifar10' if kind == 'cifar' else kind}_c_bar.csv").read_text()
        levels = next(line.split(",")[1:] for line in table.split() if line.startswith(f"{name},"))
        np.random.seed(sum(case.encode()))
        public.clear()
        private.clear()
        image = np.array(Image.open(Path(clean) / f"{photograph}.png").convert("RGB"))
        result = transform_dict[name](severity=float(levels[int(severity) - 1]), im_size=int(side))(image)
        stem = f"{out}/{kind}_{name}_{severity}_{photograph}"
        Image.fromarray(np.uint8(result)).save(f"{stem}.png", optimize=True)
        values = arrays(name)
        with open(f"{stem}.bin", "wb") as file:
            np.array([len(values), *map(len, values)], dtype="<u4").tofile(file)
            np.concatenate([np.empty(0), *values]).astype("<f8").tofile(file)


main()
