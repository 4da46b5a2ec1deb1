"""A convolutional classifier as a list of operations, from which every file format is written.

Arrays are laid out as PyTorch has them, whatever the file: convolution weights (out, in / groups,
height, width), dense weights (in, out), all float32.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.backend import TensorSpec

Layout = Literal["NCHW", "NHWC"]
Pads = tuple[int, int, int, int]
"""Rows and columns added before and after: (top, left, bottom, right)."""

Floats = NDArray[np.float32]

INPUT, PREDICTION, PROBABILITIES = "input_tensor", "ArgMax", "softmax_tensor"
"""Node names as in MLPerf's files; the tensors are `input_tensor:0` and so on."""


@dataclass(frozen=True)
class Conv:
    """A convolution with bias; depthwise when `groups` is the number of input channels."""

    output: str
    input: str
    weight: Floats
    bias: Floats
    stride: int
    pads: Pads
    groups: int = 1


@dataclass(frozen=True)
class Relu:
    """max(x, 0), cut off at 6 when `six`."""

    output: str
    input: str
    six: bool = False


@dataclass(frozen=True)
class Add:
    """The sum of two tensors of one shape."""

    output: str
    input: str
    other: str


@dataclass(frozen=True)
class MaxPool:
    """The largest value of each window; padding never wins."""

    output: str
    input: str
    size: int
    stride: int
    pads: Pads


@dataclass(frozen=True)
class Mean:
    """The mean over all positions of an image: (batch, channels)."""

    output: str
    input: str


@dataclass(frozen=True)
class Dense:
    """x @ weight + bias."""

    output: str
    input: str
    weight: Floats
    bias: Floats


@dataclass(frozen=True)
class Softmax:
    """Probabilities over the last axis."""

    output: str
    input: str


@dataclass(frozen=True)
class ArgMax:
    """The int64 index of the largest value of the last axis."""

    output: str
    input: str


Op = Conv | Relu | Add | MaxPool | Mean | Dense | Softmax | ArgMax


@dataclass(frozen=True)
class Network:
    """A model: float32 images (batch, *image_shape) in, `outputs` out.

    `image_shape` is (channels, height, width); `ops` are in order of execution, the first reads
    INPUT. `metadata` travels in the file and is read back by `model_metadata`.
    """

    name: str
    image_shape: tuple[int, int, int]
    ops: tuple[Op, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def input_shape(self, layout: Layout) -> tuple[int, int, int]:
        """Return one image's shape in the given layout."""
        channels, height, width = self.image_shape
        return (channels, height, width) if layout == "NCHW" else (height, width, channels)


def classifier_head(
    features: str, weight: Floats, bias: Floats
) -> tuple[tuple[Op, ...], tuple[TensorSpec, ...]]:
    """Return the operations and outputs that turn features (batch, in) into classes.

    `weight` is (in, classes), `bias` (classes,).
    """
    ops = (
        Dense("logits", features, weight, bias),
        ArgMax(PREDICTION, "logits"),
        Softmax(PROBABILITIES, "logits"),
    )
    outputs = (
        TensorSpec(PREDICTION, "int64", (None,)),
        TensorSpec(PROBABILITIES, "float32", (None, len(bias))),
    )
    return ops, outputs


def fold_batch_norm(
    weights: Mapping[str, NDArray[np.float32]], conv: str, norm: str, epsilon: float
) -> tuple[Floats, Floats]:
    """Return a convolution's weight and bias with the batch normalisation behind it merged in.

    y = gamma (conv(x) - mean) / sqrt(var + epsilon) + beta is again a convolution (Ioffe and
    Szegedy, 2015, section 3.1). Raises KeyError when a tensor is missing.
    """
    scale = weights[f"{norm}.weight"] / np.sqrt(
        weights[f"{norm}.running_var"].astype(np.float64) + epsilon
    )
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    weight = weights[f"{conv}.weight"] * scale[:, None, None, None]
    return weight.astype(np.float32), bias.astype(np.float32)


def same_pads(size: int, kernel: int, stride: int) -> Pads:
    """Return TensorFlow's SAME padding for a square input: the odd row and column go last."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    before, after = total // 2, total - total // 2
    return before, before, after, after
