import subprocess
import sys

import click
import pytest

from mlbench.arrivals.registry import KINDS
from mlbench.bench.profiles import PROFILES
from mlbench.cli.commands import cli
from mlbench.cli.help import GROUPS, GroupedCommand
from mlbench.contracts.registry import backend_names

HEAVY = (
    *("cv2", "scipy", "numba", "numpy", "pydantic", "psutil", "zmq", "rich", "onnxruntime"),
    *("tensorflow", "matplotlib", "jinja2", "ray"),
)


def test_help_loads_nothing_that_measuring_needs():
    """The help of a command appears at once: no image, statistics or runtime library is loaded."""
    program = f"""
import sys
from mlbench.cli.commands import cli
cli.main(["run", "--help"], standalone_mode=False)
print("LOADED", [name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert "--max-latency" in done.stdout
    assert done.stdout.rstrip().endswith("LOADED []")


def test_a_bare_command_shows_help(command):
    """Without a word it tells what there is, with examples, and that is no error."""
    result = command()
    assert (result.status, result.err) == (0, "")
    assert "Examples:" in result.out
    for name in cli.commands:
        assert f"  {name} " in result.out


@pytest.mark.parametrize("name", list(cli.commands))
def test_every_command_has_examples(command, name):
    """--help shows how the command is used."""
    result = command(name, "--help")
    assert result.status == 0
    assert f"mlbench-coordinator {name}" in result.out.split("Example")[1]


def test_every_option_stands_in_a_group():
    """None is left over at the end of a help that has groups."""
    known = {name for names in GROUPS.values() for name in names}
    for each in cli.commands.values():
        if isinstance(each, GroupedCommand):
            options = {param.name for param in each.params if isinstance(param, click.Option)}
            assert options <= known, each.name


def test_help_names_all_values():
    """What is written out there, so that nothing need be loaded, is all that there is."""
    help_of = {
        param.name: param.help or ""
        for param in cli.commands["run"].params
        if isinstance(param, click.Option)
    }
    for option, values in (
        ("arrivals", KINDS),
        ("profile", PROFILES),
        ("backend", backend_names()),
    ):
        for value in values:
            assert value in help_of[option]


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("rum",), "Did you mean 'run'?"),
        (("run", "--bakcend", "null"), "'--backend'"),
        (("run", "--backend", "onnxrutime"), "did you mean 'onnxruntime'?"),
        (("run", "--arrivals", "expnential"), "did you mean 'exponential'?"),
        (("run", "--profile", "lite0-onnx"), "did you mean 'lite0-onnxruntime'?"),
        (("run", "--dataset", "sampel"), "did you mean 'sample'?"),
        (("run", "--dispatch", "roundrobin"), "did you mean 'round-robin'?"),
        (("run", "--on-failure", "stopp"), "did you mean 'stop'?"),
        (("run", "--data-format", "NCWH"), "did you mean"),
        (("run", "--preprocessing", "vg"), "did you mean 'vgg'?"),
    ],
)
def test_a_slip_of_the_pen_is_answered_with_the_nearest_word(refused, words, near):
    """For commands, options and their values."""
    assert near in refused(*words)
