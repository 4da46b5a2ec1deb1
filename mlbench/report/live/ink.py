"""Styled text: lines as pieces with the names of their styles, and what a terminal is sent."""

from collections.abc import Iterable, Mapping

from rich.cells import cell_len, set_cell_size
from rich.color import ColorSystem
from rich.console import COLOR_SYSTEMS, Console
from rich.style import Style

Piece = tuple[str, str]
"""(text, name of a style in STYLES, or an empty text for none)."""

Line = tuple[Piece, ...]

STYLES: Mapping[str, str] = {
    "pass": "green",
    "fail": "red",
    "undecided": "yellow",
    "invalid": "magenta",
    "bar": "cyan",
    "dim": "dim",
    "bold": "bold",
}
"""The styles, those of verdicts by their names."""


class Ink:
    """Paints lines for a console; without colours where it has none, or nobody wants them."""

    def __init__(self, console: Console) -> None:
        system = COLOR_SYSTEMS.get(console.color_system or "")
        plain = system is None or console.no_color or not console.is_terminal
        self._around = {} if plain else {name: _around(STYLES[name], system) for name in STYLES}

    def paint(self, line: Line) -> str:
        """Return a line as it is sent to the terminal, without its end."""
        return "".join(self._painted(text, style) for text, style in line)

    def _painted(self, text: str, style: str) -> str:
        before, after = self._around.get(style, ("", ""))
        return f"{before}{text}{after}"


def _around(style: str, system: ColorSystem | None) -> tuple[str, str]:
    """Return what stands before and after a text of a style; rendering each anew is slow."""
    before, _, after = Style.parse(style).render("|", color_system=system).partition("|")
    return before, after


def cells(line: Iterable[Piece]) -> int:
    """Return how many columns a line takes."""
    return sum(cell_len(text) for text, _ in line)


def fitted(line: Line, width: int, end: str) -> Line:
    """Return as much of a line as fits into so many columns; `end` marks where it was cut."""
    if cells(line) <= width:
        return line
    kept: list[Piece] = []
    room = width - cell_len(end)
    for text, style in line:
        size = cell_len(text)
        kept.append((text if size <= room else set_cell_size(text, room), style))
        room -= size
        if room <= 0:
            break
    return (*kept, (end, "dim"))
