import io
import threading

import pytest
from screen import Screen

from mlbench.report.live.region import Above, Region


class Terminal(io.StringIO):
    """A screen that counts what it is sent."""

    def __init__(self, width: int = 40) -> None:
        super().__init__()
        self.screen = Screen(width)
        self.sent: list[str] = []

    def write(self, text: str) -> int:
        """Show the text."""
        self.sent.append(text)
        self.screen.write(text)
        return len(text)


@pytest.fixture
def terminal() -> Terminal:
    """A terminal of 40 columns."""
    return Terminal()


@pytest.fixture
def region(terminal: Terminal) -> Region:
    """A region on it."""
    return Region(terminal, lambda: terminal.screen.width, lambda: True)


def _lines(*texts: str) -> list[tuple[str, int]]:
    return [(text, len(text)) for text in texts]


def test_a_drawing_takes_the_place_of_the_last(terminal, region):
    """Lines change where they stand, and those that are gone leave nothing."""
    terminal.write("$ run\n")
    region.show(_lines("one", "two", "three"))
    region.show(_lines("one", "second"))
    assert terminal.screen.text == "$ run\none\nsecond\n"
    region.clear()
    assert terminal.screen.text == "$ run\n"


def test_only_lines_that_changed_are_sent(terminal, region):
    """What stands there already costs the terminal nothing."""
    region.show(_lines("a long line that stays", "1"))
    region.show(_lines("a long line that stays", "2"))
    assert "stays" not in terminal.sent[-1]
    count = len(terminal.sent)
    region.show(_lines("a long line that stays", "2"))
    assert len(terminal.sent) == count


def test_other_output_appears_above(terminal, region):
    """Lines of others stand whole above the region, in their order, and the region below."""
    region.show(_lines("now: 1", "queries: 5"))
    other = Above(terminal, region)
    other.write("linear/0.01/100 qps=99.81\n")
    region.show(_lines("now: 2", "queries: 6"))
    other.write("^taken\n")
    assert terminal.screen.text == "linear/0.01/100 qps=99.81\n^taken\nnow: 2\nqueries: 6\n"


def test_a_line_in_pieces_is_left_whole(terminal, region):
    """The region waits below until somebody's line has its end."""
    region.show(_lines("now"))
    other = Above(terminal, region)
    other.write("half a ")
    region.show(_lines("later"))
    other.write("line\n")
    assert terminal.screen.text == "half a line\nlater\n"


def test_a_long_line_of_others_is_not_eaten(terminal, region):
    """A line that the terminal wraps stays as it is."""
    region.show(_lines("now"))
    Above(terminal, region).write("x" * 95 + "\n")
    region.show(_lines("later"))
    assert terminal.screen.text.replace("\n", "") == "x" * 95 + "later"


def test_a_terminal_that_became_narrower_is_cleaned(terminal, region):
    """Lines that it wrapped by itself are counted as it shows them."""
    terminal.write("before\n")
    region.show(_lines("a" * 36, "b"))
    narrow = Screen(20)
    narrow.write("before\n" + "a" * 36 + "\nb\n")
    terminal.screen = narrow
    region.show(_lines("c", "d"))
    assert terminal.screen.text == "before\nc\nd\n"


def test_a_terminal_that_takes_nothing_is_not_waited_for(terminal):
    """A drawing is left out while the terminal is stopped, and the next one is whole."""
    ready = False
    region = Region(terminal, lambda: 40, lambda: ready)
    region.show(_lines("one"))
    assert terminal.sent == []
    ready = True
    region.show(_lines("two"))
    assert terminal.screen.text == "two\n"


def test_nobody_waits_for_another_thread(terminal, region):
    """While another thread is writing a drawing is left out."""
    writing, done = threading.Event(), threading.Event()

    def write() -> None:
        with region.aside():
            writing.set()
            done.wait(30)

    thread = threading.Thread(target=write)
    thread.start()
    assert writing.wait(30)
    region.show(_lines("now"))
    assert "now" not in terminal.screen.text
    done.set()
    thread.join(30)
