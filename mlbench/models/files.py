"""Writing model files."""

import os
import tempfile
from pathlib import Path

from mlbench.contracts.errors import RequestError


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all; makes its folder.

    Raises RequestError when it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
    except OSError as error:
        raise RequestError(f"can't write {path} ({error.strerror})") from None


def _replace(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
