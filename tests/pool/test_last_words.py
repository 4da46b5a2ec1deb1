import os

import pytest

from mlbench.pool.last_words import Repetitions, Stderr


def test_lines_that_repeat_are_counted_instead():
    """A line that comes again and again is told once, with its number when another comes."""
    repetitions = Repetitions()
    told = [line for word in "abbbca" for line in repetitions.take(word)]
    assert told == ["a", "b", "(last line repeated 2 times)", "c", "a"]
    for _ in range(4_312):
        repetitions.take("a")
    assert repetitions.rest() == ["(last line repeated 4,312 times)"]
    assert repetitions.rest() == []


@pytest.fixture
def say():
    """Return a function that plays a worker which says this and ends; gives its `Stderr`."""

    def run(said: bytes) -> Stderr:
        ours, its = os.pipe()
        stderr = Stderr(os.fdopen(ours, "rb"))
        with os.fdopen(its, "wb") as pipe:
            pipe.write(said)
        return stderr

    return run


def test_what_a_worker_says_is_passed_on_and_its_end_kept(say, capfd):
    """Every line reaches our stderr, and the last few are at hand when it ends."""
    stderr = say(b"one\ntwo\n\nthree\nfour")
    assert stderr.last_words() == "three / four"
    assert capfd.readouterr().err == "one\ntwo\n\nthree\nfour\n"


def test_last_words_are_a_short_line_of_printable_characters(say):
    """Whatever bytes a worker writes, a message with its last words stays one line."""
    assert say(b"\x1b[31mred\x1b[0m \xff\n").last_words() == "\\x1b[31mred\\x1b[0m \ufffd"
    assert len(say(b"x" * 100_000).last_words()) == 300
    assert say(b"").last_words() == ""


def test_what_a_worker_says_cannot_steer_the_terminal(say, capfd):
    """Control characters are spelled out on our stderr too."""
    say(b"\x1b[2Jgone\r\n").hear_out()
    assert capfd.readouterr().err == "\\x1b[2Jgone\n"
