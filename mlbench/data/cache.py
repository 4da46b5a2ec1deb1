"""Prepared images in a file that is built once, kept between runs and mapped by all workers."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import cv2

from mlbench.data.build import Build, bad_image
from mlbench.data.events import ImagesStreamed, TellData
from mlbench.data.image_file import BadImageError, file_state
from mlbench.data.images import ImageList
from mlbench.data.preprocess import Layout, Preprocessing, sample_bytes
from mlbench.host.kept import keep
from mlbench.host.memory import available_bytes, check_samples

_VERSION = 1  # of the preprocessing code; a new one makes new files


_USUAL_COUNT = 500  # images: the accuracy stage of the benchmark that this one succeeds


@dataclass(frozen=True)
class BuiltCache:
    """A finished cache: sample i of the .npy file `path` is image i of `images`.

    `skipped`: the bad images that were left out, each as "file: reason".
    """

    path: Path
    images: ImageList
    skipped: tuple[str, ...]
    resident: int


def build_cache(
    images: ImageList,
    preprocessing: Preprocessing,
    layout: Layout,
    folder: Path,
    tell: TellData,
    *,
    skip_bad: bool = False,
    only_resident: bool = False,
    threads: int | None = None,
) -> BuiltCache:
    """Prepare all images of the list, or find that done already, and undamaged.

    The file holds float32 (n, 3, 224, 224) or (n, 224, 224, 3). `threads`: one for each core of
    this process when None (OpenCV works outside the interpreter lock, so that threads use all
    cores). It tells how far it is, when another process is building the same cache, and when a
    damaged cache is built again. Of a finished one only the samples that fit in memory are looked
    at where `only_resident` says that no others are served. Raises RequestError for a bad image
    (unless `skip_bad`), too little memory or too little room in `folder`.
    """
    resident = _resident(len(images.files), sample_bytes(layout), tell)
    path = folder / f"{_key(images.files, preprocessing, layout, skip_bad)}.npy"
    cores = threads or len(os.sched_getaffinity(0))
    sums = keep(
        path,
        lambda partial: Build(images.files, preprocessing, layout, partial).run(
            tell, skip_bad, cores
        ),
        tell,
        blocks=1 + resident if only_resident else None,
    )
    skipped = {int(index): reason for index, reason in sums.note["skipped"].items()}
    if skipped and not skip_bad:
        raise bad_image(next(iter(skipped.values())))
    images = images.without(skipped)
    resident = min(resident, len(images.files))
    return BuiltCache(path, images, tuple(skipped.values()), resident)


def _resident(count: int, sample_size: int, tell: TellData) -> int:
    """Return how many images must fit in memory: all if they do, else as many as are usual."""
    if count > _USUAL_COUNT and count * sample_size > available_bytes():
        tell(ImagesStreamed(count, _USUAL_COUNT))
        count = _USUAL_COUNT
    check_samples(count, sample_size)
    return count


def _key(
    files: tuple[Path, ...], preprocessing: Preprocessing, layout: Layout, skip_bad: bool
) -> str:
    """Name a cache by what it is made from; a file that is none is a bad image."""
    digest = hashlib.sha256(f"{_VERSION} {cv2.__version__} {preprocessing} {layout}\n".encode())
    for file in files:
        try:
            state = file_state(file)
        except BadImageError as error:
            if not skip_bad:
                raise bad_image(str(error)) from None
            state = "bad"
        digest.update(f"{file.absolute()} {state}\n".encode())
    return f"{preprocessing.name}-{layout}-{digest.hexdigest()[:20]}"
