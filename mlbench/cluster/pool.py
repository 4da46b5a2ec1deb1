"""A pool of pools: hosts that each play a part of the schedule, as one `TrialRunner`.

    Schedule -> divide -> part per host ==sent ahead==> Host.play   (all are ready)
                                          start moment ==> Host.go   (each on its own clock)
    Completions <- merge <================================ columns of each part

No query crosses the network while a trial runs: only heartbeats do.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mlbench.cluster.bring_up import BringUp, Tell
from mlbench.cluster.events import HostLost, HostsAwaited
from mlbench.cluster.files import describe_files
from mlbench.cluster.host import OpenPool
from mlbench.cluster.hosts import Hosts
from mlbench.cluster.play import Play
from mlbench.cluster.pulse import PATIENT_NS, SILENT_NS
from mlbench.cluster.split import divide
from mlbench.contracts.findings import Figures, Finding
from mlbench.pool.events import WorkerRestarted, WorkersAwaited
from mlbench.queueing.split import Split, split_of
from mlbench.records import Completions, Schedule
from mlbench.trial.schedule import draw_samples


@dataclass(frozen=True)
class ClusterRequest:
    """Which cluster, how many of its hosts (None for all), and how queries are divided."""

    address: str
    hosts: int | None = None
    split: Split | None = None


class ClusterPool:
    """The pools of several hosts, with the methods of a `WorkerPool`; use as a context manager.

    `backend`: whose version has to be the same everywhere. `open_pool` opens the pool of a host,
    on that host. `files`: those that hosts need, by their paths here. `sample_count`: trials draw
    from the first so many samples. Raises RequestError where the cluster, a host or the versions
    on it do not fit, and HostLostError when hosts are lost and no spare is there.
    """

    def __init__(
        self,
        request: ClusterRequest,
        backend: str,
        open_pool: OpenPool,
        files: Sequence[Path],
        sample_count: int,
        tell: Tell = lambda _: None,
    ) -> None:
        self._split = request.split
        self._sample_count = sample_count
        self._tell = tell
        self._trial = 0
        self._broken: set[int] = set()  # hosts with a worker that failed
        described = describe_files(files)
        self.hosts = Hosts(request.address, request.hosts)
        self._bring_up = BringUp(self.hosts, backend, open_pool, described, tell, self._pass_on)
        try:
            tell(HostsAwaited(len(self.hosts.names)))
            self._facts = self._bring_up.start(range(len(self.hosts.names)))
            self._bring_up.check_alike(self._facts)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # -- what a pool tells of itself ---------------------------------------------------------

    @property
    def size(self) -> int:
        """How many workers there are on all hosts together."""
        return sum(len(facts.devices) for facts in self._facts)

    @property
    def host_count(self) -> int:
        """How many hosts there are."""
        return len(self._facts)

    @property
    def split(self) -> Split | None:
        """The rule that was asked for; None for the usual one of each arrival kind."""
        return self._split

    @property
    def service_ns(self) -> list[float]:
        """Each worker's mean service time for a query, host by host."""
        return [ns for facts in self._facts for ns in facts.service_ns]

    @property
    def saturated_qps(self) -> float:
        """A rough guess of the rate at which the slowest host is busy, and with it all."""
        each = [sum(1e9 / max(ns, 1.0) for ns in facts.service_ns) for facts in self._facts]
        return len(each) * min(each)

    @property
    def backends(self) -> dict[int, dict[str, Any]]:
        """How each worker's backend describes itself."""
        found = [facts.backends[n] for facts in self._facts for n in sorted(facts.backends)]
        return dict(enumerate(found))

    @property
    def pids(self) -> list[int]:
        """Those of the workers on this host: none, since they are the hosts' own processes."""
        return []

    @property
    def has_failed(self) -> bool:
        """Whether a host was lost or a worker failed, and is started again before the next."""
        return bool(self._broken or self.hosts.lost())

    @property
    def finding(self) -> Finding:
        """The hosts in a note: their names, workers, and how far their clocks are known."""
        clocks = [self.hosts.pulse(host).clock.offset for host in range(self.host_count)]
        figures: Figures = {
            "hosts": self.host_count,
            "names": ", ".join(self.hosts.names),
            "workers": self.size,
            "clock_error_s": max(clock.error_ns for clock in clocks) * 1e-9,
        }
        return Finding("cluster", figures)

    # -- trials ------------------------------------------------------------------------------

    def run(
        self,
        schedule: Schedule,
        max_backlog_s: float = math.inf,
        samples: NDArray[np.uint32] | None = None,
    ) -> Completions:
        """Play the schedule once and return every query's fate, as `WorkerPool.run` does.

        A host that is lost ends the trial, with a fault that names it; before the next one a spare
        takes its place. Raises HostLostError where there is none.
        """
        self._mend()
        self._trial += 1
        if samples is None:
            samples = draw_samples(len(schedule.due_ns), self._sample_count, schedule.seed)
        split = split_of(self._split, schedule.kind)
        divided = divide(schedule, samples, self.host_count, split)
        play = Play(self.hosts, self._trial, divided, max_backlog_s, self._hear)
        self.hosts.patience_ns = SILENT_NS
        try:
            completions = play.run(tuple(facts.devices for facts in self._facts))
        finally:
            self.hosts.patience_ns = PATIENT_NS
        self._look_after(play.taking_part)
        return completions

    def _mend(self) -> None:
        """Let spares take the place of hosts that are lost."""
        lost = sorted(self.hosts.lost())
        if not lost:
            return
        self.hosts.replace(lost)
        query_s = self._facts[0].query_s
        for host, facts in zip(lost, self._bring_up.start(lost, query_s), strict=True):
            self._facts[host] = facts
        self._bring_up.check_alike(self._facts)

    def _look_after(self, hosts: Sequence[int]) -> None:
        """Learn how fast workers are by now, and who has some that failed."""
        alive = [host for host in hosts if host not in self.hosts.lost()]
        futures = {host: self.hosts.call(host, "pool_facts") for host in alive}
        answers = self.hosts.wait(futures)
        self._broken = {host for host, (has_failed, _) in answers.items() if has_failed}
        for host, (_, service_ns) in answers.items():
            self._facts[host] = replace(self._facts[host], service_ns=service_ns)

    def _hear(self, host: str, event: object) -> None:
        """Pass on what goes wrong during a trial; how one part of it goes says little."""
        if isinstance(event, WorkersAwaited | WorkerRestarted | HostLost):
            self._pass_on(host, event)

    def _pass_on(self, host: str, event: object) -> None:
        """Pass on what a host tells, with the host's name."""
        if isinstance(event, WorkersAwaited):
            event = replace(event, workers=tuple(f"{host}: {name}" for name in event.workers))
        elif isinstance(event, WorkerRestarted):
            event = replace(event, worker=f"{host}: {event.worker}")
        self._tell(event)

    def close(self) -> None:
        """End the workers of all hosts, and leave the cluster."""
        self.hosts.close()
