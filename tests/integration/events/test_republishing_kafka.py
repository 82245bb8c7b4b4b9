"""``pycalc history republish``: after a restore or the loss of a topic, usage totals agree with the history again."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import copy2

import pytest

from pycalc.db import open_database
from pycalc.db.base import Database, UsageFilter
from pycalc.db.history import SqlHistoryStore
from pycalc.db.outbox import SqlDeadLetterStore, SqlOutboxStore
from pycalc.db.usage import SqlUsageStore
from pycalc.observability.metrics import Metrics
from pycalc.services.events.relay import Relay
from pycalc.services.events.usage import UsageConsumer
from pycalc.streaming import open_stream
from pycalc.streaming.base import Stream
from tests.harness.kafka import AnyKafka
from tests.harness.stores import history_row
from tests.harness.waiting import found

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(file: Path) -> AsyncIterator[Database]:
    """Open an SQLite file, and close it at the end."""
    database = await open_database(f"sqlite:///{file}")
    try:
        yield database
    finally:
        await database.aclose()


async def publish(database: Database, stream: Stream) -> None:
    """Publish the outbox."""
    outbox = SqlOutboxStore(database)
    relay = Relay(outbox, stream, Metrics())

    async def emptied() -> bool | None:
        return await outbox.backlog() == 0 or None

    await found(emptied, "the outbox is published")
    await relay.aclose()


async def counted(database: Database, stream: Stream, expected: int) -> int:
    """Run a consumer until the usage totals contain at least ``expected`` calculations, and return their number."""
    usage, metrics = SqlUsageStore(database), Metrics()
    consumer = UsageConsumer(stream, usage, SqlDeadLetterStore(database), metrics)

    async def count() -> int | None:
        number = sum(total.calculations for total in await usage.totals(UsageFilter(), 10))
        return number if number >= expected else None

    number = await found(count, f"{expected} events are counted")
    await consumer.aclose()
    return number


def republish(file: Path) -> subprocess.CompletedProcess[str]:
    """Run ``pycalc history republish`` on an SQLite file."""
    return subprocess.run(
        [sys.executable, "-m", "pycalc", "history", "republish"],
        env={"PYCALC_DATA_DIR": str(file.parent), "PYTHONPATH": ":".join(sys.path)},
        cwd=file.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def test_totals_after_a_restore(kafka: AnyKafka, tmp_path: Path, migrated_file: Path) -> None:
    """After a restore, republishing adds each calculation that the usage totals in the backup lack, exactly once."""
    before, restored = (tmp_path / name / "pycalc.db" for name in ("before", "restored"))
    for file in (before, restored):
        file.parent.mkdir(mode=0o700)
    copy2(migrated_file, before)
    stream = await open_stream(kafka.url(f"restore-{secrets.token_hex(6)}"), Metrics())
    try:
        async with opened(before) as database:
            await SqlHistoryStore(database).append([history_row(n) for n in range(2)])
            await publish(database, stream)
            assert await counted(database, stream, 2) == 2
            await SqlHistoryStore(database).append([history_row(n) for n in range(3)])
            await publish(database, stream)
        copy2(before, restored)
        async with opened(before) as database:
            assert await counted(database, stream, 5) == 5
        for expected in (3, 0):
            command = republish(restored)
            assert (command.returncode, command.stderr) == (0, "")
            assert command.stdout == f"{expected} events of the last 13 days will be published again\n"
        async with opened(restored) as database:
            await publish(database, stream)
            assert await counted(database, stream, 5) == 5
    finally:
        await stream.aclose()
