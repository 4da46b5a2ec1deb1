"""One server, Poisson arrivals, independent service times: late queries without simulating.

The work that a query finds has an atom at 0 of p0, and above it the density f of Welch's queue
with an exceptional first service (Operations Research 12 (1964), 736), by level crossing
(Brill and Posner, Operations Research 25 (1977), 662):

    f(x) = a [ p0 G0(x) + integral of f(y) G(x - y) dy ],   p0 = (1 - a b) / (1 - a b + a b0)

with a the rate, G and G0 the chance that a service, or one after idling, takes longer, b and b0
their means. On a lattice this is a power series in z, and solving it is a division.
"""

import numpy as np

from mlbench.queueing.line import Floats

_CELLS = 2048  # of the limit; errors fall with the square, to below 1e-4 of a rate
_ALIASED = 1e-9  # what may wrap around the circle on which series are evaluated


class PoissonQueue:
    """Service times (resamples, m) in seconds against a limit, ready for any rates.

    `idle_factor`: how many times longer a service takes on a server that was idle before.
    """

    def __init__(self, seconds: Floats, max_latency_s: float, idle_factor: float = 1.0) -> None:
        self._mean_s, self._factor = seconds.mean(axis=1), idle_factor
        rows = [_lattice(row, max_latency_s) for row in seconds]
        first = (
            rows
            if idle_factor == 1.0
            else [_lattice(s * idle_factor, max_latency_s) for s in seconds]
        )
        size = 4 * _CELLS
        self._damping = _ALIASED ** (np.arange(size) / size)
        excess, jump = (np.array(part) for part in zip(*rows, strict=True))
        excess0, jump0 = (np.array(part) for part in zip(*first, strict=True))
        self._excess, self._jump, self._excess0, self._jump0 = (
            np.fft.rfft(part * self._damping[: _CELLS + 1], size)
            for part in (excess, jump, excess0, jump0)
        )

    def late_fraction(self, qps: Floats) -> Floats:
        """Return the long-run fraction of queries later than the limit, float64 of qps's shape.

        `qps`: (resamples,), a rate for each; or any number of rates for the only one. Each is
        below what saturates the server.
        """
        load = qps * self._mean_s
        idle = ((1 - load) / (1 - load + load * self._factor))[:, None]
        rate = qps[:, None]
        waiting = idle * rate * self._excess0 / (1 - rate * self._excess)
        latency = idle * self._jump0 + waiting * self._jump
        mass = np.fft.irfft(latency, 4 * _CELLS)[:, : _CELLS + 1] / self._damping[: _CELLS + 1]
        late: Floats = 1 - mass[:, :-1].sum(axis=1) - mass[:, -1] / 2
        return late


def _lattice(seconds: Floats, max_latency_s: float) -> tuple[Floats, Floats]:
    """Put G dx and the service time itself on the points of a lattice up to the limit.

    Each point takes its share by a hat function, which keeps means: (cells + 1,) each.
    """
    step = max_latency_s / _CELLS
    x = np.arange(-1, _CELLS + 2) * step
    ordered = np.sort(seconds)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    squares = np.concatenate([[0.0], np.cumsum(ordered**2)])
    below = np.searchsorted(ordered, x)
    m, beyond = len(ordered), len(ordered) - below
    # The integrals from 0 to x of P(S <= u), and of E min(S, u), the integral of G.
    once = (below * x - sums[below]) / m
    twice = (x * sums[below] - squares[below] / 2 + beyond * x**2 / 2) / m
    once[0] = twice[0] = 0.0
    return np.diff(twice, 2) / step, np.diff(once, 2) / step
