import pytest

from mlbench.contracts.errors import one_line
from mlbench.contracts.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe 5 µs", "Größe 5 µs"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("line\nline\r", r"line\nline\r"),
        ("\x9b31m\u202e\udcff", r"\x9b31m\u202e\udcff"),
    ],
)
def test_control_characters_are_shown_as_escapes(text, shown):
    """Letters of any script stay; what moves a cursor or turns the text around is spelt out."""
    assert printable(text) == shown
    assert printable(text).isprintable()


def test_an_error_in_one_line_is_printable():
    """Line breaks become spaces, and other control characters are spelt out."""
    assert one_line(ValueError("bad\n  name \x1b[31m")) == r"ValueError: bad name \x1b[31m"
