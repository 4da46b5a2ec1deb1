"""The exact interval of a proportion, and the usual one of a normal distribution."""

NORMAL95 = 1.96  # standard deviations to both sides that hold 95 % of a normal distribution


def binomial_interval(count: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a proportion of which `count` of `n` trials were seen.

    Both may be fractions, as effective sample sizes are. The ends are quantiles of beta
    distributions: Clopper and Pearson, Biometrika 26 (1934), 404.
    """
    from scipy.special import betaincinv  # SciPy takes 0.1 s to import

    tail = (1 - confidence) / 2
    low = 0.0 if count <= 0 else float(betaincinv(count, n - count + 1, tail))
    high = 1.0 if count >= n else float(betaincinv(count + 1, n - count, 1 - tail))
    return low, high
