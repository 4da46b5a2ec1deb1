"""Reading what a report is made from: runs, trials and sweeps, told apart by what is in them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbench.contracts.errors import RequestError
from mlbench.host.files import why_unreadable
from mlbench.report.html.facts import RunFacts, run_facts
from mlbench.report.html.fields import table
from mlbench.report.load import configuration_path, load
from mlbench.report.queries import Columns, read_npz

_MOST_BYTES = 1 << 28  # of JSON; a run of ten thousand trials is a tenth of that
_SWEEP, _RUN = "sweep.json", "results.json"
_EXPECTED = "give results.json of a run, what trial --json or --raw saved, or a sweep (FOLDER#NAME)"


@dataclass(frozen=True)
class TrialSource:
    """The content of what `trial --json` printed."""

    name: str
    document: dict[str, Any]


@dataclass(frozen=True)
class RawSource:
    """The columns of `trial --raw`, as `mlbench.report.queries` has them."""

    name: str
    columns: Columns


@dataclass(frozen=True)
class SweepSource:
    """The content of a sweep's sweep.json; `folder` is where that is."""

    name: str
    folder: Path
    document: dict[str, Any]


Source = RunFacts | TrialSource | RawSource | SweepSource


def read_sources(paths: Sequence[Path]) -> list[Source]:
    """Read each of the files and folders.

    Raises RequestError, which says what to give, when one cannot be read or is nothing to report.
    """
    found = [configuration_path(path) for path in paths]
    return [_read(path, name) for path, name in zip(found, distinct_names(found), strict=True)]


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return a short name for each path: as few of its last parts as tell it from the others."""
    whole = [path.absolute().parts[1:] or ("/",) for path in paths]
    short = [_telling_parts(own) for own in whole]
    for depth in range(1, max(map(len, whole)) + 1):
        for parts in (short, whole):
            names = ["/".join(own[-depth:]) for own in parts]
            if len(set(names)) == len(names):
                return names
    return [f"{own[-1]} ({number})" for number, own in enumerate(short, 1)]


def _telling_parts(parts: Sequence[str]) -> Sequence[str]:
    """Return the parts of a path without what most results have in common."""
    if parts[-1] in (_RUN, _SWEEP) and len(parts) > 1:
        return parts[:-1]
    return [*parts[:-1], parts[-1].removesuffix(".json").removesuffix(".npz")]


def _read(path: Path, name: str) -> Source:
    if why := why_unreadable(path):
        raise RequestError(f"cannot read {path}: {why}; {_EXPECTED}")
    if path.is_dir():
        found = [path / file for file in (_SWEEP, _RUN) if (path / file).is_file()]
        if not found:
            raise RequestError(f"{path}: no {_SWEEP} or {_RUN} is in this folder; {_EXPECTED}")
        path = found[0]
    if path.suffix == ".npz":
        return RawSource(name, read_npz(path))
    document = _json(path)
    if "configurations" in document:
        return SweepSource(name, path.parent, document)
    if "latency_s" in document and "arrivals" in document:
        return TrialSource(name, document)
    if "scan" in document:
        return run_facts(name, load(path).document)
    raise RequestError(f"{path}: neither a run, nor a trial, nor a sweep; {_EXPECTED}")


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise RequestError(f"{path} is larger than any results; {_EXPECTED}")
        return table(json.loads(path.read_bytes()))
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror}; {_EXPECTED}") from None
    except (ValueError, RecursionError):
        raise RequestError(f"cannot read {path}: it is not JSON; {_EXPECTED}") from None
