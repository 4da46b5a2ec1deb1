"""How rates, latencies and trials are spelled, in log lines and as keys."""

from decimal import ROUND_DOWN, Decimal

import numpy as np

from mlbench.outcomes import TrialRequest

UNMET = -1
"""How results spell the rate of a limit that no trial met."""


def rate_number(qps: float | None) -> int | float:
    """Return `qps` rounded down to a whole number, below 10 to two decimals; UNMET for None."""
    if qps is None:
        return UNMET
    if qps >= 10:
        return int(qps)
    # A decimal, because 9.37 * 100 is 936.999... in binary.
    return float(Decimal(repr(float(qps))).quantize(Decimal("0.01"), ROUND_DOWN))


def rate_text(qps: float | None) -> str:
    """Return `rate_number` as text: 127, or 9.50 below ten."""
    number = rate_number(qps)
    return str(number) if isinstance(number, int) else f"{number:.2f}"


def plain(number: float) -> str:
    """Return the shortest decimal text that reads back as `number`: 0.01, 0.1, 99.9, 99."""
    return np.format_float_positional(number, trim="-")


def trial_key(request: TrialRequest) -> str:
    """Return arrivals/target latency in seconds/rate, such as linear/0.05/104."""
    return f"{request.kind.name}/{plain(request.max_latency_s)}/{rate_text(request.target_qps)}"


def limit_text(seconds: float) -> str:
    """Return a latency limit as people say it, in ms below a second: 50 ms, 2.5 s."""
    return f"{seconds * 1e3:g} ms" if seconds < 1 else f"{seconds:g} s"


def figure(value: float) -> str:
    """Return a rate with four digits that count, or all before the point: 1,204, 107.3, 9.400."""
    if value == 0:
        return "0"
    size = abs(value)
    decimals = 3 if size < 9.9995 else 2 if size < 99.995 else 1 if size < 999.95 else 0
    return f"{value:,.{decimals}f}"


def duration_text(seconds: float) -> str:
    """Return a duration with three digits that count, in us, ms or s: 85.3 us, 12.1 ms, 2.00 s."""
    for unit, scale in (("us", 1e6), ("ms", 1e3)):
        if abs(seconds) * scale < 999.5:
            return f"{_three_digits(seconds * scale)} {unit}"
    return f"{_three_digits(seconds)} s"


def joules_text(joules: float) -> str:
    """Return an energy with three digits that count, in mJ or J: 3.21 mJ, 85.3 J."""
    in_mj = joules < 0.9995
    return f"{_three_digits(joules * 1e3)} mJ" if in_mj else f"{_three_digits(joules)} J"


def _three_digits(value: float) -> str:
    size = abs(value)
    decimals = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{value:,.{decimals}f}"
