"""Reading the weights of Keras' own ResNet50 (`keras.applications`) without Keras.

Handles the HDF5 files of Keras 2 (`.h5`, the ones that keras.applications downloads) and Keras 3
(`.weights.h5`, `.keras`). That model is ResNet-50 v1: the stride is in the first 1x1 convolution,
convolutions have biases, and channels come as blue, green, red.
"""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.errors import RequestError
from mlbench.models.resnet50 import EPSILON
from mlbench.models.unpickle import Weights

_KERAS_EPSILON = 1.001e-5
_UNIT = re.compile(r"conv(\d)_block(\d)_(\d)_(conv|bn)")
_CONV, _NORM = ("kernel", "bias"), ("gamma", "beta", "moving_mean", "moving_variance")


def read_keras(path: Path) -> Weights:
    """Return the tensors under torchvision's names, for RGB images less their mean.

    Raises RequestError when h5py is missing, or the file is not a ResNet50 of Keras.
    """
    try:
        import h5py
    except ImportError:
        raise RequestError(f"reading {path.name} needs h5py; pip install h5py") from None
    try:
        with h5py.File(_hdf5(path), "r") as file:
            layers = _layers(file)
        return _torchvision(layers)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise RequestError(
            f"{path} does not hold the weights of keras.applications.ResNet50 ({error})"
        ) from None


def _hdf5(path: Path) -> Path | io.BytesIO:
    if path.suffix != ".keras":
        return path
    with zipfile.ZipFile(path) as archive:
        return io.BytesIO(archive.read("model.weights.h5"))


def _layers(file: Any) -> dict[str, dict[str, NDArray[Any]]]:
    layers: dict[str, dict[str, NDArray[Any]]] = {}
    for layer, variable, values in _variables(file, file.name):
        layers.setdefault(layer, {})[variable] = values
    return layers


def _variables(group: Any, path: str) -> Iterator[tuple[str, str, NDArray[Any]]]:
    """Yield layer, variable and values; Keras 3 numbers variables and keeps the layer's name."""
    for key, node in group.items():
        if hasattr(node, "items"):
            yield from _variables(node, f"{path}/{key}")
        elif "name" in group.attrs:
            order = _NORM if len(group) == len(_NORM) else _CONV
            yield str(group.attrs["name"]), order[int(key)], node[()]
        else:
            yield path.rpartition("/")[2], key.split(":")[0], node[()]


def _torchvision(layers: dict[str, dict[str, NDArray[Any]]]) -> Weights:
    weights: Weights = {}
    for name in layers:
        if not name.endswith("_conv"):
            continue
        conv, norm = _names(name)
        _add_unit(weights, conv, norm, layers[name], layers[f"{name.removesuffix('_conv')}_bn"])
    weights["conv1.weight"] = weights["conv1.weight"][:, ::-1]
    dense = layers["predictions"]
    return {**weights, "fc.weight": dense["kernel"].T, "fc.bias": dense["bias"]}


def _add_unit(
    weights: Weights,
    conv: str,
    norm: str,
    kernel: dict[str, NDArray[Any]],
    moments: dict[str, NDArray[Any]],
) -> None:
    weights[f"{conv}.weight"] = kernel["kernel"].transpose(3, 2, 0, 1)
    weights[f"{norm}.weight"], weights[f"{norm}.bias"] = moments["gamma"], moments["beta"]
    weights[f"{norm}.running_mean"] = moments["moving_mean"] - kernel["bias"]
    variance = moments["moving_variance"].astype(np.float64)
    weights[f"{norm}.running_var"] = variance + (_KERAS_EPSILON - EPSILON)


def _names(name: str) -> tuple[str, str]:
    """Return torchvision's names of a convolution and of the normalisation behind it."""
    if name == "conv1_conv":
        return "conv1", "bn1"
    match = _UNIT.fullmatch(name)
    if match is None:
        raise KeyError(name)
    stage, block, unit = (int(digits) for digits in match.groups()[:3])
    prefix = f"layer{stage - 1}.{block - 1}"
    if unit == 0:
        return f"{prefix}.downsample.0", f"{prefix}.downsample.1"
    return f"{prefix}.conv{unit}", f"{prefix}.bn{unit}"
