"""`mlbench-coordinator compare`: what changed between results, and whether it is noise."""

import json
import math
import os
import shlex
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from mlbench.cli.help import GroupedCommand
from mlbench.cli.options import given_only, run_options
from mlbench.cli.terminal import say
from mlbench.contracts.errors import RequestError

if TYPE_CHECKING:
    from mlbench.bench.compare.comparison import Comparison
    from mlbench.bench.events import Listener


def _fraction(
    _context: click.Context, parameter: click.Parameter, value: str | None
) -> float | None:
    """Return a share that is given as 3% or as 0.03."""
    if value is None:
        return None
    try:
        number = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError:
        number = math.nan
    if not 0 <= number < 1:
        raise click.BadParameter(
            f"'{value}' is no share such as 3% or 0.03", param=parameter
        ) from None
    return number


@click.command(cls=GroupedCommand, short_help="Tell whether results differ by more than noise.")
@click.argument("results", nargs=-1, metavar="A B [C ...]")
@click.option(
    "--measure",
    nargs=2,
    metavar="'OPTIONS' 'OPTIONS'",
    help="Measure two settings in turns and compare them; options of run before it are for both.",
)
@click.option(
    "--margin",
    callback=_fraction,
    default="3%",
    metavar="SHARE",
    show_default=True,
    help="The largest difference that does not matter.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "json"]),
    default="table",
    show_default=True,
    help="markdown is for pull requests.",
)
@click.option(
    "--fail-if-slower",
    callback=_fraction,
    metavar="SHARE",
    help="Exit with 1 when an answer is for certain slower by more than that, such as 3%.",
)
@click.option(
    "--fail-if-undecided", is_flag=True, help="Exit with 1 also when that cannot be told."
)
@click.option("--force", is_flag=True, help="Compare results of other models or data, too.")
@run_options
def compare(
    results: tuple[str, ...],
    measure: tuple[str, str] | None,
    margin: float,
    form: str,
    fail_if_slower: float | None,
    fail_if_undecided: bool,
    force: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Say how results differ, and whether that is more than noise.

    Each result is a file, or FOLDER#NAME for a configuration of a sweep; all are compared with
    the first. With --measure, two settings are measured in turns instead; the results stay in the
    folder --output where one is named.

    \b
    Example:
        mlbench-coordinator compare before.json after.json --fail-if-slower 3%
        mlbench-coordinator compare --model my.onnx --dataset synthetic \\
            --max-latency 0.05 --measure '--threads 1' '--threads 2'
    """
    given, begun_s = given_only(options), time.monotonic()
    if measure is None:
        found = _compared(results, given, margin, force=force)
    else:
        found = _measured(results, measure, given, margin, quiet=quiet)
    _show(found, "json" if as_json else form)
    if measure is not None and not as_json and form != "json":
        _answer(found, time.monotonic() - begun_s)
    return 1 if found.fails(fail_if_slower, if_undecided=fail_if_undecided) else 0


def _compared(
    results: tuple[str, ...], given: dict[str, Any], margin: float, *, force: bool
) -> "Comparison":
    from mlbench.bench.compare.comparison import compare_sides
    from mlbench.report.compare_load import load_sides

    if given:
        name = next(iter(given)).replace("_", "-")
        raise RequestError(f"--{name}: results are measured already; options go with --measure")
    if len(results) < 2:
        raise RequestError("compare needs two results or more: compare A B")
    return compare_sides(load_sides(results), margin, force=force)


def _measured(
    results: tuple[str, ...],
    measure: tuple[str, str],
    given: dict[str, Any],
    margin: float,
    *,
    quiet: bool,
) -> "Comparison":
    from mlbench.bench.compare.comparison import compare_sides, with_looks
    from mlbench.bench.compare.measure import NAMES, measure_in_turns
    from mlbench.report.compare_load import load_sides
    from mlbench.report.progress import Progress
    from mlbench.report.sweep_files import SweepFiles
    from mlbench.report.sweep_table import SweepLines

    if results:
        raise RequestError(f"{results[0]}: --measure takes options of run, and no results")
    folder = given.pop("output", None)
    sides = [_merged(given, words) for words in measure]
    with ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(TemporaryDirectory(prefix="mlbench-compare-"))
        progress = stack.enter_context(Progress(quiet=quiet))
        lines = SweepLines(partial(say, err=True) if not quiet else lambda _: None)
        listeners: list[Listener] = [SweepFiles(), lines, progress]
        looked = measure_in_turns(sides, Path(folder), margin, os.environ, listeners)
        named = [
            replace(side, name=words or "as given")
            for side, words in zip(
                load_sides([f"{folder}#{name}" for name in NAMES]), measure, strict=True
            )
        ]
    return with_looks(compare_sides(named, margin, force=True), looked)


def _merged(common: dict[str, Any], words: str) -> dict[str, Any]:
    """Return the options of one side: the common ones, and its own from the words of a line."""
    from mlbench.cli.run import run

    try:
        context = run.make_context("run", shlex.split(words), ignore_unknown_options=False)
    except (click.ClickException, ValueError) as error:
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        raise RequestError(f"--measure '{words}': {text}") from None
    own = {name: value for name, value in given_only(context.params).items() if value is not False}
    for name in own:
        if name not in _sides_own():
            raise RequestError(
                f"--measure '{words}': --{name.removeprefix('as_')} is not about one side alone"
            )
    backend_options = {**common.get("backend_options", {}), **own.get("backend_options", {})}
    merged = {**common, **own}
    return {**merged, "backend_options": backend_options} if backend_options else merged


def _sides_own() -> set[str]:
    """Return the options that may differ between the sides: settings of a run, but for the file."""
    from mlbench.bench.settings import RunSettings

    return set(RunSettings.model_fields) - {"output"}


def _show(found: "Comparison", form: str) -> None:
    from mlbench.report.compare_json import comparison_document
    from mlbench.report.compare_text import markdown_lines, table_lines

    if form == "json":
        say(json.dumps(comparison_document(found), allow_nan=False))
        return
    for line in table_lines(found) if form == "table" else markdown_lines(found):
        say(line)


def _answer(found: "Comparison", seconds: float) -> None:
    from mlbench.report.compare_text import answer_sentence

    say("")
    for change in found.pairs[0].changes:
        say(f"{answer_sentence(change)}; {change.ratio.rounds} rounds, {seconds / 60:.1f} minutes")
