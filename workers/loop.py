"""One worker: it knows the schedule ahead, waits for the moment, serves, and sends answers back.

coordinator --REQUESTS, ahead--> Line --batch--> wait --> predict --> Outbox --COMPLETIONS-->
              timetable, claims --^                          ^ Feeds (views of the shared cache)
"""

import gc
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from mlbench.contracts import wire
from mlbench.contracts.backend import (
    Backend,
    Predictions,
    SelfTimed,
    WorkerSpec,
    is_self_timed,
)
from mlbench.contracts.claims import ClaimLog
from mlbench.contracts.errors import one_line
from mlbench.contracts.predictions import check_classes
from mlbench.host.clock import Alarm, now_ns, sleep_until
from workers.connection import Connection
from workers.feeds import Feeds
from workers.line import Batch, Line
from workers.outbox import FAILURE, Failure, Outbox
from workers.tell import tell
from workers.warm_up import WarmUpError, warm_up

_IDLE_NS = 3_600_000_000_000  # an hour: whatever an idle worker waits for comes as a frame
_RECEIVE_EVERY_NS = 20_000_000  # while it is busy: a look takes 40 us beside a cold cache
_GUARD_NS = 600_000  # this close to a start nothing else is begun: a worker that was idle for long
# takes some 300 us to wake up and take in a frame
_SHARED_BURST_NS = 50_000  # of service that is claimed at once: ten times what a claim costs
_OWN_BURST_NS = 1_000_000  # of service between two looks at the socket, where nobody else waits
_BREATH_S = 20e-6  # after several queries that took no time, so that more gather and others run
_SLOWEST_MEMORY = 0.9  # of the slowest recent service time, from one burst to the next


class Worker:
    """The loop of one worker process; returns from `run` when it is told to stop."""

    def __init__(self, spec: WorkerSpec, backend: Backend, connection: Connection) -> None:
        self._spec = spec
        self._backend = backend
        self._connection = connection
        self._feeds = Feeds(spec.feeds, spec.batch_size, spec.whole)
        claims = None if spec.claims_fd is None else ClaimLog(spec.claims_fd)
        if spec.timetable_fd is None:
            raise ValueError("a worker needs the timetable of its line")
        self._line = Line(
            spec.index, spec.batch_size, spec.batch_timeout_ns, spec.timetable_fd, claims
        )
        self._outbox = Outbox(connection.socket)
        self._alarm = Alarm()
        self._burst_ns = _OWN_BURST_NS if claims is None else _SHARED_BURST_NS
        self._service_ns = float(_OWN_BURST_NS)
        self._batch: Batch | None = None
        self._closing = False
        self._stopped = False
        self._receive_at_ns = 0
        self._clockwork = backend if is_self_timed(backend) else None
        self._serve: Callable[[Batch], None] = self._serve_batch
        if self._clockwork is not None:
            self._serve = partial(self._serve_by_clockwork, self._clockwork)
            self._burst_ns = 0  # what is taken at once is one batch of the device
        elif spec.batch_size == 1:
            self._serve = self._serve_singles

    def run(self) -> None:
        """Serve until told to stop."""
        while not self._stopped:
            if now_ns() >= self._receive_at_ns:
                self._receive()
            if not self._stopped:
                self._serve_or_wait()
        self._outbox.flush()

    def _serve_or_wait(self) -> None:
        """Wait for the start of the batch in hand and serve it; look at the socket meanwhile."""
        if self._batch is None:
            now = now_ns()
            burst = max(1, int(self._burst_ns / self._service_ns))
            self._batch = self._line.take(self._free_ns(now), now, burst)
        if self._batch is None:
            self._rest(_IDLE_NS)
            return
        wait_ns = self._batch.ready_ns - now_ns()
        if wait_ns > _GUARD_NS:
            self._rest(wait_ns - _GUARD_NS)
            return
        if wait_ns > 0:
            self._alarm.wait_until(self._batch.ready_ns)
        batch, self._batch = self._batch, None
        begin_ns = now_ns()
        self._serve(batch)
        end_ns = now_ns()
        self._outbox.flush_if_due(end_ns)
        if len(batch.requests) > 1 and end_ns - begin_ns < _SHARED_BURST_NS:
            time.sleep(_BREATH_S)

    def _rest(self, most_ns: int) -> None:
        """Wait for a frame, for no longer than this; answers that have waited are sent."""
        if self._closing and self._batch is None:
            self._outbox.flush()
            self._connection.send_control("closed", trial=self._outbox.trial)
            self._closing = False
        if not self._outbox.flush_if_due(now_ns()):
            self._connection.wait(min(most_ns, self._outbox.hold_left_ns(now_ns())))
            self._receive_at_ns = 0

    def _free_ns(self, now: int) -> int:
        """Return when the device became free; one that keeps its own time tells."""
        return now if self._clockwork is None else self._clockwork.free_ns

    def _receive(self) -> None:
        self._receive_at_ns = now_ns() + _RECEIVE_EVERY_NS
        for frame in self._connection.received():
            if frame.kind == wire.REQUESTS:
                known, queries = frame.body
                is_first = frame.trial != self._outbox.trial
                if is_first:
                    self._begin_trial(frame.trial, queries)
                self._line.know(known)
                if is_first:
                    self._connection.send_control("begun", trial=frame.trial)
            elif frame.kind == wire.CONTROL:
                self._control(frame.body)

    def _begin_trial(self, trial: int, queries: int) -> None:
        """Begin anew; the coordinator has given up whatever is left of an earlier trial."""
        self._outbox.begin(trial)
        self._line.begin(trial, queries)
        self._batch = None
        self._closing = False

    def _control(self, message: dict[str, Any]) -> None:
        if message["type"] == "stop":
            self._stopped = True
        elif message["type"] == "warm_up":
            self._warm_up(message["seconds"])
        elif message.get("trial") != self._outbox.trial:
            return  # of a trial that this worker takes no part in
        elif message["type"] == "go":
            self._line.go(message["start_ns"])
        elif message["type"] == "close":
            self._close(message["end"])

    def _close(self, end: int) -> None:
        """End the trial before query `end`: serve what is taken and due, and take nothing more."""
        self._line.close()
        self._closing = True
        if self._batch is not None:
            requests = self._batch.requests
            due = requests[requests["id"] < end]
            self._batch = self._batch._replace(requests=due) if len(due) else None

    def _warm_up(self, seconds: float) -> None:
        try:
            found = warm_up(self._backend, self._feeds, self._spec, seconds)
        except WarmUpError as error:
            self._give_up(str(error), is_final=error.is_final)
        except Exception as error:
            self._give_up(f"the model fails in warm-up: {one_line(error)}", is_final=False)
        else:
            self._service_ns = max(found.service_ns, 1.0)
            # Looking for garbage among all that a runtime imported takes tens of milliseconds.
            gc.collect()
            gc.freeze()
            self._connection.send_control("warm", **found._asdict())

    def _give_up(self, why: str, *, is_final: bool) -> None:
        self._connection.send_control("error", message=why, is_final=is_final, is_request=False)
        self._stopped = True

    def _serve_batch(self, batch: Batch) -> None:
        start_ns = now_ns()
        answer: Predictions | Failure | None = FAILURE
        try:
            answer = self._backend.predict(self._feeds.batch(batch.requests["sample"]))
        except Exception as error:
            tell(one_line(error))
        done_ns = now_ns()
        answer = _checked(answer, len(batch.requests))
        self._outbox.add_batch(batch.requests["id"], start_ns, done_ns, answer)

    def _serve_singles(self, batch: Batch) -> None:
        """Serve queries one `predict` call each."""
        predict, one = self._backend.predict, self._feeds.one
        starts_ns: list[int] = []
        dones_ns: list[int] = []
        answers: list[Predictions | Failure | None] = []
        for sample in batch.requests["sample"].tolist():
            answer: Predictions | Failure | None = FAILURE
            starts_ns.append(now_ns())
            try:
                answer = predict(one(sample))
            except Exception as error:
                tell(one_line(error))
            dones_ns.append(now_ns())
            answers.append(answer if answer is None else _checked(answer, 1))
        took_ns = (dones_ns[-1] - starts_ns[0]) / len(dones_ns)
        self._service_ns = max(took_ns, _SLOWEST_MEMORY * self._service_ns)
        self._outbox.add_singles(batch.requests["id"], starts_ns, dones_ns, answers)

    def _serve_by_clockwork(self, device: SelfTimed, batch: Batch) -> None:
        items = len(batch.requests)
        start_ns = batch.ready_ns if batch.ready_ns <= device.free_ns else now_ns()
        answer: Failure | None = None
        try:
            done_ns = device.serve(start_ns, items)
        except Exception as error:
            tell(one_line(error))
            answer, done_ns = FAILURE, max(start_ns, now_ns())
            device.free_ns = done_ns
        sleep_until(done_ns)
        self._outbox.add_batch(batch.requests["id"], start_ns, done_ns, answer)


def _checked(answer: Predictions | Failure | None, queries: int) -> Predictions | Failure | None:
    """Return an answer to so many queries, or a failure where it cannot be one."""
    if answer is None or isinstance(answer, Failure):
        return answer
    try:
        return check_classes(answer, queries)
    except ValueError as error:
        tell(str(error))
        return FAILURE
