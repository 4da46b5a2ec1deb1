"""ResNet-50 v1.5 as a network, from weights under torchvision's names.

Architecture: He et al., Deep Residual Learning (2015), table 1, in the v1.5 variant, where a
downsampling block has its stride in the 3x3 convolution. Padding is symmetric. The images are as
the "vgg" preprocessing makes them: RGB, 0..255, less `VGG_MEAN`.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.backend import TensorSpec
from mlbench.models.network import (
    INPUT,
    Add,
    Conv,
    Floats,
    MaxPool,
    Mean,
    Network,
    Op,
    Relu,
    classifier_head,
    fold_batch_norm,
)
from mlbench.models.unpickle import Weights

VGG_MEAN = (123.68, 116.78, 103.94)
"""What the preprocessing subtracts from red, green and blue."""

BLOCKS = (3, 4, 6, 3)
"""Blocks in each of the four stages."""

EPSILON = 1e-5
_TORCH_MEAN, _TORCH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_NEVER = -1e4  # a logit that no image's other logits come near

Strided = Literal["3x3", "1x1"]
"""Which convolution of a downsampling block has the stride: v1.5's, or v1's first one."""


def resnet50_network(
    weights: Weights, image_size: int, metadata: Mapping[str, str], strided: Strided = "3x3"
) -> Network:
    """Return the classifier, batch normalisation folded in.

    Its first class is a background class that is never predicted, as in MLPerf's files: class i of
    the weights is class i + 1 of the model. Widths come from the weights. Raises KeyError for a
    missing tensor, ValueError for weights of a deeper network.
    """
    body = _body(weights, strided)
    weight, bias = _with_background(weights)
    head, outputs = classifier_head("features", weight, bias)
    shape = (3, image_size, image_size)
    return Network("resnet50_v1", shape, (*body, *head), outputs, metadata)


def features_network(weights: Weights, image_size: int) -> Network:
    """Return the network without its classifier: `features`, float32 (batch, channels)."""
    channels = weights["layer4.0.conv3.weight"].shape[0]
    outputs = (TensorSpec("features", "float32", (None, channels)),)
    return Network("resnet50_features", (3, image_size, image_size), _body(weights), outputs)


def take_vgg_images(weights: Weights) -> Weights:
    """Return weights of a model trained by torchvision that fit the "vgg" preprocessing.

    Such a model is trained on (p/255 - mean)/std; here it is given p - VGG_MEAN.
    """
    mean, std, vgg = (np.array(v) for v in (_TORCH_MEAN, _TORCH_STD, VGG_MEAN))
    return rescale_input(weights, 1 / (255 * std), (vgg / 255 - mean) / std)


def rescale_input(
    weights: Weights, scale: NDArray[np.float64], shift: NDArray[np.float64]
) -> Weights:
    """Return weights that make of an image x what the given ones make of scale * x + shift.

    `scale` and `shift` are (3,), one number for each channel. Exact but for the padded border,
    where the given weights would see zeros and these make them see `shift`.
    """
    kernel = weights["conv1.weight"].astype(np.float64)
    lift = np.einsum("oihw,i->o", kernel, shift)
    return {
        **weights,
        "conv1.weight": (kernel * scale[:, None, None]).astype(np.float32),
        "bn1.running_mean": (weights["bn1.running_mean"] - lift).astype(np.float32),
    }


def _with_background(weights: Weights) -> tuple[Floats, Floats]:
    weight = weights["fc.weight"].T
    column = np.zeros((len(weight), 1), np.float32)
    bias = np.append(np.float32(_NEVER), weights["fc.bias"]).astype(np.float32)
    return np.hstack([column, weight]).astype(np.float32), bias


def _body(weights: Weights, strided: Strided = "3x3") -> tuple[Op, ...]:
    body = _Body(weights)
    tensor = body.conv(INPUT, "conv1", "bn1", stride=2)
    tensor = body.relu(tensor)
    body.ops.append(MaxPool("pool1", tensor, size=3, stride=2, pads=(1, 1, 1, 1)))
    tensor = "pool1"
    for stage, blocks in enumerate(BLOCKS, start=1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            tensor = body.block(f"layer{stage}.{block}", tensor, stride, strided)
    body.ops.append(Mean("features", tensor))
    body.refuse_leftovers()
    return tuple(body.ops)


class _Body:
    """The operations so far; knows which of the weights they took."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.ops: list[Op] = []
        self.taken: set[str] = set()

    def conv(self, tensor: str, conv: str, norm: str, stride: int = 1) -> str:
        """Add a convolution with its batch normalisation; its padding keeps the image centred."""
        weight, bias = fold_batch_norm(self.weights, conv, norm, EPSILON)
        pad = weight.shape[2] // 2
        self.ops.append(Conv(conv, tensor, weight, bias, stride, (pad, pad, pad, pad)))
        self.taken.add(f"{conv}.weight")
        return conv

    def relu(self, tensor: str) -> str:
        self.ops.append(Relu(f"{tensor}/relu", tensor))
        return f"{tensor}/relu"

    def block(self, name: str, tensor: str, stride: int, strided: Strided) -> str:
        """Add a bottleneck: 1x1, 3x3, 1x1, and the shortcut around them."""
        shortcut = tensor
        if f"{name}.downsample.0.weight" in self.weights:
            shortcut = self.conv(tensor, f"{name}.downsample.0", f"{name}.downsample.1", stride)
        first, second = (1, stride) if strided == "3x3" else (stride, 1)
        tensor = self.relu(self.conv(tensor, f"{name}.conv1", f"{name}.bn1", first))
        tensor = self.relu(self.conv(tensor, f"{name}.conv2", f"{name}.bn2", second))
        tensor = self.conv(tensor, f"{name}.conv3", f"{name}.bn3")
        self.ops.append(Add(f"{name}.add", tensor, shortcut))
        return self.relu(f"{name}.add")

    def refuse_leftovers(self) -> None:
        """Raise ValueError when the weights have convolutions that a ResNet-50 has not."""
        convs = {name for name, values in self.weights.items() if values.ndim == 4}
        if convs != self.taken:
            raise ValueError(f"no ResNet-50 has a tensor {min(convs - self.taken)}")
