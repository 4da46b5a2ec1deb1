"""Recorded tensors: an .npz file with an array for each input, and `labels` where they are known.

    np.savez("recorded.npz", ids=ids, mask=mask, labels=labels)     # first axis: the sample

Files are not trusted: nothing is unpickled, and sizes are looked at before anything is read.
"""

import hashlib
import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.backend import TensorSpec
from mlbench.contracts.errors import RequestError
from mlbench.contracts.text import shown
from mlbench.host.files import replacing
from mlbench.host.kept import Sums, TellKept, keep, sums_of, tell_nobody
from mlbench.host.memory import check_fits, check_samples

LABELS = "labels"
_CHUNK_BYTES = 1 << 24  # is read, converted and written at once
_LISTED = 20  # names in a message
# What zipfile and NumPy raise for odd archives and headers besides RuntimeError (of encrypted ones,
# or deep nesting), ValueError and OSError.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    TokenError,
    SyntaxError,
    TypeError,
    OverflowError,
    MemoryError,
    struct.error,
)


@dataclass(frozen=True)
class Recorded:
    """Recorded samples: a cache file for each input, and labels int64 (count,) or None."""

    files: dict[str, Path]
    count: int
    labels: NDArray[np.int64] | None


@dataclass(frozen=True)
class _Array:
    """What the header of an array in the file says."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool

    def __str__(self) -> str:
        return f"array '{shown(self.name)}' is {self.dtype}{self.shape}"

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape[1:])


def open_npz(
    path: Path,
    inputs: Sequence[TensorSpec],
    count: int,
    folder: Path,
    tell: TellKept = tell_nobody,
) -> Recorded:
    """Take the first `count` samples for these inputs, or all; keep them in `folder`.

    An array has the shape (samples, ...) with what one query feeds behind, and the input's type, or
    one that it holds without loss. Free dimensions take the sizes of the arrays. Raises
    RequestError, one line, for whatever does not fit.
    """
    with _opened(path) as archive:
        arrays = {spec.name: _header(path, archive, spec.name) for spec in inputs}
        has_labels = LABELS not in arrays and f"{LABELS}.npy" in archive.namelist()
        labels = _header(path, archive, LABELS) if has_labels else None
        for spec in inputs:
            _check(path, arrays[spec.name], spec)
        every = [*arrays.values(), *([labels] if labels else [])]
        taken = min(count, _samples(path, every))
        check_samples(taken, sum(array.row_bytes for array in every))
        source = hashlib.sha256(str(sums_of(path).blocks).encode()).hexdigest()[:20]
        files = {
            spec.name: _kept(archive, arrays[spec.name], spec, taken, source, folder, tell)
            for spec in inputs
        }
        return Recorded(files, taken, _labels(path, archive, labels, taken) if labels else None)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the archive; whatever is wrong with it while it is open becomes a RequestError."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (*_DAMAGED, RuntimeError, ValueError, OSError) as error:
        if isinstance(error, RequestError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise RequestError(
            f"--dataset-path {path}: not a whole .npz file, as np.savez writes it ({reason})"
        ) from None


def _header(path: Path, archive: zipfile.ZipFile, name: str) -> _Array:
    if f"{name}.npy" not in archive.namelist():
        there = [n.removesuffix(".npy") for n in archive.namelist()]
        more = ", ..." if len(there) > _LISTED else ""
        raise RequestError(
            f"--dataset-path {path}: no array '{name}' for the input of that name; it has: "
            f"{', '.join(map(shown, there[:_LISTED])) or 'none'}{more}"
        )
    with archive.open(f"{name}.npy") as member:
        shape, fortran_order, dtype = _read_header(member)
    if min(shape, default=0) < 0:
        raise ValueError(f"array '{shown(name)}' has a negative size")
    return _Array(name, dtype, shape, fortran_order)


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member)
    return np.lib.format.read_array_header_2_0(member)


def _check(path: Path, array: _Array, spec: TensorSpec) -> None:
    """Refuse an array that is not made of samples for this input."""
    wanted = spec.sample_shape
    is_shape = len(array.shape) == len(wanted) + 1 and all(
        want in (None, have) for want, have in zip(wanted, array.shape[1:], strict=True)
    )
    if not is_shape:
        dims = ", ".join(["samples", *("?" if size is None else str(size) for size in wanted)])
        raise RequestError(
            f"--dataset-path {path}: {array}, but input {spec} takes ({dims}), one sample after "
            "the other"
        )
    if array.dtype.kind not in "fiub" or not np.can_cast(array.dtype, spec.dtype, "safe"):
        raise RequestError(
            f"--dataset-path {path}: {array}, but input {spec} takes {spec.dtype}: save it with "
            f".astype('{spec.dtype}')"
        )


def _samples(path: Path, arrays: Sequence[_Array]) -> int:
    """Return how many samples all arrays have."""
    for array in arrays:
        if not array.shape or array.shape[0] < 1:
            raise RequestError(f"--dataset-path {path}: {array}, which has no samples")
        if array.shape[0] != arrays[0].shape[0]:
            raise RequestError(
                f"--dataset-path {path}: {array}, but {arrays[0]}: all need as many samples"
            )
    return arrays[0].shape[0]


def _kept(
    archive: zipfile.ZipFile,
    array: _Array,
    spec: TensorSpec,
    count: int,
    source: str,
    folder: Path,
    tell: TellKept,
) -> Path:
    key = hashlib.sha256(f"{source} {spec.name} {spec.dtype} {count}".encode()).hexdigest()[:20]
    path = folder / f"recorded-{key}.npy"
    keep(path, partial(_write, archive, array, np.dtype(spec.dtype), count), tell)
    return path


def _write(
    archive: zipfile.ZipFile, array: _Array, dtype: np.dtype[Any], count: int, path: Path
) -> Sums:
    header = {"descr": dtype.str, "fortran_order": False, "shape": (count, *array.shape[1:])}
    with replacing(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for rows in _rows(archive, array, count):
            file.write(rows.astype(dtype).tobytes())
    return sums_of(path)


def _rows(archive: zipfile.ZipFile, array: _Array, count: int) -> Iterator[NDArray[Any]]:
    """Yield the first `count` samples, some at a time; raises EOFError where they end early."""
    step = max(1, _CHUNK_BYTES // max(array.row_bytes, 1))
    with archive.open(f"{array.name}.npy") as member:
        _read_header(member)
        if array.fortran_order:  # its rows lie scattered over the whole of it
            size = array.shape[0] * array.row_bytes
            check_fits(size, f"the samples of '{array.name}'", "save it with np.ascontiguousarray")
            flat = np.frombuffer(_exactly(member, size), array.dtype)
            yield flat.reshape(array.shape, order="F")[:count]
            return
        for first in range(0, count, step):
            shape = (min(step, count - first), *array.shape[1:])
            content = _exactly(member, shape[0] * array.row_bytes)
            yield np.frombuffer(content, array.dtype).reshape(shape)


def _exactly(member: IO[bytes], size: int) -> bytes:
    content = member.read(size)
    if len(content) < size:
        raise EOFError("an array ends early")
    return content


def _labels(path: Path, archive: zipfile.ZipFile, array: _Array, count: int) -> NDArray[np.int64]:
    if array.dtype.kind not in "iu" or math.prod(array.shape[1:]) != 1:
        raise RequestError(
            f"--dataset-path {path}: {array}, but labels are class numbers, integers of shape "
            f"({array.shape[0]},)"
        )
    read = np.concatenate([rows.reshape(-1) for rows in _rows(archive, array, count)])
    if read.min() < 0 or read.max() > np.iinfo(np.int32).max:
        raise RequestError(
            f"--dataset-path {path}: labels from {read.min()} to {read.max()}; classes are "
            "numbered from 0, in 32 bits"
        )
    return read.astype(np.int64)
