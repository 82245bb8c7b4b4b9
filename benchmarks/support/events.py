"""A benchmark of events from the outbox to the usage totals: their rate and their delay."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from time import perf_counter
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from drills.support.connection import Connection, request
from pycalc.db import migrate_database, open_database
from pycalc.db.base import Database
from pycalc.db.history import SqlHistoryStore
from pycalc.db.outbox import SqlDeadLetterStore, SqlOutboxStore
from pycalc.db.usage import SqlUsageStore
from pycalc.observability.metrics import Metrics
from pycalc.services.events.relay import Relay
from pycalc.services.events.usage import UsageConsumer
from pycalc.streaming import open_stream
from tests.harness.events import key_of
from tests.harness.postgres import Postgres, postgres
from tests.harness.servers import Server, background, log_in, pycalc
from tests.harness.stores import history_row
from tests.harness.waiting import until

EVENTS = 20_000
USERS = 100
BATCH = 500
RATE, CONNECTIONS, SECONDS = 1_000, 50, 15
_LAG = "pycalc_consumer_lag_seconds_bucket"


async def _record(database: Database, count: int) -> None:
    """Record ``count`` calculations, each of which puts an event into the outbox."""
    history = SqlHistoryStore(database)
    users = [key_of(f"user {number}") for number in range(USERS)]
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        await history.append([history_row(number, user_id=users[number % USERS]) for number in range(size)])


async def rate(database_url: str, stream_url: str) -> float:
    """Return how many events per second get from a full outbox into the usage totals, within one process."""
    metrics = Metrics()

    def consumed() -> float:
        return metrics.registry.get_sample_value("pycalc_events_consumed_total") or 0.0

    async with AsyncExitStack() as stack:
        database = await open_database(database_url)
        stack.push_async_callback(database.aclose)
        stream = await open_stream(stream_url, metrics)
        stack.push_async_callback(stream.aclose)
        consumer = UsageConsumer(stream, SqlUsageStore(database), SqlDeadLetterStore(database), metrics)
        stack.push_async_callback(consumer.aclose)
        await _record(database, BATCH)
        relay = Relay(SqlOutboxStore(database), stream, metrics, shared=True)
        await until(lambda: consumed() == BATCH, "both sides are warm", 60)
        await relay.aclose()
        await _record(database, EVENTS)
        started = perf_counter()
        relay = Relay(SqlOutboxStore(database), stream, metrics, shared=True)
        await until(lambda: consumed() == BATCH + EVENTS, "all are counted", 600)
        seconds = perf_counter() - started
        await relay.aclose()
    return EVENTS / seconds


@contextmanager
def _service(database_url: str, stream_url: str) -> Iterator[tuple[Server, Server]]:
    """Run a server and the consumer of its events; yield both.

    If the stream is in memory, the server itself is the consumer.
    """
    settings: dict[str, Any] = {"database_url": database_url, "stream_url": stream_url, "compute_workers": "1"}
    with ExitStack() as stack:
        server = stack.enter_context(pycalc(**settings))
        own = stream_url.startswith("memory:")
        yield server, server if own else stack.enter_context(background("consume", **settings))


async def _calculate(port: int, token: str) -> int:
    """Send RATE requests per second on a fixed schedule; return how many were answered with 200."""
    sent = request("/fibonacci/100", {"Authorization": f"Bearer {token}"})
    began, answered = asyncio.get_running_loop().time(), 0

    async def client(number: int) -> None:
        nonlocal answered
        connection = await Connection.open(port)
        for turn in range(SECONDS * RATE // CONNECTIONS):
            due = began + (turn * CONNECTIONS + number) / RATE
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            answer = await connection.ask(sent)
            answered += answer.status == 200
        connection.close()

    await asyncio.gather(*map(client, range(CONNECTIONS)))
    return answered


def _lags(server: Server) -> dict[float, float]:
    """Return how many batches the consumer counted with a lag of at most each bound, by the bound in seconds."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = (sample for family in families for sample in family.samples if sample.name == _LAG)
    return {float(sample.labels["le"]): sample.value for sample in samples}


def lag(database_url: str, stream_url: str) -> tuple[float, float, float]:
    """Return the calculations per second, and upper bounds of the median and 99th percentile of the lag in seconds."""
    with _service(database_url, stream_url) as (server, counting):
        token = log_in(server)
        before = _lags(counting)
        started = perf_counter()
        answered = asyncio.run(_calculate(server.port, token))
        done = answered / (perf_counter() - started)
        after = _lags(counting)
    batches = {bound: value - before.get(bound, 0.0) for bound, value in after.items()}
    whole = batches[float("inf")]
    half, most = (min(b for b, count in batches.items() if count >= part * whole) for part in (0.5, 0.99))
    return done, half, most


def outbox_to_totals(streams: Mapping[str, Callable[[str], str]]) -> None:
    """Print rate and lag for each stream; ``streams`` maps names of streams to functions that return a topic's URL."""
    print(f"\n## {EVENTS:,} events from the outbox to the totals; the lag at {RATE:,} calculations/s\n")
    print("| stream | events/s | calculations/s | half the batches within s | p99 within s |")
    print("|---|---|---|---|---|")
    with postgres() as database:
        for name, url in streams.items():
            events = asyncio.run(rate(_new_database(database), url("rate")))
            done, half, most = lag(_new_database(database), url("lag"))
            print(f"| {name} | {events:,.0f} | {done:,.0f} | {half:g} | {most:g} |", flush=True)


def _new_database(server: Postgres) -> str:
    url = server.new_database()
    asyncio.run(migrate_database(url))
    return url
