"""Prepared images in a file that is built once, kept between runs and mapped by all workers."""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import psutil

from mlbench.contracts.errors import RequestError
from mlbench.data.build import Build, bad_image, read_skipped
from mlbench.data.events import CacheAwaited, ImagesStreamed, TellData
from mlbench.data.images import ImageList
from mlbench.data.memory import check_memory
from mlbench.data.preprocess import Layout, Preprocessing, sample_bytes

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
    threads: int | None = None,
) -> BuiltCache:
    """Prepare all images of the list, or find that done already.

    The file holds float32 (n, 3, 224, 224) or (n, 224, 224, 3). `threads`: one for each core of
    this process when None (OpenCV works outside the interpreter lock, so that threads use all
    cores). It tells how far it is, and when another process is building the same cache. Raises
    RequestError for a missing file, a bad image (unless `skip_bad`), too little memory or too
    little room in `folder`.
    """
    resident = _resident(len(images.files), sample_bytes(layout), tell)
    base = folder / _key(images.files, preprocessing, layout)
    finished = base.with_suffix(".npy")
    with _locked(finished, tell):
        if not finished.exists():
            cores = threads or len(os.sched_getaffinity(0))
            Build(images.files, preprocessing, layout, base).run(tell, skip_bad, cores)
    skipped = read_skipped(base)
    if skipped and not skip_bad:
        raise bad_image(next(iter(skipped.values())))
    images = images.without(skipped)
    resident = min(resident, len(images.files))
    return BuiltCache(finished, images, tuple(skipped.values()), resident)


def _resident(count: int, sample_size: int, tell: TellData) -> int:
    """Return how many images must fit in memory: all if they do, else as many as are usual."""
    if count > _USUAL_COUNT and count * sample_size > psutil.virtual_memory().available:
        tell(ImagesStreamed(count, _USUAL_COUNT))
        count = _USUAL_COUNT
    check_memory(count, sample_size)
    return count


def _key(files: tuple[Path, ...], preprocessing: Preprocessing, layout: Layout) -> str:
    """Name a cache by what it is made from."""
    digest = hashlib.sha256(f"{_VERSION} {cv2.__version__} {preprocessing} {layout}\n".encode())
    for file in files:
        try:
            stat = file.stat()
        except OSError as error:
            raise RequestError(f"cannot read the image {file} ({error.strerror})") from None
        digest.update(f"{file.absolute()} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return f"{preprocessing.name}-{layout}-{digest.hexdigest()[:20]}"


@contextlib.contextmanager
def _locked(finished: Path, tell: TellData) -> Iterator[None]:
    with finished.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(CacheAwaited(finished))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
