"""A comparison of results: every answer that a side shares with the first one. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mlbench.bench.compare.change import Change, compare_rates
from mlbench.bench.compare.differences import (
    Difference,
    differences,
    what_was_measured_differs,
    why_incomparable,
)
from mlbench.bench.compare.side import Side
from mlbench.contracts.errors import RequestError
from mlbench.contracts.findings import Finding
from mlbench.search.plan import AnswerKey


@dataclass(frozen=True)
class Pair:
    """B against A: how each answer changed, what else differs, and what a reader should know."""

    a: Side
    b: Side
    changes: Sequence[Change]
    differences: Sequence[Difference]
    findings: Sequence[Finding]


@dataclass(frozen=True)
class Comparison:
    """The first side against each of the others."""

    pairs: Sequence[Pair]
    margin: float

    def fails(self, slower_by: float | None, *, if_undecided: bool) -> bool:
        """Return whether a limit on the comparison is not met.

        `slower_by`: an answer is slower by more than this fraction for certain. `if_undecided`: it
        also fails where that cannot be told, or, without `slower_by`, where a verdict is undecided.
        """
        for change in (change for pair in self.pairs for change in pair.changes):
            if slower_by is None:
                if if_undecided and change.verdict == "undecided":
                    return True
                continue
            is_slower = change.slower_than(slower_by)
            if is_slower or (is_slower is None and if_undecided):
                return True
        return False


def compare_sides(sides: Sequence[Side], margin: float, *, force: bool = False) -> Comparison:
    """Compare each side with the first one.

    Raises RequestError for sides that are not comparable: of another percentile, without an answer
    in common, or, unless `force`, with another model or other data.
    """
    first, *others = sides
    pairs = [_pair(first, other, margin, force=force) for other in others]
    return Comparison(tuple(pairs), margin)


def with_looks(found: Comparison, looked: Mapping[AnswerKey, Change]) -> Comparison:
    """Return a comparison with the ratios and verdicts of the looks that decided its answers.

    More trials may have come since, for other answers: what they add is no further look.
    """
    pairs = [
        replace(pair, changes=[_as_looked(change, looked) for change in pair.changes])
        for pair in found.pairs
    ]
    return replace(found, pairs=pairs)


def _as_looked(change: Change, looked: Mapping[AnswerKey, Change]) -> Change:
    seen = looked.get(change.key)
    if seen is None or not seen.is_paired:
        return change
    return replace(change, ratio=seen.ratio, verdict=seen.verdict)


def _pair(a: Side, b: Side, margin: float, *, force: bool) -> Pair:
    if why := why_incomparable(a, b):
        raise RequestError(why)
    findings = []
    if how := what_was_measured_differs(a, b):
        if not force:
            raise RequestError(f"{b.name} {how} than {a.name}: compare them anyway with --force")
        findings.append(Finding("not_the_same", {"b": b.name, "how": how, "a": a.name}))
    same_sweep = a.sweep is not None and a.sweep == b.sweep
    changes = [
        compare_rates(key, rate, b.answers[key], margin, same_sweep=same_sweep)
        for key, rate in a.answers.items()
        if key in b.answers
    ]
    if not same_sweep:
        findings.append(_apart(a, b))
    return Pair(a, b, changes, differences(a, b), findings)


def _apart(a: Side, b: Side) -> Finding:
    """Return what it costs that the sides were not measured in turns."""
    apart_s = abs((b.started - a.started).total_seconds()) if a.started and b.started else None
    return Finding("measured_apart", {"apart_s": apart_s})
