"""A finished trial in a file: all that happened to its queries, from which the rest is derived.

One .npz file each: the columns of its completions, and under `about` the rest as JSON.
"""

import json
import math
import time
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from pydantic import TypeAdapter, ValidationError

from mlbench.arrivals.kind import ArrivalKind
from mlbench.arrivals.linear import Linear
from mlbench.contracts.errors import RequestError
from mlbench.host.clock import now_ns
from mlbench.host.files import replacing
from mlbench.outcomes import TrialRequest
from mlbench.records import Completions, Schedule

_SCHEDULE = "due_ns"  # the column of the schedule, beside those of the completions
_MOMENTS = {"sent_ns", "start_ns", "done_ns", "returned_ns"}  # of the monotonic clock
_BAD = (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class SavedTrial:
    """A trial of a sweep: the round that it was run in, what was asked for, and what happened."""

    round: int
    request: TrialRequest
    completions: Completions


def save_trial(path: Path, trial: SavedTrial) -> None:
    """Write the file whole or not at all; raises RunError when the disk refuses."""
    completions, request = trial.completions, trial.request
    columns: dict[str, Any] = {_SCHEDULE: completions.schedule.due_ns}
    about: dict[str, Any] = {}
    for name, hint in _facts().items():
        value = getattr(completions, name)
        if isinstance(value, np.ndarray):
            columns[name] = value
        elif value is not None:
            about[name] = TypeAdapter(hint).dump_python(value, mode="json")
    backlog_s = request.max_backlog_s
    document = {
        "round": trial.round,
        "began_unix_ns": time.time_ns() - (now_ns() - completions.start_of_trial_ns),
        "schedule": {
            "kind": completions.schedule.kind,
            "target_qps": completions.schedule.target_qps,
            "seed": completions.schedule.seed,
        },
        "request": {
            "kind": request.kind.name,
            "target_qps": request.target_qps,
            "queries": request.queries,
            "seed": request.seed,
            "max_latency_s": request.max_latency_s,
            "max_backlog_s": None if math.isinf(backlog_s) else backlog_s,
            "purpose": request.purpose,
        },
        "completions": about,
    }
    text = np.frombuffer(json.dumps(document).encode(), np.uint8)
    with replacing(path) as file:
        np.savez_compressed(file, about=text, **columns)


def load_trial(path: Path, kinds: Iterable[ArrivalKind]) -> SavedTrial:
    """Read a trial; `kinds` are those of the settings that it was run with.

    It began as long ago as it did by the wall clock, for the monotonic one starts anew with the
    machine. Raises RequestError for a file that is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            columns = {name: file[name] for name in file.files}
        about = json.loads(columns.pop("about").tobytes())
        return _trial(about, columns, {kind.name: kind for kind in (Linear(), *kinds)})
    except (*_BAD, ValidationError):
        raise RequestError(
            f"{path}: damaged, or written by another mlbench; remove it to measure that again"
        ) from None


def _trial(
    about: Mapping[str, Any],
    columns: dict[str, Any],
    kinds: Mapping[str, ArrivalKind],
) -> SavedTrial:
    schedule = Schedule(**about["schedule"], due_ns=columns.pop(_SCHEDULE))
    for column in columns.values():
        if column.shape != schedule.due_ns.shape or column.dtype.kind not in "iu":
            raise ValueError("not a column of whole numbers, one for each query")
    facts = _facts()
    given = {
        name: TypeAdapter(facts[name]).validate_python(value)
        for name, value in about["completions"].items()
    }
    began_ns = now_ns() - (time.time_ns() - about["began_unix_ns"])
    moved_ns = began_ns - given["start_of_trial_ns"]
    for name in _MOMENTS & columns.keys():  # 0 stands for never
        columns[name] = np.where(columns[name] == 0, 0, columns[name] + moved_ns)
    given["start_of_trial_ns"] = began_ns
    request = dict(about["request"])
    request["kind"] = kinds[request["kind"]]
    if request["max_backlog_s"] is None:
        request["max_backlog_s"] = math.inf
    completions = Completions(schedule=schedule, **given, **columns)
    return SavedTrial(int(about["round"]), TrialRequest(**request), completions)


def _facts() -> dict[str, Any]:
    """Return the fields of completions, but for the schedule, with their types."""
    hints = get_type_hints(Completions)
    names = [field.name for field in fields(Completions)]
    return {name: hints[name] for name in names if name != "schedule"}
