"""The coordinator's end of the wire: one ROUTER socket for all workers."""

import os
import secrets
from collections.abc import Iterator
from typing import Any

import zmq

from mlbench.contracts import wire
from mlbench.contracts.waiting import readable, wait_readable


class Gone(Exception):  # noqa: N818 - an event of the connection, always caught by the pool
    """A worker cannot be reached any more."""

    def __init__(self, worker: int) -> None:
        super().__init__(worker)
        self.worker = worker


class Link:
    """A ROUTER on a local socket; workers are known by their index.

    The socket has a name and no file, so that no death leaves anything behind. The kernel tells
    whose process connects: those of other users are turned away, root's too.
    """

    def __init__(self) -> None:
        self.endpoint = f"ipc://@mlbench-{secrets.token_hex(8)}"
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.sndhwm = self._socket.rcvhwm = 0
        self._socket.linger = 500
        self._socket.router_mandatory = True
        self._socket.heartbeat_ivl = wire.HEARTBEAT_MS
        self._socket.heartbeat_timeout = wire.HEARTBEAT_TIMEOUT_MS
        self._socket.setsockopt(zmq.IPC_FILTER_UID, os.geteuid())
        self._socket.bind(self.endpoint)
        self._names: dict[int, bytes] = {}

    def send_control(self, worker: int, type_: str, **fields: Any) -> None:
        """Send a control message. Raises Gone."""
        self.send(worker, wire.pack_control(type_, **fields))

    def send(self, worker: int, frame: bytes) -> None:
        """Send a packed frame. Raises Gone."""
        name = self._names.get(worker)
        if name is None:
            name = self._names[worker] = str(worker).encode()
        try:
            self._socket.send(name, zmq.SNDMORE | zmq.NOBLOCK)
            self._socket.send(frame, zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                raise Gone(worker) from None
            raise

    def received(self) -> Iterator[tuple[int, wire.Frame]]:
        """Yield (worker, frame) for everything that has arrived, without blocking."""
        while readable(self._socket):
            name = self._socket.recv(zmq.NOBLOCK)
            yield int(name), wire.unpack(self._socket.recv(zmq.NOBLOCK))

    def wait(self, timeout_ns: int) -> None:
        """Block until something arrives or the time is over."""
        wait_readable(self._socket, timeout_ns)

    def close(self) -> None:
        """Close the socket after what is under way."""
        self._socket.close()
        self._context.term()
