from pathlib import Path

import pytest

from mlbench.host.rapl import POWERCAP, Rapl

RANGE_UJ = 262_143_328_850


def test_packages_and_dram_are_added_up(powercap, set_uj):
    """Of every package and all DRAM, since the making; parts of packages do not count again."""
    rapl = Rapl(powercap)
    set_uj("intel-rapl:0", 31_500_000)
    set_uj("intel-rapl:0:0", 6_000_000)
    set_uj("intel-rapl:0:1", 20_000_000)
    set_uj("intel-rapl:1:0", 7_250_000)
    set_uj("intel-rapl:2", 200_000_000)
    rapl.look()
    assert rapl.package_j == pytest.approx(30.5)
    assert rapl.dram_j == pytest.approx(1.25)
    assert rapl.why_unknown is None


def test_a_counter_that_starts_again_loses_nothing(powercap, set_uj):
    """A package's counter was 2 J below its range: at 3 J it has counted 5 J, each time around."""
    rapl = Rapl(powercap)
    set_uj("intel-rapl:1", 3_000_000)
    rapl.look()
    assert rapl.package_j == pytest.approx(5.0)
    set_uj("intel-rapl:1", 2_000_000)
    rapl.look()
    assert rapl.package_j == pytest.approx(5.0 + RANGE_UJ / 1e6 - 1.0)


def test_a_processor_without_a_counter_for_dram(powercap):
    """Its DRAM is not known, and its package is."""
    for zone in ("intel-rapl:0:0", "intel-rapl:1:0"):
        (powercap / zone / "name").write_text("uncore\n")
    rapl = Rapl(powercap)
    assert (rapl.package_j, rapl.dram_j) == (0.0, None)


def test_counters_for_root_alone_are_told_with_the_command(powercap, monkeypatch):
    """Nothing is told where the kernel refuses, and the reason says how to mend it."""
    read_text = Path.read_text

    def refuse(path: Path) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path)

    monkeypatch.setattr(Path, "read_text", refuse)
    rapl = Rapl(powercap)
    rapl.look()
    assert (rapl.package_j, rapl.dram_j) == (None, None)
    assert rapl.why_unknown is not None
    assert "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj" in rapl.why_unknown


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_machine_without_counters_is_told(tmp_path, folder):
    """Neither a missing folder nor an empty one is an error; the reason names what is missing."""
    rapl = Rapl(tmp_path / folder)
    rapl.look()
    assert (rapl.package_j, rapl.dram_j) == (None, None)
    assert "no RAPL counters" in (rapl.why_unknown or "")


def test_a_counter_that_vanishes_ends_the_sum(powercap):
    """Half a trial's joules are no figure: then nothing is told, but why."""
    rapl = Rapl(powercap)
    (powercap / "intel-rapl:0" / "energy_uj").unlink()
    rapl.look()
    assert rapl.package_j is None
    assert "cannot be read" in (rapl.why_unknown or "")


def test_this_machines_counters_or_the_reason():
    """Whatever this machine shows is taken without an error."""
    rapl = Rapl(POWERCAP)
    rapl.look()
    assert (rapl.package_j is None) == (rapl.why_unknown is not None)
