"""Reading PyTorch checkpoints without PyTorch and without running anything a file asks for.

A `.pth` file is a pickle of an ordered dict of tensors; the numbers lie outside the pickle, behind
it (the old format) or as members of a zip archive (since PyTorch 1.6). Formats as in PyTorch's
`torch/serialization.py`. The pickle may name only the handful of globals that a state dict needs;
every other one is refused.
"""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.errors import RequestError

Weights = dict[str, NDArray[Any]]
"""Tensors by name."""

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


@dataclass(frozen=True)
class _Storage:
    """A run of numbers that lies outside the pickle; views into another storage are not read."""

    key: str
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class _Tensor:
    """A tensor before its numbers are known; offset and stride count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def to_array(self, raw: bytes) -> NDArray[Any]:
        """Return the numbers; NumPy raises ValueError when they do not lie within `raw`."""
        dtype = self.storage.dtype
        strides = tuple(step * dtype.itemsize for step in self.stride)
        start = self.offset * dtype.itemsize
        return np.array(np.ndarray(self.shape, dtype, raw, start, strides), order="C")


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(storage, offset, shape, stride)


def _rebuild_parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor


_GLOBALS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): np.dtype(code) for name, code in _STORAGES.items()},
}


class _Reader(pickle.Unpickler):
    """An unpickler that knows the globals of a state dict and no others."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _GLOBALS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}") from None

    def persistent_load(self, pid: Any) -> _Storage:
        _, dtype, key = pid[:3]
        return _Storage(key, dtype)


def read_pth(path: Path) -> Weights:
    """Return the tensors of a PyTorch state dict, in either format of `torch.save`.

    A dict with a `state_dict` inside is looked into. Raises RequestError when the file is not a
    state dict of plain tensors, or names anything else than what those need.
    """
    try:
        read = _read_zip if zipfile.is_zipfile(path) else _read_old
        return read(path)
    except OSError as error:
        raise RequestError(f"can't read {path} ({error.strerror})") from None
    except Exception as error:  # a broken pickle or archive can raise anything
        raise RequestError(
            f"{path} is not a PyTorch state dict of plain tensors ({error}); "
            "save one with torch.save(model.state_dict(), PATH)"
        ) from None


def _read_zip(path: Path) -> Weights:
    with zipfile.ZipFile(path) as archive:
        (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        folder = pickled.removesuffix("data.pkl")
        found = _Reader(io.BytesIO(archive.read(pickled))).load()
        return _to_arrays(found, lambda key: archive.read(f"{folder}data/{key}"))


def _read_old(path: Path) -> Weights:
    with path.open("rb") as file:
        if _Reader(file).load() != _MAGIC:
            raise ValueError("the magic number is missing")
        _protocol, _system = _Reader(file).load(), _Reader(file).load()
        found = _Reader(file).load()
        keys = _Reader(file).load()
        itemsize = {tensor.storage.key: tensor.storage.dtype.itemsize for tensor in _tensors(found)}
        raw = {key: _read_run(file, itemsize[key]) for key in keys}
    return _to_arrays(found, raw.__getitem__)


def _read_run(file: IO[bytes], itemsize: int) -> bytes:
    (count,) = struct.unpack("<q", file.read(8))
    return file.read(count * itemsize)


def _to_arrays(found: Any, raw_of: Callable[[str], bytes]) -> Weights:
    named = _state_dict(found)
    return {name: tensor.to_array(raw_of(tensor.storage.key)) for name, tensor in named.items()}


def _tensors(found: Any) -> list[_Tensor]:
    return list(_state_dict(found).values())


def _state_dict(found: Any) -> dict[str, _Tensor]:
    found = found.get("state_dict", found)
    if not all(isinstance(value, _Tensor) for value in found.values()):
        raise ValueError("it holds other things than tensors")
    return dict(found)
