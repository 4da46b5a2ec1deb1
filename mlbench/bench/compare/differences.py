"""What differs between two sides beside their rates, and what makes them not comparable. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlbench.bench.compare.side import Document, Side

_NOT_TOLD = ("output", "seed", "percentile", "budget", "time", "precision", "start_timeout")
"""Settings that say how long and where to measure: they change intervals, and not what is true."""
_EMBEDDED = (
    "lite0-onnxruntime",
    "lite0-tf",
)  # profiles of one model, in the formats of two backends
_LAYOUT = ("workers_per_device", "threads", "devices")
_DATA = ("dataset", "dataset_path", "dataset_list", "count", "preprocessing")
_MACHINE = (
    ("cpu", "model"),
    ("cpu", "architecture"),
    ("cpu", "cores"),
    ("cpu", "affinity"),
    ("cpu", "quota_cores"),
    ("cpu", "governor"),
    ("memory_bytes",),
    ("kernel",),
    ("os",),
    ("python",),
    ("container",),
    ("gpus",),
)


@dataclass(frozen=True)
class Difference:
    """One thing that differs: `about` settings, model, data, versions or machine."""

    about: str
    name: str
    a: Any
    b: Any


def differences(a: Side, b: Side) -> list[Difference]:
    """Return all that differs between two sides, most important first."""
    found = [Difference("settings", *one) for one in _unlike(a.settings, b.settings, _NOT_TOLD)]
    if a.layout != b.layout and not any(one.name in _LAYOUT for one in found):
        found.append(Difference("settings", "workers chosen", a.layout, b.layout))
    for about in ("model", "data"):
        sums = a.served.get(about), b.served.get(about)
        if sums[0] != sums[1]:
            found.append(Difference(about, "sum", *sums))
    runtimes = a.served.get("runtime"), b.served.get("runtime")
    if runtimes[0] != runtimes[1]:
        found.append(Difference("versions", "runtime", *runtimes))
    if a.version != b.version:
        found.append(Difference("versions", "mlbench", a.version, b.version))
    for path in _MACHINE:
        ours, theirs = _at(a.system, path), _at(b.system, path)
        if ours != theirs:
            found.append(Difference("machine", " ".join(path), ours, theirs))
    return found


def _unlike(
    a: Document, b: Document, without: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted(a.keys() | b.keys()):
        if name not in without and a.get(name) != b.get(name):
            yield name, a.get(name), b.get(name)


def _at(document: Document, path: tuple[str, ...]) -> Any:
    value: Any = document
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def why_incomparable(a: Side, b: Side) -> str | None:
    """Return why no comparison of these says anything, whatever is asked for; None if one does."""
    percentiles = [side.settings.get("percentile") for side in (a, b)]
    if percentiles[0] != percentiles[1]:
        return (
            f"{a.name} is about the percentile {percentiles[0]}, {b.name} about {percentiles[1]}: "
            "measure one of them again with the other's --percentile"
        )
    if not a.answers.keys() & b.answers.keys():
        return (
            f"{a.name} and {b.name} have no answer in common: measure both with the same "
            "--arrivals and --max-latency"
        )
    return None


def what_was_measured_differs(a: Side, b: Side) -> str | None:
    """Return how the model or the data of two sides differ; None if they do not."""
    if not _same_model(a, b):
        return "served another model"
    return None if _same_data(a, b) else "was fed with other data"


def _same_model(a: Side, b: Side) -> bool:
    embedded = [_is_embedded(side) for side in (a, b)]
    if any(embedded):
        return all(embedded)
    if a.served.get("model") and b.served.get("model"):
        return a.served["model"] == b.served["model"]
    ours, theirs = a.settings.get("model"), b.settings.get("model")
    backends = a.settings.get("backend"), b.settings.get("backend")
    return ours == theirs and (ours is not None or backends[0] == backends[1])


def _is_embedded(side: Side) -> bool:
    settings = side.settings
    return settings.get("model") is None and settings.get("profile") in _EMBEDDED


def _same_data(a: Side, b: Side) -> bool:
    sums = a.served.get("data"), b.served.get("data")
    same_layout = a.settings.get("data_format") == b.settings.get("data_format")
    if all(sums) and same_layout and _same_model(a, b):
        return sums[0] == sums[1]
    # In another layout the same images have another sum.
    return all(a.settings.get(name) == b.settings.get(name) for name in _DATA)
