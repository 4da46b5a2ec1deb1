"""A strict script of 2019: it reads the log lines and the result file, and knows no others.

Every number is digits with at most one point; whatever it does not expect is an error.
"""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

PERCENTILES = ("50", "80", "90", "95", "99", "99.9")
NUMBER = r"[0-9]+(?:\.[0-9]+)?"
POINTED = r"[0-9]+\.[0-9]+"
FIGURES = f"qps={POINTED}, mean={POINTED}, time={POINTED}, tiles=" + ",".join(
    rf"{re.escape(p)}:{POINTED}" for p in PERCENTILES
)
TRIAL = re.compile(f"((?:linear|exponential)/{NUMBER}/{NUMBER}) {FIGURES}")
ACCURACY = (
    re.compile(f"check_accuracy {FIGURES}"),
    re.compile(f"check_accuracy accuacy={POINTED}, good_items=[0-9]+, total_items=[0-9]+"),
)
CHOSEN = re.compile(f"({NUMBER}) {FIGURES}")
RESULT = re.compile(
    f"===RESULT: (linear|exponential) target_latency=({NUMBER}) "
    f"(?:measured_latency={POINTED} qps=({NUMBER})|qps=FAIL)"
)
FINAL = "===FINAL_RESULT: "


@dataclass
class Log:
    """What the lines said: accuracy or not, trials in order, rates by arrivals and target."""

    has_accuracy: bool = False
    trials: list[str] = field(default_factory=list)
    tiles: list[dict[str, float]] = field(default_factory=list)
    final: dict[str, dict[str, float]] = field(default_factory=dict)


def read_log(lines: Iterable[str]) -> Log:
    """Read the log lines of a run, in their order; raises ValueError at the first other line."""
    left, log = list(lines), Log()
    if left and left[0].startswith("check_accuracy "):
        for form in ACCURACY:
            _expect(form, left.pop(0))
        log.has_accuracy = True
    while left and (trial := TRIAL.fullmatch(left[0])):
        log.trials.append(trial[1])
        log.tiles.append(_tiles(left.pop(0)))
        if left[0] == "^taken":
            left.pop(0)
    while left and not left[0].startswith(FINAL):
        chosen = CHOSEN.fullmatch(left[0]) and _expect(CHOSEN, left.pop(0))
        kind, target, rate = _expect(RESULT, left.pop(0)).groups()
        if bool(chosen) is not (rate is not None) or (chosen and chosen[1] != target):
            raise ValueError(f"not the trial of {kind} {target}")
        log.final.setdefault(kind, {})[target] = -1 if rate is None else float(rate)
    (last,) = left
    if ast.literal_eval(last.removeprefix(FINAL)) != log.final:
        raise ValueError(f"not the rates of the lines before: {last}")
    return log


def read_results(document: dict[str, Any]) -> None:
    """Read the keys of 2019 of a result file; raises ValueError where a number is none.

    Percentiles of too few queries, and what is said of a target that is not met, are null.
    """
    if (accuracy := document["check_accuracy"]) is not None:
        _numbers(accuracy, "accuacy", "good_items", "total_items", "qps", "mean", "runtime")
        _read_percentiles(accuracy)
    for kind, rates in document["final_results"].items():
        for target, rate in rates.items():
            float(target)
            answer = document["results"][kind][target]
            _numbers({"rate": rate}, "rate")
            _numbers(answer, "qps", "count", "target_latency")
            if rate != -1:
                _numbers(answer, "mean", "runtime")
            _read_percentiles(answer)
    for kind, trials in document["scan"].items():
        for key, trial in trials.items():
            if not re.fullmatch(f"{kind}/{NUMBER}/{NUMBER}(#[0-9]+)?", key):
                raise ValueError(key)
            _numbers(trial, "qps", "runtime", "count", "target_latency")
            if trial["count"]:
                _numbers(trial, "mean")
            _read_percentiles(trial)


def _tiles(line: str) -> dict[str, float]:
    pairs = (tile.split(":") for tile in line.partition("tiles=")[2].split(","))
    return {p: float(value) for p, value in pairs}


def _expect(form: re.Pattern[str], line: str) -> re.Match[str]:
    match = form.fullmatch(line)
    if match is None:
        raise ValueError(f"not in the form of 2019: {line}")
    return match


def _numbers(entry: dict[str, Any], *keys: str) -> None:
    for key in keys:
        if isinstance(entry[key], bool) or not isinstance(entry[key], int | float):
            raise ValueError(f"{key} is {entry[key]!r}")


def _read_percentiles(entry: dict[str, Any]) -> None:
    told = entry["percentiles"]
    _numbers(told, *(p for p in PERCENTILES if told[p] is not None))
