import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optional import H5PY

from mlbench.contracts.errors import RequestError
from mlbench.models import checkpoints
from mlbench.models.keras_reader import read_keras
from mlbench.models.network import Conv, Dense
from mlbench.models.safetensors_reader import read_safetensors
from mlbench.models.synthetic import synthetic_weights
from mlbench.models.unpickle import Weights


@pytest.fixture(scope="module")
def weights() -> Weights:
    """Weights with the names and shapes of torchvision's ResNet-50."""
    head = {"fc.weight": np.zeros((1000, 2048), np.float32), "fc.bias": np.ones(1000, np.float32)}
    return {**synthetic_weights(64), **head}


def _write_safetensors(path: Path, tensors: Weights) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, values in tensors.items():
        end = start + values.nbytes
        dtype = {"float32": "F32", "float64": "F64", "int64": "I64"}[values.dtype.name]
        header[name] = {"dtype": dtype, "shape": values.shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    body = b"".join(values.tobytes() for values in tensors.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def test_safetensors_round_trip(tmp_path: Path) -> None:
    """Every tensor comes back with its shape, dtype and numbers; the file's own notes do not."""
    tensors = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(5), "c": np.zeros(0, np.float32)}
    _write_safetensors(tmp_path / "a.safetensors", tensors)
    found = read_safetensors(tmp_path / "a.safetensors")
    assert list(found) == ["a", "b", "c"]
    for name, values in tensors.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == values.dtype


def _entry(**changes: Any) -> bytes:
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}
    text = json.dumps({"x": entry}).encode()
    return len(text).to_bytes(8, "little") + text + bytes(8)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not one",
        _entry()[:-1],
        _entry(dtype="BF16"),
        _entry(shape=[3]),
        _entry(shape=[-2]),
        _entry(data_offsets=[-8, 0]),
        _entry(data_offsets=[8, 16]),
        b"\x02" + bytes(7) + b"[]",
    ],
)
def test_broken_safetensors_are_refused(content: bytes, tmp_path: Path) -> None:
    """A file that is cut off, lies about its sizes or has unknown types is one clear line."""
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(RequestError, match=r"a\.safetensors is not a readable"):
        read_safetensors(tmp_path / "a.safetensors")


def test_torchvision_weights_make_v1_5(weights: Weights, tmp_path: Path) -> None:
    """A torchvision checkpoint gives a 224x224 ResNet-50 v1.5 that names its source."""
    _write_safetensors(tmp_path / "mine.safetensors", weights)
    model = checkpoints.load_resnet50(tmp_path / "mine.safetensors")
    strides = {op.output: op.stride for op in model.ops if isinstance(op, Conv)}
    (dense,) = (op for op in model.ops if isinstance(op, Dense))
    assert model.image_shape == (3, 224, 224)
    assert model.metadata["architecture"] == "ResNet-50 v1.5"
    assert model.metadata["weights"] == "checkpoint"
    assert "mine.safetensors" in model.metadata["description"]
    assert strides["layer2.0.conv2"] == 2
    assert dense.weight.shape == (2048, 1001)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"conv1.weight": np.zeros((32, 3, 7, 7), np.float32)},
            r"conv1\.weight is \(32, 3, 7, 7\)",
        ),
        ({"fc.weight": np.zeros((10, 2048), np.float32)}, r"fc\.weight is \(10, 2048\)"),
        ({"layer3.6.conv1.weight": np.zeros((1, 1, 1, 1), np.float32)}, r"layer3\.6\.conv1"),
    ],
)
def test_relatives_are_refused(
    change: Weights, told: str, weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another ResNet, or one with other classes, is refused with the tensor that tells."""
    (tmp_path / "a.pth").touch()
    monkeypatch.setitem(checkpoints._TORCH_READERS, ".pth", lambda _: {**weights, **change})
    with pytest.raises(RequestError, match=told):
        checkpoints.load_resnet50(tmp_path / "a.pth")


def test_missing_tensor_is_told(weights: Weights, tmp_path: Path) -> None:
    """Weights of another model are refused with a tensor that they lack."""
    _write_safetensors(tmp_path / "a.safetensors", {"fc.bias": weights["fc.bias"]})
    with pytest.raises(RequestError, match=r"not a ResNet-50 .*'conv1\.weight'"):
        checkpoints.load_resnet50(tmp_path / "a.safetensors")


def test_missing_and_other_files_are_refused(tmp_path: Path) -> None:
    """A path without a file, and a file of another kind, are told apart."""
    with pytest.raises(RequestError, match="no file"):
        checkpoints.load_resnet50(tmp_path / "none.pth")
    (tmp_path / "a.ckpt").touch()
    with pytest.raises(RequestError, match=r"ends in one of \.pth"):
        checkpoints.load_resnet50(tmp_path / "a.ckpt")


Layers = dict[str, list[np.ndarray]]


def _keras_layers() -> Layers:
    """Two units and the head of Keras' ResNet50, with random numbers."""
    rng = np.random.default_rng(9)
    norm = [rng.uniform(0.5, 1, 4).astype(np.float32) for _ in range(4)]
    units = {"conv1": (7, 7, 3, 4), "conv3_block2_1": (1, 1, 4, 4), "conv2_block1_0": (1, 1, 4, 4)}
    layers: Layers = {"predictions": [rng.normal(size=(4, 5)), rng.normal(size=5)]}
    for unit, shape in units.items():
        layers[f"{unit}_conv"] = [rng.normal(size=shape), rng.normal(size=4)]
        layers[f"{unit}_bn"] = norm
    return layers


def _variables(values: list[np.ndarray]) -> dict[str, np.ndarray]:
    norm = ("gamma", "beta", "moving_mean", "moving_variance")
    return dict(zip(norm if len(values) == 4 else ("kernel", "bias"), values, strict=True))


def _write_keras2(path: Path, layers: Layers) -> None:
    h5py = pytest.importorskip("h5py", reason=H5PY)
    with h5py.File(path, "w") as file:
        for layer, values in layers.items():
            for name, array in _variables(values).items():
                file[f"{layer}/{layer}/{name}:0"] = array


def _write_keras3(path: Path, layers: Layers) -> None:
    h5py = pytest.importorskip("h5py", reason=H5PY)
    hdf5 = path.with_suffix(".weights.h5")
    with h5py.File(hdf5, "w") as file:
        for index, (layer, values) in enumerate(layers.items()):
            group = file.create_group(f"layers/some_{index}/vars")
            group.attrs["name"] = layer
            for number, array in enumerate(values):
                group[str(number)] = array
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(hdf5, "model.weights.h5")


@pytest.mark.parametrize(
    ("write", "name"), [(_write_keras2, "a.h5"), (_write_keras3, "a.keras")], ids=["2", "3"]
)
def test_keras_weights(write: Callable[[Path, Layers], None], name: str, tmp_path: Path) -> None:
    """Both generations of Keras files come under torchvision's names, in RGB and without biases."""
    layers = _keras_layers()
    write(tmp_path / name, layers)
    weights = read_keras(tmp_path / name)
    stem, bias = layers["conv1_conv"]
    np.testing.assert_array_equal(weights["conv1.weight"][:, 0], stem[:, :, 2].transpose(2, 0, 1))
    np.testing.assert_allclose(weights["bn1.running_mean"], layers["conv1_bn"][2] - bias)
    np.testing.assert_array_equal(weights["fc.weight"], layers["predictions"][0].T)
    assert {"layer2.1.conv1.weight", "layer1.0.downsample.0.weight"} < set(weights)
    assert {"layer2.1.bn1.bias", "layer1.0.downsample.1.running_var"} < set(weights)


def test_other_keras_files_are_refused(tmp_path: Path) -> None:
    """A file that is no HDF5, or another model, is one clear line."""
    pytest.importorskip("h5py", reason=H5PY)
    (tmp_path / "a.h5").write_bytes(b"no")
    with pytest.raises(RequestError, match=r"a\.h5 does not hold"):
        read_keras(tmp_path / "a.h5")
    _write_keras2(tmp_path / "b.h5", {"dense": [np.zeros((2, 2)), np.zeros(2)]})
    with pytest.raises(RequestError, match=r"b\.h5 does not hold"):
        read_keras(tmp_path / "b.h5")
