import io
from pathlib import Path

import numpy as np
import optional
import pytest

from mlbench.contracts import wire
from mlbench.report.hdr_log import write_hdr_log
from mlbench.stats.percentiles import percentile

HDR = pytest.importorskip("hdrh.histogram", reason=optional.HDRHISTOGRAM)
HOUR_NS = 3_600_000_000_000


def _queries(latency_ns: np.ndarray, gap_ns: int, first_ns: int = 10**15) -> dict[str, np.ndarray]:
    due_ns = first_ns + gap_ns * np.arange(len(latency_ns))
    status = np.full(len(latency_ns), wire.COMPLETED, np.uint8)
    return {"due_ns": due_ns, "done_ns": due_ns + latency_ns, "status": status}


def _read(content: bytes, path: Path) -> list:
    from hdrh.log import HistogramLogReader

    path.write_bytes(content)
    reader = HistogramLogReader(str(path), HDR.HdrHistogram(1, HOUR_NS, 3))
    intervals = list(iter(reader.get_next_interval_histogram, None))
    reader.input_file.close()
    return intervals


def _written(queries: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    write_hdr_log(file, queries)
    return file.getvalue()


def test_the_log_has_every_latency(tmp_path: Path) -> None:
    """Added up, the intervals have each completed query, and its percentiles within 0.1 %."""
    rng = np.random.default_rng(1)
    latency_ns = rng.lognormal(16, 2, 5_000).astype(np.int64)
    intervals = _read(_written(_queries(latency_ns, gap_ns=1_000_000)), tmp_path / "a.hlog")
    assert [h.get_total_count() for h in intervals] == [1_000] * 5
    assert [h.get_start_time_stamp() for h in intervals] == [0, 1_000, 2_000, 3_000, 4_000]
    total = HDR.HdrHistogram(1, HOUR_NS, 3)
    for histogram in intervals:
        total.add(histogram)
    for p in (50, 90, 99, 99.9):
        exact_ns = percentile(latency_ns, p)
        assert total.get_value_at_percentile(p) == pytest.approx(exact_ns, rel=0.001)
    assert total.get_max_value() == pytest.approx(latency_ns.max(), rel=0.001)


def test_latencies_are_counted_as_one_by_one(tmp_path: Path) -> None:
    """Values that are counted together fall where each would have fallen alone."""
    rng = np.random.default_rng(2)
    latency_ns = np.concatenate([np.arange(5_000), rng.integers(0, HOUR_NS, 5_000)])
    (histogram,) = _read(_written(_queries(latency_ns, gap_ns=1)), tmp_path / "a.hlog")
    alone = HDR.HdrHistogram(1, HOUR_NS, 3)
    for value in latency_ns.tolist():
        alone.record_value(value)
    assert np.array_equal(histogram.counts, alone.counts)


def test_failed_and_lost_queries_are_told_apart(tmp_path: Path) -> None:
    """Only completed queries have a latency; how many others there were is a comment."""
    queries = _queries(np.full(10, 2_000_000), gap_ns=400_000_000)
    queries["status"][:4] = [wire.FAILED, wire.LOST, wire.FAILED, wire.LOST]
    content = _written(queries)
    assert b"#[queries: 6 completed, 4 without a result]\n" in content
    intervals = _read(content, tmp_path / "a.hlog")
    assert [h.get_start_time_stamp() for h in intervals] == [1_000, 2_000, 3_000]
    assert sum(h.get_total_count() for h in intervals) == 6


def test_a_latency_of_hours_is_kept(tmp_path: Path) -> None:
    """The histograms reach as far as the longest latency."""
    latency_ns = np.array([1_000, 5 * HOUR_NS])
    (histogram,) = _read(_written(_queries(latency_ns, gap_ns=1)), tmp_path / "a.hlog")
    assert histogram.get_total_count() == 2
    assert histogram.get_max_value() == pytest.approx(5 * HOUR_NS, rel=0.001)


def test_a_trial_without_answers_has_no_interval(tmp_path: Path) -> None:
    """Where nothing was completed the log is there, and empty."""
    queries = _queries(np.zeros(3, np.int64), gap_ns=1)
    queries["status"][:] = wire.LOST
    assert _read(_written(queries), tmp_path / "a.hlog") == []
