"""Compare the speed of mlbench's preprocessing with the same steps in Pillow, on one core.

    python tools/bench_preprocess.py [FOLDER]

FOLDER holds JPEGs; without it, 40 images of 500x375 (ImageNet's usual size) are generated. The two
take turns, so that a busy machine slows both. The figures are medians over the rounds.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mlbench.data.image_file import read_image
from mlbench.data.preprocess import CROP, PREPROCESSING, SHORT_SIDE, prepare

Prepare = Callable[[Path], NDArray[np.float32]]

_FILTERS = {"vgg": Image.Resampling.BOX, "mobilenet": Image.Resampling.BILINEAR}


def pillow(kind: str) -> Prepare:
    """Return a function that prepares one file with Pillow and NumPy, float32 (3, 224, 224)."""
    how = PREPROCESSING[kind]
    mean = np.array(how.mean, np.float32)

    def run(file: Path) -> NDArray[np.float32]:
        image = Image.open(file).convert("RGB")
        width, height = image.size
        short = min(image.size)
        width, height = SHORT_SIDE * width // short, SHORT_SIDE * height // short
        image = image.resize((width, height), _FILTERS[kind])
        left, top = (width - CROP) // 2, (height - CROP) // 2
        pixels = np.asarray(image.crop((left, top, left + CROP, top + CROP)), np.float32)
        return np.ascontiguousarray(((pixels - mean) * np.float32(how.scale)).transpose(2, 0, 1))

    return run


def ours(kind: str) -> Prepare:
    """Return a function that prepares one file as mlbench does, float32 (3, 224, 224)."""
    how = PREPROCESSING[kind]
    out = np.empty((3, CROP, CROP), np.float32)

    def run(file: Path) -> NDArray[np.float32]:
        prepare(read_image(file), how, "NCHW", out)
        return out

    return run


def generate(folder: Path, count: int = 40) -> None:
    """Write JPEGs with detail at all scales, about 110 kB each, like ImageNet's."""
    rng = np.random.default_rng(1)
    for index in range(count):
        image = np.full((375, 500, 3), 128.0)
        for size in (4, 8, 16, 32, 64, 128):
            noise = rng.normal(0, 18, (size, size, 3))
            image += cv2.resize(noise, (500, 375), interpolation=cv2.INTER_CUBIC)
        image += rng.normal(0, 6, image.shape)
        pixels = image.clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{index}.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])


def images_per_second(run: Prepare, files: list[Path]) -> float:
    """Prepare all files once."""
    start = time.perf_counter()
    for file in files:
        run(file)
    return len(files) / (time.perf_counter() - start)


def compare(files: list[Path], rounds: int) -> None:
    """Print images per second of both, and their ratio, for each kind of preprocessing."""
    size = statistics.mean(file.stat().st_size for file in files) / 1000
    print(f"{len(files)} images of {size:.0f} kB, one core, {rounds} rounds")
    for kind in PREPROCESSING:
        pairs = []
        for _ in range(rounds + 1):
            pairs.append([images_per_second(run(kind), files) for run in (pillow, ours)])
        theirs, mine, ratio = (
            statistics.median(v) for v in zip(*((p, o, o / p) for p, o in pairs[1:]), strict=True)
        )
        print(f"{kind:10s} Pillow {theirs:6.0f}/s   mlbench {mine:6.0f}/s   {ratio:.2f} x")


def main() -> None:
    """Pin to one core and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", nargs="?", type=Path, help="folder with JPEGs")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as generated:
        if args.folder is None:
            generate(Path(generated))
        files = sorted(f for f in (args.folder or Path(generated)).iterdir() if f.is_file())
        compare(files, args.rounds)


if __name__ == "__main__":
    main()
