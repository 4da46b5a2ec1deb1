"""Where the command starts: the commands, and how every error ends."""

import sys

import click

from mlbench import __version__
from mlbench.cli.doctor import doctor
from mlbench.cli.run import run
from mlbench.cli.trial import trial
from mlbench.contracts.errors import MlbenchError, printable

_INTERRUPTED = 130


@click.group()
@click.version_option(__version__, prog_name="mlbench-coordinator")
def cli() -> None:
    """How many queries per second can this machine serve under a latency limit?

    \b
    Example:
        mlbench-coordinator run
    """


cli.add_command(run)
cli.add_command(trial)
cli.add_command(doctor)


def main() -> None:
    """Run the command line and exit with its status; no error shows a traceback."""
    try:
        status = cli.main(prog_name="mlbench-coordinator", standalone_mode=False)
    except click.ClickException as error:
        _complain(error.format_message())
        sys.exit(2)
    except MlbenchError as error:
        _complain(str(error))
        sys.exit(error.exit_status)
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted")
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        sys.exit(_INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def _complain(message: str) -> None:
    click.echo(f"error: {printable(' '.join(message.split()))}", err=True)
