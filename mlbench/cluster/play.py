"""One trial on all hosts: its parts are sent, started at one moment, and merged."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from mlbench.cluster.events import HostLost
from mlbench.cluster.hosts import Hosts
from mlbench.cluster.split import Divided, Outcome, merge
from mlbench.contracts.findings import Finding
from mlbench.host.clock import now_ns
from mlbench.records import Completions

_LEAD_NS = 50_000_000
"""From the last host that is ready to the start: ten times what a call of an actor takes."""
_LEAD_EACH_NS = 1_000_000  # more for each host: sending a call takes 0.3 ms of a core
_MOST_LATE_NS = 10_000_000  # a host may start so much later than asked; more is a fault
_END_S = 5.0
"""For hosts to end their parts when another is lost: they have what is claimed to serve."""


class Play:
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
