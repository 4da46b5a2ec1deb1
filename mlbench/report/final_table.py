"""The answers as a table for people, with what stands behind them. Pure."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mlbench.contracts.findings import Finding
from mlbench.contracts.text import printable
from mlbench.outcomes import Accuracy, Answer
from mlbench.report.host_notes import HOST_CODES, HostNotes
from mlbench.report.notation import figure, limit_text, plain, rate_text
from mlbench.report.sentences import accuracy_sentence, sentence


@dataclass
class Ending:
    """What a run has found, for its last words; `output` is None where nothing was saved."""

    percentile: float = 99.0
    output: Path | None = None
    accuracy: Accuracy | None = None
    host: HostNotes = field(default_factory=HostNotes)


def final_table(answers: Sequence[Answer], ending: Ending) -> RenderableType:
    """Return the answers, notes on them, and what to do next, to be printed."""
    parts: list[RenderableType] = [_answers(answers, ending.percentile)]
    if notes := _notes(answers):
        parts += [Text(" notes", "bold"), *(Padding(note, (0, 0, 0, 3)) for note in notes), Text()]
    return Group(*parts, _facts(ending))


def _answers(answers: Iterable[Answer], percentile: float) -> Table:
    title = "answers, in queries per second"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    table.add_column("arrivals", no_wrap=True)
    for title in (f"p{plain(percentile)} limit", "rate met", "capacity", "95 % interval"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for answer in answers:
        table.add_row(
            printable(answer.kind),
            limit_text(answer.max_latency_s),
            "-" if answer.qps is None else rate_text(answer.qps),
            "-" if answer.capacity_qps is None else figure(answer.capacity_qps),
            _interval(answer.capacity_ci95),
            _verdict(answer),
        )
    return table


def _interval(ends: tuple[float, float] | None) -> str:
    return "-" if ends is None or not ends[1] else f"{figure(ends[0])} to {figure(ends[1])}"


def _verdict(answer: Answer) -> Text:
    if answer.no_verdict:
        return Text("no verdict", "magenta")
    return Text("not met", "red") if answer.qps is None else Text("met", "green")


def _notes(answers: Sequence[Answer]) -> list[Text]:
    """Return each note once, with the answers that it is about, those about most first."""
    about: dict[str, list[str]] = {}
    for answer in answers:
        name = f"{answer.kind} {limit_text(answer.max_latency_s)}"
        for text in dict.fromkeys(map(_note, answer.findings)):
            about.setdefault(text, []).append(name)
    return [
        Text.assemble((f"{_names(names, len(answers))}: ", "bold"), text)
        for text, names in sorted(about.items(), key=lambda note: -len(note[1]))
    ]


def _note(found: Finding) -> str:
    """Return a finding in words; what the host did stands below, and not in every note."""
    if found.figures.get("because") in HOST_CODES:
        return "every trial was invalid because of what the host did (below)"
    return sentence(found)


def _names(names: Sequence[str], of: int) -> str:
    if len(names) == of > 1:
        return "all"
    return printable(", ".join(names))


def _facts(ending: Ending) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    if ending.accuracy is not None:
        good, total = ending.accuracy.good_items, ending.accuracy.total_items
        right = f"{accuracy_sentence(ending.accuracy).removeprefix('accuracy ')}"
        table.add_row(" accuracy", Text(f"{right}; {good:,} of {total:,} right"))
    for trials, found in ending.host.worst():
        text = f"in {trials} of {ending.host.trials} trials, at worst: {sentence(found)}"
        table.add_row(" host", Text(text, "yellow"))
    if ending.output is not None:
        output = printable(str(ending.output))
        table.add_row(" file", Text(output))
        page = printable(str(ending.output.with_suffix(".html")))
        words = ("mlbench-coordinator", "report", output, "-o", page)
        table.add_row(" next", Text(shlex.join(words), "bold"))
    return table
