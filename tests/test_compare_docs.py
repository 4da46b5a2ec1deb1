"""What the pages on comparing tell to type is understood."""

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from mlbench.cli.compare import compare

DOCS = Path(__file__).parents[1] / "docs"
WORKFLOW = (DOCS / "examples" / "compare.yml").read_text()


def _commands() -> list[str]:
    page = (DOCS / "compare.md").read_text()
    told = re.findall(r"^    mlbench-coordinator compare (.*)$", page, re.MULTILINE)
    (job,) = yaml.safe_load(WORKFLOW)["jobs"].values()
    run = next(
        one["run"]
        for one in job["steps"]
        if "compare" in one.get("run", "") and "tee" in one["run"]
    )
    return [
        *told,
        run.replace("\\\n", " ").split("|")[0].strip().removeprefix("mlbench-coordinator compare"),
    ]


@pytest.mark.parametrize("command", _commands())
def test_each_command_is_understood(command: str) -> None:
    """The options of every command on the page, and in the workflow, are those that there are."""
    context = compare.make_context("compare", shlex.split(command))
    assert context.params["measure"] or len(context.params["results"]) >= 2


def test_the_workflow_lets_no_stranger_into_a_shell() -> None:
    """Whatever a pull request brings reaches the shell as an environment variable only."""
    (job,) = yaml.safe_load(WORKFLOW)["jobs"].values()
    assert not [one for one in job["steps"] if "${{" in one.get("run", "")]
    assert yaml.safe_load(WORKFLOW)["permissions"] == {"contents": "read"}


def test_an_unknown_option_is_noticed() -> None:
    """These tests would see a command that is not understood."""
    with pytest.raises(click.NoSuchOption):
        compare.make_context("compare", ["--no-such"])
