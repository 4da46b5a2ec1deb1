"""Exact intervals of fractions, and quantiles of Student's distribution."""


def exceedance_interval(late: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) interval of the fraction of late queries.

    `late` of `n` queries exceeded the limit; both may be fractional, as effective sizes are.
    Biometrika 26 (1934), 404.
    """
    from scipy.special import betaincinv  # SciPy takes 0.1 s to import

    tail = (1 - confidence) / 2
    low = 0.0 if late <= 0 else float(betaincinv(late, n - late + 1, tail))
    high = 1.0 if late >= n else float(betaincinv(late + 1, n - late, 1 - tail))
    return low, high


def student_quantile(free: int, confidence: float = 0.95) -> float:
    """Return how many standard deviations, known from `free` + 1 samples, hold so many errors.

    Student's t on both sides (Biometrika 6 (1908), 1).
    """
    from scipy.special import stdtrit  # SciPy takes 0.1 s to import

    return float(stdtrit(free, (1 + confidence) / 2))
