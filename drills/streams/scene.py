"""The common parts of the stream drills: a service on PostgreSQL, load at a fixed rate, and the final checks."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from drills.streams.topic_reader import Topic, topic_reader
from drills.support.connection import Connection
from drills.support.history import compare, over_http
from drills.support.load import Ledger, Load
from pycalc.db import migrate_database
from tests.harness.kafka import Kafka, kafka
from tests.harness.postgres import Postgres, postgres
from tests.harness.pubsub import PubSub, pubsub
from tests.harness.servers import A_DAY, Server, log_in, pycalc

USERS = 4
# The seconds from the start of a client's request to the start of its next; 16 clients send 250 to 320 a second.
_PAUSE_SECONDS = 0.05
_STEP_SECONDS = 0.2

Broker = Kafka | PubSub


@dataclass(frozen=True, slots=True)
class Place:
    """A broker's topic and a new database, used by one drill."""

    broker: Broker
    topic_url: str
    database_url: str
    # Clients of each user.
    connections: int = 4

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings that all processes of a drill share."""
        return {"database_url": self.database_url, "stream_url": self.topic_url, "compute_workers": "1"}


@contextmanager
def brokers(kind: str) -> Iterator[Broker]:
    """Run a broker, ``kafka`` or ``pubsub``; for Pub/Sub, set the environment variable by which processes find it."""
    with kafka() if kind == "kafka" else pubsub() as broker:
        if isinstance(broker, PubSub):
            os.environ["PUBSUB_EMULATOR_HOST"] = broker.emulator_host
        yield broker


def place_on(broker: Broker, database: Postgres, options: str = "") -> Place:
    """Return a new topic on this broker, with a new database."""
    url = database.new_database()
    asyncio.run(migrate_database(url))
    return Place(broker, broker.url(f"drill-{secrets.token_hex(6)}", options), url)


@contextmanager
def place(kind: str, options: str = "") -> Iterator[Place]:
    """Run a broker and a PostgreSQL server for one drill; yield a new topic and database on them."""
    with postgres() as database, brokers(kind) as broker:
        yield place_on(broker, database, options)


class PacedLoad(Load):
    """Clients that send requests at a fixed rate, unless an answer takes longer than the interval."""

    interval_seconds = _PAUSE_SECONDS

    async def _exchange(self, connection: Connection, turn: int) -> None:
        began = monotonic()
        await super()._exchange(connection, turn)
        await asyncio.sleep(max(0.0, began + self.interval_seconds - monotonic()))


@dataclass(slots=True)
class Scene:
    """A running service, its users, all requests, and all events that arrived."""

    server: Server
    tokens: Sequence[str]
    topic: Topic
    log: Path
    # Clients of each user.
    connections: int = 4
    ledger: Ledger = field(default_factory=Ledger)
    # The number of repeated deliveries, set by ``faults``.
    repeated: int = 0
    # The seconds that ``faults`` waits for events, and for totals, at most, and the interval between two checks.
    longest_wait: float = 60.0
    step_seconds: float = _STEP_SECONDS

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Let the users calculate during the ``with`` block."""
        async with AsyncExitStack() as stack:
            for token in self.tokens:
                load = PacedLoad(self.ledger, token, patient=True, workers=False)
                await stack.enter_async_context(load.on(self.server.port, self.connections))
            await self.ledger.more_answers(20)
            yield

    def faults(self, *expected: str) -> dict[str, int | str]:
        """Wait a bounded time until all events are counted; return all faults by kind except the ``expected`` ones."""
        acknowledged = self.ledger.acknowledged()
        if "events_lost" not in expected:
            self._wait(lambda: self.topic.missing(acknowledged) == 0)
        self.wait_until_counted()
        rows = list(chain.from_iterable(over_http(self.server.url, token) for token in self.tokens))
        strangers = {event for event, _ in self.topic.deliveries()} - {row.id for row in rows}
        self.repeated = self.topic.repeated()
        found = {
            **compare(self.ledger, rows)._asdict(),
            "failed_requests": self._failed(),
            "events_lost": self.topic.missing(acknowledged),
            "events_without_a_calculation": len(strangers),
            "events_overtaken": self.topic.overtaken(),
            "totals_unlike_the_history": self.miscounted(),
        }
        return {name: count for name, count in found.items() if name not in expected}

    def wait_until_counted(self) -> None:
        """Wait a bounded time until the usage totals agree with the acknowledged requests and with the history."""
        acknowledged = len(self.ledger.acknowledged())
        self._wait(lambda: self.counted() >= acknowledged and self.miscounted() == 0)

    def _wait(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds, for ``longest_wait`` seconds at most."""
        deadline = monotonic() + self.longest_wait
        while not condition() and monotonic() < deadline:
            sleep(self.step_seconds)

    def _failed(self) -> str:
        """Return how many requests failed, by status, and when the first and the last did; "" if none failed."""
        failed = [exchange for exchange in self.ledger.exchanges if exchange.status != 200]
        if not failed:
            return ""
        times = [exchange.sent - self.ledger.exchanges[0].sent for exchange in failed]
        statuses = Counter(exchange.status for exchange in failed)
        return f"{dict(statuses)} at {min(times):.1f} to {max(times):.1f} s"

    def counted(self) -> int:
        """Return how many calculations are in the usage totals of all users."""
        return sum(total["count"] for token in self.tokens for total in _usage_totals(self.server, token).values())

    def miscounted(self) -> int:
        """Return how many users have usage totals that differ from their history, by day and operation."""
        return sum(_usage_totals(self.server, token) != _history_totals(self.server, token) for token in self.tokens)


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that the ``with`` block starts."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def scene(where: Place, environment: Mapping[str, str] | None = None, **settings: str) -> Iterator[Scene]:
    """Run a service and a reader of its topic; ``environment`` and ``settings`` override the service's defaults."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="drill-")))
        log = folder / "log"
        topic = stack.enter_context(topic_reader(where.topic_url, folder / "topic"))
        wanted = {**where.settings, **settings}
        with _environment(environment or {}):
            server = stack.enter_context(pycalc(data=folder, log=log, access_token_seconds=A_DAY, **wanted))
        tokens = [log_in(server, f"user-{number}") for number in range(USERS)]
        yield Scene(server, tokens, topic, log, where.connections)


def value_of(server: Server, name: str, **labels: str) -> float | None:
    """Return the sum of a metric's samples with these labels, or None if the process does not answer."""
    try:
        with urllib.request.urlopen(f"{server.url}/metrics", timeout=5) as answer:
            families = text_string_to_metric_families(answer.read().decode())
    except OSError:
        return None
    samples = (sample for family in families for sample in family.samples)
    return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())


async def ready(server: Server) -> tuple[int, str, set[str]]:
    """Return the answer of /readyz: status code, state, and the components that are not healthy."""

    def ask() -> tuple[int, Any]:
        with urllib.request.urlopen(f"{server.url}/readyz", timeout=10) as answer:
            return answer.status, json.load(answer)

    try:
        status, body = await asyncio.to_thread(ask)
    except urllib.error.HTTPError as error:
        status, body = error.code, json.load(error)
    return status, body["status"], {name for name, check in body["checks"].items() if not check["ok"]}


async def reaches(server: Server, name: str, fewest: float, seconds: float = 60.0, **labels: str) -> None:
    """Wait until a metric is at least ``fewest``; raises AssertionError after ``seconds``."""
    deadline = monotonic() + seconds
    while (await asyncio.to_thread(value_of, server, name, **labels) or 0.0) < fewest:
        if monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {name} >= {fewest:g}")
        await asyncio.sleep(_STEP_SECONDS / 4)


def _usage_totals(server: Server, token: str) -> dict[tuple[str, str], Counter[str]]:
    """Return the usage totals of the token's owner, by day and operation."""
    return {
        (item["day"], item["operation"]): Counter(
            count=item["count"],
            cached=item["cached"],
            digits=int(item["digits"]),
            us=round(item["compute_ms"] * 1000),
        )
        for item in _get(f"{server.url}/usage", token)["items"]
    }


def _history_totals(server: Server, token: str) -> dict[tuple[str, str], Counter[str]]:
    """Return totals by day and operation, computed from the history of the token's owner."""
    sums: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    cursor = ""
    while cursor is not None:
        page = _get(f"{server.url}/secure-history?limit=1000{cursor and f'&cursor={cursor}'}", token)
        for item in page["items"]:
            sums[item["created_at"][:10], item["operation"]] += Counter(
                count=1, cached=int(item["cached"]), digits=int(item["digits"]), us=round(item["elapsed_ms"] * 1000)
            )
        cursor = page["next_cursor"]
    return sums


def _get(url: str, token: str) -> Any:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)
