"""Where the command starts, and how it ends: with a status, and a line for every fault.

What is imported here is small: signals are taken care of before anything that takes time.
"""

import os
import sys
from typing import NoReturn

from mlbench.cli.terminal import ReaderLeft, check_stdout, complain, terminal
from mlbench.contracts.errors import MlbenchError
from mlbench.host.limits import allow_open_files
from mlbench.host.signals import Ended, held, last_act, take_signals


def main() -> NoReturn:
    """Run the command line and exit with its status; no error shows a traceback."""
    with terminal():
        take_signals(at_once=os._exit)
        try:
            status = _status()
            last_act()
        except Ended as ended:
            complain(str(ended))
            status = ended.status
    sys.exit(status)


def _status() -> int:
    try:
        check_stdout()
        allow_open_files()
        with held():  # an import that is cut in two leaves tracebacks of its own
            from mlbench.cli.commands import run_command
        return run_command()
    except ReaderLeft as left:
        return left.exit_status
    except MlbenchError as error:
        complain(str(error))
        return error.exit_status
    except Exception as error:
        from mlbench.cli.unforeseen import keep_traceback

        complain(keep_traceback(error))
        return MlbenchError.exit_status
