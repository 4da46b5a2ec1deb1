import io
import os
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlbench.contracts.errors import RequestError
from mlbench.models.unpickle import read_pth

MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)
COUNTER = np.array(7, dtype=np.int64)
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class _Stored:
    """Stands for a tensor while a checkpoint is written, as PyTorch's tensors do."""

    def __init__(self, key: str, storage_type: Any, values: np.ndarray, transposed: bool) -> None:
        self.storage = _Storage(key, storage_type, values)
        self.transposed = transposed

    def __reduce__(self) -> tuple[Any, ...]:
        shape, stride = (
            self.storage.values.shape,
            tuple(step // self.storage.values.itemsize for step in self.storage.values.strides),
        )
        if self.transposed:
            shape, stride = shape[::-1], stride[::-1]
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (self.storage, 0, shape, stride, False, OrderedDict())


class _Storage:
    def __init__(self, key: str, storage_type: Any, values: np.ndarray) -> None:
        self.key, self.type, self.values = key, storage_type, values


class _Writer(pickle.Pickler):
    def __init__(self, file: io.BytesIO, old: bool) -> None:
        super().__init__(file, protocol=2)
        self.old = old

    def persistent_id(self, obj: Any) -> tuple[Any, ...] | None:
        if not isinstance(obj, _Storage):
            return None
        pid = ("storage", obj.type, obj.key, "cpu", obj.values.size)
        return (*pid, None) if self.old else pid


@pytest.fixture
def torch_names(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The globals that PyTorch's pickles name, under PyTorch's module names."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch._utils = utils
    for name in ("FloatStorage", "LongStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2() -> None: ...

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return torch


def _state_dict(torch: types.ModuleType) -> OrderedDict[str, _Stored]:
    return OrderedDict(
        matrix=_Stored("0", torch.FloatStorage, MATRIX, transposed=False),
        flipped=_Stored("0", torch.FloatStorage, MATRIX, transposed=True),
        counter=_Stored("1", torch.LongStorage, COUNTER, transposed=False),
    )


def _pickled(value: Any, old: bool) -> bytes:
    file = io.BytesIO()
    _Writer(file, old).dump(value)
    return file.getvalue()


def _write_old(path: Path, value: Any) -> None:
    head = [_pickled(part, old=True) for part in (MAGIC, PROTOCOL, {"little_endian": True})]
    body = [_pickled(value, old=True), _pickled(["0", "1"], old=True)]
    runs = [struct.pack("<q", a.size) + a.tobytes() for a in (MATRIX, COUNTER)]
    path.write_bytes(b"".join(head + body + runs))


def _write_new(path: Path, value: Any) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", _pickled(value, old=False))
        archive.writestr("archive/data/0", MATRIX.tobytes())
        archive.writestr("archive/data/1", COUNTER.tobytes())


@pytest.mark.parametrize("write", [_write_old, _write_new])
def test_reads_both_formats(write: Any, torch_names: types.ModuleType, tmp_path: Path) -> None:
    """Both formats give every tensor with its shape and dtype, shared and transposed ones too."""
    write(tmp_path / "a.pth", _state_dict(torch_names))
    weights = read_pth(tmp_path / "a.pth")
    np.testing.assert_array_equal(weights["matrix"], MATRIX)
    np.testing.assert_array_equal(weights["flipped"], MATRIX.T)
    np.testing.assert_array_equal(weights["counter"], COUNTER)
    assert weights["matrix"].dtype == np.float32
    assert weights["counter"].dtype == np.int64


def test_reads_a_nested_state_dict(torch_names: types.ModuleType, tmp_path: Path) -> None:
    """A training checkpoint's `state_dict` entry is what is read."""
    _write_new(tmp_path / "a.pth", {"state_dict": _state_dict(torch_names), "epoch": 3})
    assert set(read_pth(tmp_path / "a.pth")) == {"matrix", "flipped", "counter"}


class _Attack:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("write", [_write_old, _write_new])
def test_refuses_to_run_code(write: Any, tmp_path: Path) -> None:
    """A pickle that names a function to call is refused, and the function isn't called."""
    write(tmp_path / "a.pth", OrderedDict(x=_Attack(tmp_path / "owned")))
    with pytest.raises(RequestError, match="it names posix"):
        read_pth(tmp_path / "a.pth")
    assert not (tmp_path / "owned").exists()


def test_refuses_a_tensor_beyond_its_numbers(torch_names: types.ModuleType, tmp_path: Path) -> None:
    """A tensor that claims more numbers than the file has is refused, not read out of bounds."""
    too_large = _Stored("1", torch_names.LongStorage, np.zeros(1000, np.int64), transposed=False)
    _write_new(tmp_path / "a.pth", OrderedDict(x=too_large))
    with pytest.raises(RequestError, match=r"a\.pth is not a PyTorch state dict"):
        read_pth(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps(1), pickle.dumps(MAGIC)])
def test_refuses_other_files(content: bytes, tmp_path: Path) -> None:
    """A file that is no checkpoint, or ends early, is one clear line."""
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(RequestError, match=r"a\.pth is not a PyTorch state dict"):
        read_pth(tmp_path / "a.pth")


@pytest.mark.parametrize("value", [{"x": 3}, [1, 2]])
def test_refuses_other_contents(value: Any, tmp_path: Path) -> None:
    """A checkpoint that holds other things than tensors is refused."""
    _write_new(tmp_path / "a.pth", value)
    with pytest.raises(RequestError, match="state dict"):
        read_pth(tmp_path / "a.pth")
