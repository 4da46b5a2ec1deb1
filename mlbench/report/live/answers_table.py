"""The table of answers as they narrow. Pure."""

from collections.abc import Sequence
from functools import lru_cache

from mlbench.outcomes import Standing
from mlbench.report.live.glyphs import Glyphs
from mlbench.report.live.ink import Line, Piece
from mlbench.report.live.scene import Scene
from mlbench.report.notation import figure, limit_text, rate_text

_COLUMNS = ("arrivals", "limit", "rate met", "capacity", "95 % interval", "+/-")
_WIDTHS = (12, 8, 10, 10, 20, 8)
_WITH_PICTURE = 100  # columns of a terminal in which intervals are drawn, too
_HALF = 12  # columns of half a picture
_FURTHEST = 0.25  # of the capacity: where a picture ends
_SCALE = f"{-_FURTHEST:<+12.0%}{_FURTHEST:>+11.0%}".replace("%", " %")


def answers_table(scene: Scene, width: int, room: int, glyphs: Glyphs) -> list[Line]:
    """Return an empty line, the head and a line for each answer, in at most `room` lines.

    Where that is too little, those around the one being narrowed are shown.
    """
    keys, fit = list(scene.standings), room - 2
    if not keys or fit < 1:
        return []
    begin = 0
    if len(keys) > fit:
        here = keys.index(scene.narrowed) if scene.narrowed in keys else 0
        begin = min(max(here - fit // 2, 0), len(keys) - fit)
    rows = [
        _row(
            scene.standings[key],
            glyphs,
            precision=scene.precision,
            is_here=key == scene.narrowed,
            with_picture=width >= _WITH_PICTURE,
        )
        for key in keys[begin : begin + fit]
    ]
    return [(), _head(with_picture=width >= _WITH_PICTURE), *rows]


def _head(*, with_picture: bool) -> Line:
    kind, *others = zip(_COLUMNS, _WIDTHS, strict=True)
    text = f"   {kind[0]:<{kind[1]}}" + "".join(f"{name:>{size}}" for name, size in others)
    return ((f"{text}  {_SCALE}" if with_picture else text, "dim"),)


@lru_cache(maxsize=256)  # a row changes with a trial, and is drawn many times meanwhile
def _row(
    standing: Standing, glyphs: Glyphs, *, precision: float, is_here: bool, with_picture: bool
) -> Line:
    mark = glyphs.here if is_here else " "
    met = "" if standing.met_qps is None else rate_text(standing.met_qps)
    kind, limit, rate, *known = zip(
        (standing.kind, limit_text(standing.max_latency_s), met, *_estimate(standing)),
        _WIDTHS,
        strict=True,
    )
    style = "bold" if is_here else ""
    head = f" {mark} {kind[0]:<{kind[1]}}{limit[0]:>{limit[1]}}"
    pieces: list[Piece] = [
        (head, style),
        (f"{rate[0]:>{rate[1]}}", style),
        ("".join(f"{text:>{size}}" for text, size in known[:2]), style),
        (f"{known[2][0]:>{known[2][1]}}", _precision_style(standing, precision)),
    ]
    if with_picture:
        pieces += [("  ", ""), (_picture(standing, glyphs), "bar")]
    return tuple(pieces)


def _estimate(standing: Standing) -> Sequence[str]:
    """Return the capacity, its interval and half its width, as far as they are known."""
    if standing.capacity_qps is None or standing.capacity_ci95 is None:
        return "", "", ""
    low, high = standing.capacity_ci95
    if not high:
        return "0", "-", ""
    return figure(standing.capacity_qps), f"{figure(low)} to {figure(high)}", _width(standing)


def _width(standing: Standing) -> str:
    share = _half_width(standing)
    return "" if share is None else f"{100 * share:.{0 if share >= 0.0995 else 1}f} %"


def _half_width(standing: Standing) -> float | None:
    if not standing.capacity_qps or standing.capacity_ci95 is None:
        return None
    low, high = standing.capacity_ci95
    return (high - low) / 2 / standing.capacity_qps


def _precision_style(standing: Standing, precision: float) -> str:
    share = _half_width(standing)
    return "pass" if share is not None and share <= precision else "undecided"


def _picture(standing: Standing, glyphs: Glyphs) -> str:
    """Draw an interval about its capacity, out to a quarter of that on either side."""
    if not standing.capacity_qps or standing.capacity_ci95 is None:
        return ""
    ends = [end / standing.capacity_qps - 1 for end in standing.capacity_ci95]
    low, high = (
        round(_HALF * min(max(end / _FURTHEST, -1.0), 1.0)) + _HALF if end == end else _HALF
        for end in ends
    )
    columns = [" "] * (2 * _HALF + 1)
    columns[low : high + 1] = glyphs.arm * (high + 1 - low)
    columns[low], columns[high] = glyphs.ends[0], glyphs.ends[1]
    columns[_HALF] = glyphs.middle
    return "".join(columns)
