from collections.abc import Callable
from pathlib import Path

import pytest

Zones = dict[str, dict[str, object]]
RANGE_UJ = 262_143_328_850
TWO_PACKAGES: Zones = {
    "intel-rapl": {"enabled": 1},
    "intel-rapl:0": {"name": "package-0", "energy_uj": 1_000_000, "max_energy_range_uj": RANGE_UJ},
    "intel-rapl:0:0": {
        "name": "dram",
        "energy_uj": 5_000_000,
        "max_energy_range_uj": 65_712_999_613,
    },
    "intel-rapl:0:1": {"name": "core", "energy_uj": 900_000, "max_energy_range_uj": RANGE_UJ},
    "intel-rapl:1": {
        "name": "package-1",
        "energy_uj": RANGE_UJ - 2_000_000,
        "max_energy_range_uj": RANGE_UJ,
    },
    "intel-rapl:1:0": {
        "name": "dram",
        "energy_uj": 7_000_000,
        "max_energy_range_uj": 65_712_999_613,
    },
    "intel-rapl:2": {"name": "psys", "energy_uj": 80_000_000, "max_energy_range_uj": RANGE_UJ},
    "intel-rapl-mmio:0": {
        "name": "package-0",
        "energy_uj": 1_000_000,
        "max_energy_range_uj": RANGE_UJ,
    },
}
"""As a server with two sockets shows its counters, the parts of a package beside it."""


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """Return a folder with the counters of a server of two sockets."""
    for zone, files in TWO_PACKAGES.items():
        (tmp_path / zone).mkdir()
        for name, value in files.items():
            (tmp_path / zone / name).write_text(f"{value}\n")
    return tmp_path


@pytest.fixture
def set_uj(powercap: Path) -> Callable[[str, int], None]:
    """Return what sets a zone's counter, in microjoules."""

    def set_(zone: str, energy_uj: int) -> None:
        (powercap / zone / "energy_uj").write_text(f"{energy_uj}\n")

    return set_
