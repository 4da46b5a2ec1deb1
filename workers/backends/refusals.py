"""What backends refuse, in the same words whatever the runtime."""

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mlbench.contracts.backend import nearest
from mlbench.contracts.errors import RequestError
from workers.backends.reasons import plain_reason


@contextmanager
def loading(path: str, runtime: str) -> Iterator[None]:
    """Turn what a runtime raises when it loads a model into a RequestError of one line."""
    try:
        yield
    except RequestError:
        raise
    except Exception as error:  # runtimes raise whatever fits: RuntimeError, KeyError, ...
        raise RequestError(f"model {path}: {plain_reason(runtime, str(error))}") from error


def check_outputs(path: str, wanted: Sequence[str], known: Mapping[str, Any] | list[str]) -> None:
    """Raise RequestError for a wanted output that the model does not have."""
    for name in wanted:
        if name not in known:
            raise RequestError(
                f"model {path} has no output '{name}'{nearest(name, known)}; "
                f"it has: {', '.join(known)}"
            )


def missing_driver() -> str | None:
    """Say that the NVIDIA driver's library is not there; None when it is."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "the NVIDIA driver (libcuda.so.1) is not installed, or not passed to the container"
    return None
