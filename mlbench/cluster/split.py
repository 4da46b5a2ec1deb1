"""A schedule divided among hosts, and what came of its parts put together again. Pure.

    Schedule --> divide --> a part for each host --> (each plays its own) --> merge --> Completions

A part keeps the due times of the whole, so that hosts which start at the same moment play the
schedule together. What comes back is on each host's own clock: it is moved by the difference of the
starts, which leaves every latency as it was measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mlbench.cluster.accounts import merged_account
from mlbench.contracts import wire
from mlbench.contracts.findings import Finding
from mlbench.queueing.split import Split, deal
from mlbench.records import Completions, Schedule, WorkerAccount

NOBODY = 65535
"""In the column of workers: nobody claimed the query."""

_SPLIT_STREAM = 2  # of the trial's seed; 1 draws its samples
_TIMES = ("sent_ns", "start_ns", "done_ns", "returned_ns")


@dataclass(frozen=True)
class Part:
    """What one host plays: its queries' due times, and the sample of each, uint32 (m,)."""

    schedule: Schedule
    samples: NDArray[np.uint32]


@dataclass(frozen=True)
class Divided:
    """A schedule and its division.

    `samples`: uint32 (n,). `on_host`: uint16 (n,), the host of each query. `ids`: for each host the
    numbers of its queries, int64 (m,), ascending.
    """

    schedule: Schedule
    samples: NDArray[np.uint32]
    on_host: NDArray[np.uint16]
    ids: tuple[NDArray[np.int64], ...]

    def part(self, host: int) -> Part | None:
        """Return what a host plays; None where it has no query."""
        own, whole = self.ids[host], self.schedule
        if len(own) == 0:
            return None
        target_qps = whole.target_qps * len(own) / len(self.on_host)
        schedule = replace(whole, due_ns=whole.due_ns[own], target_qps=target_qps)
        return Part(schedule, self.samples[own])

    def due_by(self, offset_ns: int) -> int:
        """Count the queries that are due so long after the start."""
        return int(self.schedule.due_ns.searchsorted(offset_ns, "right"))


def divide(schedule: Schedule, samples: NDArray[np.uint32], hosts: int, split: Split) -> Divided:
    """Divide a schedule; the same seed divides it the same way."""
    on_host = deal(len(schedule.due_ns), hosts, split, [schedule.seed, _SPLIT_STREAM])
    order = np.argsort(on_host, kind="stable")
    ends = np.cumsum(np.bincount(on_host, minlength=hosts))
    return Divided(schedule, samples, on_host, tuple(np.split(order, ends[:-1])))


@dataclass(frozen=True)
class Outcome:
    """How one host's part ended: `completions` are None where it had no query, or was lost.

    `name`: of the host; `devices`: the names of its workers' devices.
    """

    name: str
    devices: tuple[str, ...]
    completions: Completions | None


def merge(
    divided: Divided,
    outcomes: Sequence[Outcome],
    start_ns: int,
    *,
    end: int | None = None,
    faults: Sequence[Finding] = (),
) -> Completions:
    """Put the outcomes of all hosts together as one trial that started at `start_ns`.

    A trial that ended early on one host ended there for all: it has the queries before the first
    that some host did not play, and no more than `end` where that is given. Those of a lost host
    among them are LOST.
    """
    played = _played(divided, outcomes, len(divided.on_host) if end is None else end)
    columns = _Columns(played)
    parts = [outcome.completions for outcome in outcomes]
    for host, (own, part) in enumerate(zip(divided.ids, parts, strict=True)):
        if part is not None:
            columns.put(own, part, start_ns, first_worker=host * len(outcomes[0].devices))
    known = [part for part in parts if part is not None]
    due_ns = divided.schedule.due_ns
    is_whole = played == len(due_ns)
    return Completions(
        schedule=divided.schedule
        if is_whole
        else replace(divided.schedule, due_ns=due_ns[:played]),
        start_of_trial_ns=start_ns,
        sample=divided.samples[:played],
        **columns.all,  # type: ignore[arg-type]  # they are named as the fields
        workers=_worker_accounts(columns, outcomes),
        dealt=any(part.dealt for part in known),
        frames=sum(part.frames for part in known),
        coordinator_busy=max((part.coordinator_busy for part in known), default=0.0),
        cut_short=not is_whole or any(part.cut_short for part in known),
        host=merged_account([(o.name, o.completions.host) for o in outcomes if o.completions]),
        faults=(*faults, *_named_faults(outcomes)),
        on_host=divided.on_host[:played],
        hosts=tuple(outcome.name for outcome in outcomes),
    )


def _played(divided: Divided, outcomes: Sequence[Outcome], end: int) -> int:
    """Return how many queries of the whole schedule were played; at least one."""
    for own, outcome in zip(divided.ids, outcomes, strict=True):
        if outcome.completions and len(outcome.completions.status) < len(own):
            end = min(end, int(own[len(outcome.completions.status)]))
    return max(end, 1)


class _Columns:
    """The columns of `Completions` for so many queries, as if all were lost at first."""

    def __init__(self, queries: int) -> None:
        def full(value: int, dtype: DTypeLike) -> NDArray[np.generic]:
            return np.full(queries, value, dtype)

        self._queries = queries
        self.all = {
            **{name: full(0, np.int64) for name in _TIMES},
            "worker": full(NOBODY, np.uint16),
            "batch": full(0, np.uint16),
            "status": full(wire.LOST, np.uint8),
            "prediction": full(-1, np.int32),
        }

    def put(
        self, own: NDArray[np.int64], part: Completions, start_ns: int, first_worker: int
    ) -> None:
        """Write a host's queries into their rows; later ones than the last row are left out."""
        count = min(len(part.status), int(own.searchsorted(self._queries)))
        rows = own[:count]
        moved_ns, lost = start_ns - part.start_of_trial_ns, part.status[:count] == wire.LOST
        for name, column in self.all.items():
            value = getattr(part, name)
            if value is None:
                continue
            value = value[:count]
            if name in _TIMES:
                value = np.where(value == 0 if name == "sent_ns" else lost, 0, value + moved_ns)
            elif name == "worker":
                value = np.where(value == NOBODY, NOBODY, value + first_worker)
            column[rows] = value


def _worker_accounts(columns: _Columns, outcomes: Sequence[Outcome]) -> tuple[WorkerAccount, ...]:
    """Return all workers in order; a host that gave no account has idle ones."""
    answered = columns.all["status"] != wire.LOST
    served = np.bincount(columns.all["worker"][answered], minlength=NOBODY)
    accounts: list[WorkerAccount] = []
    for outcome in outcomes:
        own = outcome.completions.workers if outcome.completions else ()
        busy = [account.busy_fraction for account in own] or [0.0] * len(outcome.devices)
        for device, fraction in zip(outcome.devices, busy, strict=True):
            queries = int(served[len(accounts)])
            accounts.append(WorkerAccount(f"{outcome.name}/{device}", queries, fraction))
    return tuple(accounts)


def _named_faults(outcomes: Sequence[Outcome]) -> list[Finding]:
    """Return what went wrong on hosts, with their names, and workers numbered as here."""
    faults = []
    for host, outcome in enumerate(outcomes):
        for fault in outcome.completions.faults if outcome.completions else ():
            figures = {**fault.figures, "host": outcome.name}
            if isinstance(worker := figures.get("worker"), int):
                figures["worker"] = worker + host * len(outcome.devices)
            faults.append(Finding(fault.code, figures))
    return faults
