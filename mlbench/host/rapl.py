"""What CPU packages and their memory consume, as the processor counts it (RAPL).

The kernel shows the counters under /sys/class/powercap, a folder for each zone:
https://docs.kernel.org/power/powercap/powercap.html
"""

from pathlib import Path

from mlbench.host.kernel_files import kernel_text

POWERCAP = Path("/sys/class/powercap")
_COUNTER = "energy_uj"
_NO_COUNTERS = (
    "the kernel shows no RAPL counters (/sys/class/powercap/intel-rapl:*), as in most virtual "
    "machines and containers"
)
_ROOT_ALONE = (
    "since 2020 the kernel shows RAPL counters to root alone; until the next boot everybody may "
    "read them after: sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
)


class Rapl:
    """Adds up the joules of all packages and all DRAM from its making on.

    Counters start again at 0, at 200 W some after five minutes: `look` must be called more often
    than that. `why_unknown` says why there is nothing to add up; None where there is.
    """

    def __init__(self, folder: Path = POWERCAP) -> None:
        self.why_unknown: str | None = None
        self._zones: list[_Zone] = []
        try:
            self._zones = [
                _Zone(path, kind)
                for path in sorted(folder.glob("intel-rapl:*"))
                if (kind := _kind(path))
            ]
        except (OSError, ValueError) as error:
            self._give_up(error)
        if not self._zones and self.why_unknown is None:
            self.why_unknown = _NO_COUNTERS

    def look(self) -> None:
        """Add what was consumed since the last look."""
        try:
            for zone in self._zones:
                zone.look()
        except (OSError, ValueError) as error:
            self._give_up(error)

    @property
    def package_j(self) -> float | None:
        """The joules of all packages up to the last look; None where the machine does not tell."""
        return self._sum("package")

    @property
    def dram_j(self) -> float | None:
        """The same of DRAM, which many processors have no counter for."""
        return self._sum("dram")

    def _sum(self, kind: str) -> float | None:
        joules = [zone.total_uj / 1e6 for zone in self._zones if zone.kind == kind]
        return sum(joules) if joules else None

    def _give_up(self, error: OSError | ValueError) -> None:
        self._zones = []
        self.why_unknown = (
            _ROOT_ALONE
            if isinstance(error, PermissionError)
            else f"a RAPL counter cannot be read: {error}"
        )


class _Zone:
    """One counter; raises OSError or ValueError when it cannot be read."""

    def __init__(self, path: Path, kind: str) -> None:
        self.kind = kind
        self.total_uj = 0
        self._counter = path / _COUNTER
        self._range_uj = int((path / "max_energy_range_uj").read_text())
        self._last_uj = int(self._counter.read_text())

    def look(self) -> None:
        now_uj = int(self._counter.read_text())
        passed_uj = now_uj - self._last_uj
        self.total_uj += passed_uj if passed_uj >= 0 else passed_uj + self._range_uj
        self._last_uj = now_uj


def _kind(zone: Path) -> str | None:
    """Tell packages and DRAM, which lie beside each other, from their parts and from `psys`."""
    name = kernel_text(zone / "name") or ""
    if name.startswith("package-"):
        return "package"
    return "dram" if name == "dram" else None
