"""Take a generated validation set through every ImageNet layout, some images broken on purpose.

    python tools/try_layouts.py --images 2000

Writes photo-like JPEGs of ImageNet's usual sizes, every 50th of an awkward kind (grey, CMYK, turned
by EXIF, a PNG named .JPEG), every 400th broken (cut off, empty, or text). The same images then
stand in each layout: a val_map.txt with sub-folders, a plain folder with a list of synsets, and
class folders. A layout goes through when the first broken image is named without
--skip-bad-images, and with it all others are prepared with the right labels, and prepared once.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mlbench.contracts.errors import RequestError
from mlbench.data.cache import build_cache
from mlbench.data.datasets import open_dataset
from mlbench.data.preprocess import PREPROCESSING

_CLASSES = 50
_AWKWARD, _BROKEN = 50, 400  # every so many images
_ORIENTATION = 0x0112  # EXIF tag
_SIZES = ((500, 375), (375, 500), (500, 333), (640, 480), (299, 299))


def quiet(event: str, fields: dict[str, Any]) -> None:
    """Hear of progress and say nothing."""


def picture(rng: np.random.Generator, number: int) -> Image.Image:
    """Return detail at several scales, with the compressed size of a photo."""
    size = _SIZES[number % len(_SIZES)]
    pixels = np.full((size[1], size[0], 3), 128.0)
    for scale in (4, 16, 64, 200):
        noise = rng.normal(0, 20, (scale, scale, 3))
        pixels += cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write(file: Path, rng: np.random.Generator, number: int) -> bool:
    """Write image `number`; return whether it is a good one."""
    image = picture(rng, number)
    if number % _BROKEN == _BROKEN - 1:
        image.save(file, "JPEG", quality=90)
        whole = file.read_bytes()
        kinds = (whole[: len(whole) // 2], b"", b"this is no image\n")
        file.write_bytes(kinds[number // _BROKEN % len(kinds)])
        return False
    if number % _AWKWARD:
        image.save(file, "JPEG", quality=90)
        return True
    turned = Image.Exif()
    turned[_ORIENTATION] = 6
    kinds_of_save: tuple[Callable[[], None], ...] = (
        lambda: image.convert("L").save(file, "JPEG"),
        lambda: image.convert("CMYK").save(file, "JPEG"),
        lambda: image.save(file, "JPEG", exif=turned),
        lambda: image.save(file, "PNG"),
    )
    kinds_of_save[number // _AWKWARD % len(kinds_of_save)]()
    return True


@dataclass(frozen=True)
class Photos:
    """Generated images, named as ImageNet's, each with its synset and whether it is good."""

    files: list[Path]
    synsets: list[str]
    good: list[bool]

    @property
    def labels(self) -> list[int]:
        """The index of each good image's synset among all of them, sorted."""
        index = {synset: i for i, synset in enumerate(sorted(set(self.synsets)))}
        return [index[s] for s, ok in zip(self.synsets, self.good, strict=True) if ok]


def generate(folder: Path, count: int) -> Photos:
    """Write `count` images."""
    rng = np.random.default_rng(1)
    files = [folder / f"ILSVRC2012_val_{i + 1:08d}.JPEG" for i in range(count)]
    good = [write(file, rng, number) for number, file in enumerate(files)]
    synsets = [f"n{1_000_000 + 7 * int(c):08d}" for c in rng.integers(0, _CLASSES, count)]
    return Photos(files, synsets, good)


def lay_out(photos: Photos, folder: Path) -> Iterator[tuple[str, Path, Path | None]]:
    """Yield each layout with its folder and its list of labels, if that is named apart."""
    index = {synset: i for i, synset in enumerate(sorted(set(photos.synsets)))}
    pairs = list(zip(photos.files, photos.synsets, strict=True))

    mapped = folder / "mapped"
    lines = []
    for number, (file, synset) in enumerate(pairs):
        name = f"part{number % 3}/{file.name}"
        place(file, mapped / name)
        lines.append(f"{name} {index[synset]}\n")
    (mapped / "val_map.txt").write_text("".join(lines))
    yield "val_map.txt, sub-folders", mapped, None

    for file, _ in pairs:
        place(file, folder / "plain" / file.name)
    synsets = folder / "synsets.txt"
    synsets.write_text("".join(f"{synset}\n" for synset in photos.synsets))
    yield "plain folder, synset list", folder / "plain", synsets

    for file, synset in pairs:
        place(file, folder / "classes" / synset / file.name)
    yield "class folders", folder / "classes", None


def place(file: Path, target: Path) -> None:
    """Let the file stand at `target` too."""
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(file, target)


def go_through(photos: Photos, folder: Path, listing: Path | None, cache: Path) -> str:
    """Prepare one layout; return its figures, or raise AssertionError with what is wrong."""
    images, how = open_dataset("imagenet", folder, listing), PREPROCESSING["vgg"]
    first_bad = photos.files[photos.good.index(False)].name
    try:
        build_cache(images, how, "NCHW", cache, quiet)
    except RequestError as error:
        if first_bad not in str(error):
            raise AssertionError(f"named another image than {first_bad}: {error}") from None
    else:
        raise AssertionError("no broken image was noticed")
    begin = time.perf_counter()
    built = build_cache(images, how, "NCHW", cache, quiet, skip_bad=True, resident=500)
    spent_s = time.perf_counter() - begin
    labels = built.images.labels
    if labels is None or labels.tolist() != photos.labels:
        raise AssertionError("the labels of the images that are left are wrong")
    samples = np.load(built.path, mmap_mode="r")
    prepared = samples.shape[0]
    if prepared != len(photos.labels) or float(np.ptp(samples[-1])) == 0.0:
        raise AssertionError(f"{prepared} samples of {len(photos.labels)} images")
    begin = time.perf_counter()
    build_cache(images, how, "NCHW", cache, quiet, skip_bad=True, resident=500)
    again_s = time.perf_counter() - begin
    return (
        f"{prepared:,} prepared, {len(built.skipped)} left out, {len(images.files) / spent_s:,.0f} "
        f"images/s; found again in {again_s:.2f} s"
    )


def main() -> None:
    """Generate, lay out, go through."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=2000)
    count = parser.parse_args().images
    if count < _BROKEN:
        parser.error(f"argument --images: {_BROKEN} or more, so that one is broken")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("photos", "cache"):
            (folder / part).mkdir()
        photos = generate(folder / "photos", count)
        kib = sum(file.stat().st_size for file in photos.files) / count / 1024
        print(f"{count:,} images of {kib:.0f} KiB, {photos.good.count(False)} of them broken")
        for layout, place_of, listing in lay_out(photos, folder):
            print(f"{layout}: {go_through(photos, place_of, listing, folder / 'cache')}")


if __name__ == "__main__":
    main()
