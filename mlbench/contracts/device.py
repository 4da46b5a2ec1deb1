"""A device as a value: read from its word once, in `mlbench.host.devices`, then carried along."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Device:
    """A GPU, or logical CPUs of the host.

    `name`: as the user spelt it, such as cpu:0-3; people read it, and no code does. `index`: a
    GPU's number as CUDA counts for the user; None for CPUs. `cpus`: the logical CPUs that are the
    device's own; empty for a GPU.
    """

    name: str
    index: int | None = None
    cpus: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.name

    @property
    def kind(self) -> Literal["cpu", "cuda"]:
        """What it is: a GPU has a number, CPUs have none of their own."""
        return "cpu" if self.index is None else "cuda"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Device":
        """Rebuild a device from its fields after a trip through JSON."""
        return cls(**{**values, "cpus": tuple(values["cpus"])})


ANY_CPU = Device("cpu")
"""The CPUs of a worker to which nobody gave a place."""
