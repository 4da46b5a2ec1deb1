"""The estimate of a capacity from all trials seen so far."""

from collections.abc import Sequence

from mlbench.estimation.bracket import NOT_SETTLED, bracket, contradiction
from mlbench.estimation.estimate import Estimate, Question
from mlbench.estimation.observation import Observation
from mlbench.estimation.prediction import predict_settled


def estimate(
    observations: Sequence[Observation],
    question: Question,
    known_qps: float | None,
    guess_qps: float,
) -> Estimate:
    """Return the capacity that a question asks for, with its interval.

    The queue model predicts it from the service times of trials at similar rates, corrected by
    their latencies. When the model settles on no rate, or a trial contradicts it, the estimate is
    the bracket between the rates that met the limit and those that did not. `known_qps`: an earlier
    estimate, near which to search, or None; `guess_qps` is where to begin then.
    """
    modelled, settled = predict_settled(observations, question, known_qps, guess_qps)
    same = [
        seen
        for seen in observations
        if not seen.saturated and seen.trial.request.kind == question.kind
    ]
    against = contradiction(same, modelled, question.limit) if settled else NOT_SETTLED
    if against is None:
        return modelled
    return bracket(same, modelled, question.limit, against)
