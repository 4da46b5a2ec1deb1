"""The kinds of arrivals, by the names that `--arrivals` knows."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlbench.arrivals.exponential import Exponential
from mlbench.arrivals.gamma import DEFAULT_CV, Gamma
from mlbench.arrivals.kind import ArrivalKind, ArrivalSettings
from mlbench.arrivals.linear import Linear
from mlbench.arrivals.trace import Trace

KINDS: dict[str, Callable[[ArrivalSettings], ArrivalKind]] = {
    "linear": lambda _: Linear(),
    "exponential": lambda _: Exponential(),
    "gamma": Gamma.of,
    "trace": Trace.of,
}
"""Makes a kind of each name from the settings."""


@dataclass(frozen=True)
class _Defaults:
    arrival_cv: float = DEFAULT_CV
    arrival_trace: Path | None = None


def arrival_kind(kind: ArrivalKind | str) -> ArrivalKind:
    """Return the kind itself, or the one of that name with default settings.

    Raises KeyError for an unknown name, RequestError for `trace`, which has no default.
    """
    return KINDS[kind](_Defaults()) if isinstance(kind, str) else kind
