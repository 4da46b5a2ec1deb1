"""Signals, sent to this very process."""

import os
import signal
import sys
import time

import pytest

from mlbench.host.signals import Ended, held, last_act, take_signals, temporary

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def at_once():
    """The statuses with which the process was to end at once; handlers are put back."""
    hook = sys.unraisablehook
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    statuses = []
    take_signals(at_once=statuses.append)
    yield statuses
    sys.unraisablehook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


def _send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "ended by SIGTERM"),
        (signal.SIGHUP, 143, "ended by SIGHUP"),
    ],
)
def test_the_first_signal_ends_in_order_and_the_second_at_once(at_once, number, status, words):
    """The first raises Ended with the exit status; the second gives that status to `at_once`."""
    with pytest.raises(Ended, match=words) as ended:
        _send(number)
    assert ended.value.status == status
    assert at_once == []
    _send(number)
    assert at_once == [status]


def test_work_that_is_held_is_not_cut_in_two(at_once):
    """A signal waits for the end of the outermost block; a second one does not."""
    done = []

    def work():
        with held():
            with held():
                _send(signal.SIGTERM)
                done.append("inner")
            done.append("outer")
            _send(signal.SIGINT)

    with pytest.raises(Ended):
        work()
    assert done == ["inner", "outer"]
    assert at_once == [130]


def test_a_second_signal_leaves_no_temporary_file(at_once, tmp_path):
    """What is only there while something is written is removed before the process ends at once."""
    draft = tmp_path / "draft"
    with pytest.raises(Ended):
        _send(signal.SIGINT)
    with temporary(draft):
        draft.touch()
        _send(signal.SIGINT)
        assert not draft.exists()
    assert at_once == [130]


def test_when_all_is_done_the_first_signal_ends_at_once(at_once):
    """After the last act nothing is left that a signal could interrupt."""
    last_act()
    _send(signal.SIGTERM)
    assert at_once == [143]


def test_a_signal_that_is_ignored_stays_ignored(at_once):
    """What `nohup` or a shell's background has ignored is not taken."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    take_signals(at_once=at_once.append)
    _send(signal.SIGHUP)
    assert at_once == []


def test_a_signal_in_a_destructor_is_not_lost(at_once):
    """Python drops what is raised there: the signal comes again, and is still the first."""

    class Last:
        def __del__(self):
            _send(signal.SIGTERM)

    Last()
    with pytest.raises(Ended):
        time.sleep(30)
    assert at_once == []
