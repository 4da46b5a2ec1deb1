"""What a sweep saves so that it goes on after whatever ended it.

    FOLDER/state.json                 drawn once: the sweep's id and seed; what lost in a race
    FOLDER/NAME/trials/about.json     what they are trials of
    FOLDER/NAME/trials/000001.npz     a finished trial, written whole or not at all

Everything else in the folder is made from these. One process at a time measures into it.
"""

import fcntl
import functools
import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from mlbench.bench.served import Served
from mlbench.bench.sweep.plan import Configuration
from mlbench.bench.sweep.trial_file import SavedTrial, load_trial, save_trial
from mlbench.contracts.errors import RequestError
from mlbench.host.files import numbered, replacing
from mlbench.host.kept import sums_of
from mlbench.host.system import describe_system
from mlbench.outcomes import Accuracy, Summary
from mlbench.queueing.line import Queue
from mlbench.search.plan import AnswerKey

Value = TypeVar("Value")

_TRIALS = "trials"


@dataclass(frozen=True)
class SweepState:
    """What is the sweep's as a whole.

    `machine`: what it was begun on. `lost`: by configuration, the answers that it lost
    in a race, each with who is better.
    `drawn`: the names of the configurations that were drawn from a grid, in order.
    """

    id: str
    started: str
    seed: int
    machine: str
    lost: Mapping[str, Sequence[tuple[AnswerKey, str]]] = field(default_factory=dict)
    drawn: Sequence[str] = ()


@dataclass(frozen=True)
class TrialsOf:
    """What the trials in a folder are trials of.

    `identity`: of the configuration, with the sum of its model. `queue`: the shape of the pool;
    `workers_per_device` and `threads` where all devices have the same. `first_guess_qps`: about the
    rate that saturates it. `served`: what they served, by its content.
    """

    identity: Mapping[str, Any]
    queue: Queue
    workers_per_device: int | None
    threads: int | None
    first_guess_qps: float
    served: Served | None = None


@dataclass(frozen=True)
class _SavedAccuracy:
    summary: Summary
    accuracy: Accuracy


class SweepFolder:
    """The folder of a sweep, locked for this process until it is closed.

    Raises RequestError while another sweep writes there, when it was begun on another machine, and
    when what it holds is damaged; each save raises RunError when the disk refuses.
    """

    def __init__(self, path: Path, seed: int | None) -> None:
        self.path = path
        self._lock = _locked(path)
        try:
            self.state = self._read_state(seed)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others have the folder."""
        os.close(self._lock)

    def _read_state(self, seed: int | None) -> SweepState:
        path, machine = self.path / "state.json", _machine()
        found = _read(path, SweepState)
        if found is None:
            drawn = secrets.randbits(32) if seed is None else seed
            started = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
            state = SweepState(secrets.token_hex(16), started, drawn, machine)
            _write(path, state)
            return state
        if found.machine != machine:
            raise RequestError(
                f"{self.path} was measured on another machine ({found.machine}; this is "
                f"{machine}): give another folder"
            )
        return found

    def save_state(self, **changes: Any) -> None:
        """Save what has changed of the sweep as a whole."""
        self.state = replace(self.state, **changes)
        _write(self.path / "state.json", self.state)

    def trials_of(self, configuration: Configuration) -> "TrialsFolder":
        """Return the folder of a configuration's trials; others of its name are put aside."""
        return TrialsFolder(self.path / configuration.name, configuration)


class TrialsFolder:
    """The trials of one configuration.

    Trials that were measured with other options, or another model, are put aside: their folder is
    renamed to NAME.1, or the first number that is free. `about` is None before the first trial.
    """

    def __init__(self, path: Path, configuration: Configuration) -> None:
        self._path = path / _TRIALS
        self._settings = configuration.settings
        model_sum = _model_sum(configuration.settings.model)
        self._identity = {**configuration.identity, "model_sum": model_sum}
        self.about = _read(self._path / "about.json", TrialsOf)
        if self.about is not None and self.about.identity != self._identity:
            path.rename(numbered(path))
            self.about = None
        make_folder(self._path)

    def begin(
        self,
        queue: Queue,
        per_device: int | None,
        threads: int | None,
        guess_qps: float,
        served: Served | None,
    ) -> TrialsOf:
        """Save what the trials to come are trials of; return it."""
        self.about = TrialsOf(self._identity, queue, per_device, threads, guess_qps, served)
        _write(self._path / "about.json", self.about)
        return self.about

    def load(self) -> list[SavedTrial]:
        """Return all finished trials, in order."""
        return [load_trial(path, self._settings.kinds) for path in self._files()]

    def save(self, trial: SavedTrial) -> None:
        """Save a finished trial."""
        last = self._files()[-1:]
        number = int(last[0].stem) + 1 if last else 1
        save_trial(self._path / f"{number:06}.npz", trial)

    def _files(self) -> list[Path]:
        return sorted(path for path in self._path.glob("*.npz") if path.stem.isdecimal())

    def accuracy(self) -> tuple[Summary, Accuracy] | None:
        """Return the accuracy, if it was measured."""
        saved = _read(self._path / "accuracy.json", _SavedAccuracy)
        return (saved.summary, saved.accuracy) if saved else None

    def save_accuracy(self, summary: Summary, accuracy: Accuracy) -> None:
        """Save the accuracy."""
        _write(self._path / "accuracy.json", _SavedAccuracy(summary, accuracy))


def make_folder(path: Path) -> None:
    """Make a folder; raises RequestError when that cannot be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"cannot make the folder {path}: {error.strerror}") from None


def _locked(path: Path) -> int:
    make_folder(path)
    try:
        lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise RequestError(f"cannot write to {path}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise RequestError(f"{path} is being written by another sweep; wait for it") from None
    except OSError:  # a file system without locks, where nobody can be told from anybody
        pass
    return lock


def _read(path: Path, kind: type[Value]) -> Value | None:
    """Return what a file holds; None where there is none. Raises RequestError when damaged."""
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        raise RequestError(
            f"{path}: damaged, or written by another mlbench; give another folder"
        ) from None


def _write(path: Path, value: Any) -> None:
    text = json.dumps(TypeAdapter(type(value)).dump_python(value, mode="json"), indent=1)
    with replacing(path) as file:
        file.write(text.encode())


@functools.cache
def _model_sum(model: Path | None) -> str | None:
    """Return what changes with the content of a model's file; None without one."""
    if model is None or not model.is_file():  # a missing one is told when its turn comes
        return None
    try:
        return hashlib.sha256(repr(sums_of(model).blocks).encode()).hexdigest()
    except OSError:
        return None


def _machine() -> str:
    """Return what tells this machine from others as far as rates go."""
    cpu = describe_system()["cpu"]
    return f"{cpu['model'] or cpu['architecture']}, {cpu['cores']} cores"
