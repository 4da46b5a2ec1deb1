"""Who is let in: the coordinator's socket under messages of all kinds."""

import os
import socket
from contextlib import ExitStack

import pytest
import zmq
from optional import ROOT

from mlbench.contracts import wire
from mlbench.host.clock import now_ns
from mlbench.pool.link import Link

GOOD = wire.pack_control("begun", trial=3)
_PATIENCE_NS = 5_000_000_000


@pytest.fixture
def link():
    """A link that has admitted worker 0, whose identity is `link.identity`."""
    link = Link()
    link.identity = link.admit(0)
    yield link
    link.close()


@pytest.fixture
def send(link):
    """Return a function that sends the parts of a message as this identity."""
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())

        def send(identity, *parts):
            socket = stack.enter_context(context.socket(zmq.DEALER))
            if identity:
                socket.identity = identity.encode()
            socket.connect(link.endpoint)
            socket.send_multipart(parts)
            return socket

        yield send


def _received(link):
    """Return what comes first, or nothing when that is wrong."""
    end_ns = now_ns() + _PATIENCE_NS
    while now_ns() < end_ns:
        link.wait(end_ns - now_ns())  # may return with nothing but a handshake
        if (frames := list(link.received())) or link.wrong:
            return frames
    raise AssertionError("nothing was heard")


def test_a_worker_that_was_admitted_is_heard(link, send):
    """What comes under the identity that it was given is its own."""
    send(link.identity, GOOD)
    assert _received(link) == [(0, wire.unpack(GOOD))]
    assert link.wrong == {}


@pytest.mark.parametrize("identity", [None, "0", "0-0123"])
def test_a_stranger_is_not_heard(link, send, identity):
    """Whoever does not know the secret of a worker cannot speak in its name."""
    send(identity, GOOD)
    assert _received(link) == []
    assert list(link.wrong) == [None]


def test_who_had_the_place_before_is_not_heard(link, send):
    """What a process sends after another took its place is void, and nobody's fault."""
    old, new = link.identity, link.admit(0)
    send(old, wire.pack_control("stop"))
    send(new, GOOD)
    assert _received(link) == [(0, wire.unpack(GOOD))]
    assert link.wrong == {}


@pytest.mark.parametrize(
    "parts", [[b""], [b"\0" * 24], [os.urandom(1_000)], [GOOD, GOOD], [b"", GOOD]]
)
def test_bytes_that_are_no_frame_are_a_fault_of_who_sent_them(link, send, parts):
    """They are told and left out, and what comes after them is heard."""
    socket = send(link.identity, *parts)
    assert _received(link) == []
    assert "sent" in link.wrong.pop(0)
    socket.send(GOOD)
    assert _received(link) == [(0, wire.unpack(GOOD))]


def test_a_worker_that_is_not_there_is_no_error(link):
    """What is sent to it is dropped: that it is gone, or silent, is seen elsewhere."""
    link.send_control(0, "stop")


def _first_byte(link):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(30)
        peer.connect(link.endpoint.replace("ipc://@", "\0"))
        return peer.recv(1)


def test_processes_of_the_same_user_are_greeted(link):
    """The socket has a name and no file, and greets its own user's processes."""
    assert len(_first_byte(link)) == 1
    assert not os.path.lexists(link.endpoint.removeprefix("ipc://@"))


@pytest.mark.skipif(os.geteuid() != 0, reason=ROOT)
def test_other_users_are_turned_away(link):
    """A connection of another user is closed before a word is said."""
    os.seteuid(65534)
    try:
        assert _first_byte(link) == b""
    finally:
        os.seteuid(0)
