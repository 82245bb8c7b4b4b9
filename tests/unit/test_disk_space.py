"""The watch on free disk space, with a disk whose free space the test sets."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from pycalc.errors import StoreUnavailable
from pycalc.observability.metrics import Metrics
from pycalc.services.history.disk_space import DiskSpace
from pycalc.services.history.recorder import Recorder
from tests.harness.stores import MemoryHistoryStore, history_row
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio

RESERVE = 256 * 1024 * 1024


class Disk:
    """A fake disk with ``free`` bytes for users, or with an ``error`` that each reading raises."""

    free = RESERVE
    error: OSError | None = None

    def statvfs(self, folder: Path) -> SimpleNamespace:
        """Return free space in blocks of 4 KiB; as on a real disk, a part is for root only."""
        if self.error is not None:
            raise self.error
        return SimpleNamespace(f_bavail=self.free // 4096, f_bfree=self.free // 3072, f_frsize=4096)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Return the disk that the watch sees instead of the real one."""
    seen = Disk()
    monkeypatch.setattr(os, "statvfs", seen.statvfs)
    return seen


def refused(space: DiskSpace) -> bool:
    """Return whether calculations are refused."""
    try:
        space.require()
    except StoreUnavailable:
        return True
    return False


async def test_recording_stops_below_the_reserve_and_goes_on_above_it(disk: Disk, tmp_path: Path) -> None:
    """While less than the reserve is free, calculations are refused with the reason; later they are accepted again."""
    metrics, history = Metrics(), MemoryHistoryStore()
    space = DiskSpace(tmp_path, RESERVE, metrics, seconds=0.001)
    recorder = Recorder(history, metrics, lambda _: None, disk=space)
    value = metrics.registry.get_sample_value
    await recorder.record([history_row()])
    await recorder.ping()
    disk.free = RESERVE - 4096
    await until(lambda: refused(space), "the free space was read again")
    with pytest.raises(StoreUnavailable, match="The disk is nearly full") as refusal:
        recorder.record([history_row(), history_row()])
    assert refusal.value.retry_after == 30
    with pytest.raises(StoreUnavailable, match="The disk is nearly full"):
        await recorder.ping()
    assert value("pycalc_recorder_refused_total", {"reason": "disk"}) == 2
    assert (value("pycalc_disk_free_bytes"), value("pycalc_disk_reserve_bytes")) == (RESERVE - 4096, RESERVE)
    disk.free = RESERVE
    await until(lambda: not refused(space), "the free space was read again")
    await recorder.record([history_row()])
    assert len(history.rows) == 2
    await recorder.aclose()
    await space.aclose()


async def test_a_disk_that_is_low_from_the_start_is_seen_at_once(disk: Disk, tmp_path: Path) -> None:
    """The free space is read before the first calculation."""
    disk.free = 0
    space = DiskSpace(tmp_path, RESERVE, Metrics())
    assert refused(space)
    await space.aclose()


async def test_a_disk_that_cannot_be_read_changes_nothing(disk: Disk, tmp_path: Path) -> None:
    """If a reading fails, the last one stays in force; the next successful one counts."""
    space = DiskSpace(tmp_path, RESERVE, Metrics(), seconds=0.001)
    disk.error = OSError("no such device")
    disk.free = 0
    for _ in range(10):
        await until(lambda: True, "other tasks ran")
    assert not refused(space)
    disk.error = None
    await until(lambda: refused(space), "the free space was read again")
    await space.aclose()
