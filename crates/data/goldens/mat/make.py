"""Makes the MATLAB files in this folder, as the annotations of data sets are laid out. Pinned: scipy==1.14.1, numpy==1.26.4.

    python make.py OUTPUT_FOLDER
"""

import sys
from pathlib import Path

import numpy as np
from scipy.io import savemat


def main() -> None:
    out = Path(sys.argv[1])
    # As Flowers-102's imagelabels.mat: one row of small numbers.
    labels = {"labels": np.array([[77, 1, 102, 2, 300]], dtype=np.uint16), "half": np.array([[0.5, -2.0], [3.0, 4.0]])}
    savemat(out / "labels.mat", labels, do_compression=True)
    # As Stanford Cars' annotations and names: an array of structures, and cells of texts.
    kinds = [("bbox_x1", object), ("class", object), ("fname", object)]
    annotations = np.empty((1, 2), dtype=kinds)
    annotations[0, 0] = (39, 181, "00001.jpg")
    annotations[0, 1] = (3, 7, "00002.jpg")
    names = np.array([["AM General Hummer SUV 2000", "Citroën"]], dtype=object)
    for compressed in (True, False):
        name = "cars.mat" if compressed else "cars-plain.mat"
        savemat(out / name, {"annotations": annotations, "class_names": names, "empty": np.zeros((0, 0))}, do_compression=compressed)


main()
