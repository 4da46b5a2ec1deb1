"""The latencies of a trial as an HdrHistogram log, which many tools read, merge and plot."""

import io
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.report.tables import Table

_DIGITS = 3
"""Significant decimal digits of a latency: 0.1 %, the usual choice, and less than trials differ."""

_HOUR_NS = 3_600_000_000_000
"""The range that all histograms have at least, so that those of several trials can be added."""

_INTERVAL_NS = 1_000_000_000


def write_hdr_log(file: BinaryIO, table: Table) -> None:
    """Write the latencies of a trial's completed queries, due to done, in nanoseconds.

    Each second of the trial is one interval with the queries that were due in it; a second without
    any has none. Time stamps are seconds from the first due time.
    """
    from hdrh.log import HistogramLogWriter

    due_ns, latency_ns, lost = _latencies(table)
    longest_ns = int(latency_ns.max(initial=0))
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    log = HistogramLogWriter(text)
    log.output_log_format_version()
    log.output_comment(
        "[mlbench: latencies from due to done, all in nanoseconds, by second of due time]"
    )
    log.output_comment(f"[queries: {len(due_ns)} completed, {lost} without a result]")
    log.output_legend()
    order = np.argsort(due_ns, kind="stable")
    seconds, begins = np.unique(due_ns[order] // _INTERVAL_NS, return_index=True)
    intervals = np.split(latency_ns[order], begins[1:])
    for number, interval_ns in zip(seconds.tolist(), intervals, strict=False):
        histogram = _histogram(interval_ns, max(_HOUR_NS, longest_ns))
        histogram.set_start_time_stamp(number * 1e3)  # milliseconds
        histogram.set_end_time_stamp((number + 1) * 1e3)
        log.output_interval_histogram(histogram, max_value_unit_ratio=1.0)
    text.flush()
    text.detach()  # the file stays open: it is its owner's to close


def _latencies(table: Table) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return due times from the first, and latencies, of completed queries; how many others."""
    due_ns, done_ns, status = (np.asarray(table[name]) for name in ("due_ns", "done_ns", "status"))
    completed = status == wire.COMPLETED
    from_first_ns = (due_ns - due_ns[0])[completed]
    return from_first_ns, (done_ns - due_ns)[completed], int(np.count_nonzero(~completed))


def _histogram(values: NDArray[np.int64], highest: int) -> Any:
    """Return a histogram of integers (n,), each at most `highest`.

    Values that it does not tell apart are counted together first: one call for each query would
    take minutes for ten millions.
    """
    from hdrh.histogram import HdrHistogram

    histogram = HdrHistogram(1, highest, _DIGITS)
    bits = int(histogram.sub_bucket_count).bit_length() - 1
    shift = np.maximum(np.frexp(values.astype(np.float64))[1] - bits, 0)
    lowest, counts = np.unique((values >> shift) << shift, return_counts=True)
    for value, count in zip(lowest.tolist(), counts.tolist(), strict=True):
        histogram.record_value(value, count)
    return histogram
