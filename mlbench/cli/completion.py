"""What a shell offers when somebody presses the tab key: the values of options.

Modules are imported when values are asked for, since every command's options name them.
"""

import os
from collections.abc import Callable, Sequence
from typing import get_args

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _arrivals() -> Sequence[str]:
    from mlbench.arrivals.registry import KINDS

    return list(KINDS)


def _backends() -> Sequence[str]:
    from mlbench.contracts.registry import backend_names

    return backend_names()


def _devices() -> Sequence[str]:
    cpus = sorted(os.sched_getaffinity(0))
    return "cpu", f"cpu:{cpus[0]}", f"cpu:{cpus[0]}-{cpus[-1]}", "gpu", "cuda:0"


def _profiles() -> Sequence[str]:
    from mlbench.bench.profiles import PROFILES

    return list(PROFILES)


def _setting(field: str) -> Callable[[], Sequence[str]]:
    """Return what finds the words that a setting may have."""

    def words() -> Sequence[str]:
        from mlbench.bench.settings import Settings

        kind = Settings.model_fields[field].annotation
        choices = [part for part in get_args(kind) if part is not type(None)]
        return [word for part in choices for word in get_args(part) or (part,)]

    return words


_WORDS: dict[str, Callable[[], Sequence[str]]] = {
    "arrivals": _arrivals,
    "backends": _backends,
    "data_formats": _setting("data_format"),
    "datasets": _setting("dataset"),
    "devices": _devices,
    "dispatch": _setting("dispatch"),
    "on_failure": _setting("on_failure"),
    "preprocessing": _setting("preprocessing"),
    "profiles": _profiles,
}


def one_of(what: str) -> Complete:
    """Return what completes a word."""
    return lambda _context, _parameter, begun: _matching(what, "", begun)


def list_of(what: str) -> Complete:
    """Return what completes the last word of a comma-separated list."""

    def complete(
        _context: click.Context, _parameter: click.Parameter, begun: str
    ) -> list[CompletionItem]:
        before, comma, last = begun.rpartition(",")
        return _matching(what, before + comma, last)

    return complete


def _matching(what: str, before: str, begun: str) -> list[CompletionItem]:
    words = _WORDS[what]()
    return [CompletionItem(before + word) for word in words if word.startswith(begun)]
