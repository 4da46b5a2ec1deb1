"""The accuracy stage: how many answers are right, and how far that can be trusted."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from mlbench.arrivals.linear import Linear
from mlbench.bench.events import Listener, Noted
from mlbench.bench.failover import play, tell_faults
from mlbench.bench.pool import Pool
from mlbench.bench.samples import Samples
from mlbench.contracts.errors import RunError
from mlbench.contracts.findings import Finding
from mlbench.outcomes import Accuracy, Summary
from mlbench.records import Completions
from mlbench.trial.schedule import make_schedule
from mlbench.trial.summary import summarise

_NEEDED = 0.99  # of the published accuracy

_MOST_BY_CHANCE = 5
"""Labels above all answers: with three answers in four right, so many are all wrong in one of
a thousand runs."""

_NEARLY_NONE, _ENOUGH, _TIMES, _FEWEST = 0.05, 0.2, 5, 5
"""Right as it is, at most; right one off, at least: as a fraction, so many times that, and items.
A model that knows its labels is right on more than a fifth, and one off by chance on few."""


def check_accuracy(
    pool: Pool,
    samples: Samples,
    target: float | None,
    tell: Listener,
    label_offset: int = 0,
) -> tuple[Summary, Accuracy]:
    """Serve every sample once at about the highest rate, and compare answers with labels.

    Tells of faults for which that is repeated, of labels that the model never gives, and of labels
    that another --label-offset would meet. Raises RunError when a query had no answer, or the
    model's output is not a class.
    """
    assert samples.labels is not None  # noqa: S101 - the caller skips the stage otherwise
    schedule = make_schedule(Linear(), pool.saturated_qps, samples.count, seed=0)
    every_sample = np.arange(samples.count, dtype=np.uint32)
    spoiled = partial(tell_faults, tell)
    completions = play(pool, schedule, samples=every_sample, spoiled=spoiled)
    _check_complete(completions)
    assert completions.prediction is not None  # noqa: S101 - looked at above
    if beyond := beyond_answers(completions.prediction, samples.labels):
        tell(Noted(beyond, warning=True))
    if off := off_by_one(completions.prediction, samples.labels, label_offset):
        tell(Noted(off, warning=True))
    right = int(np.count_nonzero(completions.prediction == samples.labels))
    needed = None if target is None else 100 * _NEEDED * target
    accuracy = Accuracy(right, samples.count, needed, samples.whole_set, samples.skipped)
    return summarise(completions), accuracy


def beyond_answers(answers: NDArray[np.int32], labels: NDArray[np.int64]) -> Finding | None:
    """Return that many labels are above all answers; None where chance may explain it."""
    items = int(np.count_nonzero(labels > answers.max()))
    if items < _MOST_BY_CHANCE:
        return None
    figures = {"items": items, "label": int(labels.max()), "answer": int(answers.max())}
    return Finding("labels_beyond_answers", figures)


def off_by_one(
    answers: NDArray[np.int32], labels: NDArray[np.int64], label_offset: int
) -> Finding | None:
    """Return that nearly no answer is right with this offset, and many with one next to it."""
    right_fraction = np.mean(answers == labels)
    fractions = {change: float(np.mean(answers - change == labels)) for change in (1, -1)}
    change = max(fractions, key=fractions.__getitem__)
    enough = max(_ENOUGH, _TIMES * right_fraction, _FEWEST / len(labels))
    if right_fraction > _NEARLY_NONE or fractions[change] < enough:
        return None
    figures = {"right_fraction": float(right_fraction), "other_fraction": fractions[change]}
    return Finding("labels_off_by_one", {**figures, "label_offset": label_offset + change})


def _check_complete(completions: Completions) -> None:
    missing = len(completions.status) - completions.completed
    if missing:
        raise RunError(
            f"accuracy: {completions.failed} queries failed and {completions.lost} got no answer"
            + "".join(f" ({fault.code})" for fault in completions.faults)
        )
    if completions.prediction is None or bool((completions.prediction < 0).all()):
        raise RunError(
            "accuracy: the model's output is not a class for each image; name the right one with "
            "--outputs, or use --skip-accuracy"
        )
