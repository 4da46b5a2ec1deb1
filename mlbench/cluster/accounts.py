"""What several hosts did during a trial, as one account. Pure."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from mlbench.records import CoreShare, HostAccount

_OF_EACH = {"all_cores", "device_cores", "busy_processes", "gpus", "parts"}
"""Numbered from 0 on each host: they mean nothing without its name, and stay in its own account."""
_MEANS = {"cpu_mhz", "measured_s"}


def merged_account(parts: Sequence[tuple[str, HostAccount | None]]) -> HostAccount | None:
    """Return the account of several hosts together; None where nobody watched any of them.

    Numbers are summed, and unknown where one host's is; clocks are averaged.
    """
    known = tuple((name, account) for name, account in parts if account is not None)
    if not known:
        return None
    accounts = [account for _, account in known]
    cores = [account.all_cores for account in accounts]
    worst = CoreShare(
        (),
        max(share.other_cpu_fraction for share in cores),
        max(share.steal_fraction for share in cores),
    )
    return HostAccount(all_cores=worst, parts=known, **_merged_fields(accounts))


def _merged_fields(records: Sequence[Any]) -> dict[str, Any]:
    names = {field.name for field in fields(records[0])} - _OF_EACH
    return {name: _merged(name, [getattr(record, name) for record in records]) for name in names}


def _merged(name: str, values: Sequence[Any]) -> Any:
    """Return one value for all: a sum or a mean, a record of these, or what some of them say."""
    if all(isinstance(value, int | float) for value in values):
        return sum(values) / len(values) if name in _MEANS else sum(values)
    if all(is_dataclass(value) for value in values):
        return type(values[0])(**_merged_fields(values))
    words = dict.fromkeys(value for value in values if isinstance(value, str))
    return "; ".join(words) or None
