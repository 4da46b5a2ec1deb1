"""What was served, told by its content: so that results can be compared later."""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import xxhash

from mlbench.contracts.registry import find_backend
from mlbench.host.kept import read_sums, sums_of


@dataclass(frozen=True)
class Served:
    """The sums of the model's file and of the samples, and the runtime with its version.

    Sums are 16 hexadecimal digits; each is None where there is nothing to sum.
    """

    model: str | None
    data: str | None
    runtime: str | None


def describe_served(backend: str, model: Path | None, feeds: Mapping[str, str]) -> Served:
    """Return what a pool of this backend is about to serve.

    `feeds`: the file of samples for each input. Files that were not kept with their sums are read.
    """
    return Served(_sum(model) if model else None, _data_sum(feeds), _runtime(backend))


def _sum(path: Path) -> str | None:
    try:
        return _digest(sums_of(path).blocks)
    except OSError:  # a folder, or a file that went away since: whoever loads it tells
        return None


def _data_sum(feeds: Mapping[str, str]) -> str | None:
    """Return the sum of the samples; of kept files the sums that they were built with will do."""
    if not feeds:
        return None
    parts: list[object] = []
    for name, file in sorted(feeds.items()):
        kept = read_sums(Path(file))
        parts += [name, _digest(kept.blocks) if kept else _sum(Path(file))]
    return _digest(parts)


def _digest(parts: object) -> str:
    return xxhash.xxh3_64_hexdigest(repr(parts).encode())


def _runtime(backend: str) -> str | None:
    modules = find_backend(backend).RUNTIME
    if not modules:
        return None
    packages = importlib.metadata.packages_distributions().get(modules[0], [])
    versions = {importlib.metadata.version(package) for package in packages}
    return f"{modules[0]} {', '.join(sorted(versions))}" if versions else None
