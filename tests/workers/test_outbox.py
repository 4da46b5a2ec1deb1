import numpy as np

from mlbench.contracts import wire
from workers.outbox import FAILURE, Outbox


class Wire:
    """Keeps what was sent, decoded."""

    def __init__(self):
        self.frames = []

    def send(self, frame):
        """Take one frame."""
        self.frames.append(wire.unpack(frame))


def _ids(*numbers):
    return np.array(numbers, np.uint32)


def test_answers_travel_together_in_order():
    """All that was added since the last flush is one frame, in the order of serving."""
    line = Wire()
    outbox = Outbox(line)
    outbox.begin(9)
    outbox.add_batch(_ids(4, 5), 100, 200, np.array([7, 8]))
    outbox.add_singles(_ids(6), [200], [300], [None])
    outbox.flush()
    (frame,) = line.frames
    assert frame.trial == 9
    assert frame.body["id"].tolist() == [4, 5, 6]
    assert frame.body["prediction"].tolist() == [7, 8, -1]
    assert frame.body["start_ns"].tolist() == [100, 100, 200]
    assert frame.body["done_ns"].tolist() == [200, 200, 300]
    assert frame.body["batch"].tolist() == [2, 2, 1]


def test_nothing_to_say_sends_nothing():
    """A flush without answers, or after one, sends no frame."""
    line = Wire()
    outbox = Outbox(line)
    outbox.flush()
    outbox.add_batch(_ids(1), 0, 1, None)
    outbox.flush()
    outbox.flush()
    assert len(line.frames) == 1


def test_each_single_has_its_own_status():
    """Of singles that were served together only those that failed are failed."""
    line = Wire()
    outbox = Outbox(line)
    outbox.add_singles(_ids(1, 2, 3), [0, 1, 2], [1, 2, 3], [np.array([5]), FAILURE, None])
    outbox.flush()
    assert line.frames[0].body["status"].tolist() == [
        wire.COMPLETED,
        wire.FAILED,
        wire.COMPLETED,
    ]
    assert line.frames[0].body["prediction"].tolist() == [5, -1, -1]


def test_a_failed_batch_has_no_predictions():
    """All queries of a batch that failed are failed, without a class."""
    line = Wire()
    outbox = Outbox(line)
    outbox.add_batch(_ids(1, 2), 0, 1, FAILURE)
    outbox.flush()
    assert line.frames[0].body["status"].tolist() == [wire.FAILED, wire.FAILED]
    assert line.frames[0].body["prediction"].tolist() == [-1, -1]


def test_an_answer_waits_for_others_only_so_long():
    """The oldest answer's age decides when all are sent."""
    line = Wire()
    outbox = Outbox(line, hold_ns=100)
    assert not outbox.flush_if_due(10**9)
    outbox.add_batch(_ids(1), 0, 1_000, None)
    outbox.add_batch(_ids(2), 0, 1_090, None)
    assert outbox.hold_left_ns(1_060) == 40
    assert not outbox.flush_if_due(1_099)
    assert outbox.flush_if_due(1_100)
    assert line.frames[0].body["id"].tolist() == [1, 2]
    assert not outbox.flush_if_due(10**9)


def test_what_belongs_to_an_earlier_trial_is_sent_as_such():
    """When a trial begins, answers of the one before leave under their own number."""
    line = Wire()
    outbox = Outbox(line)
    outbox.begin(4)
    outbox.add_batch(_ids(1), 0, 1, None)
    outbox.begin(5)
    outbox.add_batch(_ids(2), 0, 1, None)
    outbox.flush()
    assert [(f.trial, f.body["id"].tolist()) for f in line.frames] == [(4, [1]), (5, [2])]


def test_a_frame_is_bounded_and_batches_stay_whole(monkeypatch):
    """What would make a frame too large goes into the next one."""
    monkeypatch.setattr(wire, "MOST_ANSWERS", 4)
    line = Wire()
    outbox = Outbox(line)
    for batch in (_ids(1, 2, 3), _ids(4, 5), _ids(6)):
        outbox.add_batch(batch, 0, 1, None)
    outbox.flush()
    assert [frame.body["id"].tolist() for frame in line.frames] == [[1, 2, 3], [4, 5, 6]]
