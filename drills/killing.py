"""A drill that kills servers under load: each answered calculation is recorded once, and its event arrives."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from drills.support.finding import Finding, faults
from drills.support.history import compare, in_sqlite, not_counted, outbox_in_sqlite, over_http
from drills.support.load import Ledger, Load, ask_once
from drills.support.subscriber import Subscriber
from pycalc.db import migrate_database
from tests.harness.postgres import postgres
from tests.harness.processes import alive, children
from tests.harness.servers import A_DAY, SERVE, Server, free_port, log_in, pycalc, settings_of, spawn
from tests.harness.waiting import until

_FEWEST_ANSWERS = 20
_LONGEST_LOAD = 0.6
_LONGEST_START = 1.2
# In every tenth round, the server is killed soon after its start, mostly before it is ready.
_STARTS_EVERY = 10


@dataclass(frozen=True, slots=True)
class _Service:
    """A service that the drill kills and starts again."""

    start: Callable[..., AbstractContextManager[Server]]
    environment: Mapping[str, str]
    # True when the service has several server processes.
    several: bool = False


def killing(rounds: int = 200) -> Finding:
    """Kill a server ``rounds`` times under load, or soon after its start; each server continues with the same data."""
    with TemporaryDirectory(prefix="drill-") as folder:
        data, port = Path(folder), free_port()
        service = _Service(partial(pycalc, data=data, port=port), settings_of(data, port))
        ledger, figures, wrong = asyncio.run(_killing(service, rounds))
        stored = compare(ledger, in_sqlite(data / "pycalc.db"))
        outbox = outbox_in_sqlite(data / "pycalc.db")
    return Finding(
        "kill -9",
        f"{rounds} servers killed at random moments under load, each restarted on the same data",
        {**figures, "integrity_check": "ok"},
        faults(**wrong, outbox=outbox, in_the_file=str(stored) if any(stored) else ""),
    )


def killing_several(rounds: int = 50) -> Finding:
    """Kill one server process of a service on PostgreSQL, then all of them, in each of ``rounds`` rounds.

    Every tenth round kills the service soon after its start instead.
    """
    with postgres() as database, TemporaryDirectory(prefix="drill-") as folder:
        url, data, port = database.new_database(), Path(folder), free_port()
        asyncio.run(migrate_database(url))
        start = partial(pycalc, data=data, port=port, workers="2", database_url=url)
        service = _Service(start, settings_of(data, port, workers="2", database_url=url), several=True)
        _, figures, wrong = asyncio.run(_killing(service, rounds))
    return Finding(
        "kill -9, several processes",
        f"one of two server processes on PostgreSQL killed under load, then all of them, {rounds} times",
        figures,
        faults(**wrong),
    )


async def _killing(service: _Service, rounds: int) -> tuple[Ledger, dict[str, int], dict[str, int]]:
    """Kill the service in ``rounds`` rounds; return all requests, and the figures and faults for the finding."""
    ledger, chance = Ledger(), random.Random()  # noqa: S311  # moments, not secrets
    with service.start(access_token_seconds=A_DAY) as server:
        token, port = log_in(server), server.port
        (first,) = (await ask_once(ledger, port, token)).ids
    load, subscriber = Load(ledger, token, patient=service.several), Subscriber(port, token, first)
    left_behind = 0
    async with subscriber.subscribed():
        for number in range(1, rounds + 1):
            if number % _STARTS_EVERY == 0:
                await _kill_at_start(service.environment, chance.uniform(0, _LONGEST_START))
                continue
            with service.start() as server:
                async with load.on(port):
                    if service.several:
                        await _kill_one(server, ledger, chance)
                    wait = chance.uniform(0, _LONGEST_LOAD)
                    left_behind += await _kill(server, ledger, wait, several=service.several)
        with service.start() as server:
            expected = set(ledger.acknowledged()) - {first}
            await until(lambda: expected <= set(subscriber.received), "every event has arrived", 60)
            rows = list(over_http(server.url, token))
            uncounted = await not_counted(server.url, token, len(rows))
    figures = {
        "requests": len(ledger.exchanges),
        "answered 2xx": ledger.answered,
        "rows": len(rows),
        "events received": len(subscriber.received),
        "repeated events": len(subscriber.received) - len(set(subscriber.received)),
    }
    wrong = {"events_not_counted_once": uncounted, "processes_left_behind": left_behind}
    return ledger, figures, {**compare(ledger, rows)._asdict(), **wrong}


async def _kill_one(server: Server, ledger: Ledger, chance: random.Random) -> None:
    """Kill one of the server processes at a random moment, while the others continue to serve."""
    await ledger.more_answers(_FEWEST_ANSWERS)
    await asyncio.sleep(chance.uniform(0, _LONGEST_LOAD))
    os.kill(chance.choice(children(server.pid)), signal.SIGKILL)


async def _kill(server: Server, ledger: Ledger, seconds: float, *, several: bool) -> int:
    """Wait for some answers and ``seconds`` more, then kill the server; return how many workers still run 2 s later.

    With ``several``, kill all server processes and their supervisor.
    """
    await ledger.more_answers(_FEWEST_ANSWERS)
    await asyncio.sleep(seconds)
    os.kill(server.pid, signal.SIGSTOP)  # the supervisor must start no replacement meanwhile
    servers = [server.pid, *(children(server.pid) if several else ())]
    workers = {int(process.name) for process in server.processes()} - set(servers)
    for each in servers:
        os.kill(each, signal.SIGKILL)
    server.process.wait()
    try:
        await until(lambda: not any(map(alive, workers)), "the workers have ended", 2)
    except AssertionError:
        return sum(map(alive, workers))
    return 0


async def _kill_at_start(environment: Mapping[str, str], seconds: float) -> None:
    """Start a service, and kill all its processes ``seconds`` seconds later, even if it is not ready."""
    process = spawn(SERVE, environment)
    await asyncio.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
