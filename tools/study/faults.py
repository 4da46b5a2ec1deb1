"""Faults to inject, and what became of them."""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import mlbench
from mlbench.bench.events import Event, SearchEnded, TrialFinished
from mlbench.contracts.errors import RunError
from mlbench.pool.crew import Crew
from mlbench.pool.trial_play import TrialPlay
from mlbench.records import Completions
from workers.backends.faulty import LIES

SERVICE_MS = 3.0
START_TIMEOUT_S = 5.0
_LIMIT_S = 0.5  # so wide that a busy host seldom decides
_STOPPED_S = 5.0
_ERROR = 0.05  # of a capacity, at most

IN_SERVICE: dict[str, dict[str, Any]] = {
    "dies by SIGKILL": {"die_by": "SIGKILL"},
    "dies by SIGSEGV": {"die_by": "SIGSEGV"},
    "exits": {"die_by": "exit"},
    "stops itself": {"die_by": "SIGSTOP"},
    "hangs": {},
    "fails": {"fail_p": 0.02},
    **{f"lies: {lie}": {"lie": lie} for lie in LIES},
}
AT_START = ("load", "warm_up")
FROM_OUTSIDE = ("worker killed", "worker stopped", "coordinator stopped")


@dataclass(frozen=True)
class Case:
    """One run with a fault: what kind, where, whether it comes again and again, and on what."""

    kind: str
    phase: str
    workers: int
    command: str
    is_lasting: bool
    options: dict[str, Any]
    seed: int


def draw(number: int, rng: np.random.Generator) -> Case:
    """Return a random case; kinds and phases take turns, so that each is as frequent."""
    kinds = [(kind, "service") for kind in IN_SERVICE]
    kinds += [(f"{how} in {step}", step) for step in AT_START for how in ("die", "hang", "fail")]
    kinds += [(kind, "any") for kind in FROM_OUTSIDE]
    kind, phase = kinds[number % len(kinds)]
    after = int(rng.integers(1, 250))
    options = dict(IN_SERVICE.get(kind, {}))
    if "die_by" in options:
        options["die_after"] = after
    elif kind == "hangs":
        options["hang_after"] = after
    elif "lie" in options:
        options["lie_after"] = after
    elif phase in AT_START:
        options[phase] = kind.split()[0]
    # What makes queries fail in every trial, and what comes from outside, does not keep on.
    is_lasting = bool(rng.random() < 0.15) and phase != "any" and kind != "fails"
    return Case(
        kind=kind,
        phase=phase,
        workers=int(rng.choice([1, 2, 4])),
        command=str(rng.choice(["trial", "run"], p=[0.7, 0.3])),
        is_lasting=is_lasting,
        options=options,
        seed=int(rng.integers(2**31)),
    )


@dataclass
class Outcome:
    """What became of a case. `detected_s`: from the fault to when it was acted on.

    `wrong`: what should never be, empty when all is well.
    """

    happened: bool = False
    detected_s: float | None = None
    went_on: bool = False
    wrong: list[str] = field(default_factory=list)


class Witness:
    """Sees when workers are given up and trials spoiled, and which trials were played."""

    def __init__(self) -> None:
        self.crew: Crew | None = None
        self.acted: list[float] = []
        self.playing = False

    def first_s(self, since_s: float) -> float | None:
        """Return how long after a moment something was done about a fault; None for never."""
        return min((at_s - since_s for at_s in self.acted if at_s >= since_s), default=None)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the pools of this process."""
        start, give_up = Crew.start, Crew.give_up
        spoil, play = TrialPlay._spoil, TrialPlay.play

        def watched_start(crew: Crew, worker: int) -> None:
            self.crew = crew
            start(crew, worker)

        def watched_give_up(crew: Crew, worker: int, cause: str) -> str:
            self.acted.append(time.time())
            return give_up(crew, worker, cause)

        def watched_spoil(trial: TrialPlay, fault: Any) -> None:
            self.acted.append(time.time())
            spoil(trial, fault)

        def watched_play(trial: TrialPlay) -> None:
            self.playing = True
            play(trial)
            self.playing = False

        Crew.start, Crew.give_up = watched_start, watched_give_up
        TrialPlay._spoil, TrialPlay.play = watched_spoil, watched_play
        try:
            yield
        finally:
            Crew.start, Crew.give_up = start, give_up
            TrialPlay._spoil, TrialPlay.play = spoil, play


def inject(case: Case) -> Outcome:
    """Run a case, and say what became of it."""
    outcome, witness, events = Outcome(), Witness(), list[Event]()
    with tempfile.TemporaryDirectory() as folder, witness.watching():
        once = Path(folder, "broken")
        marks = {} if case.is_lasting else {"once": str(once)}
        blows = _Blows(case, witness)
        completions, error = None, None
        try:
            with blows:
                completions = _run(case, {**case.options, **marks}, events, Path(folder))
        except RunError as caught:
            error = str(caught)
        if once.exists():
            blows.struck_s.append(once.stat().st_mtime)
    outcome.happened = bool(blows.struck_s or (case.is_lasting and witness.acted))
    outcome.went_on = error is None
    if blows.struck_s and not case.is_lasting:
        outcome.detected_s = witness.first_s(blows.struck_s[0])
    _judge(case, outcome, completions, events, error)
    return outcome


def _run(
    case: Case, options: dict[str, Any], events: list[Event], folder: Path
) -> Completions | None:
    words = {key: str(value) for key, value in options.items()}
    shared: dict[str, Any] = {
        "backend": "faulty",
        "backend_options": {"service_ms": str(SERVICE_MS), **words},
        "workers_per_device": case.workers,
        "start_timeout": START_TIMEOUT_S,
        "seed": case.seed,
    }
    if case.command == "trial":
        qps = 150.0 * case.workers
        trial = {"qps": qps, "duration": 1.5, "max_latency": _LIMIT_S}
        done = mlbench.run_trial([events.append], **shared, **trial)
        if done.lost_workers:
            raise RunError("; ".join(done.lost_workers))
        return done.completions
    run = {"max_latency": [_LIMIT_S], "arrivals": ["linear"], "budget": 4.0, "time": 1.0}
    mlbench.run([events.append], **shared, **run, output=folder / "results.json")
    return None


class _Blows:
    """Signals from outside, at a random moment of a trial; `struck_s` are the times."""

    def __init__(self, case: Case, witness: Witness) -> None:
        self._case, self._witness = case, witness
        self._rng = np.random.default_rng(case.seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._strike)
        self.struck_s: list[float] = []

    def __enter__(self) -> None:
        if self._case.kind in FROM_OUTSIDE:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _strike(self) -> None:
        while not self._witness.playing and not self._over.is_set():
            time.sleep(0.01)
        time.sleep(self._rng.uniform(0.05, 0.8))
        crew = self._witness.crew
        if not self._witness.playing or crew is None:
            return
        pid = crew.handles[int(self._rng.integers(len(crew.handles)))].pid
        if self._case.kind == "coordinator stopped":
            pid = os.getpid()
        self.struck_s.append(time.time())
        if self._case.kind == "worker killed":
            os.kill(pid, signal.SIGKILL)
            return
        # A stopped process cannot wake itself up.
        script = f"kill -STOP {pid}; sleep {_STOPPED_S}; kill -CONT {pid} 2>/dev/null; true"
        subprocess.run(["/bin/sh", "-c", script], check=True)


def _judge(
    case: Case,
    outcome: Outcome,
    completions: Completions | None,
    events: list[Event],
    error: str | None,
) -> None:
    """Say what should not be: faults that nobody saw, wrong answers, and runs that ended early."""
    trials = [event.trial for event in events if isinstance(event, TrialFinished)]
    answers = [a for event in events if isinstance(event, SearchEnded) for a in event.answers]
    is_seen = outcome.detected_s is not None or case.is_lasting
    if case.kind == "fails":
        reasons = [reason.code for trial in trials for reason in trial.judgement.reasons]
        is_seen = "queries_failed" in reasons or bool(completions and completions.failed)
    if outcome.happened and not is_seen:
        outcome.wrong.append("undetected")
    if error is not None and not case.is_lasting:
        outcome.wrong.append(f"did not go on: {error}")
    if completions is not None:
        lost = completions.lost + (completions.failed if case.kind != "fails" else 0)
        if completions.faults or lost:
            outcome.wrong.append("the last play was spoiled")
    for trial in trials:
        if trial.judgement.verdict == "pass" and trial.summary.count != trial.request.queries:
            outcome.wrong.append("passed with answers missing")
    true_qps = 1e3 / SERVICE_MS * case.workers
    for answer in answers:
        if answer.capacity_qps and abs(answer.capacity_qps / true_qps - 1) > _ERROR:
            outcome.wrong.append(f"capacity {answer.capacity_qps:.0f} of {true_qps:.0f} qps")
