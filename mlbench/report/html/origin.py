"""Where results come from: the machine, settings and versions, and how to run it again."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from mlbench.report.html import words
from mlbench.report.html.content import Block, Code, Column, Folded, Section, Table, Text
from mlbench.report.html.facts import RunFacts
from mlbench.report.html.fields import items, number, table, text

_DEEPEST, _MOST_ROWS, _LONGEST = 4, 200, 200  # of settings as a table
_COMMAND = "mlbench-coordinator"


def machine_section(runs: Sequence[RunFacts]) -> Section:
    """Return what the runs were measured on and with; what differs first, where it does."""
    blocks: list[Block] = []
    if len(runs) > 1:
        blocks.append(_differences(runs))
    else:
        blocks.append(_machine(runs[0]))
    for run in runs:
        name = f" of {run.name}" if len(runs) > 1 else ""
        everything = {
            "started": run.started,
            "mlbench": run.version,
            "settings": run.settings,
            "system": run.system,
        }
        blocks.append(Folded(f"All settings and facts{name}", [facts_table(everything)]))
        if run.notes:
            blocks.append(Folded(f"What the run said{name}", [Text(run.notes)]))
    return Section("Machine, settings and versions", blocks)


def again_section(runs: Sequence[RunFacts]) -> Section:
    """Return the commands that repeat the runs."""
    commands = [again_command(run) for run in runs]
    known = [Code(command) for command in commands if command]
    if not known:
        return Section("Run it again", [])
    said = "The commands as the results have them, with the seed that gives the same arrivals:"
    return Section("Run it again", [Text([said]), *known])


def again_command(run: RunFacts) -> str:
    """Return the command of a run with its seed; empty where the results do not tell."""
    try:
        argv = shlex.split(run.cmdline)
    except ValueError:
        return ""
    if not argv:
        return ""
    if PurePath(argv[0]).name in (_COMMAND, "__main__.py"):
        argv[0] = _COMMAND
    seed = run.settings.get("seed")
    if isinstance(seed, int) and not any(word.split("=")[0] == "--seed" for word in argv):
        argv += ["--seed", f"{seed:d}"]
    return shlex.join(argv)


def facts_table(facts: Mapping[str, Any]) -> Table:
    """Return an object of any depth as a table of names and values."""
    return Table("All that is known", [Column("What"), Column("Value")], _flat(dict(facts)))


def _machine(run: RunFacts) -> Table:
    cpu, settings = table(run.system.get("cpu")), run.settings
    memory = number(run.system.get("memory_bytes"))
    gpus = [text(table(gpu).get("name"), 80) for gpu in items(run.system.get("gpus"))][:16]
    rows = [
        ("Hosts", f"{run.hosts}: {run.host_names}" if run.hosts else ""),
        ("Processor", _joined(text(cpu.get("model")), _cores(cpu))),
        ("Memory", f"{memory / 2**30:.1f} GiB" if memory else ""),
        ("GPUs", ", ".join(filter(None, gpus))),
        ("System", _joined(text(run.system.get("os")), text(run.system.get("kernel")))),
        ("Model", text(settings.get("model")) or text(settings.get("profile"))),
        (
            "Backend",
            _joined(text(settings.get("backend")), _value(settings.get("backend_options"))),
        ),
        ("Devices", _value(settings.get("devices"))),
        ("Workers, threads", _joined(*map(_value, map(settings.get, _WORKERS)))),
        ("Largest batch", _value(settings.get("batch_size"))),
        ("Data", text(settings.get("dataset"))),
        ("Seed", _value(settings.get("seed"))),
        ("Versions", _joined(f"mlbench {run.version}", text(run.system.get("python")))),
        ("Measured", run.started),
    ]
    return Table(
        "Measured on and with",
        [Column("What"), Column("Value")],
        [row for row in rows if row[1] and row[1] != "{}"],
    )


_WORKERS = ("workers_per_device", "threads")


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part and part != "{}")


def _cores(cpu: Mapping[str, Any]) -> str:
    cores = number(cpu.get("cores"))
    return words.plural(int(cores), "core") if cores else ""


def _differences(runs: Sequence[RunFacts]) -> Table | Text:
    """Return what is not the same in all runs, a column for each of them."""
    flat = [
        dict(_flat({"mlbench": run.version, **run.settings, "system": run.system})) for run in runs
    ]
    keys = dict.fromkeys(key for own in flat for key in own)
    rows = [
        (key, *(own.get(key, words.UNKNOWN) for own in flat))
        for key in keys
        if len({own.get(key) for own in flat}) > 1
    ]
    if not rows:
        return Text(["Nothing that these results tell of differs."])
    columns = [Column("What"), *(Column(run.name) for run in runs)]
    return Table("What differs between these runs", columns, rows)


def _flat(value: Any, name: str = "", depth: int = 0) -> list[tuple[str, str]]:
    """Return an object as rows, with the path to each value as its name."""
    if not isinstance(value, dict) or depth == _DEEPEST or not value:
        return [(name, _value(value))]
    rows: list[tuple[str, str]] = []
    for key, own in value.items():
        rows += _flat(own, f"{name}.{text(key, 60)}".lstrip("."), depth + 1)
        if len(rows) >= _MOST_ROWS:
            break
    return rows[:_MOST_ROWS]


def _value(value: Any) -> str:
    """Return a value as people read it: text as it is, a list with commas, else JSON."""
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        return text(", ".join(str(one)[:60] for one in value[:50]), _LONGEST)
    return text(value if isinstance(value, str) else json.dumps(value), _LONGEST)
