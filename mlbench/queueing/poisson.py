"""The late fraction of one server with Poisson arrivals and independent service times, by formula.

Let a be the rate, G(x) the probability that a service takes longer than x and b its mean, and G0
and b0 the same for a service that starts on an idle server (Welch, Operations Research 12 (1964),
736). The work that an arriving query finds is 0 with probability p0 and has a density f above it.
By level crossing (Brill and Posner, Operations Research 25 (1977), 662)

    f(x) = a [ p0 G0(x) + integral from 0 to x of f(y) G(x - y) dy ]
    p0 = (1 - a b) / (1 - a b + a b0)

On a lattice of step dx the convolution is a product of power series in z: the equation reads
F(z) = a [ p0 G0(z) + F(z) G(z) ], so that F = a p0 G0 / (1 - a G). The latency is the work found
plus the query's own service time.
"""

import numpy as np

from mlbench.queueing.line import Floats

_CELLS = 2048
"""Lattice steps up to the limit. The error falls with the square of the step, and is below 1e-4 of
the capacity on M/D/1 and M/M/1 (`tests/queueing/test_poisson.py`)."""
_ALIASING = 1e-9
"""The error of evaluating the series on a circle of radius r at n points is about r^n (Abate and
Whitt, Operations Research Letters 12 (1992), 245): r is chosen so that this is r^n. It is far below
the lattice's error, and far above rounding, which 1 / r^n multiplies."""


class PoissonQueue:
    """The service times of a server, prepared for one limit so that any rates can be evaluated.

    `seconds`: float64 (resamples, m), service times, equally likely in each row. `max_latency_s`:
    the limit. `idle_factor`: the factor by which a service takes longer on an idle server.
    """

    def __init__(self, seconds: Floats, max_latency_s: float, idle_factor: float = 1.0) -> None:
        self._mean_s, self._factor = seconds.mean(axis=1), idle_factor
        rows = [_lattice(row, max_latency_s) for row in seconds]
        first = (
            rows
            if idle_factor == 1.0
            else [_lattice(s * idle_factor, max_latency_s) for s in seconds]
        )
        size = (
            4 * _CELLS
        )  # products of two series are twice as long, and two of them are multiplied
        self._damping = _ALIASING ** (np.arange(size) / size)
        tail, mass = (np.array(part) for part in zip(*rows, strict=True))
        idle_tail, idle_mass = (np.array(part) for part in zip(*first, strict=True))
        self._tail, self._mass, self._idle_tail, self._idle_mass = (
            np.fft.rfft(part * self._damping[: _CELLS + 1], size)
            for part in (tail, mass, idle_tail, idle_mass)
        )

    def late_fraction(self, qps: Floats) -> Floats:
        """Return the long-run fraction of queries later than the limit, float64 of qps's shape.

        `qps`: (resamples,), one rate for each row of service times; or any number of rates when
        there is one row. Each must be below the rate that saturates the server.
        """
        load = qps * self._mean_s
        idle = ((1 - load) / (1 - load + load * self._factor))[:, None]
        rate = qps[:, None]
        waiting = idle * rate * self._idle_tail / (1 - rate * self._tail)
        latency = idle * self._idle_mass + waiting * self._mass
        mass = np.fft.irfft(latency, 4 * _CELLS)[:, : _CELLS + 1] / self._damping[: _CELLS + 1]
        late: Floats = 1 - mass[:, :-1].sum(axis=1) - mass[:, -1] / 2
        return late


def _lattice(seconds: Floats, max_latency_s: float) -> tuple[Floats, Floats]:
    """Return G dx and the distribution of the service time on the lattice, (cells + 1,) each.

    Each value is shared between the two nearest points in proportion to its distance, which keeps
    the mean. These shares are second differences of the integrals of G and of P(S <= x).
    """
    step = max_latency_s / _CELLS
    x = np.arange(-1, _CELLS + 2) * step
    ordered = np.sort(seconds)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    squares = np.concatenate([[0.0], np.cumsum(ordered**2)])
    below = np.searchsorted(ordered, x)
    m, beyond = len(ordered), len(ordered) - below
    # The integral of P(S <= u) from 0 to x, and the double integral of G, that of E min(S, u).
    once = (below * x - sums[below]) / m
    twice = (x * sums[below] - squares[below] / 2 + beyond * x**2 / 2) / m
    once[0] = twice[0] = 0.0
    return np.diff(twice, 2) / step, np.diff(once, 2) / step
