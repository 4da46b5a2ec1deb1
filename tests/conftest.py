"""What tests of several parts share: a cache folder of their own, and tiny ONNX models.

What a run of the tests left out is told at its end.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

TESTS = Path(__file__).parent
# They take most of the time: whole commands, models that are built, trials that lose a worker.
SLOW = (
    "bench/compare/test_measure.py",
    "bench/test_own_backend.py",
    "cli/test_any_model.py",
    "cli/test_arrival_options.py",
    "cli/test_compare_command.py",
    "cli/test_doctor_command.py",
    "cli/test_failing_workers.py",
    "cli/test_interrupts.py",
    "cli/test_own_models.py",
    "cli/test_run_command.py",
    "cli/test_scripts_of_2019.py",
    "cli/test_sweep_command.py",
    "cli/test_trial_command.py",
    "cli/test_wheel.py",
    "cluster/test_on_ray.py",
    "estimation/test_estimator.py",
    "estimation/test_rounds.py",
    "models/test_build_resnet50.py",
    "models/test_lite0.py",
    "models/test_metadata.py",
    "pool/test_claim_faults.py",
    "pool/test_crashes.py",
    "pool/test_pauses.py",
    "pool/test_worker_pool.py",
    "report/test_listeners.py",
    "report/test_report_in_chromium.py",
    "report/test_report_page.py",
    "search/test_arrival_kinds.py",
    "search/test_search.py",
    "search/test_search_on_hosts.py",
    "search/test_study.py",
    "workers/backends/test_tf.py",
)
# The same examples each time, wherever the tests run, and no folder that remembers them.
hypothesis.settings.register_profile(
    "stable", max_examples=60, deadline=None, derandomize=True, database=None
)
hypothesis.settings.load_profile("stable")
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of slow files."""
    for item in items:
        if item.path.relative_to(TESTS).as_posix() in SLOW:
            item.add_marker(pytest.mark.slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests were left out, why, and how to have them."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if deselected := len(terminalreporter.stats.get("deselected", [])):
        reasons["not selected: ./run_tests.sh without options runs all"] = deselected
    if reasons:
        terminalreporter.section("tests that were not run")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count:5d}  {reason}")


@pytest.fixture(scope="session", autouse=True)
def _own_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what tests build out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("MODEL_DIR", raising=False)
        patch.delenv("DATA_DIR", raising=False)
        yield


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny ONNX models by name; `n` below is a symbolic batch dimension.

    classifier  scores float (n, 4)                         -> ArgMax:0 int64 (n,), scores_out
    images      pixels float (n, 3, 224, 224)               -> class int64 (n,), of three
    pair        ids int64 (n, 3), mask bool (n, 2)          -> total float (n, 1)
    lookup      index int64 (n,)                            -> class int64 (n,); fails above 3
    one, eight  classifiers with a fixed batch dimension of 1 and 8
    """
    folder = tmp_path_factory.mktemp("models")
    graphs = {
        "classifier": _classifier("n"),
        "one": _classifier(1),
        "eight": _classifier(8),
        "images": _images(),
        "pair": _pair(),
        "lookup": _lookup(),
    }
    paths = {name: folder / f"{name}.onnx" for name in graphs}
    for name, graph in graphs.items():
        opset = helper.make_opsetid("", 17)
        onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), paths[name])
    return paths


def _classifier(batch: str | int) -> onnx.GraphProto:
    nodes = [
        helper.make_node("Identity", ["scores"], ["scores_out"]),
        helper.make_node("ArgMax", ["scores"], ["ArgMax:0"], axis=1, keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info("scores", FLOAT, [batch, 4])]
    outputs = [
        helper.make_tensor_value_info("scores_out", FLOAT, [batch, 4]),
        helper.make_tensor_value_info("ArgMax:0", INT64, [batch]),
    ]
    return helper.make_graph(nodes, "classifier", inputs, outputs)


def _images() -> onnx.GraphProto:
    nodes = [
        helper.make_node("ReduceMean", ["pixels"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("ArgMax", ["means"], ["class"], axis=1, keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info("pixels", FLOAT, ["n", 3, 224, 224])]
    outputs = [helper.make_tensor_value_info("class", INT64, ["n"])]
    return helper.make_graph(nodes, "images", inputs, outputs)


def _pair() -> onnx.GraphProto:
    axis = numpy_helper.from_array(np.array([1]), "axis")
    nodes = [
        helper.make_node("Cast", ["ids"], ["ids_float"], to=FLOAT),
        helper.make_node("Cast", ["mask"], ["mask_float"], to=FLOAT),
        helper.make_node("Concat", ["ids_float", "mask_float"], ["all"], axis=1),
        helper.make_node("ReduceSum", ["all", "axis"], ["total"], keepdims=1),
    ]
    inputs = [
        helper.make_tensor_value_info("ids", INT64, ["n", 3]),
        helper.make_tensor_value_info("mask", BOOL, ["n", 2]),
    ]
    outputs = [helper.make_tensor_value_info("total", FLOAT, ["n", 1])]
    return helper.make_graph(nodes, "pair", inputs, outputs, [axis])


def _lookup() -> onnx.GraphProto:
    table = numpy_helper.from_array(np.array([10, 11, 12, 13]), "table")
    nodes = [helper.make_node("Gather", ["table", "index"], ["class"])]
    inputs = [helper.make_tensor_value_info("index", INT64, ["n"])]
    outputs = [helper.make_tensor_value_info("class", INT64, ["n"])]
    return helper.make_graph(nodes, "lookup", inputs, outputs, [table])
