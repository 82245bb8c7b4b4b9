"""The cores and the memory that control groups (cgroups) allow a process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from pycalc.machine import cores, memory

ALL = len(os.sched_getaffinity(0))
MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def groups(folder: Path, own: str, files: Mapping[str, str]) -> tuple[Path, Path]:
    """Write the files of control groups and ``own``, the process's ``/proc/self/cgroup``; return both paths."""
    (folder / "own").write_text(own)
    for name, text in files.items():
        file = folder / "cgroups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "cgroups", folder / "own"


@pytest.mark.parametrize(("quota", "expected"), [("50000 100000", 1), ("100000 100000", 1), ("max 100000", ALL)])
def test_a_quota_bounds_the_cores(tmp_path: Path, quota: str, expected: int) -> None:
    """A quota of half a core counts as one core, and ``max`` means no quota (cgroup version 2)."""
    assert cores(*groups(tmp_path, "0::/\n", {"cpu.max": quota})) == expected


def test_a_parents_quota_bounds_the_cores_too(tmp_path: Path) -> None:
    """The quota of an outer control group bounds the processes of an inner one."""
    files = {"pod/app/cpu.max": "max 100000", "pod/cpu.max": "100000 100000"}
    assert cores(*groups(tmp_path, "0::/pod/app\n", files)) == 1


def test_a_quota_of_version_1(tmp_path: Path) -> None:
    """In version 1, the quota is in the folder of the cpu controller, and -1 means no quota."""
    own = "5:cpu,cpuacct:/app\n3:memory:/app\n"
    none = {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}
    one = {"cpu/app/cpu.cfs_quota_us": "100000", "cpu/app/cpu.cfs_period_us": "100000"}
    assert cores(*groups(tmp_path, own, none)) == ALL
    assert cores(*groups(tmp_path, own, {**none, **one})) == 1


def test_without_control_groups_it_is_the_machine(tmp_path: Path) -> None:
    """Without ``/proc`` and ``/sys``, the process may use all cores of its affinity mask and all the memory."""
    assert cores(tmp_path / "none", tmp_path / "nothing") == ALL
    assert memory(tmp_path / "none", tmp_path / "nothing") == MACHINE


@pytest.mark.parametrize(
    ("own", "file"), [("0::/app\n", "app/memory.max"), ("3:memory:/app\n", "memory/app/memory.limit_in_bytes")]
)
def test_a_limit_bounds_the_memory(tmp_path: Path, own: str, file: str) -> None:
    """A memory limit in bytes is read in both versions of control groups."""
    assert memory(*groups(tmp_path, own, {file: "536870912\n"})) == 512 * 1024 * 1024


def test_a_limit_above_the_machine_is_no_limit(tmp_path: Path) -> None:
    """``max`` in version 2, and a limit above the machine's memory in version 1, mean that there is no limit."""
    assert memory(*groups(tmp_path, "0::/\n", {"memory.max": "max"})) == MACHINE
    assert memory(*groups(tmp_path, "3:memory:/\n", {"memory/memory.limit_in_bytes": str(2**63 - 4096)})) == MACHINE


def test_the_scheduler_may_leave_one_core() -> None:
    """The process's CPU affinity, which ``taskset`` sets, limits the cores."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)
