"""The monitor of the SQLite file, with a disk whose free space the test sets."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from pycalc.errors import StoreUnavailable
from pycalc.observability.metrics import Metrics
from pycalc.services.history.file_monitor import FileMonitor
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
def file(tmp_path: Path) -> Path:
    """Return the path of a database file, which has a write-ahead log beside it."""
    for name in ("pycalc.db", "pycalc.db-wal"):
        (tmp_path / name).touch()
    return tmp_path / "pycalc.db"


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Replace the real disk with a fake one, and return it."""
    seen = Disk()
    monkeypatch.setattr(os, "statvfs", seen.statvfs)
    return seen


def refused(monitor: FileMonitor) -> bool:
    """Return whether calculations are refused."""
    try:
        monitor.require()
    except StoreUnavailable:
        return True
    return False


async def test_recording_stops_below_the_reserve_and_goes_on_above_it(disk: Disk, file: Path) -> None:
    """While less disk space than the reserve is free, calculations are refused with this reason.

    Once the reserve is free again, they are accepted.
    """
    metrics, history = Metrics(), MemoryHistoryStore()
    monitor = FileMonitor(file, RESERVE, metrics, seconds=0.001)
    recorder = Recorder(history, metrics, lambda _: None, file=monitor)
    value = metrics.registry.get_sample_value
    await recorder.record([history_row()])
    await recorder.ping()
    disk.free = RESERVE - 4096
    await until(lambda: refused(monitor), "the free space was read again")
    with pytest.raises(StoreUnavailable, match="The disk is nearly full") as refusal:
        recorder.record([history_row(), history_row()])
    assert refusal.value.retry_after == 30
    with pytest.raises(StoreUnavailable, match="The disk is nearly full"):
        await recorder.ping()
    assert value("pycalc_recorder_refused_total", {"reason": "disk"}) == 2
    assert (value("pycalc_disk_free_bytes"), value("pycalc_disk_reserve_bytes")) == (RESERVE - 4096, RESERVE)
    disk.free = RESERVE
    await until(lambda: not refused(monitor), "the free space was read again")
    await recorder.record([history_row()])
    assert len(history.rows) == 2
    await recorder.aclose()
    await monitor.aclose()


async def test_a_disk_that_is_low_from_the_start_is_seen_at_once(disk: Disk, file: Path) -> None:
    """The free space is read before the first calculation."""
    disk.free = 0
    monitor = FileMonitor(file, RESERVE, Metrics())
    assert refused(monitor)
    await monitor.aclose()


async def test_a_disk_that_cannot_be_read_changes_nothing(disk: Disk, file: Path) -> None:
    """If the free space can't be read, the last known value stays in force until it can be read again."""
    monitor = FileMonitor(file, RESERVE, Metrics(), seconds=0.001)
    disk.error = OSError("no such device")
    disk.free = 0
    for _ in range(10):
        await until(lambda: True, "other tasks ran")
    assert not refused(monitor)
    disk.error = None
    await until(lambda: refused(monitor), "the free space was read again")
    await monitor.aclose()


@pytest.mark.parametrize("name", ["pycalc.db", "pycalc.db-wal"])
async def test_nothing_is_recorded_in_a_file_that_was_moved_away(file: Path, name: str) -> None:
    """While the database file or its write-ahead log is moved away or replaced, calculations are refused."""
    metrics, history = Metrics(), MemoryHistoryStore()
    monitor = FileMonitor(file, 0, metrics, seconds=0.001)
    recorder = Recorder(history, metrics, lambda _: None, file=monitor)
    moved, away = file.with_name(name), file.with_name("away")
    for replacement in (None, b"from a backup"):
        await recorder.record([history_row()])
        moved.rename(away)
        if replacement is not None:
            moved.write_bytes(replacement)
        await until(lambda: refused(monitor), "the file was checked again")
        with pytest.raises(StoreUnavailable, match="was moved, deleted or replaced") as refusal:
            recorder.record([history_row()])
        assert refusal.value.retry_after == 30
        with pytest.raises(StoreUnavailable, match="was moved, deleted or replaced"):
            await recorder.ping()
        away.replace(moved)
        await until(lambda: not refused(monitor), "the file was checked again")
    assert metrics.registry.get_sample_value("pycalc_recorder_refused_total", {"reason": "file"}) == 2
    assert len(history.rows) == 2
    await recorder.aclose()
    await monitor.aclose()
