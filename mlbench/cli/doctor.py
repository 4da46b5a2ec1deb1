"""`mlbench-coordinator doctor`: what this machine can run, and how to mend what it cannot."""

import json

import click

from mlbench.cli.options import cluster_options
from mlbench.cli.terminal import say
from mlbench.contracts.errors import RequestError


@click.command(short_help="Tell whether this machine is fit to measure.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@cluster_options
def doctor(as_json: bool, cluster: str | None, hosts: int | None, insecure: bool | None) -> int:
    """Show what this machine can run, what is missing, and the command that mends it.

    \b
    Examples:
        mlbench-coordinator doctor
        mlbench-coordinator doctor --json
    """
    from rich.console import Console

    from mlbench.bench.doctor import examine, examine_cluster
    from mlbench.report.doctor_page import doctor_document, doctor_page

    if cluster is None and (hosts is not None or insecure):
        raise RequestError("--hosts and --insecure: only with --cluster")
    found = examine()
    if cluster is not None:
        found["cluster"] = examine_cluster(cluster, hosts, insecure=bool(insecure))
    if as_json:
        say(json.dumps(doctor_document(found)))
        return 0
    Console(highlight=False, emoji=False).print(doctor_page(found), crop=False)
    return 0
