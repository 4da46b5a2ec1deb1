"""The facts that trials are made of, as columns. Raw data only: `search` derives the rest."""

import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.contracts.findings import Finding


@dataclass(frozen=True)
class Schedule:
    """When each query of one trial is due.

    `due_ns`: int64 (n,), sorted, nanoseconds from the trial's start. `seed` made the arrivals;
    `kind` is their name.
    """

    kind: str
    target_qps: float
    seed: int
    due_ns: NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.due_ns) == 0:
            raise ValueError("a schedule needs at least one query")
        if self.due_ns.dtype != np.int64:
            raise ValueError("due_ns must be int64 nanoseconds")

    @property
    def offered_qps(self) -> float:
        """(n-1) / (last due - first due); the target rate when there is one query."""
        span_ns = int(self.due_ns[-1] - self.due_ns[0])
        return (len(self.due_ns) - 1) / (span_ns * 1e-9) if span_ns else self.target_qps


@dataclass(frozen=True)
class WorkerAccount:
    """What one worker did in a trial; `busy_fraction` is service time over the trial's length."""

    device: str
    queries: int
    busy_fraction: float


@dataclass(frozen=True)
class GpuState:
    """A GPU, by its CUDA index, at one moment; `throttled_by` says what slowed it down."""

    index: int
    temperature_c: int
    clock_mhz: int
    memory_used_bytes: int
    throttled_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class GpuAccount(GpuState):
    """A GPU throughout a trial: its state at the end, and what all looks at it saw.

    `throttled_by` says what slowed it down at any of them. `looks` counts them, `throttled_looks`
    those at which something did.
    """

    lowest_clock_mhz: int = 0
    highest_temperature_c: int = 0
    looks: int = 0
    throttled_looks: int = 0


@dataclass(frozen=True)
class Energy:
    """Joules that whole devices consumed in `measured_s` seconds, as their own counters tell.

    `package_j` is that of all CPU packages, `dram_j` of the memory at them, `gpu_j` of all GPUs in
    use. `why_no_cpu` and `why_no_gpu` say why the first or the last is None; `gpu_j` is None
    without a reason where no GPU is in use.
    """

    measured_s: float
    package_j: float | None = None
    dram_j: float | None = None
    gpu_j: float | None = None
    why_no_cpu: str | None = None
    why_no_gpu: str | None = None

    @property
    def total_j(self) -> float | None:
        """The sum of what is told; None where nothing is, or GPUs are in use and do not tell."""
        known = [part for part in (self.package_j, self.dram_j, self.gpu_j) if part is not None]
        return sum(known) if known and self.why_no_gpu is None else None


@dataclass(frozen=True)
class CoreShare:
    """What was not ours of some cores (logical CPUs), as fractions of their time together.

    `other_cpu_fraction` is what other processes used, `steal_fraction` what a hypervisor took.
    """

    cores: tuple[int, ...]
    other_cpu_fraction: float = 0.0
    steal_fraction: float = 0.0


@dataclass(frozen=True)
class BusyProcess:
    """A process of others, and the share of one core's time that it used; over 1 for several."""

    pid: int
    name: str
    cpu_fraction: float


@dataclass(frozen=True)
class HostAccount:
    """What else the host did during a trial.

    `all_cores` are those that coordinator and workers may use. `device_cores` are those that
    workers are pinned to: an entry for each set that some workers share, and one for the core of
    it of which others took most. `busy_processes` are named where others took too much, as they
    were right after the trial.

    `quota_throttles` and `heat_throttles` count how often a CPU quota stopped our processes, for
    `quota_throttled_s` seconds summed over cores, and heat slowed our cores down. `cpu_mhz` is
    their mean clock at the end, None where the machine does not tell. `energy` is None where nobody
    measured it.

    Of several hosts, `parts` are their names and accounts. Counts and energy are sums then, and
    fractions those of the host where they are highest.
    """

    all_cores: CoreShare = CoreShare(())
    device_cores: tuple[CoreShare, ...] = ()
    busy_processes: tuple[BusyProcess, ...] = ()
    major_faults: int = 0
    quota_throttles: int = 0
    quota_throttled_s: float = 0.0
    heat_throttles: int = 0
    cpu_mhz: float | None = None
    gpus: tuple[GpuAccount, ...] = ()
    energy: Energy | None = None
    parts: tuple[tuple[str, "HostAccount"], ...] = ()


@dataclass(frozen=True)
class Completions:
    """What happened to each query of one trial. Columns of shape (n,), indexed by query id.

    Times are int64 nanoseconds of the monotonic clock. `sent_ns` is when the coordinator pushed the
    query to its workers, ahead of its due time; `start_ns` and `done_ns` when its batch started and
    ended on the device, `returned_ns` when the coordinator received the answer (None in virtual
    time). Where `status` is LOST, `start_ns` and `done_ns` are 0; `sent_ns` is 0 where a query was
    never pushed. `sample` is what each query served, `prediction` the answer; None where unknown.

    A trial that was `cut_short` has only the queries that were due by its end; those that nobody
    had begun by then are LOST. `worker` is 65535 where nobody claimed the query. `dealt`: queries
    were dealt out to the workers in turn, so that each had a line of its own; otherwise all workers
    served one line. `host` is None where nobody watched it. `faults`: what ended the trial and
    makes it void; nothing is learnt from such a trial.

    Of several hosts, `on_host` is the host of each query, uint16, and `hosts` their names; each had
    a line of its own, and as many workers, numbered on from host to host. Times are then those of
    each host's own clock, moved so that its trial starts with the others'.
    """

    schedule: Schedule
    start_of_trial_ns: int
    sent_ns: NDArray[np.int64]
    start_ns: NDArray[np.int64]
    done_ns: NDArray[np.int64]
    worker: NDArray[np.uint16]
    batch: NDArray[np.uint16]
    status: NDArray[np.uint8]
    workers: tuple[WorkerAccount, ...] = ()
    returned_ns: NDArray[np.int64] | None = None
    sample: NDArray[np.uint32] | None = None
    prediction: NDArray[np.int32] | None = None
    dealt: bool = False
    frames: int = 0
    coordinator_busy: float = 0.0
    cut_short: bool = False
    host: HostAccount | None = None
    faults: tuple[Finding, ...] = ()
    on_host: NDArray[np.uint16] | None = None
    hosts: tuple[str, ...] = ()

    def host_rows(self) -> list[NDArray[np.intp]]:
        """Return the rows of each of several hosts, ascending."""
        order = np.argsort(self.on_host, kind="stable")  # type: ignore[arg-type]  # of several hosts
        counts = np.bincount(self.on_host, minlength=len(self.hosts))  # type: ignore[arg-type]
        return np.split(order, np.cumsum(counts)[:-1])

    def only(self, own: NDArray[np.intp]) -> "Completions":
        """Return some queries, at least one, as a trial of their own, at their share of the rate.

        `sample`, `prediction` and the accounts are left out.
        """
        share = len(own) / len(self.status)
        schedule = replace(
            self.schedule,
            due_ns=self.schedule.due_ns[own],
            target_qps=self.schedule.target_qps * share,
        )
        return Completions(
            schedule=schedule,
            start_of_trial_ns=self.start_of_trial_ns,
            sent_ns=self.sent_ns[own],
            start_ns=self.start_ns[own],
            done_ns=self.done_ns[own],
            worker=self.worker[own],
            batch=self.batch[own],
            status=self.status[own],
            dealt=self.dealt,
            cut_short=self.cut_short,
        )

    @property
    def due_ns(self) -> NDArray[np.int64]:
        """Absolute due times, int64 (n,)."""
        return self.schedule.due_ns + self.start_of_trial_ns

    @property
    def completed(self) -> int:
        """How many queries were answered."""
        return int(np.count_nonzero(self.status == wire.COMPLETED))

    @property
    def failed(self) -> int:
        """How many queries ended in an error."""
        return int(np.count_nonzero(self.status == wire.FAILED))

    @property
    def lost(self) -> int:
        """How many queries got no answer."""
        return int(np.count_nonzero(self.status == wire.LOST))

    @property
    def latency_s(self) -> NDArray[np.float64]:
        """Seconds from due to done of the completed queries, in order of id."""
        ok = self.status == wire.COMPLETED
        seconds: NDArray[np.float64] = (self.done_ns - self.due_ns)[ok] * 1e-9
        return seconds

    @property
    def duration_s(self) -> float:
        """Seconds from the first due time to the last completion."""
        first_ns = int(self.schedule.due_ns[0]) + self.start_of_trial_ns
        return max(int(self.done_ns.max()) - first_ns, 0) * 1e-9


class TrialRunner(Protocol):
    """Something that plays a schedule against devices: the real pool, or a simulated queue.

    A trial ends before its schedule does when its oldest unanswered query is more than
    `max_backlog_s` late: the device is overloaded. The returned completions (and their schedule)
    then hold only the queries that were due by then, and `cut_short` is True.
    """

    def run(self, schedule: Schedule, max_backlog_s: float = math.inf) -> Completions:
        """Play the schedule once and return every query's fate."""
