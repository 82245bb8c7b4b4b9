"""A drill in which one account takes as much as the default limits allow, projected to a whole day.

The account calculates in batches, computes long results that are not cached, downloads a cached one, and exports its
history. It does all of this at once, without a pause after a refusal. Meanwhile another user asks for small
calculations.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from drills.hostile import CALCULATION_MS, HEALTH_MS, attacked, others, p99
from drills.support.finding import Finding, faults
from pycalc.models.limits import parse_bytes, parse_limits, parse_seconds
from pycalc.services.history.retention import LONG_WEIGHT, SLACK
from pycalc.settings import Settings
from tests.harness.servers import log_in, pycalc

_DAY = 86_400
_DISK_BYTES = 250e6  # the most disk space that one account may take, as the operations guide promises
_LIMITS = ("rate_limit", "compute_quota", "digits_quota", "history_quota")
_WITH_EXPORTS = 1.05  # factor on the quota of bytes, because a running export is completed even beyond the quota
_BATCH = 1_000
_EXPONENT = "140"  # each result has 840 to 1,000 digits, so its row counts as four in the history quota
_CONNECTIONS = {"calculations": 2, "computing": 8, "downloads": 4, "exports": 1}
_TEXT = {"Accept": "text/plain"}


def _requests(kind: str) -> Iterator[dict[str, Any]]:
    """Yield the arguments of ``httpx`` requests, without end; ``kind`` is a key of _CONNECTIONS."""
    for number in count(1):
        if kind == "calculations":
            x = 1_000_000 + number * _BATCH
            items = [{"operation": "pow", "input": {"x": str(x + index), "y": _EXPONENT}} for index in range(_BATCH)]
            yield {"method": "POST", "url": "/batch", "json": {"operations": items}}
        elif kind == "computing":  # a range of one byte uses almost nothing of the quota of bytes
            url, headers = f"/factorial/{1_000_000 + number}", {**_TEXT, "Range": "bytes=0-0"}
            yield {"method": "GET", "url": url, "headers": headers}
        elif kind == "downloads":
            yield {"method": "GET", "url": "/fibonacci/40000000", "headers": _TEXT}
        else:
            yield {"method": "GET", "url": "/secure-history", "headers": {"Accept": "text/csv"}}


async def _take(client: httpx.AsyncClient, kind: str, requests: Iterator[dict[str, Any]], got: Counter[str]) -> None:
    """Send requests until cancelled; count the granted calculations and bytes, the refusals and the internal errors."""
    while True:
        with suppress(httpx.HTTPError):
            async with client.stream(**next(requests)) as answer:
                granted = answer.status_code in (200, 206)
                if granted and kind != "exports":
                    got["calculations"] += _BATCH if kind == "calculations" else 1
                got["refused"] += answer.status_code == 429
                got["internal errors"] += answer.status_code == 500
                async for part in answer.aiter_raw():
                    got[f"bytes of {kind}"] += len(part) if granted else 0


def _attack(port: int, token: str, seconds: float, report: Pipe) -> None:
    """Run the greedy clients for ``seconds`` seconds, then send their counts to ``report``."""
    os.nice(10)  # on a real network the clients run on other machines
    sys.set_int_max_str_digits(0)
    got = Counter[str]()

    async def all_of_it() -> None:
        headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds), asyncio.TaskGroup() as takers:
                    for kind, connections in _CONNECTIONS.items():
                        requests = _requests(kind)
                        for _ in range(connections):
                            takers.create_task(_take(client, kind, requests, got))

    asyncio.run(all_of_it())
    report.send(got)


def _bytes_in_use(file: Path) -> int:
    """Return the size in bytes of an SQLite database, without its free pages."""
    with closing(sqlite3.connect(file)) as database:
        pages, free, size = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


def greedy(seconds: float = 600.0, **lower: str) -> Finding:
    """Let one account use all that its limits allow, and time another user; project the account's use to a whole day.

    ``lower`` holds limits that replace the default ones, so that a short drill reaches them.
    """
    limits: dict[str, Any] = {name: str(Settings.model_fields[name].default) for name in _LIMITS} | lower
    with TemporaryDirectory(prefix="drill-") as folder:
        file = Path(folder) / "pycalc.db"
        with pycalc("serve", Path(folder), **limits) as server:
            user, attacker = log_in(server, "user"), log_in(server, "attacker")
            empty = _bytes_in_use(file)
            with attacked(_attack, server.port, attacker, seconds) as taken:
                calculations, checks, statuses = asyncio.run(others(server.port, user, seconds))
                got = taken()
            usage = httpx.get(f"{server.url}/usage", headers={"Authorization": f"Bearer {attacker}"}).json()
        disk = _bytes_in_use(file) - empty
    used = {quota["name"]: quota["used"] for quota in usage["quotas"]}
    day, kept = parse_limits(limits["rate_limit"])[-1].amount, int(limits["history_quota"]) / LONG_WEIGHT
    hourly, daily = parse_seconds(limits["compute_quota"]), parse_bytes(limits["digits_quota"])
    sent = got["bytes of downloads"] + got["bytes of exports"]
    # Assume that the account continues at this rate all day, up to its limits. An amount already above a limit counts
    # as it is.
    worst = {
        "calculations": min(got["calculations"] / seconds * _DAY, max(got["calculations"], day)),
        "hours": min(used["compute"] / seconds, max(used["compute"], hourly.amount) / hourly.seconds) * _DAY / 3_600,
        "GB": min(sent / seconds * _DAY, max(sent, daily.amount)) / 1e9,
        "MB of disk": max(disk, disk / max(1, got["calculations"]) * min(day, kept * (1 + 1 / SLACK))) / 1e6,
    }
    return Finding(
        "a greedy account",
        f"{sum(_CONNECTIONS.values())} connections for {seconds:g} s",
        {
            "calculations got": got["calculations"],
            **{f"MB of {kind} got": got[f"bytes of {kind}"] / 1e6 for kind in ("downloads", "exports")},
            "seconds of computing got": used["compute"],
            "MB of disk taken": disk / 1e6,
            **{f"{name} on the worst day": amount for name, amount in worst.items()},
            "refusals": got["refused"],
            "another user's p99 ms": p99(calculations),
            "longest ms": max(calculations) * 1000,
            "/healthz p99 ms": p99(checks),
        },
        faults(
            too_many_calculations=worst["calculations"] > day,
            too_many_hours=worst["hours"] > hourly.amount / hourly.seconds * _DAY / 3_600,
            too_many_bytes=worst["GB"] > _WITH_EXPORTS * daily.amount / 1e9,
            # After a single batch, partly filled pages make up most of the database, so its size is not judged.
            too_much_disk=got["calculations"] > _BATCH and worst["MB of disk"] > _DISK_BYTES / 1e6,
            nothing_refused=not got["refused"],
            slow_calculations=p99(calculations) > CALCULATION_MS,
            slow_health_checks=p99(checks) > HEALTH_MS,
            others_refused=statuses.total() - statuses[200],
            internal_errors=got["internal errors"],
        ),
    )
