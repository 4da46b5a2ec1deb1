"""Waiting for a ZeroMQ socket, the same on both sides of the wire."""

import select

import zmq


def readable(socket: "zmq.Socket[bytes]") -> bool:
    """Whether a message can be received without blocking."""
    return bool(int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)


def wait_readable(socket: "zmq.Socket[bytes]", timeout_ns: int) -> None:
    """Block until something arrives or the time is over; precise to microseconds.

    ZeroMQ's own poll counts in milliseconds.
    """
    # The descriptor only signals changes: what is there already must be looked for first.
    if not readable(socket):
        fd = int(socket.getsockopt(zmq.FD))
        select.select([fd], [], [], max(0, timeout_ns) * 1e-9)
