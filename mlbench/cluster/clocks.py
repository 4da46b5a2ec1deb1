"""How far another host's clock is from ours, and how well that is known. Pure.

        sent ----------------- ours ----------------- received
              \\                                    /
               `------------ host_ns -------------'

The host read its clock at some moment between `sent_ns` and `received_ns` of ours. So the offset is
the host's reading less the middle of the two, wrong by no more than half their distance (Cristian,
Distributed Computing 3 (1989), 146). The quickest of several answers tells most.

Hosts need this to start a trial together, and for nothing else.
"""

from collections import deque
from dataclasses import dataclass

_KEPT = 100
"""Pings: half a minute of heartbeats, in which clocks of computers drift apart by less than a
millisecond (30 parts in a million)."""

_FEWEST = 5  # of several one is quick, even on a busy host


@dataclass(frozen=True)
class Ping:
    """One question and its answer, in nanoseconds of our clock, and of the host's."""

    sent_ns: int
    host_ns: int
    received_ns: int


@dataclass(frozen=True)
class Offset:
    """The host's clock less ours, wrong by `error_ns` at most."""

    offset_ns: int
    error_ns: int

    def host_time(self, our_ns: int) -> int:
        """Return what the host's clock shows when ours shows this."""
        return our_ns + self.offset_ns


class Clock:
    """Learns a host's offset from the latest pings, at least one."""

    def __init__(self) -> None:
        self._pings: deque[Ping] = deque(maxlen=_KEPT)

    @property
    def is_known(self) -> bool:
        """Whether there were answers enough; the first one waits for the host to come up."""
        return len(self._pings) >= _FEWEST

    def heard(self, ping: Ping) -> None:
        """Take in an answer."""
        self._pings.append(ping)

    @property
    def offset(self) -> Offset:
        """The offset by the quickest answer."""
        best = min(self._pings, key=lambda ping: ping.received_ns - ping.sent_ns)
        middle_ns = (best.sent_ns + best.received_ns) // 2
        return Offset(best.host_ns - middle_ns, (best.received_ns - best.sent_ns + 1) // 2)
