"""A benchmark of 1, 2 and 4 instances on one PostgreSQL, one Redis and one Kafka."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import NamedTuple

from benchmarks.support.timing import burst
from pycalc.db import migrate_database, open_database
from pycalc.db.outbox import SqlOutboxStore
from tests.harness.kafka import kafka
from tests.harness.postgres import postgres
from tests.harness.redis import redis
from tests.harness.servers import Server, log_in, pycalc

INSTANCES = (1, 2, 4)
ROUNDS = 3
SECONDS = 4
_PUBLISHED_SECONDS = 120
_SCRIPT = """
request = function()
  local n = math.random(500) == 1 and 1000000 + math.random(0, 99) or math.random(0, 9999)
  return wrk.format("GET", "/fibonacci/" .. n)
end
"""
_PAUSE_MS = 128
# Each of 64 connections pauses between requests: about 500 requests a second in all.
_PACED = f"""{_SCRIPT}
delay = function() return 2 * math.random() * {_PAUSE_MS} end
"""
LOADS = {"as much as it takes": _SCRIPT, "some 500 requests a second": _PACED}


class _Round(NamedTuple):
    """The results of one round; ``per_cpu_second`` counts calculations per second of the instances' processor time."""

    per_second: float
    per_cpu_second: float
    p99_ms: float


class _Fleet(NamedTuple):
    instances: list[Server]
    token: str
    database_url: str


def fleet() -> None:
    """Print how many calculations several server processes do per second, and per second of processor time.

    The processor time includes the publishing of all events.
    """
    print(f"\n## The fleet: one PostgreSQL, Redis and Kafka ({ROUNDS} rounds of {SECONDS} s, medians)\n")
    print("Fibonacci numbers, one of 500 expensive, counted in Redis, recorded in PostgreSQL, published to Kafka.\n")
    print("| load of each instance | instances | calculations/s | calculations per CPU-second | of one's | p99 ms |")
    print("|---|---|---|---|---|---|")
    for load, script in LOADS.items():
        first = 0.0
        for number in INSTANCES:
            with _fleet(number) as running:
                rounds = _rounds(running, script)
            rate, efficiency, p99 = (statistics.median(values) for values in zip(*rounds, strict=True))
            first = first or efficiency
            ratio = f"**{efficiency / first:.2f}**"
            print(f"| {load} | {number} | {rate:.0f} | {efficiency:.0f} | {ratio} | {p99:.1f} |", flush=True)


@contextmanager
def _fleet(number: int) -> Iterator[_Fleet]:
    """Run ``number`` instances on a new PostgreSQL, Redis and Kafka."""
    with postgres() as database, redis() as cache, kafka() as broker, ExitStack() as stack:
        url = database.new_database()
        asyncio.run(migrate_database(url))
        instances = [
            stack.enter_context(
                pycalc(
                    database_url=url,
                    cache_url=cache.url,
                    stream_url=broker.url("fleet"),
                    rate_limit="100000000/hour",
                    compute_workers="1",
                )
            )
            for _ in range(number)
        ]
        yield _Fleet(instances, log_in(instances[0]), url)


def _rounds(fleet: _Fleet, script: str) -> list[_Round]:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "random.lua"
        file.write_text(script)
        rounds = [_round(fleet, file) for _ in range(ROUNDS + 1)]
    return rounds[1:]  # the first one warms up


def _round(fleet: _Fleet, script: Path) -> _Round:
    """Load all instances at the same time, by wrk with ``script``, and return the results."""
    before = _cpu_seconds(fleet)
    with ThreadPoolExecutor(len(fleet.instances)) as threads:
        loads = list(
            threads.map(lambda instance: burst(instance, "/", fleet.token, SECONDS, str(script)), fleet.instances)
        )
    asyncio.run(_published(fleet.database_url))
    rate = sum(load.per_second for load in loads)
    return _Round(rate, rate * SECONDS / (_cpu_seconds(fleet) - before), max(load.p99_ms for load in loads))


def _cpu_seconds(fleet: _Fleet) -> float:
    return sum(instance.cpu_seconds() for instance in fleet.instances)


async def _published(database_url: str) -> None:
    """Wait until the outbox is empty, so that the measurement includes the cost of publishing."""
    database = await open_database(database_url)
    try:
        outbox, deadline = SqlOutboxStore(database), monotonic() + _PUBLISHED_SECONDS
        while await outbox.backlog():
            if monotonic() > deadline:
                raise RuntimeError("the events were not published")
            await asyncio.sleep(0.1)
    finally:
        await database.aclose()
