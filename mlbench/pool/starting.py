"""How workers come up: started, loaded, warmed up; and started again when they fail."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from mlbench.contracts import wire
from mlbench.contracts.errors import MlbenchError, RequestError, RunError
from mlbench.host.clock import now_ns
from mlbench.pool.awake import AwakeTime
from mlbench.pool.crew import Crew
from mlbench.pool.events import PoolEvent, WorkerRestarted, WorkersAwaited
from mlbench.pool.restarts import MOST_RESTARTS_EACH, Restarts, WorkerKeepsFailingError

_LOOK_EVERY_NS = 50_000_000
_TELL_EVERY_NS = 250_000_000  # for people who look on


class Starter:
    """Brings workers up, and knows what they said of themselves when they came.

    `timeout_s`: for each of loading and warming up. `backends`: how each worker's backend describes
    itself. `service_ns`: each worker's mean service time for a query. `slowest_ns`, `first_ns`: the
    times of the slowest batch, and of the slowest of all calls, which prepared for the others.
    """

    def __init__(
        self, crew: Crew, timeout_s: float, warm_up_s: float, tell: Callable[[PoolEvent], None]
    ) -> None:
        self.backends: dict[int, dict[str, Any]] = {}
        self.service_ns: dict[int, float] = {}
        self.slowest_ns = self.first_ns = 0.0
        self._crew = crew
        self._timeout_s = timeout_s
        self._warm_up_s = warm_up_s
        self._tell = tell
        self._restarts = Restarts()
        self._timed_out: set[int] = set()

    def bring_up(self, workers: Iterable[int]) -> None:
        """Start these workers, and again those that fail, until all of them are warm.

        Raises RequestError when a worker cannot do what it was asked to, RunError when its model
        does not work at all, WorkerKeepsFailingError when starting again does not help.
        """
        missing = set(workers)
        while missing:
            for worker in missing:
                self._crew.start(worker)
            self._collect("ready", missing)
            warm = missing - self._crew.failed.keys()
            for worker in warm:
                self._crew.link.send_control(worker, "warm_up", seconds=self._warm_up_s)
            self._collect("warm", warm)
            missing = self._note_failures()

    def mend(self) -> None:
        """Start those again that failed, or ended in the meantime; raises as `bring_up`."""
        self._crew.give_up_the_dead()
        self.bring_up(self._note_failures())

    def _note_failures(self) -> set[int]:
        for worker, failure in self._crew.failed.items():
            name = self._crew.name(worker)
            restart = self._restarts.note(worker, name, failure)
            self._tell(WorkerRestarted(name, str(failure), restart, MOST_RESTARTS_EACH))
        return set(self._crew.failed)

    def _collect(self, answer: Literal["ready", "warm"], workers: set[int]) -> None:
        """Wait until each of these workers has given this answer, or failed."""
        crew, awake, told_ns = self._crew, AwakeTime(now_ns()), 0
        missing = set(workers)
        if missing:
            self._tell_awaited(answer, missing, 0.0)
        while missing:
            ended = {w: how for w in missing if (how := crew.handles[w].ended())}
            crew.link.wait(_LOOK_EVERY_NS)  # for what those sent before they ended, too
            for worker, frame in crew.link.received():
                if worker in missing and frame.kind == wire.CONTROL:
                    self._hear(worker, frame.body)
                    if frame.body["type"] == answer:
                        missing.discard(worker)
            self._give_up_broken(missing - crew.failed.keys(), ended)
            missing -= crew.failed.keys()
            awake.look(now_ns())
            if awake.waited_ns > self._timeout_s * 1e9:
                self._give_up_slow(missing, answer)
                return
            if missing and awake.waited_ns > told_ns + _TELL_EVERY_NS:
                told_ns = awake.waited_ns
                self._tell_awaited(answer, missing, told_ns * 1e-9)

    def _hear(self, worker: int, message: Mapping[str, Any]) -> None:
        match message["type"]:
            case "ready":
                self.backends[worker] = message["backend"]
            case "warm":
                self.service_ns[worker] = message["service_ns"]
                self.slowest_ns = max(self.slowest_ns, message["slowest_ns"])
                self.first_ns = max(self.first_ns, message["first_ns"])
            case "error":
                self._hear_error(worker, message)

    def _hear_error(self, worker: int, message: Mapping[str, Any]) -> None:
        # Of a worker that was up before, the request was right and the model works.
        if message["is_final"] and worker not in self.service_ns:
            raise _error(self._crew.name(worker), message)
        self._crew.give_up(worker, message["message"])

    def _give_up_broken(self, workers: set[int], ended: Mapping[int, str]) -> None:
        for worker in workers:
            if wrong := self._crew.link.wrong.get(worker):
                self._crew.give_up(worker, wrong)
            elif worker in ended:
                self._crew.give_up(worker, f"{ended[worker]} while it started")

    def _give_up_slow(self, workers: set[int], answer: str) -> None:
        """Give up workers that are not up in time; a second time is the last."""
        cause = f"was not {answer} within {self._timeout_s:g} s (--start-timeout)"
        for worker in workers:
            self._crew.give_up(worker, cause)
            if worker in self._timed_out:
                name = self._crew.name(worker)
                raise WorkerKeepsFailingError(worker, f"{name} {cause}, twice")
            self._timed_out.add(worker)

    def _tell_awaited(self, answer: str, workers: Iterable[int], waited_s: float) -> None:
        step: Literal["load", "warm up"] = "load" if answer == "ready" else "warm up"
        names = tuple(self._crew.name(worker) for worker in sorted(workers))
        self._tell(WorkersAwaited(step, names, waited_s, self._timeout_s))


def _error(name: str, message: Mapping[str, Any]) -> MlbenchError:
    if message["is_request"]:
        return RequestError(message["message"])
    return RunError(f"{name}: {message['message']}")
