"""A comparison as JSON. Pure."""

from typing import Any

from mlbench.bench.compare.change import Change
from mlbench.bench.compare.comparison import Comparison, Pair
from mlbench.bench.compare.side import Side
from mlbench.bench.rates import Rate
from mlbench.report.documents import Document, finding_documents, finite
from mlbench.report.notation import plain

SCHEMA_VERSION = 1


def comparison_document(comparison: Comparison) -> Document:
    """Return a comparison as plain JSON values; an open end of an interval is None."""
    return {
        "schema_version": SCHEMA_VERSION,
        "margin": comparison.margin,
        "comparisons": [_pair(pair) for pair in comparison.pairs],
    }


def _pair(pair: Pair) -> Document:
    answers: dict[str, dict[str, Document]] = {}
    for change in pair.changes:
        kind, limit_s = change.key
        answers.setdefault(kind, {})[plain(limit_s)] = _change(change)
    return {
        "a": _side(pair.a),
        "b": _side(pair.b),
        "answers": answers,
        "differences": [vars(one) for one in pair.differences],
        "findings": finding_documents(pair.findings),
    }


def _side(side: Side) -> Document:
    return {
        "name": side.name,
        "started": side.started and side.started.isoformat(),
        "version": side.version,
        "served": dict(side.served),
    }


def _change(change: Change) -> Document:
    ratio = change.ratio
    return {
        "a": _rate(change.a),
        "b": _rate(change.b),
        "ratio": finite(ratio.ratio),
        "ratio_ci95": [finite(ratio.low), finite(ratio.high)],
        "rounds": ratio.rounds,
        "verdict": change.verdict,
        "findings": finding_documents(change.findings),
    }


def _rate(rate: Rate) -> dict[str, Any]:
    known = rate.qps is not None
    return {
        "capacity_qps": finite(rate.qps),
        "capacity_ci95": [finite(rate.low), finite(rate.high)] if known else None,
    }
