"""Whatever is asked for, settings are valid and can be saved, or refused in one line."""

import json

from hypothesis import given
from hypothesis import strategies as st

from mlbench.bench.settings import RunSettings, TrialSettings, make_settings
from mlbench.contracts.errors import RequestError

# The command line gives numbers or refuses them itself; every other value is some text.
NUMBER = st.floats() | st.integers() | st.integers(min_value=10**22) | st.sampled_from([0, 1, 2.5])
WORD = st.text(max_size=20) | st.sampled_from(["simulated", "imagenet", "gamma", "trace", "vgg"])
SHARED = {
    **dict.fromkeys(("batch_timeout_s", "arrival_cv", "percentile", "seed", "count"), NUMBER),
    **dict.fromkeys(("workers_per_device", "threads", "batch_size"), NUMBER),
    **dict.fromkeys(("label_offset", "accuracy_target"), NUMBER),
    **dict.fromkeys(("profile", "backend", "dataset", "preprocessing", "data_format"), WORD),
    **dict.fromkeys(("dispatch", "dataset_path", "dataset_list", "arrival_trace"), WORD),
    "backend_options": st.dictionaries(WORD, WORD, max_size=2),
    "devices": st.lists(WORD, max_size=2),
}
RUN = {
    **SHARED,
    **dict.fromkeys(("time", "budget", "precision"), NUMBER),
    "max_latency": st.lists(NUMBER, max_size=3),
    "arrivals": st.lists(WORD, max_size=3),
}
TRIAL = {
    **SHARED,
    **dict.fromkeys(("duration", "max_latency"), NUMBER),
    "arrivals": WORD,
}


def _made(kind, options):
    """Return the settings, or why they were refused."""
    try:
        return make_settings(kind, options, {})
    except RequestError as error:
        return str(error)


def _check(kind, options):
    made = _made(kind, options)
    if isinstance(made, str):
        assert made.isprintable()
        assert len(made) < 500
        return
    given = made.model_dump(mode="json", exclude_unset=True)
    again = kind(**json.loads(json.dumps(given, allow_nan=False)))
    assert again.model_dump(mode="json", exclude_unset=True) == given
    json.dumps(made.model_dump(mode="json"), allow_nan=False)


@given(st.fixed_dictionaries({}, optional=RUN))
def test_settings_of_a_run_are_valid_or_refused(options):
    """They come back from JSON as they were, or one printable line says what is wrong."""
    _check(RunSettings, options)


@given(st.fixed_dictionaries({"qps": NUMBER | st.just(10.0)}, optional=TRIAL))
def test_settings_of_a_trial_are_valid_or_refused(options):
    """They come back from JSON as they were, or one printable line says what is wrong."""
    _check(TrialSettings, options)


@given(st.sampled_from(sorted(RUN)), st.data())
def test_each_setting_of_a_run_alone(name, data):
    """One odd value among defaults is not hidden by another."""
    _check(RunSettings, {name: data.draw(RUN[name])})
