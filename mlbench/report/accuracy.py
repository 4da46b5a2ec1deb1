"""How many answers were right, and how far that can be trusted."""

from dataclasses import dataclass
from math import sqrt

_Z95 = 1.959964  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True)
class Accuracy:
    """`good_items` of `total_items` answers were right.

    `target` is the accuracy asked for, in percent, or None. `whole_set` says that the items are all
    of the data set, which alone can decide a target. `skipped_images` could not be read and are not
    among the items.
    """

    good_items: int
    total_items: int
    target: float | None = None
    whole_set: bool = False
    skipped_images: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.good_items <= self.total_items or self.total_items == 0:
            raise ValueError(f"{self.good_items} of {self.total_items} items cannot be right")

    @property
    def percent(self) -> float:
        """Right answers, in percent."""
        return 100 * self.good_items / self.total_items

    @property
    def ci95(self) -> tuple[float, float]:
        """95 % interval of `percent`, in percent (Wilson 1927): it stays within 0 to 100."""
        n, share = self.total_items, self.good_items / self.total_items
        shrink = 1 + _Z95**2 / n
        middle = (share + _Z95**2 / (2 * n)) / shrink
        half = _Z95 * sqrt(share * (1 - share) / n + _Z95**2 / (4 * n * n)) / shrink
        return 100 * max(middle - half, 0.0), 100 * min(middle + half, 1.0)

    @property
    def target_met(self) -> bool | None:
        """Whether the target is met; None without a target, or when a part cannot decide it."""
        if self.target is None or not self.whole_set:
            return None
        return self.percent >= self.target

    @property
    def remark(self) -> str:
        """One sentence for people: the interval, and how the target stands to it."""
        low, high = self.ci95
        interval = f"accuracy {self.percent:.2f} %, 95 % interval {low:.2f} to {high:.2f} %"
        if self.target is None:
            return interval
        if self.target_met is not None:
            verdict = "met" if self.target_met else "not met"
            return f"{interval}; target {self.target:.2f} % {verdict}"
        inside = "lies in it" if low <= self.target <= high else "lies outside it"
        return (
            f"{interval}; target {self.target:.2f} % {inside}"
            f" ({self.total_items} items cannot decide it, only the whole set can)"
        )
