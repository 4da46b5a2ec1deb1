"""All finished trials of a search."""

from mlbench.estimation.observation import Observation
from mlbench.outcomes import Trial


class History:
    """The trials of a search in the order they were run, which its goals share."""

    def __init__(self) -> None:
        self.observations: list[Observation] = []

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
        some = [seen for seen in self.observations if len(seen.log.seconds)]
        return some[:1] + [seen for seen in some[1:] if seen.valid]
