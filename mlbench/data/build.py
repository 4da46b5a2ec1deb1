"""Building one cache file, in parallel, so that an interrupted build can go on.

    KEY.partial   the .npy to be; each sample is written to its place
    KEY.journal   the boot's ID, then one byte for each image: 1 when its sample is written
    KEY.json      the images left out because they are bad

When all is done KEY.partial is renamed to KEY.npy. What is written survives the death of this
process but not of the machine (nothing is synced before the end): hence the boot's ID.
"""

import io
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from mlbench.contracts.errors import RequestError
from mlbench.data.events import ImagesPrepared, TellData
from mlbench.data.memory import readable
from mlbench.data.preprocess import (
    BadImageError,
    Layout,
    Preprocessing,
    prepare,
    read_image,
    sample_bytes,
    sample_shape,
)

_HEADER_BYTES = 128
_CHUNK = 16  # images for one task: a few ms of work, so that the pool costs nothing
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_BOOT_ID_BYTES = 37  # 36 characters and a newline


def read_skipped(base: Path) -> dict[int, str]:
    """Return the images that a finished cache left out: index -> "file: reason"."""
    skipped = json.loads(base.with_suffix(".json").read_text(encoding="utf-8"))
    return {int(index): reason for index, reason in skipped.items()}


def bad_image(reason: str) -> RequestError:
    """Word the error for a bad image, given "file: reason"."""
    return RequestError(f"{reason}; replace it, or leave such images out with --skip-bad-images")


class Build:
    """The build of one cache; `base` is its path without a suffix. Holds no samples in memory."""

    def __init__(
        self, files: tuple[Path, ...], preprocessing: Preprocessing, layout: Layout, base: Path
    ) -> None:
        self._files = files
        self._preprocessing = preprocessing
        self._layout: Layout = layout
        self._base = base
        self._sample_bytes = sample_bytes(layout)

    def run(self, tell: TellData, skip_bad: bool, threads: int) -> None:
        """Prepare what is not done yet and put the finished file in its place."""
        with self._opened() as (partial, journal), _one_thread_for_opencv():
            bad = self._prepare_all(partial, journal, tell, skip_bad, threads)
            if len(bad) == len(self._files):
                raise RequestError(f"none of the {len(bad)} images can be read; first: {bad[0]}")
            self._finish(partial, bad)

    def _prepare_all(
        self, partial: int, journal: int, tell: TellData, skip_bad: bool, threads: int
    ) -> dict[int, str]:
        done = np.frombuffer(os.pread(journal, len(self._files), _BOOT_ID_BYTES), np.uint8)
        todo = np.flatnonzero(done == 0).tolist()
        chunks = [todo[i : i + _CHUNK] for i in range(0, len(todo), _CHUNK)]
        finished = len(self._files) - len(todo)
        bad: dict[int, str] = {}
        pool = ThreadPoolExecutor(threads)
        try:
            for chunk, found in zip(
                chunks, pool.map(lambda c: self._prepare(c, partial, journal), chunks), strict=True
            ):
                if found and not skip_bad:
                    raise bad_image(next(iter(found.values())))
                bad.update(found)
                finished += len(chunk)
                tell(ImagesPrepared(finished, len(self._files)))
        finally:
            pool.shutdown(cancel_futures=True)
        return bad

    def _prepare(self, chunk: list[int], partial: int, journal: int) -> dict[int, str]:
        """Write the samples of a few images; return the bad ones."""
        bad = {}
        sample = np.empty(sample_shape(self._layout), np.float32)
        for index in chunk:
            try:
                image = read_image(self._files[index])
            except BadImageError as error:
                bad[index] = str(error)
                continue
            prepare(image, self._preprocessing, self._layout, sample)
            os.pwrite(partial, sample.data, self._offset(index))
            os.pwrite(journal, b"\1", _BOOT_ID_BYTES + index)
        return bad

    def _finish(self, partial: int, bad: Mapping[int, str]) -> None:
        self._base.with_suffix(".journal").unlink()  # from here on a crash means starting anew
        good = [i for i in range(len(self._files)) if i not in bad]
        for place, index in enumerate(good):
            if place != index:
                sample = os.pread(partial, self._sample_bytes, self._offset(index))
                os.pwrite(partial, sample, self._offset(place))
        os.ftruncate(partial, self._offset(len(good)))
        os.pwrite(partial, _header((len(good), *sample_shape(self._layout))), 0)
        os.fsync(partial)
        self._base.with_suffix(".json").write_text(json.dumps(bad), encoding="utf-8")
        self._base.with_suffix(".partial").rename(self._base.with_suffix(".npy"))

    def _offset(self, index: int) -> int:
        return _HEADER_BYTES + index * self._sample_bytes

    @contextmanager
    def _opened(self) -> Iterator[tuple[int, int]]:
        """Open the partial file and the journal, those of an interrupted build if there are."""
        partial_path = self._base.with_suffix(".partial")
        journal_path = self._base.with_suffix(".journal")
        boot = _BOOT_ID.read_bytes()
        partial = os.open(partial_path, os.O_RDWR | os.O_CREAT, 0o644)
        journal = os.open(journal_path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            whole = os.fstat(partial).st_size == self._offset(len(self._files))
            if not whole or os.pread(journal, _BOOT_ID_BYTES, 0) != boot:
                self._reserve(partial)
                os.ftruncate(journal, 0)
                os.pwrite(journal, boot + bytes(len(self._files)), 0)
            yield partial, journal
        finally:
            os.close(partial)
            os.close(journal)

    def _reserve(self, partial: int) -> None:
        """Take the room on disk at once: a full disk is found before the work is done."""
        size = self._offset(len(self._files))
        try:
            os.posix_fallocate(partial, 0, size)
        except OSError as error:
            self._base.with_suffix(".partial").unlink()
            self._base.with_suffix(".journal").unlink()
            raise RequestError(
                f"cannot keep {readable(size)} of prepared images in {self._base.parent} "
                f"({error.strerror}); make room, or set MLBENCH_CACHE to another folder"
            ) from None


def _header(shape: tuple[int, ...]) -> bytes:
    """Return the .npy header of a float32 array, exactly _HEADER_BYTES long."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    header = buffer.getvalue()
    if len(header) != _HEADER_BYTES:
        raise ValueError(f"a header of {len(header)} bytes for shape {shape}")
    return header


@contextmanager
def _one_thread_for_opencv() -> Iterator[None]:
    """Keep OpenCV from splitting each small image over all cores; the images run in parallel."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
