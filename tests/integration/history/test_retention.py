"""Deletion of old calculations, by ``pycalc history prune`` and by a running service."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from pycalc.db import open_database
from pycalc.db.base import HistoryFilter
from pycalc.db.history import SqlHistoryStore
from pycalc.db.outbox import SqlOutboxStore
from pycalc.db.users import SqlUserStore
from pycalc.models.auth import Role, User
from pycalc.models.history import HistoryRow
from pycalc.models.ids import first_id_of_ms, unix_ms
from tests.harness.metrics import metric
from tests.harness.servers import pycalc
from tests.harness.stores import USER_ID, history_row
from tests.harness.waiting import wait_until

OLD = 20_000
ENOUGH = 10**6


def rows_of_age(days: int, count: int) -> list[HistoryRow]:
    """Return ``count`` calculations that are ``days`` days old, the oldest first."""
    first = int.from_bytes(first_id_of_ms(unix_ms(datetime.now(UTC) - timedelta(days=days))))
    return [history_row()._replace(id=(first + number).to_bytes(16)) for number in range(count)]


ADA = User(USER_ID, "ada", "ada@example.com", "hash", Role.USER, datetime(2026, 11, 22, tzinfo=UTC))


def store(data: Path, rows: Sequence[HistoryRow], *, published: bool = True, owner: User | None = ADA) -> None:
    """Store calculations in a data folder's database, and their owner's account unless it is None (deleted).

    If ``published``, remove their events from the outbox.
    """

    async def work() -> None:
        database = await open_database(f"sqlite:///{data / 'pycalc.db'}")
        if owner is not None:
            await SqlUserStore(database).add(owner)
        await SqlHistoryStore(database).append(rows)
        outbox = SqlOutboxStore(database)
        if published:
            await outbox.remove([entry.seq for entry in await outbox.pending(ENOUGH)])
        await database.aclose()

    asyncio.run(work())


def kept(data: Path) -> list[HistoryRow]:
    """Return the history in a data folder, newest first."""

    async def work() -> list[HistoryRow]:
        database = await open_database(f"sqlite:///{data / 'pycalc.db'}")
        rows = await SqlHistoryStore(database).page(HistoryFilter(), None, ENOUGH)
        await database.aclose()
        return rows

    return asyncio.run(work())


def prune(data: Path, age: str) -> subprocess.Popen[str]:
    """Start ``pycalc history prune`` for calculations older than ``age``."""
    return subprocess.Popen(
        [sys.executable, "-m", "pycalc", "history", "prune", f"--older-than={age}"],
        env={"PYCALC_DATA_DIR": str(data), "PYTHONPATH": ":".join(sys.path)},
        cwd=data,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_deletes_what_is_older_and_says_how_many(tmp_path: Path) -> None:
    """``pycalc history prune`` deletes calculations older than the given age, and prints their number."""
    young = rows_of_age(89, 10)
    store(tmp_path, [*rows_of_age(91, 1_234), *young])
    for expected in (1_234, 0):
        command = prune(tmp_path, "90d")
        output, errors = command.communicate(timeout=60)
        assert (command.returncode, output, errors) == (0, f"{expected} calculations older than 90d were deleted\n", "")
    assert kept(tmp_path) == young[::-1]


def test_the_command_leaves_what_is_not_published(tmp_path: Path) -> None:
    """``pycalc history prune`` keeps every calculation whose event is unpublished."""
    rows = rows_of_age(91, 10)
    store(tmp_path, rows, published=False)
    command = prune(tmp_path, "90d")
    assert command.communicate(timeout=60)[0] == "0 calculations older than 90d were deleted\n"
    assert kept(tmp_path) == rows[::-1]


def test_the_command_may_be_killed_and_repeated(tmp_path: Path) -> None:
    """If ``pycalc history prune`` is killed, it has deleted only the oldest calculations.

    The next run deletes the others that are too old.
    """
    old, young = rows_of_age(91, OLD), rows_of_age(89, 5)
    store(tmp_path, [*old, *young])
    command = prune(tmp_path, "90d")
    file = tmp_path / "pycalc.db-wal"
    wait_until(lambda: file.exists() and file.stat().st_size > 0, "pruning has begun")
    command.kill()
    command.communicate(timeout=60)
    left = kept(tmp_path)
    assert left == [*young[::-1], *old[::-1]][: len(left)]
    command = prune(tmp_path, "90d")
    assert command.communicate(timeout=60)[0] == f"{len(left) - 5} calculations older than 90d were deleted\n"
    assert kept(tmp_path) == young[::-1]


@pytest.mark.parametrize("age", ["90", "0d", "-5d", "soon"])
def test_the_command_refuses_nonsense(tmp_path: Path, age: str) -> None:
    """``pycalc history prune`` refuses an invalid age with one sentence and exit status 1, and deletes nothing."""
    rows = rows_of_age(91, 3)
    store(tmp_path, rows)
    command = prune(tmp_path, age)
    output, errors = command.communicate(timeout=60)
    assert (command.returncode, output) == (1, "")
    assert errors == f"pycalc: '{age}' is not an age such as 365d, 52w or 36h\n"
    assert kept(tmp_path) == rows[::-1]


def test_a_running_service_keeps_the_command_from_its_file(tmp_path: Path) -> None:
    """While a service uses the SQLite file, ``pycalc history prune`` exits with status 1 and says what to do."""
    with pycalc(data=tmp_path) as server:
        command = prune(tmp_path, "90d")
        output, errors = command.communicate(timeout=60)
    assert (command.returncode, output) == (1, "")
    assert f"in use by process {server.pid}" in errors
    assert "Stop that one" in errors


def test_a_service_prunes_its_own_history(tmp_path: Path) -> None:
    """With PYCALC_HISTORY_RETENTION, a running service deletes calculations older than this."""
    old, young = rows_of_age(91, 1_000), rows_of_age(89, 5)
    store(tmp_path, [*old, *young])
    with pycalc(data=tmp_path, history_retention="90d") as server, httpx.Client(base_url=server.url) as client:
        wait_until(lambda: metric(client, "pycalc_history_pruned_total") == 1_000, "the old ones are gone")
    assert kept(tmp_path) == young[::-1]


def test_a_service_keeps_the_newest_rows_of_a_user(tmp_path: Path) -> None:
    """With PYCALC_HISTORY_QUOTA, a running service deletes a user's oldest calculations above the quota."""
    rows = rows_of_age(10, 1_000)
    store(tmp_path, rows)
    with pycalc(data=tmp_path, history_quota="100") as server, httpx.Client(base_url=server.url) as client:
        wait_until(lambda: metric(client, "pycalc_history_pruned_total") == 900, "the oldest ones are gone")
    assert kept(tmp_path) == rows[: -100 - 1 : -1]


def test_the_history_of_a_deleted_account_stays(tmp_path: Path) -> None:
    """PYCALC_HISTORY_QUOTA is not applied to a deleted account, because the account may have had a higher quota."""
    theirs = rows_of_age(10, 300)
    ended = [row._replace(user_id=bytes(15) + b"e") for row in rows_of_age(11, 300)]  # examined before Ada's rows
    store(tmp_path, theirs)
    store(tmp_path, ended, owner=None)
    with pycalc(data=tmp_path, history_quota="100") as server, httpx.Client(base_url=server.url) as client:
        wait_until(lambda: metric(client, "pycalc_history_pruned_total") >= 200, "both users were examined")
    assert kept(tmp_path) == [*theirs[: -100 - 1 : -1], *ended[::-1]]


def test_without_a_retention_only_the_quota_deletes(tmp_path: Path) -> None:
    """With an empty PYCALC_HISTORY_RETENTION, a service deletes only what exceeds the quota, and keeps old rows."""
    old = rows_of_age(4_000, 5)
    store(tmp_path, old)
    server = pycalc(data=tmp_path, history_retention="", history_quota="3")
    with server as running, httpx.Client(base_url=running.url) as client:
        wait_until(lambda: metric(client, "pycalc_history_pruned_total") > 0, "rows are deleted")
    assert kept(tmp_path) == old[:1:-1]
