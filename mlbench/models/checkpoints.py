"""A ResNet-50 from whatever checkpoint a user has."""

from pathlib import Path

from mlbench.contracts.errors import RequestError
from mlbench.models.keras_reader import read_keras
from mlbench.models.network import Network
from mlbench.models.resnet50 import Strided, resnet50_network, take_vgg_images
from mlbench.models.safetensors_reader import read_safetensors
from mlbench.models.unpickle import Weights, read_pth

IMAGE_SIZE = 224
_TORCH_READERS = {".pth": read_pth, ".pt": read_pth, ".safetensors": read_safetensors}
_KERAS_SUFFIXES = (".h5", ".keras")
_TELLING_SHAPES = {
    "conv1.weight": (64, 3, 7, 7),
    "layer1.0.conv2.weight": (64, 64, 3, 3),
    "fc.weight": (1000, 2048),
}


def load_resnet50(path: Path) -> Network:
    """Return the network of a checkpoint, for images of the "vgg" preprocessing.

    torchvision's `state_dict` (`.pth`, `.pt`, `.safetensors`) makes a ResNet-50 v1.5; the weights
    of keras.applications.ResNet50 (`.h5`, `.keras`) were trained as v1 and make that. Raises
    RequestError when the file is missing, of another kind, or another model.
    """
    if not path.is_file():
        raise RequestError(f"no file {path}: give the path of a ResNet-50 checkpoint")
    if path.suffix not in (*_TORCH_READERS, *_KERAS_SUFFIXES):
        known = ", ".join((*_TORCH_READERS, *_KERAS_SUFFIXES))
        raise RequestError(f"{path}: a checkpoint ends in one of {known}")
    try:
        return _from_keras(path) if path.suffix in _KERAS_SUFFIXES else _from_torch(path)
    except (KeyError, ValueError) as error:
        raise RequestError(
            f"{path} is not a ResNet-50 with 1,000 classes ({error}); give torchvision's "
            "state_dict or the weights of keras.applications.ResNet50"
        ) from None


def _from_torch(path: Path) -> Network:
    weights = _TORCH_READERS[path.suffix](path)
    _check_shapes(weights)
    return _network(take_vgg_images(weights), path, "ResNet-50 v1.5", "3x3")


def _from_keras(path: Path) -> Network:
    weights = read_keras(path)
    _check_shapes(weights)
    return _network(weights, path, "ResNet-50 v1", "1x1")


def _check_shapes(weights: Weights) -> None:
    """Raise ValueError for relatives with the same names: wider, grouped, or with other classes."""
    for name, shape in _TELLING_SHAPES.items():
        if weights[name].shape != shape:
            raise ValueError(f"{name} is {weights[name].shape}, not {shape}")


def _network(weights: Weights, path: Path, architecture: str, strided: Strided) -> Network:
    metadata = {
        "architecture": architecture,
        "description": f"{architecture} with the weights of {path.name}",
        "weights": "checkpoint",
    }
    return resnet50_network(weights, IMAGE_SIZE, metadata, strided)
