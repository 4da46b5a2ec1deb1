"""The worker's end of the wire."""

from collections.abc import Iterator
from typing import Any

import zmq

from mlbench.contracts import wire
from mlbench.contracts.waiting import readable, wait_readable
from workers.tell import tell


class Connection:
    """A DEALER socket whose identity is what the coordinator gave this worker in its orders."""

    def __init__(self, endpoint: str, identity: str) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self.socket = context.socket(zmq.DEALER)
        self.socket.identity = identity.encode()
        self.socket.sndhwm = self.socket.rcvhwm = 0
        self.socket.linger = 1000
        self.socket.maxmsgsize = wire.MOST_CONTROL_BYTES  # nothing that comes is larger
        self.socket.connect(endpoint)

    def received(self) -> Iterator[wire.Frame]:
        """Yield every frame that has arrived, without blocking; bytes that are none are told."""
        while readable(self.socket):
            try:
                yield wire.unpack(b"".join(self.socket.recv_multipart(zmq.NOBLOCK)))
            except ValueError as error:
                tell(f"left out {error}")

    def wait(self, timeout_ns: int) -> None:
        """Block until something arrives or the time is over."""
        wait_readable(self.socket, timeout_ns)

    def send_control(self, type_: str, **fields: Any) -> None:
        """Send a control message to the coordinator."""
        self.socket.send(wire.pack_control(type_, **fields))

    def close(self) -> None:
        """Send what is left, then close."""
        self.socket.close()
