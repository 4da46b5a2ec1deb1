import contextlib

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    """A control message has a type and named fields; a whole number will do for a float."""
    fields = {"service_ns": 1.5, "slowest_ns": 2, "first_ns": 2.5}
    frame = wire.unpack(wire.pack_control("warm", **fields))
    assert frame.kind == wire.CONTROL
    assert frame.body == {"type": "warm", **fields}


def _frame(kind=wire.CONTROL, body=b"", mark=b"mlb", version=wire.VERSION):
    return wire.HEADER.pack(mark, version, kind, 0) + body


def _control(message):
    return _frame(body=msgpack.packb(message))


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"", "too short"),
        (b"short", "too short"),
        (_frame(mark=b"GET"), "without the mark"),
        (_frame(version=2), "version 2 of the protocol, this is version 1"),
        (_frame(kind=9), "unknown kind 9"),
        (_frame(wire.REQUESTS, b"half a record"), "how many are known"),
        (_frame(wire.REQUESTS, bytes(16)), "0 of 0 are known"),
        (_frame(wire.COMPLETIONS), "0 answers"),
        (_frame(wire.COMPLETIONS, bytes(33)), "1 answers and 1 bytes more"),
        (_frame(body=b""), "cannot be read"),
        (_frame(body=b"\x81\x01"), "cannot be read"),
        (_frame(body=b"\x91" * 5_000), "cannot be read"),
        (_frame(body=bytes(wire.MOST_CONTROL_BYTES + 1)), "65537 bytes"),
        (_control([1]), "no known type"),
        (_control({"type": "nonsense"}), "no known type"),
        (_control({"type": ["stop"]}), "no known type"),
        (_control({"type": "stop", "now": True}), "other fields"),
        (_control({"type": "begun"}), "other fields"),
        (_control({"type": "begun", "trial": True}), "trial is no int"),
        (_control({"type": "warm_up", "seconds": "1"}), "seconds is no float"),
        (_control({"type": "warm_up", "seconds": float("nan")}), "seconds is no float"),
    ],
)
def test_bytes_that_are_no_frame_are_refused(frame, why):
    """They raise ValueError, in words, and are never taken for data."""
    with pytest.raises(ValueError, match=why):
        wire.unpack(frame)


VALUE = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text()
MESSAGE = st.dictionaries(
    st.sampled_from(["type", "trial", "seconds", "message", "end"]) | st.text(),
    st.sampled_from(["stop", "begun", "warm_up", "error", "close"]) | VALUE | st.lists(VALUE),
)


@given(
    st.binary()
    | st.builds(_frame, st.integers(0, 4), st.binary())
    | st.builds(_frame, st.just(wire.COMPLETIONS), st.binary(min_size=32, max_size=96))
    | st.builds(_control, MESSAGE)
)
def test_whatever_comes_is_a_frame_or_refused(frame):
    """Bytes of any kind are unpacked to one of the three kinds, or raise ValueError."""
    with contextlib.suppress(ValueError):
        assert wire.unpack(frame).kind in (wire.REQUESTS, wire.COMPLETIONS, wire.CONTROL)
