"""Errors that are meant for people, and the exit status that each ends with."""

from mlbench.contracts.text import printable


class MlbenchError(Exception):
    """Its message is one line: what is wrong, where, and how to mend it."""

    exit_status = 3

    def __str__(self) -> str:
        return printable(super().__str__())


class RequestError(MlbenchError):
    """What was asked for cannot be done; found before anything is measured."""

    exit_status = 2


class RunError(MlbenchError):
    """Something broke while running."""

    exit_status = 3


def install_command(extra: str) -> str:
    """Return the command that installs what an extra of this distribution names."""
    return f"pip install 'mlbench-coordinator[{extra}]'"


_LONGEST_LINE = 2_000  # characters; some runtimes put a whole graph into a message


def one_line(error: BaseException) -> str:
    """Return an error in one printable line, not too long; with its type, unless it is ours."""
    text = printable(" ".join(str(error).split())[:_LONGEST_LINE])
    return text if isinstance(error, MlbenchError) else f"{type(error).__name__}: {text}"
