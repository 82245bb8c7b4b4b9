"""Drills with broker errors: requests continue, and the log, a metric and /readyz report the error.

Each drill causes an error, and waits at most a minute until /readyz reports it. After ``seconds`` more seconds or a
little longer, the drill repairs the error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from time import monotonic
from urllib.parse import urlsplit

from drills.streams.poison import PLAIN, too_large
from drills.streams.scene import Place, Scene, place, ready, scene, value_of
from drills.streams.topics import SMALL_LIMIT, USUAL_LIMIT, deleted, limit_messages, make
from drills.support.finding import Finding, faults
from tests.harness.kafka import Kafka
from tests.harness.servers import background

_WAIT_SECONDS = 60.0
_METRICS = ("pycalc_stream_failures_total", "pycalc_events_refused_total")
_NO_CREDENTIALS = {
    "PUBSUB_EMULATOR_HOST": "",
    "GOOGLE_APPLICATION_CREDENTIALS": "/nowhere.json",
}
_WRONG = "not-the-password"


@dataclass(slots=True)
class _Reports:
    """The service's reports of the broker error."""

    # The answer of /readyz: status code, state, and the components that are not healthy.
    degraded: tuple[int, str, set[str]] = (0, "", set())
    # Seconds until /readyz reported the error, or until the drill stopped waiting for this.
    seconds: float = 0.0
    afterwards: str = "ok"
    # Failures counted by the metrics.
    counted: float = 0.0
    log: str = field(default="", repr=False)


def deleted_topic(kind: str, seconds: float = 30.0) -> Finding:
    """Delete the topic under load; later create it again in Kafka, or delete its subscriptions in Pub/Sub.

    In Kafka, the option ``create=false`` of the stream's URL keeps the service from creating the topic itself. In
    Pub/Sub, the service creates the topic and the subscriptions again once the subscriptions are deleted.
    """
    with place(kind, "create=false" if kind == "kafka" else "") as where:
        return deleted_topic_at(where, seconds)


def deleted_topic_at(where: Place, seconds: float) -> Finding:
    """Run the drill ``deleted_topic`` with a broker that runs already.

    A topic in Kafka is deleted only once all its events are counted, because unread events are lost with the topic.
    """
    in_kafka = isinstance(where.broker, Kafka)
    if in_kafka:
        make(where)
    with background("consume", **where.settings), scene(where) as running:
        reports = asyncio.run(_observed(running, lambda: deleted(where), seconds, counted_before=in_kafka))
        # the reader's offset is lost with the topic; the usage totals show whether an event is missing
        found = running.faults("events_lost", "events_overtaken")
    return _finding(
        "topic deleted", where, running, reports, found, ("UNKNOWN_TOPIC_OR_PART", "belongs to a deleted topic")
    )


def over_the_limit(seconds: float = 5.0) -> Finding:
    """Record a calculation whose event exceeds the broker's message limit; later raise the limit."""
    with place("kafka", PLAIN) as where:
        return over_the_limit_at(where, seconds)


def over_the_limit_at(where: Place, seconds: float) -> Finding:
    """Run the drill ``over_the_limit`` with a broker that runs already."""
    with background("consume", **where.settings), scene(where) as running:
        reports = asyncio.run(_observed(running, lambda: _limited(where, running), seconds))
        # Later events are published while the refused one waits, so order is not judged.
        found = running.faults("events_overtaken")
    return _finding("message over the limit", where, running, reports, found, ("the stream refuses events",))


def wrong_credentials(kind: str, seconds: float = 30.0) -> Finding:
    """Run a service with wrong or missing credentials for the broker; later add a relay with valid ones."""
    with place(kind) as where:
        return wrong_credentials_at(where, seconds)


def wrong_credentials_at(where: Place, seconds: float) -> Finding:
    """Run the drill ``wrong_credentials`` with a broker that runs already."""
    broker, bad = where.broker, where.topic_url
    if isinstance(broker, Kafka):
        bad = broker.secure_url(urlsplit(where.topic_url).path.removeprefix("/"), _WRONG)
    with (
        background("consume", **where.settings),
        scene(where, {} if isinstance(broker, Kafka) else _NO_CREDENTIALS, stream_url=bad) as running,
    ):
        reports = asyncio.run(_observed(running, None, seconds))
        with background("relay", **where.settings):
            found = running.faults()
    found["secrets_in_the_log"] = reports.log.count(_WRONG)
    return _finding("wrong credentials", where, running, reports, found, ("Authentication failed", "nowhere.json"))


@contextmanager
def _limited(where: Place, running: Scene) -> Iterator[None]:
    limit_messages(where, SMALL_LIMIT)
    refused, identity = asyncio.run(too_large(running))
    yield
    limit_messages(where, USUAL_LIMIT)
    refused.ids = (identity,)


async def _observed(
    running: Scene,
    trouble: Callable[[], AbstractContextManager[None]] | None,
    seconds: float,
    *,
    counted_before: bool = False,
) -> _Reports:
    """Keep the service under load before, during and after the broker error; return its reports of the error.

    With ``counted_before``, the load pauses until all events are counted, and goes on after the error has begun.
    """
    reports = _Reports()
    context = None if trouble is None else trouble()
    async with AsyncExitStack() as load:
        await load.enter_async_context(running.load())
        if counted_before:
            await load.aclose()
            await asyncio.to_thread(running.wait_until_counted)
        if context is not None:
            await asyncio.to_thread(context.__enter__)
        if counted_before:
            await load.enter_async_context(running.load())
        began = monotonic()
        while reports.degraded[1] != "degraded" and monotonic() < began + _WAIT_SECONDS:
            reports.degraded = await ready(running.server)
        reports.seconds = monotonic() - began
        await asyncio.sleep(seconds)
        while not reports.counted and monotonic() < began + seconds + _WAIT_SECONDS:
            counts = [await asyncio.to_thread(value_of, running.server, name) for name in _METRICS]
            reports.counted = sum(count or 0.0 for count in counts)
        reports.log = running.log.read_text()
        if context is not None:
            await asyncio.to_thread(context.__exit__, None, None, None)
            reports.afterwards = await _last_state(running)
    return reports


async def _last_state(running: Scene) -> str:
    """Wait for a bounded time until /readyz reports the state "ok"; return the last state reported."""
    deadline = monotonic() + _WAIT_SECONDS
    while True:
        _, word, _ = await ready(running.server)
        if word == "ok" or monotonic() > deadline:
            return word
        await asyncio.sleep(0.1)


def _finding(
    drill: str,
    where: Place,
    running: Scene,
    reports: _Reports,
    found: Mapping[str, int | str],
    reasons: tuple[str, ...],
) -> Finding:
    return Finding(
        f"{drill}, {where.broker.name}",
        "under load, then repaired",
        {
            "requests": len(running.ledger.exchanges),
            "readyz reported after s": reports.seconds,
            "of": ", ".join(sorted(reports.degraded[2])),
            "failures counted": reports.counted,
        },
        faults(
            **found,
            readyz_otherwise=str(reports.degraded if reports.degraded[:2] != (200, "degraded") else ""),
            not_well_afterwards=reports.afterwards if reports.afterwards != "ok" else "",
            no_metric=not reports.counted,
            no_reason_in_the_log=not any(reason in reports.log for reason in reasons),
        ),
    )
