"""The parts of a page about one run or about several laid over each other."""

from collections import Counter
from collections.abc import Sequence

from mlbench.report.html import words
from mlbench.report.html.charts.percentiles import answer_charts
from mlbench.report.html.charts.rates import rate_charts
from mlbench.report.html.charts.stages import stage_charts
from mlbench.report.html.content import Block, Column, Folded, Section, Table, Text
from mlbench.report.html.facts import AccuracyFacts, AnswerFacts, RunFacts, TrialFacts
from mlbench.report.html.origin import again_section, machine_section

_MOST_ROWS = 1_000  # of trials in a page, so that it stays below a megabyte
_OLD = (
    "These results are of an older mlbench, or of a run that was interrupted: they have no model's "
    "curve."
)
_COMPARE = (
    "Whether a difference is more than noise, mlbench-coordinator compare says of the same files."
)
_NO_STAGES = "These results do not say where the time went: no valid trials, or an older mlbench."


def run_sections(runs: Sequence[RunFacts]) -> list[Section]:
    """Return all parts for these runs, in the order of the page."""
    return [
        Section("The answers", [_answers(runs), *_answer_notes(runs)]),
        Section("Latency against rate", _rate_blocks(runs)),
        Section("Percentiles of the reported trials", answer_charts(runs)),
        Section("Where the time goes", _stage_blocks(runs)),
        Section("Accuracy", _accuracy_blocks(runs)),
        Section("Trials and verdicts", [_trials(run) for run in runs if run.trials]),
        machine_section(runs),
        again_section(runs),
    ]


def cautions(runs: Sequence[RunFacts]) -> list[str]:
    """Return what a reader should be careful of: trials that do not count, and why."""
    found = []
    for run in runs:
        tried = [one for one in run.trials if not one.is_saturation]
        invalid = [one for one in tried if one.mark == "invalid"]
        if invalid:
            name = f"{run.name}: " if len(runs) > 1 else ""
            found.append(
                f"{name}{len(invalid)} of {words.plural(len(tried), 'trial')} were invalid and "
                f"count for nothing{_most_frequent(invalid)}."
            )
    return found


def _most_frequent(invalid: Sequence[TrialFacts]) -> str:
    """Return the most frequent kind of reason, by one of its trials."""
    reasons = [one for one in invalid if one.reasons]
    if not reasons:
        return ""
    code, count = Counter(one.code for one in reasons).most_common(1)[0]
    example = next(one.reasons[0] for one in reasons if one.code == code)
    return f", {count} of them for a reason such as: {example}"


def _answers(runs: Sequence[RunFacts]) -> Table:
    named = len(runs) > 1
    powered = any(one.energy_per_query_j for run in runs for one in run.answers)
    found = [(run.name, one) for run in runs for one in run.answers]
    order = list(dict.fromkeys((one.kind, one.limit_s) for _, one in found))
    found.sort(key=lambda pair: order.index((pair[1].kind, pair[1].limit_s)))
    columns = [
        Column("Limit", "range"),
        Column("Arrivals"),
        *([Column("Run")] if named else []),
        Column("Rate met, qps", "number"),
        Column("Capacity, qps", "number"),
        Column("95 % interval", "range"),
        Column("Met again", "number"),
        Column("Trials", "number"),
        *([Column("J per query", "number")] if powered else []),
    ]
    rows = [_answer_row(name, one, named=named, powered=powered) for name, one in found]
    highest = max((one.qps for _, one in found if one.qps), default=1.0)
    bars = [(one.qps or 0.0) / highest for _, one in found]
    what = words.percentile_words(runs[0].percentile)
    title = f"Highest rates at which the {what} of the latency stays within a limit"
    return Table(title, columns, rows, bars, bar_in=3 if named else 2)


def _answer_row(name: str, one: AnswerFacts, *, named: bool, powered: bool) -> tuple[str, ...]:
    return (
        words.limit(one.limit_s),
        words.arrivals_words(one.kind),
        *((name,) if named else ()),
        words.rate(one.qps) if one.qps else "none",
        words.estimate(one.capacity_qps),
        words.interval(one.low_qps, one.high_qps),
        words.UNKNOWN if one.meets_again is None else f"{one.meets_again:.0%}",
        words.count(one.trials),
        *((words.energy(one.energy_per_query_j),) if powered else ()),
    )


def _answer_notes(runs: Sequence[RunFacts]) -> list[Block]:
    explained = Text(
        [
            *([_COMPARE] if len(runs) > 1 else []),
            "Rate met: the highest rate of a real trial that kept the limit, and that the estimate "
            "supports. Capacity: the estimate of the true highest rate from all trials. Met again: "
            "the chance that a fresh trial at the rate met keeps the limit.",
        ]
    )
    rows = [row for run in runs for row in _notes(run, named=len(runs) > 1)]
    if not rows:
        return [explained]
    columns = [
        *([Column("Run")] if len(runs) > 1 else []),
        Column("Note"),
        Column("Of the answers"),
    ]
    return [explained, Table("Notes", columns, rows)]


def _notes(run: RunFacts, *, named: bool) -> list[tuple[str, ...]]:
    """Return each note once, with the answers that have it."""
    having: dict[str, dict[str, list[str]]] = {}
    for one in run.answers:
        for note in one.notes:
            kinds = having.setdefault(note, {})
            kinds.setdefault(one.kind, []).append(words.limit(one.limit_s))
    rows: list[tuple[str, ...]] = []
    for note, kinds in having.items():
        own = [f"{words.arrivals_words(kind)} {', '.join(at)}" for kind, at in kinds.items()]
        is_for_all = sum(map(len, kinds.values())) == len(run.answers)
        rows.append((note, "all" if is_for_all else "; ".join(own)))
    return [(run.name, *row) for row in rows] if named else rows


def _rate_blocks(runs: Sequence[RunFacts]) -> list[Block]:
    blocks: list[Block] = [*rate_charts(runs)]
    if blocks and not any(one.curve for run in runs for one in run.answers):
        blocks.append(Text([_OLD]))
    return blocks


def _stage_blocks(runs: Sequence[RunFacts]) -> list[Block]:
    blocks: list[Block] = []
    for number, run in enumerate(runs):
        blocks += stage_charts(run, f"s{number}", named=len(runs) > 1)
    return blocks or [Text([_NO_STAGES])]


def _accuracy_blocks(runs: Sequence[RunFacts]) -> list[Block]:
    known = [(run, run.accuracy) for run in runs if run.accuracy]
    if not known:
        skipped = [note for run in runs for note in run.notes if note.startswith("accuracy")]
        return [Text(skipped or ["There was no accuracy stage."])]
    rows = [
        (
            *((run.name,) if len(runs) > 1 else ()),
            f"{one.percent:.2f} %",
            words.UNKNOWN if one.low is None else f"{one.low:.2f} to {one.high or 100:.2f} %",
            f"{words.count(one.good_items)} of {words.count(one.total_items)}",
            _target(one),
        )
        for run, one in known
    ]
    columns = [
        *([Column("Run")] if len(runs) > 1 else []),
        Column("Right answers", "number"),
        Column("95 % interval", "range"),
        Column("Items"),
        Column("Target"),
    ]
    return [Table("Accuracy", columns, rows)]


def _target(one: AccuracyFacts) -> str:
    if one.target is None:
        return "none"
    met = {True: "met", False: "not met", None: "a part of the data cannot decide it"}
    return f"{one.target:.2f} %: {met[one.target_met]}"


def _trials(run: RunFacts) -> Block:
    columns = [
        Column("Trial"),
        Column("Rate, qps", "number"),
        Column("Queries", "number"),
        Column("Median", "number"),
        Column(f"p{run.percentile:g}", "number"),
        Column("Verdict", "verdict"),
        Column("Reason"),
    ]
    shown = run.trials[:_MOST_ROWS]
    rows = [_trial_row(run, one) for one in shown]
    title = f"All {words.plural(len(run.trials), 'trial')} of {run.name}"
    blocks: list[Table | Text] = [Table(title, columns, rows)]
    if len(shown) < len(run.trials):
        blocks.append(Text([f"Only the first {len(shown):,} trials are shown."]))
    return Folded(f"{title}, each with the reason of its verdict", blocks)


def _trial_row(run: RunFacts, one: TrialFacts) -> tuple[str, ...]:
    note = "saturation, to learn service times; " if one.is_saturation else ""
    return (
        one.name,
        words.estimate(one.target_qps),
        words.count(one.queries),
        words.seconds(one.latency.get("50")),
        words.seconds(one.latency.get(run.percentile_key)),
        one.verdict,
        note + "; ".join(one.reasons),
    )
