"""`mlbench-coordinator report`: a page about results."""

from pathlib import Path

import click

from mlbench.cli.terminal import say
from mlbench.contracts.errors import RequestError


@click.command(short_help="Make a page, or a table, of results.")
@click.argument("results", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    help="The page (report.html), or a table of one result: .csv, .parquet or .hlog.",
)
def report(results: tuple[Path, ...], output: Path) -> int:
    """Make one HTML page of results, which opens offline, or a table for other programs.

    RESULTS are files of runs (results.json by default), which are laid over each other, of trials
    (what trial --json or --raw saved), folders of sweeps, or their configurations as FOLDER#NAME.

    \b
    Example:
        mlbench-coordinator report results.json -o report.html
        mlbench-coordinator report results.json -o trials.csv
    """
    from mlbench.report.export import EXPORT_FORMS, export

    results = results or (Path("results.json"),)
    if output.suffix.lower() in EXPORT_FORMS:
        if len(results) > 1:
            raise RequestError(f"--output {output}: a table takes one file, not {len(results)}")
        export(results[0], output)
        return 0
    from mlbench.report.html.write import write_report

    size_bytes = write_report(results, output)
    say(f"{output}: {size_bytes / 1e3:,.0f} kB, opens in any browser", err=True)
    return 0
