"""Makes the models that are served, here and without a network: python -m gpu_check.models.

net.pt2 and net.pt: an image classifier with a free batch size, as torch.export and TorchScript.
net.onnx: a small classifier, where the package `onnx` is there. All weights are random.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

IMAGE = (3, 224, 224)
_SIGNATURE = {
    "inputs": [{"name": "x", "dtype": "float32", "shape": [None, *IMAGE]}],
    "outputs": ["scores"],
}


def main() -> None:
    """Write the models into the current folder and say what they are."""
    import torch

    torch.manual_seed(0)
    network, name = _network(torch)
    example = torch.rand(2, *IMAGE)
    batch = torch.export.Dim("batch", min=1, max=1024)
    with torch.inference_mode(False):
        program = torch.export.export(network, (example,), dynamic_shapes=({0: batch},))
        torch.export.save(program, "net.pt2")
        traced = torch.jit.trace(network, example)
        torch.jit.save(traced, "net.pt", _extra_files={"signature.json": json.dumps(_SIGNATURE)})
    print(name)
    if importlib.util.find_spec("onnx"):
        Path("net.onnx").write_bytes(_onnx())


def _network(torch: Any) -> tuple[Any, str]:
    """Return ResNet-50 where torchvision is there, else a small network."""
    if importlib.util.find_spec("torchvision"):
        from torchvision.models import resnet50

        return resnet50(weights=None).eval(), "ResNet-50"
    nn = torch.nn
    layers = [nn.Conv2d(3, 64, 7, 4), nn.ReLU(), *(part for _ in range(6) for part in _block(nn))]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1000)]
    return nn.Sequential(*layers).eval(), "a network of seven convolutions"


def _block(nn: Any) -> tuple[Any, Any]:
    return nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()


def _onnx() -> bytes:
    import numpy as np

    from mlbench.models.network import INPUT, Conv, Mean, Network, Relu, classifier_head
    from mlbench.models.onnx_writer import onnx_bytes

    rng = np.random.default_rng(0)
    weight = rng.standard_normal((64, 3, 7, 7), np.float32) * np.float32(0.1)
    dense = rng.standard_normal((64, 1000), np.float32)
    head, outputs = classifier_head("mean", dense, np.zeros(1000, np.float32))
    body = (
        Conv("conv", INPUT, weight, np.zeros(64, np.float32), 4, (0, 0, 0, 0)),
        Relu("relu", "conv"),
        Mean("mean", "relu"),
    )
    return onnx_bytes(Network("net", IMAGE, (*body, *head), outputs), "NCHW")


if __name__ == "__main__":
    main()
