"""The characters that bars and marks are made of. Pure."""

from dataclasses import dataclass

from mlbench.report.live.ink import Piece


@dataclass(frozen=True)
class Glyphs:
    """Characters of one column each: of bars, of intervals, and marks."""

    full: str
    empty: str
    here: str
    arm: str
    ends: str
    middle: str
    cut: str


UNICODE = Glyphs("━", "─", "▸", "─", "├┤", "●", "…")
ASCII = Glyphs("#", "-", ">", "-", "[]", "o", "~")


def bar(share: float, width: int, glyphs: Glyphs) -> tuple[Piece, Piece]:
    """Return a bar of so many columns, of which a share is full."""
    full = round(min(max(share, 0.0), 1.0) * width)
    return (glyphs.full * full, "bar"), (glyphs.empty * (width - full), "dim")
