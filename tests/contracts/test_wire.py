import numpy as np
import pytest

from mlbench.contracts import wire


def test_requests_survive_the_wire():
    """How many requests a line has comes out as it went in, with the trial."""
    frame = wire.unpack(wire.pack_requests(7, 123, 10**9))
    assert (frame.kind, frame.trial, frame.body) == (wire.REQUESTS, 7, (123, 10**9))


def test_completions_survive_the_wire():
    """COMPLETION records come out as they went in."""
    completions = np.array([(1, -1, 5, 6, 65_535, wire.FAILED)], wire.COMPLETION)
    frame = wire.unpack(wire.pack_completions(3, completions))
    assert (frame.kind, frame.trial) == (wire.COMPLETIONS, 3)
    assert np.array_equal(frame.body, completions)


def test_control_messages_survive_the_wire():
    """A control message has a type and named fields."""
    frame = wire.unpack(wire.pack_control("warm", service_ns=1.5))
    assert frame.kind == wire.CONTROL
    assert frame.body == {"type": "warm", "service_ns": 1.5}


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"short",
        wire.HEADER.pack(9, 0),
        wire.HEADER.pack(wire.CONTROL, 0) + b"\x01",
        wire.HEADER.pack(wire.REQUESTS, 0) + b"half a record",
    ],
)
def test_a_broken_frame_is_refused(frame):
    """Bytes that are no frame raise ValueError and are never taken for data."""
    with pytest.raises(ValueError, match=r"."):
        wire.unpack(frame)
