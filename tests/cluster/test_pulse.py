"""Who is alive, and what their clocks show."""

import hypothesis
import hypothesis.strategies as st

from mlbench.cluster.clocks import Clock, Ping
from mlbench.cluster.pulse import BEAT_EVERY_NS, SILENT_NS, Pulse

MS = 1_000_000


@hypothesis.given(
    offset_ns=st.integers(-(10**15), 10**15),
    ways=st.lists(
        st.tuples(st.integers(0, 50 * MS), st.integers(0, 50 * MS)), min_size=1, max_size=9
    ),
)
def test_an_offset_is_right_within_its_error(offset_ns: int, ways) -> None:
    """However long questions and answers travel, the true offset lies within the error told."""
    clock = Clock()
    for number, (there_ns, back_ns) in enumerate(ways):
        sent_ns = number * 100 * MS
        read_ns = sent_ns + there_ns
        clock.heard(Ping(sent_ns, read_ns + offset_ns, read_ns + back_ns))
    found = clock.offset
    assert abs(found.offset_ns - offset_ns) <= found.error_ns
    assert found.error_ns <= min(there + back for there, back in ways) // 2 + 1


def test_times_are_told_in_the_hosts_clock() -> None:
    """A moment of ours is the host's with the offset added."""
    clock = Clock()
    clock.heard(Ping(100, 1_000_110, 120))
    assert clock.offset.host_time(500) == 1_000_500


def test_a_host_is_silent_after_a_while() -> None:
    """It is lost when it has answered nothing for longer than allowed, and stays so."""
    pulse = Pulse(answered_ns=0)
    pulse.look(SILENT_NS)
    assert pulse.lost is None
    pulse.look(SILENT_NS + 1)
    assert pulse.lost is not None
    assert "silent" in pulse.lost
    pulse.answered(5, SILENT_NS + 2)
    pulse.lose("another reason")
    assert "silent" in pulse.lost


def test_beats_come_one_by_one() -> None:
    """The next beat waits for the answer to the last one, and, once clocks are known, its time."""
    pulse, now_ns = Pulse(answered_ns=0), 0
    while not pulse.clock.is_known:
        assert pulse.is_due(now_ns)
        pulse.asked(now_ns)
        assert not pulse.is_due(now_ns + 3 * BEAT_EVERY_NS)
        now_ns += MS
        pulse.answered(7, now_ns)
    assert not pulse.is_due(now_ns)
    assert pulse.is_due(now_ns + BEAT_EVERY_NS)
    assert pulse.clock.offset.error_ns == MS // 2


def test_our_own_pause_is_excused() -> None:
    """After a pause of the coordinator, silence counts anew."""
    pulse = Pulse(answered_ns=0)
    pulse.excuse(5 * SILENT_NS)
    pulse.look(5 * SILENT_NS + 1)
    assert pulse.lost is None


def test_nothing_is_sent_to_a_lost_host() -> None:
    """A host that is lost gets no beats."""
    pulse = Pulse(answered_ns=0)
    pulse.lose("died")
    assert not pulse.is_due(BEAT_EVERY_NS)
