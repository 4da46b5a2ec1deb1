"""The worker's end of the wire, and its rule for leaving by itself."""

import os
from collections.abc import Iterator
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from mlbench.contracts import wire
from mlbench.contracts.waiting import readable, wait_readable
from mlbench.host.clock import now_ns
from workers.tell import tell

_SILENCE_NS = 5_000_000_000
_LOOK_EVERY_NS = 500_000_000


class Connection:
    """A DEALER socket whose identity is what the coordinator gave this worker in its orders.

    The coordinator counts as gone when the process that started this one has ended, or when the
    connection has been down for five seconds.
    """

    def __init__(self, endpoint: str, identity: str) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self.socket = context.socket(zmq.DEALER)
        self.socket.identity = identity.encode()
        self.socket.sndhwm = self.socket.rcvhwm = 0
        self.socket.linger = 1000
        self.socket.maxmsgsize = wire.MOST_CONTROL_BYTES  # nothing that comes is larger
        self._monitor = self.socket.get_monitor_socket(
            zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED
        )
        self.socket.connect(endpoint)
        self._parent = os.getppid()
        self._down_since_ns: int | None = None
        self._look_at_ns = 0

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

    def alive(self) -> bool:
        """Whether the coordinator is still there; looked up twice a second."""
        now = now_ns()
        if now < self._look_at_ns:
            return True
        self._look_at_ns = now + _LOOK_EVERY_NS
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)["event"]
            self._down_since_ns = now if event == zmq.EVENT_DISCONNECTED else None
        silent = self._down_since_ns is not None and now - self._down_since_ns > _SILENCE_NS
        return os.getppid() == self._parent and not silent

    def close(self) -> None:
        """Send what is left, then close."""
        self.socket.disable_monitor()
        self.socket.close()
