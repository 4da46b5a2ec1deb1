"""`mlbench-coordinator doctor`: what this machine can run, and how to mend what it cannot."""

import json

import click

from mlbench.cli.terminal import say


@click.command(short_help="Tell whether this machine is fit to measure.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> int:
    """Show what this machine can run, what is missing, and the command that mends it.

    \b
    Examples:
        mlbench-coordinator doctor
        mlbench-coordinator doctor --json
    """
    from rich.console import Console

    from mlbench.bench.doctor import examine
    from mlbench.report.doctor_page import doctor_document, doctor_page

    found = examine()
    if as_json:
        say(json.dumps(doctor_document(found)))
        return 0
    Console(highlight=False, emoji=False).print(doctor_page(found), crop=False)
    return 0
