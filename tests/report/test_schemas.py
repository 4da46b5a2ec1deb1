import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import mlbench
from mlbench.bench.compare.comparison import compare_sides
from mlbench.contracts.findings import Finding
from mlbench.outcomes import Judgement
from mlbench.records import BusyProcess, Completions, CoreShare, Energy, GpuAccount, HostAccount
from mlbench.report.compare_json import comparison_document
from mlbench.report.compare_load import load_sides
from mlbench.report.trial_json import trial_document

HERE = Path(__file__).parent
NAMES = ("results", "trial", "sweep", "comparison")
OPEN = {"settings", "system", "file", "options", "figures"}  # what users and machines name
HOST = HostAccount(
    CoreShare((0, 1), 0.3, 0.01),
    (CoreShare((1,), 0.5, 0.01),),
    (BusyProcess(7, "other", 0.6),),
    cpu_mhz=2_400.0,
    gpus=(GpuAccount(0, 41, 1_410, 2**30, ("heat",), 900, 88, 26, 3),),
    energy=Energy(5.0, 100.0, 20.0, 400.0),
)
LOST = Judgement("invalid", (Finding("queries_lost", {"lost": 1, "queries": 6}),))


def schema(name: str) -> dict[str, Any]:
    """Return a schema as it is shipped."""
    found: dict[str, Any] = json.loads(
        (files("mlbench.report") / f"{name}.schema.json").read_text()
    )
    return found


def document(name: str, completions: Completions) -> dict[str, Any]:
    """Return a document of each kind: an earlier run, a trial with all there is, a sweep.

    The comparison is of a run with itself.
    """
    if name == "trial":
        told = trial_document(replace(completions, host=HOST), np.zeros(6, np.int64), LOST)
        return json.loads(json.dumps(told))
    if name == "comparison":
        sides = load_sides([str(HERE / "recorded_run.json")] * 2)
        told = comparison_document(compare_sides(sides, 0.03))
        return json.loads(json.dumps(told))
    return mlbench.load(
        HERE / {"results": "recorded_run.json", "sweep": "recorded_sweep.json"}[name]
    ).document


def _objects(node: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema of objects, with the key that it stands under."""
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield name, node
        for key, inner in node.items():
            yield from _objects(inner, key)
    elif isinstance(node, list):
        for inner in node:
            yield from _objects(inner, name)


@pytest.mark.parametrize("name", NAMES)
def test_documents_fit_their_schema(name: str, completions: Completions) -> None:
    """Each schema is one, and what mlbench writes fits it."""
    jsonschema.Draft202012Validator.check_schema(schema(name))
    jsonschema.validate(document(name, completions), schema(name))


@pytest.mark.parametrize("name", NAMES)
def test_no_schema_knows_a_surprise(name: str) -> None:
    """A new key is a change of the schema, wherever it stands: objects are open where users are."""
    found = schema(name)
    for key, node in _objects(found):
        assert key in OPEN or "additionalProperties" in node, key
        assert not node.get("properties") or node["additionalProperties"] is False, key


@pytest.mark.parametrize("name", NAMES)
def test_a_surprise_is_refused(name: str, completions: Completions) -> None:
    """A key that a document should not have does not pass, at its top or within."""
    found = document(name, completions)
    for place in (found, *_some_entries(found)):
        place["surprise"] = 1
        with pytest.raises(jsonschema.ValidationError, match="surprise"):
            jsonschema.validate(found, schema(name))
        del place["surprise"]
    jsonschema.validate(found, schema(name))


def _some_entries(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return an entry of each kind that the document has."""
    if "configurations" in found:
        configuration = found["configurations"][0]
        (answer,) = configuration["answers"]["exponential"].values()
        (winner,) = found["winners"]["exponential"].values()
        return [configuration, answer, winner]
    if "comparisons" in found:
        (pair,) = found["comparisons"]
        change, *_ = pair["answers"]["linear"].values()
        return [pair, pair["a"], change, change["b"]]
    if "workers" in found:
        return [found["workers"][0], found["host"], found["host"]["gpus"][0], found["latency_s"]]
    answer, *_ = found["results"]["linear"].values()
    trial, *_ = found["scan"]["linear"].values()
    return [answer, trial, trial["percentiles"]]


def test_what_schemas_share_is_the_same() -> None:
    """A definition that stands in several schemas, so that each is whole, is the same in all."""
    definitions: dict[str, Any] = {}
    for name in ("results", "trial", "comparison"):
        for key, node in schema(name)["$defs"].items():
            assert definitions.setdefault(key, node) == node, key
