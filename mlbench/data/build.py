"""Building one cache file, in parallel, so that an interrupted build can go on.

    NAME.partial   the .npy to be; each sample is written to its place
    NAME.journal   a sum for each image, 0 while its sample is not written

A sample that is there already, as its sum tells, is not prepared again. So what an interrupted
build left is used, and what a crash of the machine lost of it is not.
"""

import io
import os
from collections.abc import Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from mlbench.contracts.errors import RequestError
from mlbench.data.events import ImagesPrepared, TellData
from mlbench.data.image_file import BadImageError, read_image
from mlbench.data.preprocess import (
    Layout,
    Preprocessing,
    prepare,
    sample_bytes,
    sample_shape,
)
from mlbench.host.kept import Sums, block_sum, sum_of
from mlbench.host.memory import readable

_HEADER_BYTES = 128
_SUM_BYTES = 8
_CHUNK = 16  # images for one task: a few ms of work, so that the pool costs nothing


def bad_image(reason: str) -> RequestError:
    """Word the error for a bad image, given "file: reason"."""
    return RequestError(f"{reason}; replace it, or leave such images out with --skip-bad-images")


class _Journal:
    """The sums of the samples that are written, in a file of eight bytes for each image."""

    def __init__(self, descriptor: int, count: int) -> None:
        self._descriptor = descriptor
        recorded = os.pread(descriptor, count * _SUM_BYTES, 0)
        self.sums: list[int] = np.frombuffer(recorded, "<u8").tolist()

    def record(self, index: int, sum_: int) -> None:
        """Note the sum of a sample that was written."""
        self.sums[index] = sum_
        os.pwrite(self._descriptor, sum_.to_bytes(_SUM_BYTES, "little"), index * _SUM_BYTES)


class Build:
    """The build of one cache in the file `partial`. Holds no samples in memory."""

    def __init__(
        self, files: tuple[Path, ...], preprocessing: Preprocessing, layout: Layout, partial: Path
    ) -> None:
        self._files = files
        self._preprocessing = preprocessing
        self._layout: Layout = layout
        self._partial = partial
        self._journal = partial.with_suffix(".journal")
        self._sample_bytes = sample_bytes(layout)

    def run(self, tell: TellData, skip_bad: bool, threads: int) -> Sums:
        """Prepare what is not done yet; return the file's sums, a block for each sample.

        Their note holds the bad images, which were left out: `skipped`, index -> "file: reason".
        """
        with self._opened() as (partial, journal), _one_thread_for_opencv():
            bad = self._prepare_all(partial, journal, tell, skip_bad, threads)
            if len(bad) == len(self._files):
                raise RequestError(f"none of the {len(bad)} images can be read; first: {bad[0]}")
            blocks = self._finish(partial, journal.sums, bad)
        self._journal.unlink()
        note = {"skipped": {str(index): reason for index, reason in bad.items()}}
        size = self._offset(len(blocks) - 1)
        return Sums(size, _HEADER_BYTES, self._sample_bytes, blocks, note)

    def _prepare_all(
        self, partial: int, journal: _Journal, tell: TellData, skip_bad: bool, threads: int
    ) -> dict[int, str]:
        count = len(self._files)
        chunks = [range(i, min(i + _CHUNK, count)) for i in range(0, count, _CHUNK)]
        bad: dict[int, str] = {}
        pool = ThreadPoolExecutor(threads)
        try:
            results = pool.map(lambda chunk: self._prepare(chunk, partial, journal), chunks)
            for chunk, found in zip(chunks, results, strict=True):
                if found and not skip_bad:
                    raise bad_image(next(iter(found.values())))
                bad.update(found)
                tell(ImagesPrepared(chunk.stop, count))
        finally:
            pool.shutdown(cancel_futures=True)
        return bad

    def _prepare(self, chunk: range, partial: int, journal: _Journal) -> dict[int, str]:
        """Write the samples of a few images where they are missing; return the bad ones."""
        bad = {}
        sample = np.empty(sample_shape(self._layout), np.float32)
        for index in chunk:
            offset, recorded = self._offset(index), journal.sums[index]
            if recorded and recorded == block_sum(partial, offset, offset + self._sample_bytes):
                continue
            try:
                image = read_image(self._files[index])
            except BadImageError as error:
                bad[index] = str(error)
                continue
            prepare(image, self._preprocessing, self._layout, sample)
            os.pwrite(partial, sample.data, offset)
            journal.record(index, sum_of(sample.data))
        return bad

    def _finish(self, partial: int, sums: list[int], bad: Container[int]) -> list[int]:
        """Close the gaps of bad images, write the header; return the sums of all blocks."""
        good = [i for i in range(len(self._files)) if i not in bad]
        for place, index in enumerate(good):
            if place != index:
                sample = os.pread(partial, self._sample_bytes, self._offset(index))
                os.pwrite(partial, sample, self._offset(place))
        header = _header((len(good), *sample_shape(self._layout)))
        os.ftruncate(partial, self._offset(len(good)))
        os.pwrite(partial, header, 0)
        os.fsync(partial)
        return [sum_of(header), *(sums[index] for index in good)]

    def _offset(self, index: int) -> int:
        return _HEADER_BYTES + index * self._sample_bytes

    @contextmanager
    def _opened(self) -> Iterator[tuple[int, _Journal]]:
        """Open the partial file and the journal, those of an interrupted build if there are."""
        count = len(self._files)
        partial = os.open(self._partial, os.O_RDWR | os.O_CREAT, 0o644)
        journal = os.open(self._journal, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._reserve(partial, self._offset(count))
            self._reserve(journal, count * _SUM_BYTES)
            yield partial, _Journal(journal, count)
        finally:
            os.close(partial)
            os.close(journal)

    def _reserve(self, descriptor: int, size: int) -> None:
        """Take the room on disk at once: a full disk is found before the work is done."""
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            self._partial.unlink()
            self._journal.unlink()
            raise RequestError(
                f"cannot keep {readable(size)} of prepared images in {self._partial.parent} "
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
