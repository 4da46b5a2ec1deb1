"""Errors that are meant for people, and the exit status that each ends with."""

_SHOWN = 60  # characters


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


def printable(text: str) -> str:
    """Return text with every character spelled out that would steer a terminal or hide others."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(text: str) -> str:
    """Return what somebody gave as an error quotes it: its beginning, where it is long."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def install_command(extra: str) -> str:
    """Return the command that installs what an extra of this distribution names."""
    return f"pip install 'mlbench-coordinator[{extra}]'"


def one_line(error: BaseException) -> str:
    """Return an error in one line; with its type, unless it is one of ours."""
    text = " ".join(str(error).split())
    return text if isinstance(error, MlbenchError) else f"{type(error).__name__}: {text}"
