"""Any ONNX model with a fixed or one symbolic batch dimension can be served."""

import json

import pytest


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("pair", ("--batch-size", 4)),
        ("one", ()),
        ("classifier", ("--batch-size", 8, "--batch-timeout", 0.005)),
        ("classifier", ("--outputs", "scores_out", "--inputs", "scores")),
        ("images", ("--count", 3)),
    ],
)
def test_a_model_of_ones_own_is_served(command, models, model, words):
    """Samples are drawn from the model's own signature, and every query is answered."""
    given = ("--model", models[model], "--dataset", "synthetic", "--threads", 1)
    rate = ("--qps", 200, "--duration", 0.2, "--json")
    result = command("trial", *given, *rate, *words)
    document = json.loads(result.out)
    assert (result.status, document["completed"]) == (0, 40)


def test_what_a_runtime_prints_is_not_on_stdout(command, models):
    """stdout holds the trial's JSON and nothing else, whatever the worker prints."""
    given = ("--model", models["lookup"], "--dataset", "synthetic", "--count", 2)
    result = command("trial", *given, "--qps", 100, "--duration", 0.1, "--json")
    assert json.loads(result.out)["completed"] == 10
