"""Who is alive: heartbeats, answered or not. Pure; its callers pass the time.

every 0.3 s a beat to each host that has answered the last one; a host whose last answer is
1.5 s old during a trial is silent, and named as lost at once: it never is part of the cluster again
"""

from dataclasses import dataclass, field

from mlbench.cluster.clocks import Clock, Ping

BEAT_EVERY_NS = 300_000_000
"""Five in the time after which a host is silent: one answer that is late harms nobody."""
SILENT_NS = 1_500_000_000
"""With the time between beats and between two looks, a host is named within two seconds. A trial
during which a host stood still for so long says nothing anyway."""
PATIENT_NS = 10_000_000_000
"""The same between trials: models that load may keep a busy host from answering, and harm nobody.
That it died Ray tells earlier."""
OWN_PAUSE_NS = 1_000_000_000
"""Of our own loop, after which silence says nothing of the hosts: answers lie unread."""


@dataclass
class Pulse:
    """What is known of one host: its clock, when it answered last, and why it is lost, if it is."""

    answered_ns: int
    clock: Clock = field(default_factory=Clock)
    lost: str | None = None
    _asked_ns: int = 0  # when the last beat was sent
    _is_asked: bool = False  # whether its answer is under way

    def is_due(self, now_ns: int) -> bool:
        """Whether to send a beat now."""
        is_time = now_ns - self._asked_ns >= BEAT_EVERY_NS or not self.clock.is_known
        return self.lost is None and not self._is_asked and is_time

    def asked(self, now_ns: int) -> None:
        """Note that a beat was sent."""
        self._asked_ns, self._is_asked = now_ns, True

    def answered(self, host_ns: int, now_ns: int) -> None:
        """Note an answer to the last beat."""
        self.clock.heard(Ping(self._asked_ns, host_ns, now_ns))
        self._is_asked, self.answered_ns = False, now_ns

    def lose(self, reason: str) -> None:
        """Note that the host is lost; the first reason stays."""
        self.lost = self.lost or reason

    def look(self, now_ns: int, patience_ns: int = SILENT_NS) -> None:
        """Take a host for lost that was silent for too long."""
        silent_ns = now_ns - self.answered_ns
        if silent_ns > patience_ns:
            self.lose(f"is silent: no heartbeat was answered for {silent_ns * 1e-9:.1f} s")

    def excuse(self, now_ns: int) -> None:
        """Count silence from now on."""
        self.answered_ns = max(self.answered_ns, now_ns)
