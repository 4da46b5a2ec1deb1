"""A backend that hangs at will, in the worst way: in C, with the interpreter's lock in its hands.

It is found by processes that are started with the environment of `environment_with_sleeping`.
"""

import ctypes
import os
from pathlib import Path
from typing import Any, ClassVar

from mlbench.contracts.backend import Feed, Signature, WorkerSpec, parse_options
from mlbench.contracts.errors import RequestError
from mlbench.contracts.registry import GROUP


class SleepingBackend:
    """Takes `load_s` to load and `predict_s` for a batch."""

    OPTIONS: ClassVar[dict[str, Any]] = {"load_s": 0.0, "predict_s": 0.1}
    RUNTIME = None
    NEEDS_MODEL = False

    def __init__(self, spec: WorkerSpec) -> None:
        self._options = parse_options(spec.options, self.OPTIONS, "sleeping")
        _sleep(self._options["load_s"])

    @staticmethod
    def inspect(model: str) -> Signature:
        """Return the inputs and outputs of a model; this backend takes none."""
        raise RequestError(f"{model}: the sleeping backend takes no model")

    def predict(self, _feed: Feed) -> None:
        """Sleep."""
        _sleep(self._options["predict_s"])

    def describe(self) -> dict[str, Any]:
        """Return the name."""
        return {"name": "sleeping"}


def _sleep(seconds: float) -> None:
    ctypes.PyDLL(None).usleep(round(seconds * 1e6))


def environment_with_sleeping(folder: Path) -> dict[str, str]:
    """Put a distribution with the backend `sleeping` into the folder; return the environment."""
    about = folder / "sleeping_backend-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: sleeping-backend\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        f"[{GROUP}]\nsleeping = sleeping_backend:SleepingBackend\n"
    )
    paths = [str(folder), str(Path(__file__).parent), *os.environ.get("PYTHONPATH", "").split(":")]
    return {**os.environ, "PYTHONPATH": ":".join(filter(None, paths))}
