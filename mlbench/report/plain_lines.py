"""Progress as a few plain lines, where there is no terminal to draw on. Pure."""

from collections.abc import Iterator, Sequence

from mlbench.bench.events import AnswersNarrowed, Event, StageBegan, TrialFinished
from mlbench.data.events import ImagesPrepared
from mlbench.outcomes import Standing, Trial
from mlbench.pool.events import WorkersAwaited
from mlbench.report.host_notes import HOST_CODES
from mlbench.report.live.drawing import STAGES
from mlbench.report.notation import duration_text, figure, limit_text, plain, rate_text
from mlbench.report.sentences import sentence

_WHERE_REQUESTS_ARE_REFUSED = ("model", "samples")  # and the refusal is all that is said
_AWAITED_EVERY_S = 5.0  # what takes so long makes people wonder


class PlainLines:
    """Turns events into the lines that tell of them."""

    def __init__(self, percentile: float = 99.0) -> None:
        self._percentile = percentile
        self._trials = 0
        self._told_s = 0.0  # how long workers had been awaited when that was last told
        self._is_preparing = False
        self._closed: set[tuple[str, float]] = set()

    def lines(self, event: Event) -> Iterator[str]:
        """Yield the lines for an event, mostly none."""
        match event:
            case StageBegan(stage) if stage not in _WHERE_REQUESTS_ARE_REFUSED:
                yield STAGES[stage]
            case WorkersAwaited(_, _, waited_s):
                if waited_s < self._told_s:
                    self._told_s = 0.0
                if waited_s >= self._told_s + _AWAITED_EVERY_S:
                    self._told_s = waited_s
                    yield _awaited(event)
            case ImagesPrepared(done, total) if done < total and not self._is_preparing:
                self._is_preparing = True
                yield f"preparing {total:,} images"
            case TrialFinished(trial):
                self._trials += 1
                yield self._trial(trial)
            case AnswersNarrowed(standings):
                yield from self._narrowed(standings)

    def _trial(self, trial: Trial) -> str:
        request, judged = trial.request, trial.judgement
        head = f"trial {self._trials}: {request.kind.name} at {rate_text(request.target_qps)} qps"
        if request.purpose == "saturation":
            return f"{head}, to learn how fast the device is"
        p = plain(self._percentile)
        high_s = trial.summary.percentiles.get(p)
        text = f"{head}, p{p} within {limit_text(request.max_latency_s)}: {judged.verdict}"
        if judged.verdict in ("pass", "fail") and high_s is not None:
            return f"{text}, {duration_text(high_s)}"
        reasons = [found for found in judged.reasons if found.code not in HOST_CODES]
        if len(reasons) < len(judged.reasons):
            return f"{text}, because of what the host did"
        return text + "".join(f", {sentence(found)}" for found in reasons[:1])

    def _narrowed(self, standings: Sequence[Standing]) -> Iterator[str]:
        for known in standings:
            key = (known.kind, known.max_latency_s)
            if not known.closed or key in self._closed or known.capacity_ci95 is None:
                continue
            self._closed.add(key)
            low, high = known.capacity_ci95
            limit = f"p{plain(self._percentile)} within {limit_text(known.max_latency_s)}"
            yield (
                f"{known.kind}, {limit}: capacity {figure(known.capacity_qps or 0.0)} qps, "
                f"95 % interval {figure(low)} to {figure(high)}"
            )


def _awaited(event: WorkersAwaited) -> str:
    names = ", ".join(event.workers)
    return f"waiting for {names} to {event.step}: {event.waited_s:.0f} of {event.timeout_s:g} s"
