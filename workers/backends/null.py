"""A device that answers at once: what is left is the cost of the generator itself."""

from collections.abc import Mapping
from typing import Any, ClassVar

from mlbench.contracts.backend import Feed, Predictions, Signature, WorkerSpec, parse_options


class NullBackend:
    """Does nothing, correctly."""

    OPTIONS: ClassVar[Mapping[str, Any]] = {}
    RUNTIME: ClassVar[tuple[str, str] | None] = None
    NEEDS_MODEL: ClassVar[bool] = False

    def __init__(self, spec: WorkerSpec) -> None:
        parse_options(spec.options, self.OPTIONS, "null")

    @classmethod
    def inspect(cls, model: str) -> Signature:  # noqa: ARG003 - any model will do
        """Return a signature without inputs."""
        return Signature((), ())

    def predict(self, feed: Feed) -> Predictions | None:  # noqa: ARG002 - nothing is computed
        """Return at once."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return the backend's name."""
        return {"name": "null"}
