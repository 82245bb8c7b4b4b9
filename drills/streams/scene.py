"""What the drills of the streams share: a service on PostgreSQL, load at a rate, and what must hold in the end."""

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
_PAUSE_SECONDS = 0.05
"""From a client's request to its next: 16 of them make 250 to 320 requests a second."""
_STEP_SECONDS = 0.2
_LONGEST_WAIT = 60.0

Broker = Kafka | PubSub


@dataclass(frozen=True, slots=True)
class Place:
    """Where a drill takes place: a broker's topic and a database of its own."""

    broker: Broker
    topic_url: str
    database_url: str
    connections: int = 4
    """Clients of each user."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that all processes share."""
        return {"database_url": self.database_url, "stream_url": self.topic_url, "compute_workers": "1"}


@contextmanager
def brokers(kind: str) -> Iterator[Broker]:
    """Run a broker, ``kafka`` or ``pubsub``, of which every process that is started from here on knows."""
    with kafka() if kind == "kafka" else pubsub() as broker:
        if isinstance(broker, PubSub):
            os.environ["PUBSUB_EMULATOR_HOST"] = broker.emulator_host
        yield broker


def place_on(broker: Broker, database: Postgres, options: str = "") -> Place:
    """Return a new topic and a new database."""
    url = database.new_database()
    asyncio.run(migrate_database(url))
    return Place(broker, broker.url(f"drill-{secrets.token_hex(6)}", options), url)


@contextmanager
def place(kind: str, options: str = "") -> Iterator[Place]:
    """Run a broker and a PostgreSQL for one drill."""
    with postgres() as database, brokers(kind) as broker:
        yield place_on(broker, database, options)


class PacedLoad(Load):
    """Clients that ask so many times a second, rather than as soon as they are answered."""

    async def _exchange(self, connection: Connection, turn: int) -> None:
        began = monotonic()
        await super()._exchange(connection, turn)
        await asyncio.sleep(max(0.0, began + _PAUSE_SECONDS - monotonic()))


@dataclass(slots=True)
class Scene:
    """A running service, its users, everything that was asked, and everything that arrived."""

    server: Server
    tokens: Sequence[str]
    topic: Topic
    log: Path
    connections: int = 4
    """Clients of each user."""
    ledger: Ledger = field(default_factory=Ledger)
    repeated: int = 0
    """Deliveries that were repetitions, as far as ``faults`` has seen."""

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Let the users calculate while the body runs."""
        async with AsyncExitStack() as stack:
            for token in self.tokens:
                load = PacedLoad(self.ledger, token, patient=True, workers=False)
                await stack.enter_async_context(load.on(self.server.port, self.connections))
            await self.ledger.more_answers(20)
            yield

    def faults(self, *expected: str) -> dict[str, int | str]:
        """Wait, not forever, until all has arrived and is counted; return what is wrong then and not expected."""
        acknowledged = self.ledger.acknowledged()
        if "events_lost" not in expected:
            _wait(lambda: self.topic.missing(acknowledged) == 0)
        _wait(lambda: self.counted() >= len(acknowledged) and self.miscounted() == 0)
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

    def _failed(self) -> str:
        """Return which statuses but 200 there were, how often, and from when to when, in seconds; empty for none."""
        failed = [exchange for exchange in self.ledger.exchanges if exchange.status != 200]
        if not failed:
            return ""
        times = [exchange.sent - self.ledger.exchanges[0].sent for exchange in failed]
        statuses = Counter(exchange.status for exchange in failed)
        return f"{dict(statuses)} at {min(times):.1f} to {max(times):.1f} s"

    def counted(self) -> int:
        """Return how many calculations the totals hold."""
        return sum(total["count"] for token in self.tokens for total in _of_usage(self.server, token).values())

    def miscounted(self) -> int:
        """Return how many of the users have totals, by day and operation, that differ from their histories."""
        return sum(_of_usage(self.server, token) != _of_history(self.server, token) for token in self.tokens)


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Give processes that are started meanwhile other variables."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def scene(where: Place, environment: Mapping[str, str] | None = None, **settings: str) -> Iterator[Scene]:
    """Run a service there, with a reader of its topic; its settings and its environment may differ."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="drill-")))
        log = folder / "log"
        topic = stack.enter_context(topic_reader(where.topic_url, folder / "topic"))
        wanted = {**where.settings, **settings}
        with _environment(environment or {}):
            server = stack.enter_context(pycalc(data=folder, log=log, access_token_seconds=A_DAY, **wanted))
        tokens = [log_in(server, f"user-{number}") for number in range(USERS)]
        yield Scene(server, tokens, topic, log, where.connections)


def value_of(server: Server, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that have these labels; 0 where the process does not answer."""
    try:
        with urllib.request.urlopen(f"{server.url}/metrics", timeout=5) as answer:
            families = text_string_to_metric_families(answer.read().decode())
    except OSError:
        return 0.0
    samples = (sample for family in families for sample in family.samples)
    return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())


async def ready(server: Server) -> tuple[int, str, set[str]]:
    """Return what /readyz answers: its status, the word in it, and what is not well."""

    def ask() -> tuple[int, Any]:
        with urllib.request.urlopen(f"{server.url}/readyz", timeout=10) as answer:
            return answer.status, json.load(answer)

    try:
        status, body = await asyncio.to_thread(ask)
    except urllib.error.HTTPError as error:
        status, body = error.code, json.load(error)
    return status, body["status"], {name for name, check in body["checks"].items() if not check["ok"]}


async def reaches(server: Server, name: str, fewest: float, seconds: float = 60.0, **labels: str) -> None:
    """Return when a metric has a value, or more."""
    deadline = monotonic() + seconds
    while await asyncio.to_thread(value_of, server, name, **labels) < fewest:
        if monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {name} >= {fewest:g}")
        await asyncio.sleep(_STEP_SECONDS / 4)


def _wait(condition: Callable[[], bool]) -> None:
    """Return when the condition holds, at the latest after some minutes."""
    deadline = monotonic() + _LONGEST_WAIT
    while not condition() and monotonic() < deadline:
        sleep(_STEP_SECONDS)


def _of_usage(server: Server, token: str) -> dict[tuple[str, str], Counter[str]]:
    """Return the totals by day and operation."""
    return {
        (item["day"], item["operation"]): Counter(
            count=item["count"],
            cached=item["cached"],
            digits=int(item["digits"]),
            us=round(item["compute_ms"] * 1000),
        )
        for item in _get(f"{server.url}/usage", token)["items"]
    }


def _of_history(server: Server, token: str) -> dict[tuple[str, str], Counter[str]]:
    """Return the same sums, made from the history."""
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
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.load(answer)
