"""Serves the same images on the GPU and on the CPU: python -m gpu_check.classes MODEL.

Prints as JSON what the GPU's backend says of itself and the share of equal answers.
"""

import json
import sys

import numpy as np

from gpu_check.models import IMAGE
from mlbench.contracts.backend import WorkerSpec
from mlbench.contracts.device import ANY_CPU, Device
from workers.backends.pytorch import TorchBackend

_IMAGES = 16


def main(model: str) -> None:
    """Compare batches of 1 and of several."""
    images = np.random.default_rng(1).random((_IMAGES, *IMAGE), dtype=np.float32)
    answers, told = [], {}
    for device in (Device("cuda:0", 0), ANY_CPU):
        spec = WorkerSpec(0, "", "torch", model=model, device=device, threads=4)
        backend = TorchBackend(spec)
        (name,) = (tensor.name for tensor in TorchBackend.inspect(model).inputs)
        singles = [backend.predict({name: images[i : i + 1]}) for i in range(_IMAGES)]
        answers.append(np.concatenate([*singles, backend.predict({name: images})]))
        told = told or backend.describe()
    print(json.dumps({**told, "equal": float(np.mean(answers[0] == answers[1]))}))


if __name__ == "__main__":
    main(sys.argv[1])
