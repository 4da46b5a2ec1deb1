"""The answer of a run, or of several, in one sentence."""

from collections.abc import Sequence
from pathlib import PurePath

from mlbench.report.html import words
from mlbench.report.html.facts import AnswerFacts, RunFacts
from mlbench.report.html.fields import text

TELLING_KINDS = ("exponential", "gamma", "trace", "linear")
"""Which arrivals a sentence is about, where a run has several: the most like real traffic."""
_PROFILE_MODELS = {"lite0": "EfficientNet-Lite0", "resnet50": "ResNet-50"}


def run_sentence(run: RunFacts) -> str:
    """Return the answer of one run: what it serves within which limits, or why that is unknown."""
    kind = _telling_kind([run])
    answers = sorted((one for one in run.answers if one.kind == kind), key=lambda a: a.limit_s)
    if not answers:
        return "This run has no answer yet: it ended, or still goes on, before there was one."
    met = [one for one in answers if one.qps]
    at = f"at the {words.percentile_words(run.percentile)} of the latency"
    traffic = f"when queries arrive at {words.arrivals_words(kind)} times"
    if kind == "linear":
        traffic = "when queries arrive evenly spaced"
    if not met:
        widest = answers[-1]
        why = f": {widest.notes[0]}" if widest.notes else ""
        if widest.capacity_qps is None:
            return f"No answer{why}."
        return f"No trial kept {words.limit(widest.limit_s)} {at}, {traffic}{why}."
    first, last = met[0], met[-1]
    where = f" on {words.plural(run.hosts, 'host')}" if run.hosts else ""
    serves = f"{model_name(run)}{where} serves {_rate_within(first)} {at}"
    if words.rate(last.qps) != words.rate(first.qps):
        serves += f", and {_rate_within(last, short=True)}"
    return f"{serves}, {traffic}."


def runs_sentence(runs: Sequence[RunFacts]) -> str:
    """Return how several runs compare, at the widest limit that most of them have in common."""
    kind = _telling_kind(runs)
    found = [{one.limit_s: one for one in run.answers if one.kind == kind} for run in runs]
    limits = {limit_s for own in found for limit_s, one in own.items() if one.qps}
    if not limits:
        return f"None of these {len(runs)} runs has a rate that met a limit."
    limit_s = max(limits, key=lambda at: (sum(at in own for own in found), at))
    rates = [
        f"{run.name} serves {words.rate(own[limit_s].qps) if own[limit_s].qps else 'no rate'}"
        for run, own in zip(runs, found, strict=True)
        if limit_s in own
    ]
    at = f"Within {words.limit(limit_s)} at the {words.percentile_words(runs[0].percentile)}"
    return (
        f"{at}, with {words.arrivals_words(kind)} arrivals, "
        f"{words.listed(rates)} queries per second."
    )


def model_name(run: RunFacts) -> str:
    """Return what was measured: the model file's name, or what stands for a model."""
    model = text(run.settings.get("model"), 200)
    if model:
        return PurePath(model).name
    backend = text(run.settings.get("backend"), 60)
    if backend in ("simulated", "null", "faulty"):
        return f"The {backend} backend"
    profile = text(run.settings.get("profile"), 60)
    return _PROFILE_MODELS.get(profile.split("-")[0], profile) or "The default model"


def _telling_kind(runs: Sequence[RunFacts]) -> str:
    kinds = [one.kind for run in runs for one in run.answers]
    return next((kind for kind in TELLING_KINDS if kind in kinds), kinds[0] if kinds else "")


def _rate_within(one: AnswerFacts, *, short: bool = False) -> str:
    unit = "" if short else " queries per second"
    return f"{words.rate(one.qps)}{unit} within {words.limit(one.limit_s)}"
