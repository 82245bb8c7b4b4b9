"""The cores and the memory that this process may use, according to its CPU affinity and its control groups."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def cores(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> int:
    """Return the number of cores that this process can keep busy, at least 1. A fraction of a core counts as a core.

    ``os.cpu_count()`` ignores CPU affinity (``taskset``) and the quotas of control groups (``docker run --cpus``).
    """
    limits = [float(len(os.sched_getaffinity(0)))]
    for folder in _folders(cgroups, own, "cpu"):
        with suppress(OSError, ValueError):  # version 2; "max" means no quota
            quota, period = (folder / "cpu.max").read_text().split()
            limits.append(int(quota) / int(period))
        with suppress(OSError, ValueError):  # version 1; -1 means no quota
            microseconds = int((folder / "cpu.cfs_quota_us").read_text())
            limits.append(microseconds / int((folder / "cpu.cfs_period_us").read_text()))
    return max(1, math.ceil(min(limit for limit in limits if limit > 0)))


def memory(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> int:
    """Return the bytes of memory that this process may use: the machine's, or less if its control groups limit it."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for folder in _folders(cgroups, own, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):  # of versions 2 and 1
            with suppress(OSError, ValueError):
                limits.append(int((folder / name).read_text()) or limits[0])
    return min(limits)


def _folders(cgroups: Path, own: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the process's control groups (versions 1 and 2) for a controller, innermost first."""
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            root = cgroups / controller if controllers else cgroups
            inner = root / path.lstrip("/")
            yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(root))
