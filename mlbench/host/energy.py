"""What this machine consumes during a trial: its CPU packages, their memory, and GPUs."""

import time
from collections.abc import Sequence
from pathlib import Path

from mlbench.host.nvml import NotToldError, read_energy_j
from mlbench.host.rapl import POWERCAP, Rapl
from mlbench.records import Energy


class EnergyMeter:
    """Adds up the joules of the CPU packages, their DRAM and these GPUs from its making on.

    `gpus` are CUDA indices. `look` must be called every minute or so; see `Rapl`.
    """

    def __init__(self, gpus: Sequence[int], powercap: Path = POWERCAP) -> None:
        self._gpus = gpus
        self._why_no_gpu: str | None = None
        self._gpu_began_j = self._gpu_counters_j()
        self._rapl = Rapl(powercap)
        self._began_s = time.monotonic()

    @property
    def must_look(self) -> bool:
        """Whether there is a counter that may start again."""
        return self._rapl.why_unknown is None

    def look(self) -> None:
        """Take in what the counters that may start again say now."""
        self._rapl.look()

    def read(self) -> Energy:
        """Return what was consumed until now."""
        measured_s = time.monotonic() - self._began_s
        self._rapl.look()
        gpu_j = self._gpu_counters_j() - self._gpu_began_j
        return Energy(
            measured_s=measured_s,
            package_j=self._rapl.package_j,
            dram_j=self._rapl.dram_j,
            gpu_j=gpu_j if self._gpus and self._why_no_gpu is None else None,
            why_no_cpu=self._rapl.why_unknown,
            why_no_gpu=self._why_no_gpu,
        )

    def _gpu_counters_j(self) -> float:
        """Return the sum of the GPUs' counters; what is not told leaves its reason."""
        try:
            return sum(map(read_energy_j, self._gpus))
        except NotToldError as error:
            self._why_no_gpu = str(error)
            return 0.0
