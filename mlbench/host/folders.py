"""The folder that everything built once and kept between runs is put in."""

import os
import tempfile
from pathlib import Path

from mlbench.contracts.errors import RequestError


def cache_dir() -> Path:
    """Return the cache folder, made if need be.

    It is `$MLBENCH_CACHE`, or `mlbench` in `$XDG_CACHE_HOME`, or `~/.cache/mlbench`. Raises
    RequestError when it cannot be written.
    """
    folder = _chosen()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RequestError(
            f"cannot write to the cache folder {folder} ({error.strerror}); "
            "set MLBENCH_CACHE to a folder that can be written"
        ) from None
    return folder


def _chosen() -> Path:
    if named := os.environ.get("MLBENCH_CACHE"):
        return Path(named).expanduser().absolute()
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "mlbench"
