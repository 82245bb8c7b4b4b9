"""``pycalc dead-letters``: listing undelivered messages, requeueing and discarding them."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx

from pycalc.db import open_database
from pycalc.db.base import DeadLetter
from pycalc.db.history import SqlHistoryStore
from pycalc.db.outbox import SqlDeadLetterStore, SqlOutboxStore
from pycalc.models.ids import text_of_id
from tests.harness.accounts import new_admin
from tests.harness.metrics import metric
from tests.harness.servers import pycalc
from tests.harness.stores import history_row
from tests.harness.waiting import wait_until


def command(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run ``pycalc dead-letters`` on the database in a folder; return the exit status, the output and the errors."""
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
    """Each dead letter is printed as a line, with control characters escaped.

    A requeued event is in the outbox again; a message that is not an event of the service can't be requeued.
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
    found = "'topic/0/7' 'not\\nours' 'junk\\x1b\\\\xff'"
    assert second == f"2 consumer 1970-01-01T00:00:00.002Z not an event of this service {found}"
    assert command(tmp_path, "requeue", "2")[0] == 1
    status, shown, log = command(tmp_path, "requeue", "1")
    assert (status, shown, json.loads(log)["event"]) == (0, "", "dead letter requeued")
    assert asyncio.run(pending()) == 1
    assert command(tmp_path, "discard", "2")[:2] == (0, "")
    assert command(tmp_path, "list") == (0, "", "")
    for number in ("2", str(2**63), str(-(2**64))):  # the databases store integers of 64 bits
        none = f"pycalc: There is no dead letter {number}"
        assert command(tmp_path, "discard", number) == (1, "", f"{none}.\n")
        assert command(tmp_path, "requeue", number) == (1, "", f"{none} that can be published.\n")


def test_an_admin_lists_requeues_and_discards_over_http(tmp_path: Path) -> None:
    """Over HTTP, a dead letter is shown with its content; after requeueing or discarding it is gone and gets 404.

    A requeued event is published soon, even if nobody calculates.
    """
    row = history_row()

    async def prepare() -> None:
        database = await open_database(f"sqlite:///{tmp_path / 'pycalc.db'}")
        history, outbox, letters = SqlHistoryStore(database), SqlOutboxStore(database), SqlDeadLetterStore(database)
        await history.append([row])
        (entry,) = await outbox.pending(10)
        await outbox.dead_letter({entry.seq: DeadLetter(0, "relay", row.id, "outbox", "too large", b"{}", 1)})
        await letters.put([DeadLetter(0, "consumer", None, "topic/0/7", "not ours", b"junk\xff", 2)])
        await database.aclose()

    asyncio.run(prepare())
    with pycalc(data=tmp_path) as server, httpx.Client(base_url=server.url) as client:
        admin = new_admin(client, tmp_path)
        client.headers.update(admin.headers)
        page = client.get("/admin/dead-letters", params={"limit": 1}).json()
        first = {"id": 1, "stage": "relay", "event_id": text_of_id(row.id), "origin": "outbox", "reason": "too large"}
        assert page["items"] == [{**first, "content": "{}", "created_at": "1970-01-01T00:00:00.001Z"}]
        rest = client.get("/admin/dead-letters", params={"cursor": page["next_cursor"]}).json()
        assert [(each["id"], each["event_id"], each["content"]) for each in rest["items"]] == [(2, None, "junk\\xff")]
        assert rest["next_cursor"] is None
        assert client.get("/admin/overview").json()["dead_letters"] == 2
        for method, path, status in (
            ("POST", "/admin/dead-letters/2/requeue", 404),
            ("POST", "/admin/dead-letters/1/requeue", 204),
            ("POST", "/admin/dead-letters/1/requeue", 404),
            ("DELETE", "/admin/dead-letters/2", 204),
            ("DELETE", "/admin/dead-letters/2", 404),
            ("DELETE", "/admin/dead-letters/9223372036854775808", 422),
        ):
            assert client.request(method, path).status_code == status, (method, path)
        assert client.get("/admin/dead-letters").json() == {"items": [], "next_cursor": None}
        wait_until(lambda: metric(client, "pycalc_events_published_total") == 1, "the requeued event is published", 10)
    database = sqlite3.connect(tmp_path / "pycalc.db")
    entries = database.execute("SELECT action, actor, details FROM audit WHERE action LIKE 'dead letter%' ORDER BY id")
    assert entries.fetchall() == [
        ("dead letter requeued", admin.name, '{"number": 1}'),
        ("dead letter discarded", admin.name, '{"number": 2}'),
    ]
    database.close()
