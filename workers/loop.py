"""One worker: receive requests, form batches, serve them, send the answers back.

coordinator --REQUESTS--> WaitingQueue --batch--> backend.predict --> Outbox --COMPLETIONS-->
                               ^ batching rule        ^ Feeds (views of the shared cache)
"""

import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from mlbench.clock import now_ns, sleep_until
from mlbench.contracts import wire
from mlbench.contracts.backend import Backend, Predictions, WorkerSpec
from mlbench.contracts.batching import batch_start_ns
from mlbench.contracts.errors import one_line
from workers.connection import Connection
from workers.feeds import Feeds
from workers.outbox import FAILURE, Failure, Outbox
from workers.queue import WaitingQueue
from workers.simulated import SimulatedBackend
from workers.warm_up import warm_up

_IDLE_NS = 500_000_000
_MOST_SINGLES = 1024


class Worker:
    """The loop of one worker process; returns from `run` when it is told to stop."""

    def __init__(self, spec: WorkerSpec, backend: Backend, connection: Connection) -> None:
        self._spec = spec
        self._backend = backend
        self._connection = connection
        self._feeds = Feeds(spec.feeds, spec.batch_size)
        self._queue = WaitingQueue()
        self._outbox = Outbox(connection.socket)
        self._free_ns = 0
        self._stopped = False
        self._serve: Callable[[], None] = self._serve_batch
        if isinstance(backend, SimulatedBackend):
            self._serve = self._serve_simulated
        elif spec.batch_size == 1:
            self._serve = self._serve_singles

    def run(self) -> None:
        """Serve until told to stop or the coordinator is gone."""
        while not self._stopped and self._connection.alive():
            self._receive()
            if not self._stopped:
                self._serve_or_wait()

    def _serve_or_wait(self) -> None:
        wait_ns = self._next_start_ns() - now_ns() if len(self._queue) else _IDLE_NS
        if wait_ns > 0:
            self._outbox.flush()
            self._connection.wait(wait_ns)
            return
        self._serve()
        if not len(self._queue) or self._outbox.due(now_ns()):
            self._outbox.flush()

    def _receive(self) -> None:
        for frame in self._connection.received():
            if frame.kind == wire.REQUESTS:
                if frame.trial != self._outbox.trial:
                    self._begin_trial(frame.trial)
                self._queue.put(frame.body, frame.sent_ns)
            elif frame.kind == wire.CONTROL:
                self._control(frame.body)

    def _begin_trial(self, trial: int) -> None:
        """Whatever is left of an earlier trial was given up by the coordinator."""
        self._queue.clear()
        self._outbox.clear()
        self._outbox.trial = trial

    def _control(self, message: dict[str, Any]) -> None:
        if message["type"] == "stop":
            self._stopped = True
        elif message["type"] == "warm_up":
            self._warm_up(message["seconds"])

    def _warm_up(self, seconds: float) -> None:
        try:
            service_ns = warm_up(self._backend, self._feeds, self._spec, seconds)
        except Exception as error:
            why = f"the model fails at its first query: {one_line(error)}"
            self._connection.send_control("error", request=False, message=why)
            self._stopped = True
        else:
            self._connection.send_control("warm", service_ns=service_ns)

    def _next_start_ns(self) -> int:
        free_ns = self._free_ns
        if isinstance(self._backend, SimulatedBackend):
            free_ns = self._backend.free_ns
        filled_ns = self._queue.sent_ns_of(self._spec.batch_size - 1)
        return batch_start_ns(
            free_ns, self._queue.oldest_ns, filled_ns, self._spec.batch_timeout_ns
        )

    def _serve_batch(self) -> None:
        requests = self._queue.take(self._spec.batch_size)
        start_ns = now_ns()
        predictions, status = self._predict_batch(requests["sample"])
        self._free_ns = now_ns()
        self._outbox.add_batch(requests["id"], start_ns, self._free_ns, predictions, status)

    def _predict_batch(self, samples: np.ndarray[Any, Any]) -> tuple[Predictions | None, int]:
        try:
            return self._backend.predict(self._feeds.batch(samples)), wire.COMPLETED
        except Exception as error:
            _tell(error)
            return None, wire.FAILED

    def _serve_singles(self) -> None:
        """Serve queries one `predict` call each, until it is time to send answers back."""
        requests, sent_ns = self._queue.take_frame(_MOST_SINGLES)
        predict, one = self._backend.predict, self._feeds.one
        starts_ns: list[int] = []
        dones_ns: list[int] = []
        answers: list[Predictions | Failure | None] = []
        until_ns = now_ns() + self._outbox.hold_ns
        for sample in requests["sample"].tolist():
            starts_ns.append(now_ns())
            try:
                answers.append(predict(one(sample)))
            except Exception as error:
                _tell(error)
                answers.append(FAILURE)
            done_ns = now_ns()
            dones_ns.append(done_ns)
            if done_ns >= until_ns:
                break
        self._free_ns = dones_ns[-1]
        self._outbox.add_singles(requests["id"][: len(dones_ns)], starts_ns, dones_ns, answers)
        self._queue.put_back(requests[len(dones_ns) :], sent_ns)

    def _serve_simulated(self) -> None:
        device = self._backend
        assert isinstance(device, SimulatedBackend)  # noqa: S101 - chosen so in the constructor
        start_ns = self._next_start_ns()
        items = self._queue.sent_until(start_ns, self._spec.batch_size)
        requests = self._queue.take(items)
        done_ns = device.serve(start_ns, items)
        sleep_until(done_ns)
        self._outbox.add_batch(requests["id"], start_ns, done_ns, None, wire.COMPLETED)


def _tell(error: Exception) -> None:
    print(f"worker {os.getpid()}: {one_line(error)}", file=sys.stderr)
