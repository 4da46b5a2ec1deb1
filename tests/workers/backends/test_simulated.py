import numpy as np
import pytest

from mlbench.contracts.backend import WorkerSpec
from mlbench.contracts.errors import RequestError
from mlbench.host.clock import now_ns
from workers.backends.simulated import SimulatedBackend

MS = 1_000_000
BACK_TO_BACK = 20_000


def _device(index=0, **options):
    words = {key: str(value) for key, value in options.items()}
    return SimulatedBackend(WorkerSpec(index, "", "simulated", options=words))


def _services_ms(device, batches=BACK_TO_BACK, items=1):
    """Return the service times of batches that follow each other without a gap."""
    ends_ns = [device.free_ns] + [device.serve(device.free_ns, items) for _ in range(batches)]
    return np.diff(ends_ns) / MS


def test_a_constant_device_follows_the_recursion():
    """done = max(sent, previous done) + service, to the nanosecond."""
    device, rng = _device(service_ms=2), np.random.default_rng(3)
    sent_ns = np.cumsum(rng.exponential(2.5 * MS, 1_000)).astype(int).tolist()
    done_ns = 0
    for at_ns in sent_ns:
        start_ns = max(at_ns, done_ns)
        done_ns = start_ns + 2 * MS
        assert device.serve(start_ns, 1) == done_ns


def test_lognormal_times_have_their_mean_and_spread():
    """cv is the coefficient of variation, and does not move the mean."""
    ms = _services_ms(_device(service_ms=4, cv=0.5))
    assert ms.mean() == pytest.approx(4, rel=0.02)
    assert ms.std() / ms.mean() == pytest.approx(0.5, rel=0.05)
    assert np.log(ms).std() == pytest.approx(np.sqrt(np.log(1.25)), rel=0.03)


def test_each_worker_has_its_own_time_of_a_list():
    """A list gives each worker its own service time, in turn."""
    means = [_services_ms(_device(i, service_ms="2,4"), 5).mean() for i in range(4)]
    assert means == pytest.approx([2, 4, 2, 4])


def test_further_items_of_a_batch_cost_extra():
    """A batch of n takes service_ms + (n-1) * per_item_ms."""
    device = _device(service_ms=2, per_item_ms=0.5)
    assert _services_ms(device, 1, items=1) == pytest.approx([2.0])
    assert _services_ms(device, 1, items=9) == pytest.approx([6.0])
    assert device.mean_service_ns(9) == 6 * MS


def test_stalls_come_as_often_and_take_as_long_as_told():
    """A share stall_p of the batches takes stall_ms longer."""
    ms = _services_ms(_device(service_ms=2, stall_p=0.03, stall_ms=30))
    stalled = ms > 10
    assert ms[stalled] == pytest.approx(np.full(stalled.sum(), 32.0))
    assert ms[~stalled] == pytest.approx(np.full((~stalled).sum(), 2.0))
    assert stalled.mean() == pytest.approx(0.03, rel=0.15)


def test_a_drifting_device_gets_slower_with_its_age():
    """After ten seconds at 0.01 a second a batch takes a tenth longer."""
    device = _device(service_ms=2, drift_per_s=0.01)
    start_ns = now_ns() + 10_000 * MS
    assert (device.serve(start_ns, 1) - start_ns) / MS == pytest.approx(2.2, rel=0.01)
    assert (device.serve(0, 1) - 0) / MS == pytest.approx(2.0)


def test_a_device_that_was_idle_is_slower():
    """A batch that found the device idle takes longer, one right after another does not."""
    device = _device(service_ms=2, idle_slowdown=0.3)
    first_ns = device.serve(100 * MS, 1)
    assert first_ns == 100 * MS + round(2.6 * MS)
    assert device.serve(first_ns, 1) == first_ns + 2 * MS


def test_the_seed_and_the_worker_decide_the_times():
    """The same seed and worker draw the same times; another worker or seed draws others."""
    drawn = [
        _services_ms(_device(index, cv=0.3, seed=seed), 50).tolist()
        for index, seed in ((0, 1), (0, 1), (1, 1), (0, 2))
    ]
    assert drawn[0] == drawn[1]
    assert drawn[2] != drawn[0] != drawn[3]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("service_ms", "0"),
        ("service_ms", "2,-1"),
        ("service_ms", "nan"),
        ("cv", "-0.1"),
        ("cv", "nan"),
        ("stall_p", "1.5"),
        ("stall_ms", "-3"),
        ("per_item_ms", "-1"),
        ("seed", "-1"),
        ("speed", "3"),
    ],
)
def test_an_impossible_device_is_refused(key, value):
    """A device that cannot be is a bad request that names the option."""
    with pytest.raises(RequestError, match=key):
        _device(**{key: value})
