"""What the host did in many trials, said once. Pure."""

from dataclasses import dataclass

from mlbench.contracts.findings import Finding
from mlbench.outcomes import Trial

_SIZES = {
    "host_busy": "other_cpu_fraction",
    "cpu_stolen": "steal_fraction",
    "memory_short": "major_faults",
    "cpu_quota": "quota_throttled_s",
    "cpu_hot": "heat_throttles",
    "gpu_throttled": "highest_temperature_c",
}
"""The codes of what a host does to a trial, and the figure that tells which was the worst."""

HOST_CODES = frozenset(_SIZES)


@dataclass
class _Doubt:
    worst: Finding
    trials: int = 0


class HostNotes:
    """Counts the trials that the host spoilt, by the code of what it did.

    `trials`: how many there were in all.
    """

    def __init__(self) -> None:
        self.trials = 0
        self._doubts: dict[str, _Doubt] = {}
        self._said: set[str] = set()

    def say(self, code: str) -> None:
        """Take it that people know of a code."""
        self._said.add(code)

    def count(self, trial: Trial) -> list[Finding]:
        """Count a trial; return what is to be said now, because people do not know of it yet."""
        self.trials += 1
        doubts = _worst_of_each(trial)
        for found in doubts:
            doubt = self._doubts.setdefault(found.code, _Doubt(found))
            doubt.trials += 1
            if _size(found) > _size(doubt.worst):
                doubt.worst = found
        news = [found for found in doubts if found.code not in self._said]
        self._said.update(found.code for found in news)
        return news

    def worst(self) -> list[tuple[int, Finding]]:
        """Return for each code how many trials it spoilt, and the worst finding of it."""
        return [(doubt.trials, doubt.worst) for doubt in self._doubts.values()]


def _worst_of_each(trial: Trial) -> list[Finding]:
    """Return what hosts did to a trial, each code once: several hosts may have done the same."""
    doubts = [found for found in trial.judgement.reasons if found.code in HOST_CODES]
    return list({found.code: found for found in sorted(doubts, key=_size)}.values())


def _size(found: Finding) -> float:
    return float(found.figures.get(_SIZES[found.code]) or 0.0)
