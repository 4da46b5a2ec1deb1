"""The YAML of a sweep and the configurations that it makes."""

from pathlib import Path

import pytest

from mlbench.bench.sweep.plan import make_plan, read_file
from mlbench.contracts.errors import RequestError

BASE = {"backend": "simulated", "max_latency": [0.05]}
FOLDER = Path("/sweeps")


def plan(**content):
    """Return the plan of a file with this content and a base."""
    return make_plan({"base": BASE, **content}, FOLDER, {})


def names(made):
    """Return the names of a plan."""
    return [one.name for one in made.configurations]


def test_a_grid_makes_every_combination():
    """Each combination of the grid's values is a configuration, named by them."""
    made = plan(grid={"batch_size": [1, 2], "threads": [1, 2]})
    assert names(made) == [
        "batch_size=1,threads=1",
        "batch_size=1,threads=2",
        "batch_size=2,threads=1",
        "batch_size=2,threads=2",
    ]
    settings = made.configurations[3].settings
    assert (settings.batch_size, settings.threads, settings.max_latency) == (2, 2, (0.05,))
    assert settings.output == FOLDER / "batch_size=2,threads=2" / "results.json"


def test_further_ones_are_added_and_others_left_out():
    """`exclude` takes combinations out of the grid, `include` adds to it, and none comes twice."""
    made = plan(
        grid={"batch_size": [1, 2], "threads": [1, 2]},
        exclude=[{"batch_size": 2, "threads": 1}],
        include=[{"batch_size": 16, "threads": 2}, {"batch_size": 1, "threads": 1}],
    )
    assert names(made) == [
        "batch_size=1,threads=1",
        "batch_size=1,threads=2",
        "batch_size=2,threads=2",
        "batch_size=16,threads=2",
    ]


def test_a_base_alone_is_one_configuration():
    """Without a grid the base is measured; with `include` alone only what it names."""
    assert names(plan()) == ["base"]
    assert names(plan(include=[{"threads": 2}])) == ["threads=2"]


def test_names_are_safe_as_folders():
    """Slashes and spaces do not reach the file system, names stay short, and none comes twice."""
    made = plan(grid={"model": ["a/b.onnx", "a b.onnx", "a_b.onnx"], "inputs": ["x" * 300]})
    assert len(set(names(made))) == 3
    for name in names(made):
        assert "/" not in name
        assert " " not in name
        assert len(name) < 120


def test_one_value_may_stand_for_a_list():
    """Options that are lists take one value, a list, or a list with commas as on a command line."""
    made = make_plan(
        {
            "base": {
                **BASE,
                "arrivals": "linear,exponential",
                "device": "cpu:0",
                "max_latency": 0.1,
                "backend_option": {"service_ms": 2, "cv": 0.5},
            }
        },
        FOLDER,
        {},
    )
    settings = made.configurations[0].settings
    assert settings.arrivals == ("linear", "exponential")
    assert settings.devices == ("cpu:0",)
    assert settings.max_latency == (0.1,)
    assert settings.backend_options == {"service_ms": "2", "cv": "0.5"}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"gird": {}}, "unknown section 'gird' (did you mean 'grid'?)"),
        ({"keep": "few"}, "keep few"),
        ({"grid": {"batchsize": [1]}}, "no option 'batchsize' of run (did you mean 'batch_size'?)"),
        ({"grid": {"batch_size": []}}, "batch_size has no values"),
        ({"grid": {"batch_size": [0]}}, "batch_size=0: --batch-size 0"),
        ({"grid": {"seed": [1, 2]}}, "seed is the sweep's own"),
        ({"grid": [1]}, "grid: expected options"),
        ({"include": {"threads": 1}}, "include: expected a list"),
        ({"include": [{}]}, "include: an entry without options"),
        ({"grid": {"threads": [1]}, "exclude": [{"threads": 1}]}, "nothing to measure"),
        ({"grid": {"threads": list(range(1, 200)), "batch_size": list(range(1, 200))}}, "more"),
        ({"base": {**BASE, "output": "x"}}, "output is the sweep's own"),
        ({"base": {**BASE, "seed": "x"}}, "seed x"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(content, complaint):
    """Each fault of a file is found before anything is measured, with where it is."""
    with pytest.raises(RequestError) as refusal:
        plan(**content)
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "text", ["", "- 1", "a: [", "base: &a {x: *a}", "base: {x: 2020-01-01}", "!!python/object:os.x"]
)
def test_a_file_that_is_no_sweep_is_refused(tmp_path, text):
    """Broken YAML, other types, objects and circles are one line on what is wrong."""
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(RequestError) as refusal:
        read_file(path)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_too_long_is_refused(tmp_path):
    """Nobody writes a sweep of megabytes."""
    path = tmp_path / "sweep.yaml"
    path.write_bytes(b"#" * 2_000_000)
    with pytest.raises(RequestError, match="this is no sweep"):
        read_file(path)


def test_how_long_to_measure_is_not_what_is_measured():
    """With another budget or precision, saved trials are still good; with other threads not."""
    one = plan().configurations[0].identity
    assert plan(base={**BASE, "budget": 7, "precision": 0.1}).configurations[0].identity == one
    assert plan(base={**BASE, "threads": 2}).configurations[0].identity != one
