"""`mlbench-coordinator compare`: what changed between results, and whether it is noise."""

import json
import math
from typing import Any

import click

from mlbench.cli.terminal import say


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


@click.command()
@click.argument("results", nargs=-1, metavar="A B [C ...]")
@click.option(
    "--margin",
    callback=_fraction,
    default="3%",
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
    metavar="3%",
    help="Exit with 1 when an answer is slower by more than that for certain.",
)
@click.option(
    "--fail-if-undecided", is_flag=True, help="Exit with 1 also when that cannot be told."
)
@click.option("--force", is_flag=True, help="Compare results of other models or data, too.")
def compare(results: tuple[str, ...], form: str, **options: Any) -> int:
    """Say how results differ, and whether that is more than noise.

    Each result is a file, or FOLDER#NAME for a configuration of a sweep; all are compared with
    the first.

    \b
    Example:
        mlbench-coordinator compare before.json after.json --fail-if-slower 3%
    """
    from mlbench.bench.compare.comparison import compare_sides
    from mlbench.contracts.errors import RequestError
    from mlbench.report.compare_load import load_sides

    if len(results) < 2:
        raise RequestError("compare needs two results or more: compare A B")
    sides = load_sides(results)
    found = compare_sides(sides, options["margin"], force=options["force"])
    _show(found, form)
    fails = found.fails(options["fail_if_slower"], if_undecided=options["fail_if_undecided"])
    return 1 if fails else 0


def _show(found: Any, form: str) -> None:
    from mlbench.report.compare_json import comparison_document
    from mlbench.report.compare_text import markdown_lines, table_lines

    if form == "json":
        say(json.dumps(comparison_document(found), allow_nan=False))
        return
    for line in table_lines(found) if form == "table" else markdown_lines(found):
        say(line)
