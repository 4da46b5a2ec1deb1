"""All finished trials of a search."""

from mlbench.estimation.learning import Learnt, learn
from mlbench.estimation.observation import Observation
from mlbench.outcomes import Trial
from mlbench.queueing.line import Queue


class History:
    """The trials of a search in the order they were run, which its goals share."""

    def __init__(self, queue: Queue) -> None:
        self.observations: list[Observation] = []
        self._queue = queue
        self._learnt: tuple[int, Learnt] | None = None

    @property
    def trials(self) -> list[Trial]:
        """All trials, the saturation trial among them."""
        return [seen.trial for seen in self.observations]

    @property
    def tried(self) -> list[Trial]:
        """The trials that show whether a limit is met: all but the saturation trial."""
        return [seen.trial for seen in self.observations if not seen.saturated]

    @property
    def measured_s(self) -> float:
        """How long all trials took together, in seconds."""
        return sum((seen.measured_s for seen in self.observations), 0.0)

    @property
    def usable(self) -> list[Observation]:
        """The trials to learn from: the first that served anything, and all others that are valid.

        The first is the saturation trial, which no limit judges, so that it need not be valid.
        """
        return [self.observations[place] for place in self.usable_places]

    @property
    def usable_places(self) -> list[int]:
        """The places of the usable trials among all."""
        some = [place for place, seen in enumerate(self.observations) if len(seen.log.seconds)]
        return some[:1] + [place for place in some[1:] if self.observations[place].valid]

    @property
    def learnt(self) -> Learnt:
        """What the usable trials say about service times; there must be one."""
        seen = len(self.observations)
        if self._learnt is None or self._learnt[0] != seen:
            self._learnt = seen, learn([one.log for one in self.usable], self._queue)
        return self._learnt[1]
