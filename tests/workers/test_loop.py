"""The worker's loop with a scripted coordinator, in this process."""

import numpy as np
import pytest

from mlbench.contracts import wire
from mlbench.contracts.backend import WorkerSpec
from mlbench.contracts.timetable import REQUEST, TimetableWriter, create_timetable
from mlbench.host.clock import now_ns
from workers.loop import Worker


class Script:
    """A connection that delivers a message whenever the worker has nothing to do.

    A message is a packed frame, or (trial, REQUEST records), which go into the timetable first.
    """

    def __init__(self, timetable, *messages):
        self._messages = list(messages)
        self._timetable = TimetableWriter(timetable)
        self._trial = None
        self.socket = self
        self.sent = []
        self.order = []
        self.controls = []
        self.waits_after_the_end = 0
        self._idle = True

    def received(self):
        """Deliver the next message to an idle worker."""
        if self._idle and self._messages:
            self._idle = False
            message = self._messages.pop(0)
            yield wire.unpack(message if isinstance(message, bytes) else self._push(*message))

    def _push(self, trial, requests):
        if trial != self._trial:
            self._trial = trial
            self._timetable.begin(100)
        self._timetable.append(requests)
        return wire.pack_requests(trial, self._timetable.count, 100)

    def wait(self, _timeout_ns):
        """Return at once; count the waits when nothing will come any more."""
        self.waits_after_the_end += not self._messages
        self._idle = True

    def send(self, frame):
        """Keep what the worker answers."""
        self.sent.append(wire.unpack(frame))
        self.order.append("answers")

    def send_control(self, type_, **fields):
        """Keep what the worker says."""
        self.controls.append((type_, fields))
        self.order.append(type_)


class Doubler:
    """A backend whose class is twice the sample; cannot answer sample 9."""

    def __init__(self):
        self.batches = []

    def predict(self, feed):
        """Note the batch and answer it."""
        samples = feed["x"]
        self.batches.append(samples.tolist())
        if 9 in samples:
            raise ValueError("nine")
        return samples * 2


class Clockwork:
    """A device with a clockwork of its own, which takes a second for a batch and works ahead."""

    STAMPS_ITS_OWN_TIMES = True

    def __init__(self):
        self.free_ns = 0
        self.batches = []

    def mean_service_ns(self, _items):
        """It is far quicker than a look at the socket."""
        return 1_000.0

    def serve(self, start_ns, items):
        """Note the batch; it was done a second before it could be."""
        self.batches.append(items)
        self.free_ns = start_ns - 10**9
        return self.free_ns


STOP = wire.pack_control("stop")


def _requests(trial, *ids, samples=None):
    requests = np.zeros(len(ids), REQUEST)
    requests["id"], requests["sample"] = ids, ids if samples is None else samples
    return trial, requests


def _go(trial):
    return wire.pack_control("go", trial=trial, start_ns=now_ns() - 1)


@pytest.fixture
def serve(tmp_path):
    """Return a function that plays messages to a worker; returns its connection and backend."""
    np.save(tmp_path / "x.npy", np.arange(10))

    def play(*messages, batch_size=1, backend=None):
        feeds, timetable = {"x": str(tmp_path / "x.npy")}, create_timetable()
        spec = WorkerSpec(
            0,
            "",
            "doubler",
            feeds=feeds,
            batch_size=batch_size,
            sample_count=10,
            timetable_fd=timetable,
        )
        connection, backend = Script(timetable, *messages), backend or Doubler()
        Worker(spec, backend, connection).run()
        return connection, backend

    return play


def _column(connection, name):
    return [value for frame in connection.sent for value in frame.body[name].tolist()]


def test_a_worker_told_to_stop_leaves_at_once(serve):
    """After the word to stop a worker waits for nothing more."""
    connection, _ = serve(STOP)
    assert connection.waits_after_the_end == 0


def test_singles_are_a_call_each(serve):
    """With batches of one every query is a predict call of its own, with its own times."""
    connection, backend = serve(_requests(1, 3, 4, 5), _go(1), STOP)
    assert backend.batches == [[3], [4], [5]]
    assert _column(connection, "prediction") == [6, 8, 10]
    assert _column(connection, "batch") == [1, 1, 1]
    starts_ns, dones_ns = (_column(connection, name) for name in ("start_ns", "done_ns"))
    assert all(later >= done for later, done in zip(starts_ns[1:], dones_ns, strict=False))


def test_a_device_of_its_own_time_stamps_for_itself(serve):
    """A backend that declares so is asked when its batch ends, and its word is what is sent."""
    connection, backend = serve(_requests(1, 1, 2), _go(1), STOP, backend=Clockwork(), batch_size=2)
    assert backend.batches == [2]
    starts_ns, dones_ns = (_column(connection, name) for name in ("start_ns", "done_ns"))
    assert dones_ns == [start_ns - 10**9 for start_ns in starts_ns]


def test_a_quick_device_of_its_own_time_is_asked_query_by_query(serve):
    """However many are overdue, with batches of one each is a batch of its own."""
    warm = wire.pack_control("warm_up", seconds=0.0)
    messages = (warm, _requests(1, 1, 2, 3), _go(1), STOP)
    connection, backend = serve(*messages, backend=Clockwork())
    assert backend.batches == [1, 1, 1]
    assert _column(connection, "batch") == [1, 1, 1]


def test_batches_are_one_call(serve):
    """What waits is served together, up to the largest batch, in order."""
    connection, backend = serve(_requests(1, 1, 2, 3), _go(1), STOP, batch_size=2)
    assert backend.batches == [[1, 2], [3]]
    assert _column(connection, "id") == [1, 2, 3]
    assert _column(connection, "batch") == [2, 2, 1]


@pytest.mark.parametrize(
    ("batch_size", "failed"), [(1, [False, True, False]), (3, [True, True, True])]
)
def test_what_raises_is_failed_and_the_worker_goes_on(serve, batch_size, failed):
    """A query, or its whole batch, is failed by an exception; the worker serves what follows."""
    connection, _ = serve(
        _requests(1, 1, 2, 3, samples=[4, 9, 5]),
        _go(1),
        _requests(1, 4),
        STOP,
        batch_size=batch_size,
    )
    status = _column(connection, "status")
    assert [s == wire.FAILED for s in status] == [*failed, False]
    assert _column(connection, "id") == [1, 2, 3, 4]


def test_answers_belong_to_their_trial(serve):
    """A frame of answers carries the number of the trial that its queries came with."""
    connection, _ = serve(_requests(1, 1), _go(1), _requests(2, 2), _go(2), STOP)
    assert [(frame.trial, frame.body["id"].tolist()) for frame in connection.sent] == [
        (1, [1]),
        (2, [2]),
    ]


def test_the_first_chunk_of_a_trial_is_confirmed(serve):
    """A worker says that it is ready for a trial when it knows the beginning, and only then."""
    connection, backend = serve(_requests(3, 1), _requests(3, 2), STOP)
    assert connection.controls == [("begun", {"trial": 3})]
    assert backend.batches == []


def test_a_closed_trial_gives_back_what_is_not_due(serve):
    """Told to end a trial, a worker drops what is due after the end and says that it is done."""
    requests = np.zeros(2, REQUEST)
    requests["id"], requests["due_ns"] = [0, 1], 10**12
    close = wire.pack_control("close", trial=5, end=0)
    connection, backend = serve((5, requests), _go(5), close, STOP)
    assert connection.controls == [("begun", {"trial": 5}), ("closed", {"trial": 5})]
    assert backend.batches == []


def test_a_worker_says_that_it_is_done_after_its_last_answer(serve):
    """The answers to all that a worker served of a trial come before its word that it is done."""
    close = wire.pack_control("close", trial=5, end=2)
    connection, _ = serve(_requests(5, 0, 1), _go(5), close, STOP)
    assert connection.order == ["begun", "answers", "closed"]
    assert _column(connection, "id") == [0, 1]


def test_a_word_about_another_trial_is_ignored(serve):
    """What is said of a trial that the worker does not play changes nothing."""
    close = wire.pack_control("close", trial=1, end=0)
    connection, _ = serve(_requests(2, 0), close, _go(1), _go(2), STOP)
    assert _column(connection, "id") == [0]


def test_a_warm_up_tells_the_service_time(serve):
    """Told to warm up, a worker serves samples, answers no query and reports its times."""
    connection, backend = serve(wire.pack_control("warm_up", seconds=0.0), STOP)
    ((type_, fields),) = connection.controls
    assert type_ == "warm"
    assert fields["service_ns"] > 0
    assert backend.batches
    assert connection.sent == []


@pytest.mark.parametrize("batch_size", [1, 3])
def test_an_answer_that_cannot_be_one_is_a_failure(serve, capfd, batch_size):
    """Where `predict` returns another shape than asked for, its queries fail, and it is told."""

    class Twins(Doubler):
        def predict(self, feed):
            answer = super().predict(feed)
            return np.append(answer, answer) if 4 in answer else answer

    messages = (_requests(1, 1, 2, 3), _go(1), STOP)
    connection, _ = serve(*messages, batch_size=batch_size, backend=Twins())
    status = [wire.COMPLETED, wire.FAILED, wire.COMPLETED] if batch_size == 1 else [wire.FAILED] * 3
    assert _column(connection, "status") == status
    assert (
        f"predict returned ({2 * batch_size},), expected ({batch_size},)" in capfd.readouterr().err
    )


def test_a_device_of_its_own_time_may_fail(serve):
    """When `serve` raises, the batch is failed, and the next one starts after it."""

    class Broken(Clockwork):
        def serve(self, start_ns, items):
            if not self.batches:
                self.batches.append(items)
                raise OSError("broken")
            return super().serve(start_ns, items)

    messages = (_requests(1, 1), _go(1), _requests(1, 2), STOP)
    connection, _ = serve(*messages, backend=Broken())
    assert _column(connection, "status") == [wire.FAILED, wire.COMPLETED]
    assert _column(connection, "start_ns")[1] >= _column(connection, "done_ns")[0]


def test_a_warm_up_that_fails_ends_the_worker(serve):
    """It says why, and that starting it again may not help, and leaves."""

    class Hopeless(Doubler):
        def predict(self, feed):
            raise ValueError(f"no {sorted(feed)}")

    connection, _ = serve(wire.pack_control("warm_up", seconds=0.0), backend=Hopeless())
    why = "the model fails at its first query: ValueError: no ['x']"
    assert connection.controls == [
        ("error", {"message": why, "is_final": True, "is_request": False})
    ]
