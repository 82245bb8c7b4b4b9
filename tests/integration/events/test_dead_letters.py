"""``pycalc dead-letters``: the list of undelivered messages, and the commands to requeue or discard them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from pycalc.db import open_database
from pycalc.db.base import DeadLetter
from pycalc.db.dead_letters import SqlDeadLetterStore
from pycalc.db.history import SqlHistoryStore
from pycalc.db.outbox import SqlOutboxStore
from tests.harness.stores import history_row


def command(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the command on the database in a folder; return its status and its output."""
    done = subprocess.run(
        [sys.executable, "-m", "pycalc", "dead-letters", *arguments],
        env={"PYCALC_DATA_DIR": str(folder), "PYTHONPATH": ":".join(sys.path)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_dead_letters_are_listed_requeued_and_discarded(tmp_path: Path) -> None:
    """Each dead letter is a line with control characters escaped.

    A requeued event is in the outbox, and a foreign message can't be requeued.
    """
    row = history_row()
    url = f"sqlite:///{tmp_path / 'pycalc.db'}"

    async def prepare() -> None:
        database = await open_database(url)
        history, outbox, letters = SqlHistoryStore(database), SqlOutboxStore(database), SqlDeadLetterStore(database)
        await history.append([row])
        (entry,) = await outbox.pending(10)
        await outbox.dead_letter({entry.seq: DeadLetter(0, "relay", row.id, "outbox", "too large", b"{}", 1)})
        await letters.put([DeadLetter(0, "consumer", None, "topic/0/7", "not\nours", b"junk\x1b\xff", 2)])
        await database.aclose()

    async def pending() -> int:
        database = await open_database(url)
        try:
            return await SqlOutboxStore(database).backlog()
        finally:
            await database.aclose()

    asyncio.run(prepare())
    status, shown, _ = command(tmp_path, "list")
    assert status == 0
    first, second = shown.splitlines()
    assert first.startswith("1 relay 1970-01-01T00:00:00.001Z ")
    assert first.endswith(" 'outbox' 'too large' '{}'")
    assert second == "2 consumer 1970-01-01T00:00:00.002Z no event of ours 'topic/0/7' 'not\\nours' 'junk\\x1b\\\\xff'"
    assert command(tmp_path, "requeue", "2")[0] == 1
    assert command(tmp_path, "requeue", "1") == (0, "", "")
    assert asyncio.run(pending()) == 1
    assert command(tmp_path, "discard", "2") == (0, "", "")
    assert command(tmp_path, "list") == (0, "", "")
    assert command(tmp_path, "discard", "2") == (1, "", "pycalc: there is no dead letter 2\n")
