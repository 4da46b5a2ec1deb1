"""A pool of pools: hosts that each play a part of the schedule, as one `TrialRunner`.

    Schedule -> divide -> part per host ==sent ahead==> Host.play   (all are ready)
                                          start moment ==> Host.go   (each on its own clock)
    Completions <- merge <================================ columns of each part

No query crosses the network while a trial runs: only heartbeats do.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mlbench.cluster.events import FileSent, HostLost, HostsAwaited
from mlbench.cluster.files import HostFile, describe_files, read_chunks
from mlbench.cluster.host import HostFacts, OpenPool, PoolFacts
from mlbench.cluster.hosts import Hosts
from mlbench.cluster.pulse import PATIENT_NS, SILENT_NS
from mlbench.cluster.split import Divided, Outcome, divide, merge
from mlbench.contracts.errors import RequestError
from mlbench.contracts.findings import Figures, Finding
from mlbench.host.clock import now_ns
from mlbench.pool.events import WorkerRestarted, WorkersAwaited
from mlbench.queueing.split import Split, split_of
from mlbench.records import Completions, Schedule
from mlbench.trial.schedule import draw_samples

_LEAD_NS = 50_000_000
"""From the last host that is ready to the start: ten times what a call of an actor takes."""
_LEAD_EACH_NS = 1_000_000  # more for each host: sending a call takes 0.3 ms of a core
_MOST_LATE_NS = 10_000_000  # a host may start so much later than asked; more is a fault
_END_S = 5.0
"""For hosts to end their parts when another is lost: they have what is claimed to serve."""

Tell = Callable[[object], None]


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
        self._backend = backend
        self._open_pool = open_pool
        self._files = describe_files(files)
        self._sample_count = sample_count
        self._tell = tell
        self._trial = 0
        self._broken: set[int] = set()  # hosts with a worker that failed
        self.hosts = Hosts(request.address, request.hosts)
        try:
            tell(HostsAwaited(len(self.hosts.names)))
            self._facts = self._bring_up(range(len(self.hosts.names)))
            self._check_alike()
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

    # -- bringing hosts up -------------------------------------------------------------------

    def _bring_up(self, hosts: Sequence[int], query_s: float | None = None) -> list[PoolFacts]:
        """Give hosts what they need and start their pools; return what these are."""
        hosts = list(hosts)
        facts = self.hosts.ask(hosts, "facts", self._backend)
        self._check_versions(hosts, facts)
        self._send_files(hosts)
        if query_s is not None or len(hosts) == 1:
            return self._open(hosts, query_s)
        # Where the layout is measured, the first host's holds for all, so that all are alike.
        first = self._open(hosts[:1], None)
        return first + self._open(hosts[1:], first[0].query_s)

    def _open(self, hosts: Sequence[int], query_s: float | None) -> list[PoolFacts]:
        arguments = {host: (self._open_pool, host, query_s) for host in hosts}
        return self.hosts.ask_each("open", arguments, tell=self._pass_on)

    def _check_versions(self, hosts: Sequence[int], facts: Sequence[HostFacts]) -> None:
        """Raise RequestError where hosts differ from the first in what has to be the same."""
        if not hasattr(self, "_versions"):
            self._versions = facts[0].versions
        for host, one in zip(hosts, facts, strict=True):
            for what, version in self._versions.items():
                if one.versions.get(what) != version:
                    raise RequestError(
                        f"host {self.hosts.names[host]} has {what} {one.versions.get(what)}, but "
                        f"host {self.hosts.names[0]} has {version}: install the same on all hosts"
                    )

    def _check_alike(self) -> None:
        first = self._facts[0].devices
        for host, facts in enumerate(self._facts):
            if len(facts.devices) != len(first):
                raise RequestError(
                    f"host {self.hosts.names[host]} has {len(facts.devices)} workers, but host "
                    f"{self.hosts.names[0]} has {len(first)}: every host gets as many queries, so "
                    "give --device and --workers-per-device that are the same on all"
                )

    def _send_files(self, hosts: Sequence[int]) -> None:
        """Send what is missing, each file to all hosts at once, a piece at a time."""
        missing = self.hosts.ask(hosts, "missing", self._files)
        for place, file in enumerate(self._files):
            lacking = [h for h, places in zip(hosts, missing, strict=True) if place in places]
            if lacking:
                self._send(file, lacking)

    def _send(self, file: HostFile, hosts: Sequence[int]) -> None:
        sent = 0
        for chunk in read_chunks(Path(file.path)):
            self.hosts.ask(hosts, "receive", file, chunk)
            sent += len(chunk)
            self._tell(FileSent(file.name, sent, file.size, len(hosts)))

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
        play = _Play(self.hosts, self._trial, divided, max_backlog_s, self._hear)
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
        for host, facts in zip(lost, self._bring_up(lost, query_s), strict=True):
            self._facts[host] = facts
        self._check_alike()

    def _look_after(self, hosts: Sequence[int]) -> None:
        """Learn how fast workers are by now, and who has some that failed."""
        alive = [host for host in hosts if host not in self.hosts.lost()]
        futures = {host: self.hosts.call(host, "pool_facts") for host in alive}
        answers = self.hosts.wait(futures)
        self._broken = {host for host, (has_failed, _) in answers.items() if has_failed}
        for host, (_, service_ns) in answers.items():
            self._facts[host] = replace(self._facts[host], service_ns=service_ns)

    def close(self) -> None:
        """End the workers of all hosts, and leave the cluster."""
        self.hosts.close()


class _Play:
    """One trial on all hosts."""

    def __init__(
        self,
        hosts: Hosts,
        trial: int,
        divided: Divided,
        max_backlog_s: float,
        hear: Callable[[str, object], None],
    ) -> None:
        self._hosts = hosts
        self._trial = trial
        self._divided = divided
        self._hear = hear
        self._faults: list[Finding] = []
        self._start_ns = now_ns()
        self._end: int | None = None
        parts = {host: divided.part(host) for host in range(len(hosts.names))}
        self._playing: dict[int, Future[Any]] = {
            host: hosts.call(host, "play", trial, part, max_backlog_s)
            for host, part in parts.items()
            if part is not None
        }

    @property
    def taking_part(self) -> Sequence[int]:
        """The hosts that have queries."""
        return list(self._playing)

    def run(self, devices: Sequence[tuple[str, ...]]) -> Completions:
        """Play to the end, whatever happens on the way."""
        ready = {host: self._hosts.call(host, "ready", self._trial) for host in self._playing}
        self._hosts.wait(ready, tell=self._hear)
        if not self._hosts.lost():
            self._go()
        answers = self._hosts.wait(self._playing, until=self._is_over_somewhere, tell=self._hear)
        if len(answers) < len(self._playing):
            for host, reason in self._hosts.lost().items():  # now: the others take time to end
                name = self._hosts.names[host]
                self._hear(name, HostLost(name, reason))
            self._end_early()
            answers = self._last_answers()
        outcomes = [
            Outcome(name, devices[host], answers.get(host))
            for host, name in enumerate(self._hosts.names)
        ]
        faults = [*self._lost_faults(), *self._faults]
        return merge(self._divided, outcomes, self._start_ns, end=self._end, faults=faults)

    def _go(self) -> None:
        """Start on all hosts at one moment, each told in the time of its own clock."""
        self._start_ns = now_ns() + _LEAD_NS + _LEAD_EACH_NS * len(self._playing)
        clocks = {host: self._hosts.pulse(host).clock.offset for host in self._playing}
        going = {
            host: self._hosts.call(host, "go", self._trial, clock.host_time(self._start_ns))
            for host, clock in clocks.items()
        }
        for host, late_ns in self._hosts.wait(going).items():
            if late_ns > _MOST_LATE_NS:
                figures = {"host": self._hosts.names[host], "late_s": late_ns * 1e-9}
                self._faults.append(Finding("host_started_late", figures))

    def _is_over_somewhere(self) -> bool:
        """Whether a host ended its part early, so that the others may stop, too."""
        return any(_ended_early(future) for future in self._playing.values())

    def _end_early(self) -> None:
        """End the trial on all hosts; what was due by now is the trial."""
        if self._hosts.lost():
            self._end = self._divided.due_by(now_ns() - self._start_ns)
        for host, future in self._playing.items():
            if not future.done() and host not in self._hosts.lost():
                self._hosts.call(host, "end", self._trial)

    def _last_answers(self) -> dict[int, Completions]:
        """Wait for the hosts that are left; one that does not end its part in time is lost."""
        left = {h: f for h, f in self._playing.items() if h not in self._hosts.lost()}
        end_ns = now_ns() + round(_END_S * 1e9)
        answers: dict[int, Completions] = {}
        while left and now_ns() < end_ns:
            answers |= self._hosts.wait(left, until=lambda: now_ns() > end_ns, tell=self._hear)
            left = {h: f for h, f in left.items() if h not in answers | self._hosts.lost()}
        for host in left:
            self._hosts.pulse(host).lose(f"did not end its part within {_END_S:g} s")
        done = {h: f for h, f in self._playing.items() if f.done() and f.exception() is None}
        answers |= {host: future.result() for host, future in done.items()}
        return {host: a for host, a in answers.items() if isinstance(a, Completions)}

    def _lost_faults(self) -> list[Finding]:
        return [
            Finding("host_lost", {"host": self._hosts.names[host], "reason": reason})
            for host, reason in self._hosts.lost().items()
        ]


def _ended_early(future: "Future[Any]") -> bool:
    if not future.done() or future.exception() is not None:
        return False
    answer = future.result()
    return isinstance(answer, Completions) and (answer.cut_short or bool(answer.faults))
