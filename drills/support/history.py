"""A comparison of the history after a drill with the requests that were sent and their answers."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

from drills.support.load import Ledger

_AGAIN_SECONDS = 0.1


class Row(NamedTuple):
    """A row of the history: its id, and the operand that identifies its request."""

    id: str
    operand: int


class Verdict(NamedTuple):
    """The faults of a history; every field is zero when the history is correct."""

    # Calculations that were answered with 200 and have no row.
    lost: int
    # Operands that occur in more than one row, and rows that repeat the id of another row.
    doubled: int
    # Rows whose operand belongs to no request.
    phantom: int
    # Rows of refused requests whose refusal did not say that the outcome is unknown.
    refused_but_there: int
    # Batches that are only partly recorded.
    torn: int


def compare(ledger: Ledger, rows: Iterable[Row]) -> Verdict:
    """Return the differences between these rows and those that the requests should have left."""
    found = list(rows)
    by_operand = Counter(row.operand for row in found)
    ids = {row.id for row in found}
    requested = {operand for exchange in ledger.exchanges for operand in exchange.operands}
    refused = torn = 0
    for exchange in ledger.exchanges:
        there = sum(operand in by_operand for operand in exchange.operands)
        torn += 0 < there < len(exchange.operands)
        if exchange.status not in (None, 200) and not exchange.unknown:
            refused += there
    return Verdict(
        lost=sum(identity not in ids for identity in ledger.acknowledged()),
        doubled=sum(times > 1 for times in by_operand.values()) + len(found) - len(ids),
        phantom=sum(times for operand, times in by_operand.items() if operand not in requested),
        refused_but_there=refused,
        torn=torn,
    )


def over_http(url: str, token: str) -> Iterator[Row]:
    """Yield all rows visible to the token's owner, page by page."""
    cursor = ""
    while True:
        page = _get(f"{url}/secure-history?limit=1000{cursor}", token)
        yield from (Row(item["id"], item["input"]["x"]) for item in page["items"])
        if page["next_cursor"] is None:
            return
        cursor = f"&cursor={page['next_cursor']}"


async def not_counted(url: str, token: str, rows: int, seconds: float = 60.0) -> int:
    """Wait at most ``seconds`` until the usage totals of the token's owner count all ``rows`` rows.

    Return how many rows are not counted; a negative number means that some are counted twice.
    """
    end = monotonic() + seconds
    while True:
        lacking: int = rows - sum(item["count"] for item in _get(f"{url}/usage", token)["items"])
        if lacking <= 0 or monotonic() > end:
            return lacking
        await asyncio.sleep(_AGAIN_SECONDS)


def in_sqlite(file: Path) -> Iterator[Row]:
    """Yield the history rows in the SQLite file of a stopped service; raises ValueError when the file is damaged."""
    with closing(sqlite3.connect(file)) as database:
        found = database.execute("PRAGMA integrity_check").fetchall()
        if found != [("ok",)]:
            raise ValueError(f"integrity_check: {found}")
        for identity, given in database.execute("SELECT hex(id), input FROM history"):
            yield Row(_dashed(identity.lower()), int(json.loads(given)["x"]))


def outbox_in_sqlite(file: Path) -> int:
    """Return the number of events in the outbox of an SQLite file."""
    with closing(sqlite3.connect(file)) as database:
        waiting: int = database.execute("SELECT count(*) FROM outbox").fetchone()[0]
        return waiting


def _dashed(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _get(url: str, token: str) -> Any:
    """Return the document at a URL; ask again while the service is overloaded, for a minute at most."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    end = monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE or monotonic() > end:
                raise
            sleep(int(error.headers["Retry-After"]))
