"""What is compared, what is refused, and what differs beside the rates."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from mlbench.bench.compare.comparison import Comparison, compare_sides
from mlbench.bench.compare.side import Side, read_side
from mlbench.contracts.errors import RequestError

RECORDED = json.loads((Path(__file__).parents[2] / "report" / "recorded_run.json").read_text())
Change = Callable[[dict[str, Any]], object]


def _side(name: str, *changes: Change) -> Side:
    document = deepcopy(RECORDED)
    for change in changes:
        change(document)
    return read_side(name, document)


def _with(**settings: Any) -> Change:
    return lambda document: document["settings"].update(settings)


def _served(**served: str | None) -> Change:
    return lambda document: document.update(served={"model": None, "data": None, **served})


def _times(factor: float) -> Change:
    def change(document: dict[str, Any]) -> None:
        for answers in document["results"].values():
            for answer in answers.values():
                answer["capacity_qps"] *= factor
                answer["capacity_ci95"] = [factor * end for end in answer["capacity_ci95"]]

    return change


def _compared(*sides: Side, force: bool = False) -> Comparison:
    return compare_sides(sides, 0.03, force=force)


def test_each_side_is_compared_with_the_first() -> None:
    """Three results make two comparisons, both against A, in the order given."""
    found = _compared(_side("a"), _side("b", _times(2.0)), _side("c", _times(0.5)))
    assert [(pair.a.name, pair.b.name) for pair in found.pairs] == [("a", "b"), ("a", "c")]
    assert {change.verdict for change in found.pairs[0].changes} == {"faster"}
    assert {change.verdict for change in found.pairs[1].changes} == {"slower"}


def test_results_measured_apart_say_so() -> None:
    """Where nothing was measured in turns, what that costs is among the findings."""
    later = lambda document: document.update(started="2026-11-25T23:53:04+00:00")  # noqa: E731
    (pair,) = _compared(_side("a"), _side("b", later)).pairs
    assert [(one.code, one.figures) for one in pair.findings] == [
        ("measured_apart", {"apart_s": 3600.0})
    ]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_with(percentile=95.0), "b about 95.0"),
        (lambda document: document.update(results={}), "no answer in common"),
    ],
)
def test_what_no_force_can_compare_is_refused(change: Change, why: str) -> None:
    """Another percentile and no common answer are refused even with --force."""
    with pytest.raises(RequestError, match=why):
        _compared(_side("a"), _side("b", change), force=True)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ((_with(model="/m/a.onnx"), _with(model="/m/b.onnx")), "served another model"),
        ((_served(model="11"), _served(model="22")), "served another model"),
        ((_with(dataset="synthetic"), _with(dataset="sample")), "fed with other data"),
        ((_served(data="11"), _served(data="22")), "fed with other data"),
        ((_with(count=500), _with(count=20)), "fed with other data"),
        ((_with(profile="lite0-tf"), _with(model="/m/a.pb")), "served another model"),
    ],
)
def test_another_model_or_other_data_needs_force(changes: tuple[Change, Change], why: str) -> None:
    """Without --force they are refused, with it they are compared and the finding tells."""
    sides = [_side(name, change) for name, change in zip("ab", changes, strict=True)]
    with pytest.raises(RequestError, match=f"b .*{why} than a.*--force"):
        _compared(*sides)
    (pair,) = _compared(*sides, force=True).pairs
    assert "not_the_same" in [one.code for one in pair.findings]


@pytest.mark.parametrize(
    "changes",
    [
        (_with(model="/here/a.onnx"), _with(model="/there/b.onnx")),
        (_with(model="/m/a.onnx"), _with(model="/m/a.onnx")),
    ],
)
def test_the_same_model_is_known_by_its_content(changes: tuple[Change, Change]) -> None:
    """A model that was moved is the same, as its sum tells."""
    sides = [_side(name, one, _served(model="11")) for name, one in zip("ab", changes, strict=True)]
    assert _compared(*sides).pairs[0].findings[0].code == "measured_apart"


def test_the_embedded_model_is_one_in_every_format() -> None:
    """The default model as ONNX and as a graph for TensorFlow, in other layouts, is compared."""
    onnx = _side("a", _with(profile="lite0-onnxruntime"), _served(model="11", data="33"))
    graph = _side(
        "b", _with(profile="lite0-tf", data_format="NHWC"), _served(model="22", data="44")
    )
    (pair,) = _compared(onnx, graph).pairs
    assert {(one.about, one.name) for one in pair.differences} == {
        ("settings", "profile"),
        ("settings", "data_format"),
        ("model", "sum"),
        ("data", "sum"),
    }


def test_settings_versions_and_machine_are_told_where_they_differ() -> None:
    """What says how long and where to measure is no difference; all else is."""

    def other(document: dict[str, Any]) -> None:
        document["settings"].update(threads=2, seed=9, output="other.json", budget=99.0)
        document["version"] = "9.9"
        document["system"]["cpu"]["model"] = "Another"
        document["served"] = {"model": None, "data": None, "runtime": "onnxruntime 9"}

    (pair,) = _compared(_side("a"), _side("b", other)).pairs
    told = [(one.about, one.name, one.b) for one in pair.differences]
    assert told == [
        ("settings", "threads", 2),
        ("versions", "runtime", "onnxruntime 9"),
        ("versions", "mlbench", "9.9"),
        ("machine", "cpu model", "Another"),
    ]


@pytest.mark.parametrize(
    ("factor", "slower_by", "if_undecided", "fails"),
    [
        (0.8, 0.03, False, True),
        (0.8, 0.5, False, False),
        (1.3, 0.03, True, False),
        (0.97, 0.03, False, False),
        (0.97, 0.03, True, True),
        (0.97, None, False, False),
    ],
)
def test_limits_of_a_gate(
    factor: float, slower_by: float | None, if_undecided: bool, fails: bool
) -> None:
    """It fails on what is slower for certain; on what cannot be told only if that is asked for."""
    found = _compared(_side("a"), _side("b", _times(factor)))
    assert found.fails(slower_by, if_undecided=if_undecided) is fails


@pytest.mark.parametrize(
    "damage",
    [
        lambda document: document.pop("settings"),
        lambda document: document.update(settings=[]),
        lambda document: document.update(system="no"),
        lambda document: document.update(started="yesterday"),
        lambda document: document.update(sweep=3),
        lambda document: document["results"]["linear"]["0.01"].update(capacity_qps="many"),
        lambda document: document["results"]["linear"]["0.01"].update(capacity_qps=-1),
        lambda document: document["results"]["linear"]["0.01"].update(capacity_ci95=[1]),
        lambda document: document["results"]["linear"]["0.01"].update(rounds=[{"round": 1}]),
        lambda document: document["results"]["linear"]["0.01"].update(
            rounds=[{"round": 1, "capacity_qps": 0}]
        ),
        lambda document: document["results"]["linear"]["0.01"].pop("target_latency"),
        lambda document: document.update(findings=[{"code": "layout"}]),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(damage: Change) -> None:
    """Whatever is missing or of another type is told with the name of the result."""
    with pytest.raises(RequestError, match=r"^b: damaged results"):
        _side("b", damage)
