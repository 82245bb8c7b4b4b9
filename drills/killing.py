"""Kill -9 at random moments under load: what was answered is in the history once, and its event arrives."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from drills.finding import Finding, faults
from drills.follower import Follower
from drills.history import compare, in_sqlite, outbox_in_sqlite, over_http
from drills.load import Ledger, Load, ask_once
from tests.services.metrics import metric
from tests.services.processes import alive, children
from tests.services.servers import A_DAY, SERVE, Server, free_port, log_in, pycalc, settings_of, spawn
from tests.services.waiting import until

_FEWEST_ANSWERS = 20
_LONGEST_LOAD = 0.6
_LONGEST_START = 1.2
_STARTS_EVERY = 10
"""Each so manieth kill hits a server that starts."""


def killing(rounds: int = 200) -> Finding:
    """Kill a server so many times, each time on the data that the last one left."""
    with TemporaryDirectory(prefix="drill-") as folder:
        return asyncio.run(_killing(Path(folder), rounds))


async def _killing(data: Path, rounds: int) -> Finding:
    port, ledger, chance = free_port(), Ledger(), random.Random()  # noqa: S311  # moments, no secrets
    with pycalc(data=data, port=port, access_token_seconds=A_DAY) as server:
        token = log_in(server)
        (first,) = (await ask_once(ledger, port, token)).ids
    load, follower = Load(ledger, token, patient=False), Follower(port, token, first)
    left_behind = 0
    async with follower.following():
        for number in range(1, rounds + 1):
            if number % _STARTS_EVERY == 0:
                await _kill_at_start(data, port, chance.uniform(0, _LONGEST_START))
                continue
            with pycalc(data=data, port=port) as server:
                async with load.on(port):
                    left_behind += await _kill(server, ledger, chance.uniform(0, _LONGEST_LOAD))
        with pycalc(data=data, port=port) as server, httpx.Client(base_url=server.url) as client:
            expected = set(ledger.acknowledged()) - {first}
            await until(lambda: expected <= set(follower.told), "every event has arrived", 60)
            await until(lambda: metric(client, "pycalc_outbox_backlog") == 0, "the outbox is empty")
            seen = compare(ledger, over_http(server.url, token))
    stored = compare(ledger, in_sqlite(data / "pycalc.db"))
    return Finding(
        "kill -9",
        f"{rounds} servers killed at random moments under load, each restarted on the same data",
        {
            "requests": len(ledger.exchanges),
            "answered 2xx": ledger.answered,
            "events told": len(follower.told),
            "of them again": len(follower.told) - len(set(follower.told)),
            "integrity_check": "ok",
        },
        faults(
            **stored._asdict(),
            history_over_http_differs=seen != stored,
            outbox=outbox_in_sqlite(data / "pycalc.db"),
            processes_left_behind=left_behind,
        ),
    )


async def _kill(server: Server, ledger: Ledger, seconds: float) -> int:
    """Kill a server so long after its load has begun; return how many of its workers outlive it."""
    await ledger.more_answers(_FEWEST_ANSWERS)
    await asyncio.sleep(seconds)
    workers = children(server.pid)
    os.kill(server.pid, signal.SIGKILL)
    server.process.wait()
    try:
        await until(lambda: not any(map(alive, workers)), "the workers have ended with it", 2)
    except AssertionError:
        return sum(map(alive, workers))
    return 0


async def _kill_at_start(data: Path, port: int, seconds: float) -> None:
    """Kill a server so long after its start, wherever it is then."""
    process = spawn(SERVE, settings_of(data, port))
    await asyncio.sleep(seconds)
    process.kill()
    process.wait()
