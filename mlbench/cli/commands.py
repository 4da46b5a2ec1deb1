"""The commands."""

import click

from mlbench import __version__
from mlbench.cli.compare import compare
from mlbench.cli.doctor import doctor
from mlbench.cli.report import report
from mlbench.cli.run import run
from mlbench.cli.sweep import sweep
from mlbench.cli.trial import trial
from mlbench.contracts.errors import RequestError


@click.group(
    invoke_without_command=True,
    epilog="Values complete with the tab key after: eval "
    '"$(_MLBENCH_COORDINATOR_COMPLETE=bash_source mlbench-coordinator)"; likewise zsh_source and '
    "fish_source (docs/completion.md).",
)
@click.version_option(__version__, prog_name="mlbench-coordinator")
@click.pass_context
def cli(context: click.Context) -> None:
    """How many queries per second can this machine serve under a latency limit?

    \b
    Examples:
        mlbench-coordinator doctor
        mlbench-coordinator run
        mlbench-coordinator COMMAND --help
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


cli.add_command(run)
cli.add_command(trial)
cli.add_command(sweep)
cli.add_command(report)
cli.add_command(doctor)
cli.add_command(compare)


def run_command() -> int:
    """Run the command that the words on the command line name; return the exit status.

    Raises RequestError for words that are wrong, and whatever the command raises.
    """
    try:
        status = cli.main(prog_name="mlbench-coordinator", standalone_mode=False)
    except click.ClickException as error:
        raise RequestError(error.format_message()) from None
    return status if isinstance(status, int) else 0
