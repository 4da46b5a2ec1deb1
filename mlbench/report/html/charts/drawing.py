"""Drawing charts as SVG that is part of the page: its colours and letters are the page's.

matplotlib draws with placeholder colours; each becomes a variable of the style sheet, so that dark
mode and print have their own. Text stays text.
"""

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from mlbench.contracts.errors import RequestError, install_command

_VARIABLES = ("ink", "muted", "grid", "surface", "pass", "fail", "undecided", "invalid", "limit")
SERIES = 6  # colours for what lies over each other; more would not be told apart
COLOURS = {
    name: f"#01{number:02x}fe"
    for number, name in enumerate([*_VARIABLES, *(f"series-{n}" for n in range(SERIES))])
}
"""For each variable of the style sheet the colour that stands for it while a chart is drawn."""
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES: tuple[Any, ...] = (
    "solid",
    (0, (6, 2)),
    (0, (2, 2)),
    (0, (8, 2, 2, 2)),
    (0, (4, 4)),
    (0, (1, 2)),
)
"""Of the series, for those who cannot tell colours; the page's keys draw the same."""
_PT_PER_INCH = 72
_RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mlbench",  # so that the same results give the same page
    "text.parse_math": False,  # what names a run is no formula
    "font.size": 12,
    "axes.linewidth": 0.8,
    "axes.edgecolor": COLOURS["grid"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.labelsize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": COLOURS["grid"],
    "grid.linewidth": 0.8,
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["grid"],
    "ytick.color": COLOURS["grid"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "xtick.major.size": 4,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Size:
    """The size of a chart in the page's pixels; `is_narrow` for telephones."""

    width: int
    height: int
    is_narrow: bool = False


WIDE, NARROW = Size(620, 390), Size(350, 330, is_narrow=True)

Draw = Callable[[Any, Size], None]


def require_libraries() -> None:
    """Raise RequestError with the command that mends it where the page cannot be made."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise RequestError(
            f"report needs {error.name}, which is not installed: {install_command('report')}"
        ) from None


def series_colour(number: int) -> str:
    """Return the name of the colour of a series."""
    return f"series-{number % SERIES}"


def draw_svg(draw: Draw, size: Size, name: str, label: str) -> str:
    """Return a chart as an SVG element; `draw(axes, size)` draws it on matplotlib's axes.

    `name`: what begins all its IDs, so that they are unique in the page. `label`: what a screen
    reader says.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_RC):
        inches = (size.width / _PT_PER_INCH, size.height / _PT_PER_INCH)
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure.add_subplot(), size)
        content = io.StringIO()
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    return as_element(content.getvalue(), size, name, label)


def as_element(document: str, size: Size, name: str, label: str) -> str:
    """Return the SVG element of matplotlib's document, with the page's colours and letters."""
    body = document[document.index("<svg") :]
    body = body[body.index(">") + 1 : body.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*">', "<g>", body)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    for variable, colour in COLOURS.items():
        body = body.replace(colour, f"var(--{variable})")
    body = re.sub(r"\s*\n\s*", "\n", body)
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {size.width} {size.height}" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink">{body}</svg>'
    )


def drawn(draw: Draw, name: str, label: str) -> tuple[str, str]:
    """Return a chart for wide and for narrow screens."""
    return (
        draw_svg(draw, WIDE, f"{name}w", label),
        draw_svg(draw, NARROW, f"{name}n", label),
    )


def log_seconds(axis: Any, low_s: float, high_s: float) -> None:
    """Make an axis of times logarithmic, with round times at its ticks: 1, 2, 5, 10 ms."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axis.axes.set_yscale("log")
    axis.axes.set_ylim(low_s, high_s)
    ticks = round_times(low_s, high_s)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_ticklabels([time_tick(tick) for tick in ticks])


def round_times(low_s: float, high_s: float) -> list[float]:
    """Return the times 1, 2 and 5 of each decade in a range; only some 1 where these are many."""
    decades = range(math.floor(math.log10(low_s)), math.ceil(math.log10(high_s)) + 1)
    all_of = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    ticks = [tick for tick in all_of if low_s * 0.999 <= tick <= high_s * 1.001]
    if len(ticks) <= _MOST_TICKS:
        return ticks
    return [10.0**decade for decade in decades if low_s <= 10.0**decade <= high_s][
        :: len(decades) // _MOST_TICKS + 1
    ]


_MOST_TICKS = 9  # of an axis, so that labels keep apart


def time_tick(value_s: float) -> str:
    """Return a round time with its unit, as short as it can be."""
    for unit, scale in (("us", 1e6), ("ms", 1e3)):
        if round(value_s * scale, 6) < 1000:
            return f"{value_s * scale:.4g} {unit}"
    return f"{value_s:.4g} s"


def few_rates(axis: Any, size: Size) -> None:
    """Give an axis of rates few round ticks."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(4 if size.is_narrow else 7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def span(values: Sequence[float], room: float = 1.25) -> tuple[float, float]:
    """Return a logarithmic range that holds values above 0, with room at both ends."""
    return min(values) / room, max(values) * room
