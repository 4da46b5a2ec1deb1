"""Twenty real photos with ImageNet labels, from the package that the `sample` extra installs.

They are a functional check: 20 photos say nothing about a model's accuracy on ImageNet.
"""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from mlbench.contracts.errors import RequestError, install_command
from mlbench.data.images import ImageList

_SHA256 = "d625818dacf79cc40ced71ff12f1d4955c3d2655ae4b047b3c93b1819cb8f3fe"
_INSTALL = install_command("sample")


def open_sample() -> ImageList:
    """List the photos `imagenet_NN_LABEL.jpg` of foolbox in sorted order.

    Raises RequestError when foolbox is not installed or its photos are not the known ones.
    """
    files = tuple(sorted(_folder().glob("imagenet_*.jpg")))
    digest = hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()
    if digest != _SHA256:
        raise RequestError(
            f"the {len(files)} sample photos in {_folder()} are not those of foolbox 3.3.4 "
            f"(sha256 {digest[:12]}..., not {_SHA256[:12]}...); reinstall: {_INSTALL}"
        )
    labels = np.array([int(f.stem.rsplit("_", 1)[1]) for f in files], dtype=np.int64)
    return ImageList(files, labels)


def _folder() -> Path:
    spec = importlib.util.find_spec("foolbox")  # found only: importing it pulls in requests and git
    if spec is None or not spec.submodule_search_locations:
        raise RequestError(f"dataset 'sample' needs the package foolbox: {_INSTALL}")
    return Path(spec.submodule_search_locations[0]) / "data"
