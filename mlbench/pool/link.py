"""The coordinator's end of the wire: one ROUTER socket for all workers."""

import os
import secrets
from collections.abc import Iterator
from typing import Any

import zmq

from mlbench.contracts import wire
from mlbench.contracts.waiting import readable, wait_readable

_MOST_AT_ONCE = 10_000  # messages read before something else is done: about 0.1 s of work


class Link:
    """A ROUTER on a local socket.

    The socket has a name and no file, so that no death leaves anything behind. The kernel tells
    whose process connects: those of other users are turned away, root's too. A worker is known by
    the secret word that `admit` gives it, so nobody else can speak in its name, nor can the process
    that had its place before. Whoever cannot be reached is no error: that a process ended its
    handle tells, and that one is silent shows when it is asked something.

    `wrong`: for each worker what it did wrong, in words; under None strangers.
    """

    def __init__(self) -> None:
        self.endpoint = f"ipc://@mlbench-{secrets.token_hex(8)}"
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.sndhwm = self._socket.rcvhwm = 0
        self._socket.linger = 500
        self._socket.maxmsgsize = wire.MOST_BYTES
        self._socket.setsockopt(zmq.IPC_FILTER_UID, os.geteuid())
        self._socket.bind(self.endpoint)
        self._identities: dict[int, bytes] = {}
        self._workers: dict[bytes, int | None] = {}  # None where another has its place by now
        self.wrong: dict[int | None, str] = {}

    def admit(self, worker: int) -> str:
        """Return the identity by which a worker is known from now on, and no longer by another."""
        identity = f"{worker}-{secrets.token_hex(16)}"
        if worker in self._identities:
            self._workers[self._identities[worker]] = None
        self.wrong.pop(worker, None)
        self._identities[worker] = identity.encode()
        self._workers[identity.encode()] = worker
        return identity

    def send_control(self, worker: int, type_: str, **fields: Any) -> None:
        """Send a control message to a worker that was admitted."""
        self.send(worker, wire.pack_control(type_, **fields))

    def send(self, worker: int, frame: bytes) -> None:
        """Send a packed frame to a worker that was admitted; it is dropped if nobody is there."""
        self._socket.send_multipart([self._identities[worker], frame], zmq.NOBLOCK)

    def received(self) -> Iterator[tuple[int, wire.Frame]]:
        """Yield (worker, frame) for what has arrived, without blocking.

        Bytes that are no frame, and those of strangers, are left out and stand in `wrong`.
        """
        for _ in range(_MOST_AT_ONCE):
            if not readable(self._socket):
                return
            identity, *parts = self._socket.recv_multipart(zmq.NOBLOCK)
            if identity not in self._workers:
                self.wrong.setdefault(None, "sent a message, but was not started here")
                continue
            worker = self._workers[identity]
            if worker is None:
                continue
            try:
                (frame,) = parts
                yield worker, wire.unpack(frame)
            except ValueError as error:
                self.wrong.setdefault(worker, f"sent {error}")

    def wait(self, timeout_ns: int) -> None:
        """Block until something arrives or the time is over."""
        wait_readable(self._socket, timeout_ns)

    def close(self) -> None:
        """Close the socket after what is under way."""
        self._socket.close()
        self._context.term()
