"""Control groups as machines show them: the kernel's files, recorded in a folder."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from mlbench.host.cgroup import NOT_THROTTLED, Throttling, cpu_groups, cpu_quota, read_throttling

V2_MOUNT = "31 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNT = "32 31 0:29 {group} /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
V1_OTHER = "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
HYBRID_MOUNT = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
DISK = "23 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"


@pytest.fixture
def record(tmp_path: Path):
    """Write a process's groups and mounts, and the files of groups."""

    def write(cgroup: str, mounts: str, groups: Mapping[str, Mapping[str, str]]) -> Path:
        files = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": DISK + mounts}
        for group, contents in groups.items():
            files |= {f"sys/fs/cgroup{group}/{name}": text for name, text in contents.items()}
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def _v1(quota_us: int, throttled: int = 0, throttled_ns: int = 0) -> dict[str, str]:
    return {
        "cpu.cfs_quota_us": f"{quota_us}\n",
        "cpu.cfs_period_us": "100000\n",
        "cpu.stat": f"nr_periods 9\nnr_throttled {throttled}\nthrottled_time {throttled_ns}\n",
    }


def _v2(limit: str, throttled: int = 0, throttled_us: int = 0) -> dict[str, str]:
    stat = f"usage_usec 5\nnr_periods 9\nnr_throttled {throttled}\nthrottled_usec {throttled_us}\n"
    return {"cpu.max": f"{limit}\n", "cpu.stat": stat}


def test_version_2(record) -> None:
    """Our own group's quota and throttling are read, not those of the root."""
    groups = {"/user.slice": _v2("250000 100000", 3, 1_500_000), "": {"cpu.stat": "usage_usec 7\n"}}
    root = record("0::/user.slice\n", V2_MOUNT, groups)
    assert cpu_quota(root) == 2.5
    assert read_throttling(root) == Throttling(3, 1.5)


def test_nested_groups(record) -> None:
    """The tightest quota of all groups above holds, and throttling of any of them counts."""
    groups = {
        "/a.slice": _v2("150000 100000", 2, 500_000),
        "/a.slice/b": _v2("max 100000"),
        "/a.slice/b/c": _v2("400000 100000", 1, 250_000),
    }
    root = record("0::/a.slice/b/c\n", V2_MOUNT, groups)
    assert cpu_quota(root) == 1.5
    assert read_throttling(root) == Throttling(3, 0.75)


def test_version_1(record) -> None:
    """The controller is found where it is mounted with another one, and -1 is no quota."""
    groups = {
        "/cpu,cpuacct": _v1(-1),
        "/cpu,cpuacct/jobs": _v1(300_000, 4, 2_000_000_000),
        "/cpu,cpuacct/jobs/mine": _v1(-1),
    }
    cgroup = "5:cpuset:/else\n4:cpu,cpuacct:/jobs/mine\n1:name=systemd:/\n"
    root = record(cgroup, V1_OTHER + V1_MOUNT.format(group="/"), groups)
    assert cpu_quota(root) == 3.0
    assert read_throttling(root) == Throttling(4, 2.0)


def test_a_hybrid_has_the_controller_in_version_1(record) -> None:
    """Where version 2 is mounted beside it, without the controller, version 1 tells."""
    groups = {"/cpu,cpuacct/mine": _v1(50_000), "/unified/mine": {"cpu.stat": "usage_usec 7\n"}}
    mounts = V1_MOUNT.format(group="/") + HYBRID_MOUNT
    root = record("4:cpuacct,cpu:/mine\n0::/mine\n", mounts, groups)
    assert cpu_quota(root) == 0.5
    assert read_throttling(root) == NOT_THROTTLED


@pytest.mark.parametrize("group", ["/", "/../..", "/docker/1a2b"])
def test_a_container_sees_its_own_group_where_it_is_mounted(record, group: str) -> None:
    """Whatever its group is called, what version 2 shows a container is its own."""
    root = record(f"0::{group}\n", V2_MOUNT.replace(" / /sys", f" {group} /sys"), {
        "": _v2("200000 100000", 1)
    })  # fmt: skip
    assert cpu_quota(root) == 2.0
    assert read_throttling(root).times == 1


def test_a_container_of_version_1_sees_its_own_group(record) -> None:
    """The group has its host's path, and only that part of the hierarchy is mounted."""
    root = record(
        "4:cpu,cpuacct:/docker/1a2b\n",
        V1_MOUNT.format(group="/docker/1a2b"),
        {"/cpu,cpuacct": _v1(100_000)},
    )
    assert cpu_quota(root) == 1.0


def test_a_group_outside_of_what_is_mounted_counts_as_the_mounted_one(record) -> None:
    """A path that leads out of the mount is never followed."""
    root = record("0::/../other\n", V2_MOUNT, {"": _v2("100000 100000"), "/../other": _v2("1 1")})
    assert cpu_groups(root) == (root / "sys/fs/cgroup",)


def test_a_machine_that_tells_nothing_has_no_quota(tmp_path: Path, record) -> None:
    """Neither without the kernel's files nor without the group's."""
    assert cpu_quota(tmp_path / "nothing") is None
    assert read_throttling(tmp_path / "nothing") == NOT_THROTTLED
    root = record("0::/gone\n", V2_MOUNT, {})
    assert cpu_quota(root) is None


def test_this_machine_is_read() -> None:
    """Whatever groups the test runs in, their files can be read."""
    quota = cpu_quota()
    assert quota is None or quota > 0
    assert read_throttling().times >= 0
