"""`mlbench-coordinator report`: a page about results."""

from pathlib import Path

import click

from mlbench.cli.terminal import say


@click.command()
@click.argument("results", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    help="The page (report.html).",
)
def report(results: tuple[Path, ...], output: Path) -> int:
    """Make one HTML page of results; it opens offline and needs no other file.

    RESULTS are files of runs (results.json by default), which are laid over each other, of trials
    (what trial --json or --raw saved), and folders of sweeps.

    \b
    Example:
        mlbench-coordinator report results.json -o report.html
    """
    from mlbench.report.html.write import write_report

    size_bytes = write_report(results or (Path("results.json"),), output)
    say(f"{output}: {size_bytes / 1e3:,.0f} kB, opens in any browser", err=True)
    return 0
