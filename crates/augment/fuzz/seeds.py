"""Writes the first corpus of `decode_corrupt`: the clean goldens, one for every corruption. Needs no package."""

import pathlib

HERE = pathlib.Path(__file__).parent
CORRUPTIONS, SEVERITIES, PROFILES = 34, 6, 6


def main():
    corpus = HERE / "corpus" / "decode_corrupt"
    corpus.mkdir(parents=True, exist_ok=True)
    photographs = sorted((HERE.parent / "goldens" / "clean").glob("*.png"))
    for corruption in range(CORRUPTIONS):
        photo = photographs[corruption % len(photographs)]
        choice = bytes([corruption, 1 + corruption % (SEVERITIES - 1), corruption % PROFILES]) + bytes(8)
        (corpus / f"{corruption:02}-{photo.name}").write_bytes(choice + photo.read_bytes())


if __name__ == "__main__":
    main()
