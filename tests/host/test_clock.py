"""The clock: waiting ends at the deadline."""

from mlbench.host.clock import Alarm, now_ns


def test_an_alarm_never_wakes_early() -> None:
    """Whatever overshoot it has learnt, an alarm returns at or after its deadline."""
    alarm = Alarm()
    early_ns = []
    for _ in range(200):
        deadline_ns = now_ns() + 100_000
        alarm.wait_until(deadline_ns)
        early_ns.append(deadline_ns - now_ns())
    assert max(early_ns) <= 0


def test_an_alarm_whose_time_has_passed_returns_at_once() -> None:
    """A deadline in the past is no reason to wait, however much is aimed early."""
    alarm = Alarm()
    for _ in range(50):
        alarm.wait_until(now_ns() + 50_000)
    begin_ns = now_ns()
    alarm.wait_until(begin_ns - 1)
    assert now_ns() - begin_ns < 1_000_000_000
