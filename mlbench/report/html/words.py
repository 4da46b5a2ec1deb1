"""How the page spells rates, times and what is measured."""

from collections.abc import Sequence

from mlbench.report.notation import duration_text, rate_text

UNKNOWN = "-"  # a cell with nothing in it looks forgotten
_ARRIVALS = {
    "linear": "evenly spaced",
    "exponential": "random (Poisson)",
    "gamma": "bursty (gamma)",
    "trace": "recorded (trace)",
}


def arrivals_words(kind: str) -> str:
    """Return how queries arrive, in words."""
    return _ARRIVALS.get(kind, kind)


def arrivals_title(kind: str) -> str:
    """Return how queries arrive, as the title of a chart."""
    words = arrivals_words(kind)
    return f"{words[:1].upper()}{words[1:]} arrivals"


def rate(qps: float | None) -> str:
    """Return a rate that was met, rounded down as everywhere; with a separator in thousands."""
    if qps is None:
        return UNKNOWN
    return f"{int(qps):,}" if qps >= 10 else rate_text(qps)


def estimate(qps: float | None) -> str:
    """Return an estimated rate with three or more digits."""
    if qps is None:
        return UNKNOWN
    if qps == 0:
        return "0"
    return f"{qps:,.0f}" if qps >= 1000 else f"{qps:.1f}" if qps >= 10 else f"{qps:.2f}"


def interval(low: float | None, high: float | None) -> str:
    """Return a 95 % interval; an end that is open says so, and none is no interval."""
    if (low is None and high is None) or high == 0:
        return UNKNOWN
    if high is None:
        return f"{estimate(low)} or more"
    return f"{estimate(low or 0.0)} to {estimate(high)}"


def seconds(value: float | None) -> str:
    """Return a duration with its unit."""
    return UNKNOWN if value is None else duration_text(value)


def energy(joules: float | None) -> str:
    """Return an energy in joules with three digits."""
    return UNKNOWN if joules is None else f"{joules:.3g}"


def limit(value_s: float) -> str:
    """Return a latency limit as short as it was given: 50 ms, 1.5 s."""
    return f"{value_s * 1e3:.4g} ms" if value_s < 1 else f"{value_s:.4g} s"


def count(value: float | None) -> str:
    """Return a whole number with separators."""
    return UNKNOWN if value is None else f"{int(value):,}"


def percentile_words(percentile: float) -> str:
    """Return the name of a percentile: 99th percentile, median."""
    return "median" if percentile == 50 else f"{percentile:.10g}{_suffix(percentile)} percentile"


def _suffix(number: float) -> str:
    last = f"{number:.10g}"[-1]
    teens = f"{number:.10g}" in ("11", "12", "13")
    return "th" if teens else {"1": "st", "2": "nd", "3": "rd"}.get(last, "th")


def listed(words: Sequence[str]) -> str:
    """Return words as a sentence lists them: a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def plural(number: int, word: str) -> str:
    """Return a number and its word: 1 trial, 2 trials."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"
