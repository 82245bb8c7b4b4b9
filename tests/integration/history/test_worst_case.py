"""The most disk space, computing time and result bytes that one account or address can use by default."""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path

import pytest

from pycalc.db import open_database
from pycalc.db.audit import SqlAuditStore
from pycalc.db.history import SqlHistoryStore
from pycalc.db.outbox import SqlOutboxStore
from pycalc.db.tables import idempotency_keys
from pycalc.db.usage import SqlUsageStore
from pycalc.models.audit import AuditEntry
from pycalc.models.formats import parse_age
from pycalc.models.history import HistoryRow
from pycalc.models.idempotency import KeyRow
from pycalc.models.ids import IdSource
from pycalc.models.limits import parse_bytes, parse_limits, parse_seconds
from pycalc.models.usage import Use
from pycalc.services.accounts.audit_log import USER_BURST, USER_ENTRIES_PER_DAY
from pycalc.services.calculations.idempotency import problem_bytes
from pycalc.services.history.retention import LONG_CHARACTERS, LONG_WEIGHT, REDELIVERY, SLACK
from pycalc.settings import Settings
from tests.deploy.images import ROOT
from tests.harness.stores import USER_ID, history_row

pytestmark = pytest.mark.anyio

DAY = 86_400
ROWS = 2_048
# Three operands of the longest form that is recorded, with their names, and the longest result that is stored.
LONGEST_CHARACTERS = 3 * 1_000 + 40 + 1_000 + 4

ids = IdSource()


def size_of(path: Path) -> int:
    """Return the bytes in use in a closed SQLite file."""
    with sqlite3.connect(path) as connection:
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    connection.close()
    return int((pages - free) * size)


def _row(characters: int) -> HistoryRow:
    """Return a calculation whose input, result and digit count together have ``characters`` characters.

    All other values are long.
    """
    result = "5" * min(1_000, characters - 20)
    return history_row()._replace(
        username="u" * 32,
        input="x" * (characters - len(result) - 4),
        result=result,
        digits="1000",
        leading="1" * 20,
        trailing="2" * 20,
        elapsed_us=10**9,
        traceparent="0" * 55,
        created_ms=1 << 41,
    )


async def bytes_of_row(path: Path, characters: int) -> float:
    """Return how many bytes a published calculation with ``characters`` characters takes in an SQLite file."""
    before = 0
    for number in range(2):
        database = await open_database(f"sqlite:///{path}")
        history, outbox = SqlHistoryStore(database), SqlOutboxStore(database)
        rows = [_row(characters) for _ in range(ROWS)]
        for start in range(0, ROWS, 128):
            await history.append(rows[start : start + 128])
        await outbox.remove([entry.seq for entry in await outbox.pending(ROWS)])
        await database.aclose()
        if number == 0:
            before = size_of(path)
    return (size_of(path) - before) / ROWS


async def bytes_of_counted_event(path: Path) -> float:
    """Return how many bytes the stored id of an event that was counted takes in an SQLite file."""
    before = 0
    for number in range(2):
        database = await open_database(f"sqlite:///{path}")
        usage = SqlUsageStore(database)
        for _ in range(ROWS // 128):
            await usage.count([Use(ids.next(), USER_ID, 1, "pow", False, 1, 1) for _ in range(128)])
        await database.aclose()
        if number == 0:
            before = size_of(path)
    return (size_of(path) - before) / ROWS


async def bytes_of_key(path: Path, items: int) -> float:
    """Return the bytes of an idempotency key's row in an SQLite file, divided by the number of items of its request."""
    before = 0
    problems = os.urandom(problem_bytes(items)) if items > 1 else None
    for number in range(2):
        database = await open_database(f"sqlite:///{path}")
        for _ in range(ROWS // 128):
            keys = [
                KeyRow(os.urandom(16), bytes(16), bytes(16 * max(1, items - 1)), problems, 1 << 41) for _ in range(128)
            ]
            await database.insert(idempotency_keys, keys)
        await database.aclose()
        if number == 0:
            before = size_of(path)
    return (size_of(path) - before) / ROWS / items


async def bytes_of_audit_entry(path: Path) -> float:
    """Return how many bytes an audit entry of a user takes in an SQLite file."""
    before = 0
    for number in range(2):
        database = await open_database(f"sqlite:///{path}")
        entries = [
            AuditEntry(ids.next(), 1 << 41, "x" * 40, "u" * 32, "u" * 32, "1" * 45, "refused", '"' + "x" * 300 + '"')
            for _ in range(ROWS)
        ]
        await SqlAuditStore(database).append(entries)
        await database.aclose()
        if number == 0:
            before = size_of(path)
    return (size_of(path) - before) / ROWS


def stated() -> dict[str, list[str]]:
    """Map each first cell in the table of worst cases in docs/operations.md to the other cells of its row."""
    section = (ROOT / "docs/operations.md").read_text().partition("## The worst case\n")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| (one \w+) \|(.*)\|$", section)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows}


async def test_one_account_fills_no_disk(tmp_path: Path) -> None:
    """With the default settings, an account's data stay below 250 MB, even if every row is as long as possible.

    Until old rows are deleted, a history may exceed its quota by a tenth and by the calculations of one minute.
    Idempotency keys are kept for up to 25 hours. These can touch three days, so three daily limits are assumed.
    """
    settings = Settings()
    assert settings.history_quota is not None
    minute, day = parse_limits(settings.rate_limit)
    assert (minute.get_expiry(), day.get_expiry()) == (60, DAY)
    kept = settings.history_quota * (1 + 1 / SLACK)
    short = (kept + minute.amount) * await bytes_of_row(tmp_path / "short.db", LONG_CHARACTERS)
    long = (kept / LONG_WEIGHT + minute.amount) * await bytes_of_row(tmp_path / "long.db", LONGEST_CHARACTERS)
    counted = day.amount * REDELIVERY.days * await bytes_of_counted_event(tmp_path / "counted.db")
    # Twice, because acts and refusals are limited separately.
    entries = 2 * (USER_BURST + USER_ENTRIES_PER_DAY * parse_age(settings.audit_retention).days)
    audited = entries * await bytes_of_audit_entry(tmp_path / "audit.db")
    keys = max([await bytes_of_key(tmp_path / f"keys{items}.db", items) for items in (1, 2, 3, 23, 25, 60)])
    assert max(short, long) + counted + audited + 3 * day.amount * keys < 250e6


def test_the_guide_states_what_the_defaults_let_in() -> None:
    """The table of worst cases in docs/operations.md has the values that follow from the default settings."""
    settings = Settings()
    seconds, digits = parse_seconds(settings.compute_quota), parse_bytes(settings.digits_quota)
    hours = seconds.amount * DAY / seconds.seconds / 3_600
    gigabytes = digits.amount * DAY / digits.seconds / 1e9
    calculations = parse_limits(settings.rate_limit)[-1].amount
    accounts = parse_limits(settings.register_limit)[-1].amount
    assert (hours, gigabytes) <= (2, 5)
    assert stated() == {
        name: [f"{n * calculations:,}", f"{n * hours:g} h", f"{n * gigabytes:g} GB", f"{n * 250 / 1_000:g} GB"]
        for name, n in (("one account", 1), ("one address", accounts))
    }
