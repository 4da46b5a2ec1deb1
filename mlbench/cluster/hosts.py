"""The hosts of a cluster: placed, asked every 0.3 s whether they live, replaced if they do not."""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import ExitStack, suppress
from typing import Any, Self

from mlbench.cluster.actors import Actor, Placement
from mlbench.cluster.connect import Node, connected, nodes_with_cpus
from mlbench.cluster.host import Beat, Failed
from mlbench.cluster.lost import HostLostError
from mlbench.cluster.pulse import OWN_PAUSE_NS, PATIENT_NS, Pulse
from mlbench.contracts.errors import MlbenchError, RequestError, RunError, one_line
from mlbench.host.clock import now_ns

_LOOK_EVERY_S = 0.05  # at hosts that somebody waits for
_LEAVE_S = 3.0  # for hosts to end their workers in order; a host that is asked takes one second
_ANSWER_S = 30.0  # for the first beat of an actor, whose process starts and loads what it needs

Tell = Callable[[str, object], None]
"""Hears of an event on a host, by the host's name."""


class Hosts:
    """Actors on the nodes of a Ray cluster that was checked; use as a context manager.

    `names`: of the hosts, in order. `wait` waits for answers of some of them, and returns as soon
    as one of them is lost. `patience_ns`: for how long a host may be silent. Raises RequestError
    when there are fewer nodes than `count` hosts; None stands for all of them.
    """

    def __init__(self, address: str, count: int | None) -> None:
        self._stack = ExitStack()
        self._stack.enter_context(connected(address))
        self._used: set[str] = set()  # ids of nodes, of lost ones too
        self._told: queue.SimpleQueue[tuple[str, object]] = queue.SimpleQueue()
        self._over = threading.Event()
        self.patience_ns = PATIENT_NS
        self.actors: list[Actor] = []
        self._pulses: dict[Actor, Pulse] = {}
        try:
            self._place((), _choose(nodes_with_cpus(), count))
            thread = threading.Thread(target=self._beat_on, daemon=True)
            thread.start()
            self._stack.callback(thread.join)
            self._stack.callback(self._over.set)
            self._await_first_beats(self.actors)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def names(self) -> tuple[str, ...]:
        """What people know the hosts by: the addresses of their nodes."""
        return tuple(actor.name for actor in self.actors)

    def pulse(self, host: int) -> Pulse:
        """Return what is known of a host's life and clock."""
        return self._pulses[self.actors[host]]

    def lost(self) -> dict[int, str]:
        """Return the hosts that are lost by now, and why."""
        reasons = {n: self._pulses[actor].lost for n, actor in enumerate(self.actors)}
        return {host: reason for host, reason in reasons.items() if reason is not None}

    def _place(self, places: Sequence[int], nodes: Sequence[Node]) -> None:
        """Put actors on nodes, in the places of hosts that are lost, or behind all others."""
        placement = Placement(nodes)
        self._stack.callback(placement.close)
        self._used |= {node.node_id for node in nodes}
        for place, actor in zip(places or range(len(nodes)), placement.actors, strict=True):
            self._pulses[actor] = Pulse(now_ns() + round(_ANSWER_S * 1e9))
            self.actors[place : place + 1] = [actor]

    def _await_first_beats(self, actors: Sequence[Actor]) -> None:
        while not all(self._pulses[actor].clock.is_known for actor in actors):
            for actor in actors:
                if reason := self._pulses[actor].lost:
                    raise RequestError(
                        f"--cluster: host {actor.name} {reason}: is the same mlbench installed "
                        "there?"
                    )
            self._over.wait(_LOOK_EVERY_S)

    def replace(self, lost: Sequence[int]) -> None:
        """Place hosts that are lost on spare nodes; raises HostLostError when there are too few."""
        spares = [node for node in nodes_with_cpus() if node.node_id not in self._used]
        if len(spares) < len(lost):
            told = "; ".join(f"host {self.names[host]} {self.lost()[host]}" for host in lost)
            raise HostLostError(f"{told}; there is no spare host in the cluster")
        for host in lost:
            with suppress(Exception):  # Ray may know already that it is gone
                self.actors[host].kill()
        self._place(lost, spares[: len(lost)])
        self._await_first_beats([self.actors[host] for host in lost])

    # -- heartbeats, in a thread of their own ------------------------------------------------

    def _beat_on(self) -> None:
        looked_ns = now_ns()
        while not self._over.wait(_LOOK_EVERY_S):
            now = now_ns()
            was_paused, looked_ns = now - looked_ns > OWN_PAUSE_NS, now
            for actor, pulse in tuple(self._pulses.items()):
                if was_paused:
                    pulse.excuse(now)
                pulse.look(now, self.patience_ns)
                if pulse.is_due(now):
                    self._send_beat(actor, pulse)

    def _send_beat(self, actor: Actor, pulse: Pulse) -> None:
        pulse.asked(now_ns())
        try:
            future = actor.call("beat")
        except Exception as error:  # Ray knows that it is gone
            pulse.lose(_how_lost(error))
            return
        future.add_done_callback(lambda done: self._hear(actor, pulse, done))

    def _hear(self, actor: Actor, pulse: Pulse, answer: "Future[Beat]") -> None:
        now = now_ns()
        if (error := answer.exception()) is not None:
            pulse.lose(_how_lost(error))
            return
        beat = answer.result()
        pulse.answered(beat.host_ns, now)
        for event in beat.told:
            self._told.put((actor.name, event))

    # -- calls -------------------------------------------------------------------------------

    def call(self, host: int, method: str, *arguments: object) -> "Future[Any]":
        """Call a method of a host."""
        return self.actors[host].call(method, *arguments)

    def told(self) -> Iterator[tuple[str, object]]:
        """Yield what hosts told since last asked, with their names."""
        with suppress(queue.Empty):
            while True:
                yield self._told.get_nowait()

    def wait(
        self,
        futures: Mapping[int, "Future[Any]"],
        until: Callable[[], bool] = lambda: False,
        tell: Tell = lambda *_: None,
    ) -> dict[int, Any]:
        """Wait for these hosts' answers; return those that came before one of them was lost.

        Returns early when `until` says so. A call that Ray fails counts as a lost host. Raises
        what a host answers that could not do what it was asked to.
        """
        while True:
            done, open_ = wait_for(futures.values(), _LOOK_EVERY_S)
            for name, event in self.told():
                tell(name, event)
            for host, future in futures.items():
                if future in done and (error := future.exception()) is not None:
                    self.pulse(host).lose(_how_lost(error))
            if not open_ or self.lost().keys() & futures.keys() or until():
                return self._answers({h: f for h, f in futures.items() if f.done()})

    def _answers(self, futures: Mapping[int, "Future[Any]"]) -> dict[int, Any]:
        answers = {h: f.result() for h, f in futures.items() if f.exception() is None}
        for host, answer in answers.items():
            if isinstance(answer, Failed):
                raise self._error(host, answer)
        return answers

    def _error(self, host: int, failed: Failed) -> MlbenchError:
        kinds = {"request": RequestError, "worker": HostLostError, "run": RunError}
        return kinds[failed.kind](f"host {self.names[host]}: {failed.message}")

    def ask_all(self, method: str, *arguments: object, tell: Tell = lambda *_: None) -> list[Any]:
        """Call a method of all hosts and return their answers; raises HostLostError."""
        return self.ask(range(len(self.actors)), method, *arguments, tell=tell)

    def ask(
        self, hosts: Sequence[int], method: str, *arguments: object, tell: Tell = lambda *_: None
    ) -> list[Any]:
        """Call a method of some hosts and return their answers; raises HostLostError."""
        return self.ask_each(method, dict.fromkeys(hosts, arguments), tell=tell)

    def ask_each(
        self, method: str, arguments: Mapping[int, tuple[object, ...]], tell: Tell = lambda *_: None
    ) -> list[Any]:
        """Call a method of some hosts, each with its arguments; raises HostLostError."""
        futures = {host: self.call(host, method, *own) for host, own in arguments.items()}
        answers = self.wait(futures, tell=tell)
        if lost := self.lost():
            told = "; ".join(f"host {self.names[host]} {why}" for host, why in lost.items())
            raise HostLostError(told)
        return [answers[host] for host in arguments]

    def close(self) -> None:
        """End the workers of all hosts in order, and then the hosts, whatever they do."""
        lost = self.lost()
        leaving = {h: self.call(h, "close") for h in range(len(self.actors)) if h not in lost}
        wait_for(leaving.values(), _LEAVE_S)
        self._over.set()
        for actor in self._pulses:
            with suppress(Exception):  # those that are gone need no end
                actor.kill()
        self._stack.close()


def _choose(nodes: Sequence[Node], count: int | None) -> Sequence[Node]:
    if not nodes:
        raise RequestError("--cluster: the cluster has no host with a CPU for Ray (--num-cpus)")
    if count is not None and len(nodes) < count:
        names = ", ".join(node.address for node in nodes)
        raise RequestError(f"--hosts {count}: the cluster has {len(nodes)}: {names}")
    return nodes[:count]


def _how_lost(error: BaseException) -> str:
    """Return how a host was lost, as Ray tells it; its own reports are pages long."""
    text = one_line(error).split(" class_name:")[0]
    return f"died: {text[:300]}"
