"""`mlbench-coordinator doctor`: what this machine can run, and how to mend what it cannot."""

import json

import click

from mlbench.cli.options import cluster_options
from mlbench.cli.terminal import say
from mlbench.contracts.errors import RequestError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@cluster_options
def doctor(as_json: bool, cluster: str | None, hosts: int | None, insecure: bool | None) -> int:
    """Show what this machine can run, what is missing, and the command that mends it.

    \b
    Example:
        mlbench-coordinator doctor
    """
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
    for title, lines in doctor_page(found):
        say(title)
        for line in lines:
            say(f"  {line}")
    return 0
