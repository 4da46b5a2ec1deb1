"""The page of a sweep: the winners, the grid, and every configuration."""

import json
import shlex

from mlbench.report.html import words
from mlbench.report.html.charts.grid import grid_chart
from mlbench.report.html.content import Block, Code, Column, Folded, Page, Section, Table, Text
from mlbench.report.html.fields import table, text
from mlbench.report.html.origin import facts_table
from mlbench.report.html.run_sentence import TELLING_KINDS
from mlbench.report.html.sources import SweepSource
from mlbench.report.html.sweep_facts import (
    AnswerKey,
    CellFacts,
    ConfigurationFacts,
    SweepFacts,
    WinnerFacts,
    sweep_facts,
)

_MOST_CHARTS = 8  # of answers; all stand in the tables
_LONGEST_FILE = 8_000  # characters of the sweep's file


def sweep_page(source: SweepSource, name: str) -> Page:
    """Return the page of a sweep."""
    sweep = sweep_facts(source.document)
    charts = [grid_chart(sweep, key, f"{name}{n}") for n, key in enumerate(sweep.keys)]
    shown: list[Block] = []
    shown += [chart for chart in charts if chart][:_MOST_CHARTS]
    winners = _winners(sweep)
    return Page(
        title="Sweep",
        sentence=_sentence(sweep),
        about=_about(source.name, sweep),
        cautions=_cautions(sweep),
        sections=[
            Section("Winners", [winners] if winners else []),
            Section("The grid", shown),
            Section(
                "Configurations",
                [*(_configurations(sweep, kind) for kind in _kinds(sweep)), _states(sweep)],
            ),
            Section("Machine, settings and versions", _origin(sweep)),
            Section("Run it again", _again(source)),
        ],
    )


def _sentence(sweep: SweepFacts) -> str:
    """Return who wins the widest limit under the most telling arrivals."""
    kinds = {one.kind for one in sweep.winners}
    kind = next((one for one in TELLING_KINDS if one in kinds), next(iter(kinds), ""))
    own = [one for one in sweep.winners if one.kind == kind]
    if not own:
        return "This sweep has no winner yet: no configuration has an answer."
    best = max(own, key=lambda one: one.limit_s)
    cell = _cell(sweep, best)
    rate = f"{words.rate(cell.capacity_qps)} queries per second" if cell else "most"
    at = f"Within {words.limit(best.limit_s)} at the {words.percentile_words(sweep.percentile)}"
    return (
        f"{at}, with {words.arrivals_words(kind)} arrivals, {_described(sweep, best.name)} serves "
        f"{rate}, the most of {words.plural(len(sweep.configurations), 'configuration')}"
        f"{_lead(sweep, best)}."
    )


def _lead(sweep: SweepFacts, best: WinnerFacts) -> str:
    if not best.runner_up or best.ratio is None:
        return ""
    lead = f"{best.ratio:.3g} times as much as {_described(sweep, best.runner_up)}"
    return f": {lead}, {'more than noise' if best.more_than_noise else 'which may be noise'}"


def _described(sweep: SweepFacts, name: str) -> str:
    """Return a configuration by what is varied: batch size 4 with threads 2; else by its name."""
    found = [one for one in sweep.configurations if one.name == name]
    if not found or not sweep.varied:
        return name
    options = [(one.replace("_", " "), found[0].options.get(one)) for one in sweep.varied]
    return " with ".join(f"{option} {value}" for option, value in options if value is not None)


def _about(name: str, sweep: SweepFacts) -> str:
    measured = f"{words.seconds(sweep.measured_s)} measured" if sweep.measured_s else ""
    cpu = text(table(sweep.system.get("cpu")).get("model"), 80)
    parts = (name, cpu, measured, sweep.started[:16].replace("T", " "))
    return " · ".join(filter(None, parts))


def _cautions(sweep: SweepFacts) -> list[str]:
    states = [one.state for one in sweep.configurations]
    cautions = []
    if failed := states.count("failed"):
        cautions.append(f"{words.plural(failed, 'configuration')} failed; the reasons stand below.")
    if left := states.count("pending") + states.count("measuring"):
        cautions.append(f"The sweep is not complete: {words.plural(left, 'configuration')} to go.")
    return cautions


def _cell(sweep: SweepFacts, winner: WinnerFacts) -> CellFacts | None:
    found = [one for one in sweep.configurations if one.name == winner.name]
    return found[0].answers.get((winner.kind, winner.limit_s)) if found else None


def _winners(sweep: SweepFacts) -> Table | None:
    rows = []
    for one in sweep.winners:
        cell = _cell(sweep, one) or CellFacts(None, None, None, None, None)
        ends = f" ({one.low:.3g} to {one.high:.3g})" if one.low and one.high else ""
        rows.append(
            (
                words.limit(one.limit_s),
                words.arrivals_words(one.kind),
                one.name,
                words.estimate(cell.capacity_qps),
                words.interval(cell.low_qps, cell.high_qps),
                words.rate(cell.qps),
                words.UNKNOWN
                if one.ratio is None
                else f"{one.ratio:.3g}{ends} times {one.runner_up}",
                "yes" if one.more_than_noise else "no",
                *_energy([cell.energy_per_query_j], shown=_has_energy(sweep)),
            )
        )
    columns = [
        Column("Limit", "range"),
        Column("Arrivals"),
        Column("Winner"),
        Column("Capacity, qps", "number"),
        Column("95 % interval", "range"),
        Column("Rate met, qps", "number"),
        Column("Its lead"),
        Column("More than noise"),
        *([Column("J per query", "number")] if _has_energy(sweep) else []),
    ]
    title = "For each limit the configuration with the highest capacity"
    return Table(title, columns, rows) if rows else None


def _has_energy(sweep: SweepFacts) -> bool:
    return any(
        cell.energy_per_query_j for one in sweep.configurations for cell in one.answers.values()
    )


def _energy(figures: list[float | None], *, shown: bool) -> list[str]:
    if not shown:
        return []
    return [words.energy(one) for one in figures]


def _kinds(sweep: SweepFacts) -> list[str]:
    return list(dict.fromkeys(kind for kind, _ in sweep.keys))


def _configurations(sweep: SweepFacts, kind: str) -> Table:
    """Return the grid as a table: a row for each configuration, a column for each limit."""
    keys = [key for key in sweep.keys if key[0] == kind]
    varied, energy = sweep.varied, _has_energy(sweep)
    columns = [Column("Configuration"), *(Column(name.replace("_", " ")) for name in varied)]
    for _, limit_s in keys:
        columns.append(Column(f"{words.limit(limit_s)}: capacity, qps", "number"))
        columns += [Column("J per query", "number")] if energy else []
    best = {(one.kind, one.limit_s): one.name for one in sweep.winners}
    rows = [_configuration(one, keys, varied, best, energy) for one in sweep.configurations]
    title = f"Capacities with 95 % intervals, {words.arrivals_words(kind)} arrivals; * wins"
    return Table(title, columns, rows)


def _configuration(
    one: ConfigurationFacts,
    keys: list[AnswerKey],
    varied: list[str],
    best: dict[AnswerKey, str],
    energy: bool,
) -> list[str]:
    row = [one.name, *(one.options.get(name, words.UNKNOWN) for name in varied)]
    for key in keys:
        cell = one.answers.get(key)
        if cell is None or cell.capacity_qps is None:
            row += [words.UNKNOWN, *_energy([None], shown=energy)]
            continue
        interval = words.interval(cell.low_qps, cell.high_qps)
        mark = " *" if best.get(key) == one.name else ""
        row.append(f"{words.estimate(cell.capacity_qps)} ({interval}){mark}")
        row += _energy([cell.energy_per_query_j], shown=energy)
    return row


def _states(sweep: SweepFacts) -> Folded:
    columns = [
        Column("Configuration"),
        Column("State"),
        Column("Rounds", "number"),
        Column("Measured", "number"),
        Column("Reason"),
    ]
    rows = [
        (
            one.name,
            one.state,
            words.count(one.rounds),
            words.seconds(one.measured_s),
            one.reason or words.UNKNOWN,
        )
        for one in sweep.configurations
    ]
    title = "State of each configuration, and why"
    return Folded(title, [Table(title, columns, rows)])


def _origin(sweep: SweepFacts) -> list[Block]:
    file = text(json.dumps(sweep.file), _LONGEST_FILE)
    return [
        Text([f"mlbench {sweep.version}, started {sweep.started}."]),
        Folded("The machine", [facts_table(sweep.system)]),
        Folded("The sweep's file, as JSON", [Code(file)]),
    ]


def _again(source: SweepSource) -> list[Block]:
    folder = shlex.quote(source.name)
    return [
        Text(["The same folder again goes on where it stopped; a new one measures all again:"]),
        Code(f"mlbench-coordinator sweep FILE.yaml -o {folder}"),
    ]
