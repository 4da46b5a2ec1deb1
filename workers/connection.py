"""The worker's end of the wire."""

from collections.abc import Iterator
from typing import Any

import zmq

from mlbench.contracts import wire
from mlbench.contracts.waiting import readable, wait_readable
from mlbench.contracts.wire import HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS


class Connection:
    """A DEALER socket whose identity is the worker's index."""

    def __init__(self, endpoint: str, index: int) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self.socket = context.socket(zmq.DEALER)
        self.socket.identity = str(index).encode()
        self.socket.sndhwm = self.socket.rcvhwm = 0
        self.socket.linger = 1000
        self.socket.heartbeat_ivl = HEARTBEAT_MS
        self.socket.heartbeat_timeout = HEARTBEAT_TIMEOUT_MS
        self.socket.connect(endpoint)

    def received(self) -> Iterator[wire.Frame]:
        """Yield every frame that has arrived, without blocking."""
        while readable(self.socket):
            yield wire.unpack(self.socket.recv(zmq.NOBLOCK))

    def wait(self, timeout_ns: int) -> None:
        """Block until something arrives or the time is over."""
        wait_readable(self.socket, timeout_ns)

    def send_control(self, type_: str, **fields: Any) -> None:
        """Send a control message to the coordinator."""
        self.socket.send(wire.pack_control(type_, **fields))

    def close(self) -> None:
        """Send what is left, then close."""
        self.socket.close()
