"""A drill that takes the broker away under load: no request fails, and all events arrive once the broker is back."""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass, field
from time import monotonic

from drills.streams.scene import Place, Scene, place, ready, scene, value_of
from drills.support.finding import Finding, faults
from drills.support.load import Exchange
from tests.harness.kafka import Kafka
from tests.harness.servers import background

_CALM_SECONDS = 20.0
_RATIO = 1.2
_DRAINED_SECONDS = 60.0
# In normal operation, an event is published in less than this many seconds.
_UP_TO_DATE_SECONDS = 1.0
_OLDEST = "pycalc_outbox_oldest_seconds"


@dataclass(slots=True)
class _Seen:
    """The observations of all outages of the broker in a drill."""

    calm: list[tuple[float, float]] = field(default_factory=list)
    # The beginning and end of each outage, by ``monotonic``.
    away: list[tuple[float, float]] = field(default_factory=list)
    # Seconds from the broker's return until the backlog was gone.
    drained: list[float] = field(default_factory=list)
    backlogs: list[float] = field(default_factory=list)
    # Answers of /readyz during the outage.
    readiness: list[tuple[int, str, set[str]]] = field(default_factory=list)


def broker_stops(kind: str, seconds: float = 60.0, rounds: int = 10) -> Finding:
    """Take the broker away ``rounds`` times: Kafka alternately by ``kill -9`` and by a pause, Pub/Sub by a pause."""
    with place(kind) as where:
        return broker_stops_at(where, seconds, rounds)


def broker_stops_at(where: Place, seconds: float, rounds: int) -> Finding:
    """Run the drill ``broker_stops`` with a broker that runs already."""
    with background("consume", **where.settings), scene(where) as running:
        seen = asyncio.run(_outages(where, running, seconds, rounds))
        found = running.faults()
    calm, away = (_latencies(running.ledger.exchanges, windows) for windows in (seen.calm, seen.away))
    return Finding(
        f"broker stopped, {where.broker.name}",
        f"away {rounds} times for {seconds:g} s under load",
        {
            "requests": len(running.ledger.exchanges),
            "p99 ms": _p99_ms(away),
            "without": _p99_ms(calm),
            "largest backlog": max(seen.backlogs),
            "drained in at most s": max(seen.drained),
            "deliveries repeated": running.repeated,
        },
        faults(
            **found,
            slower=_p99_ms(away) > _RATIO * _p99_ms(calm),
            drained_too_late=sum(taken > _DRAINED_SECONDS for taken in seen.drained),
            readyz_otherwise=str([each for each in seen.readiness if each[:2] != (200, "degraded")] or ""),
            stream_not_named=sum("stream" not in each[2] for each in seen.readiness),
        ),
    )


async def _outages(where: Place, running: Scene, seconds: float, rounds: int) -> _Seen:
    seen = _Seen()
    async with running.load():
        await _drained(running)
        for number in range(rounds):
            began = monotonic()
            await asyncio.sleep(min(seconds, _CALM_SECONDS))
            seen.calm.append((began, monotonic()))
            ending = isinstance(where.broker, Kafka) and number % 2 == 0
            if ending:
                await asyncio.to_thread(where.broker.kill)
            else:
                where.broker.pause()
            began = monotonic()
            await asyncio.sleep(seconds)
            seen.away.append((began, monotonic()))
            seen.readiness.append(await ready(running.server))
            backlog = await asyncio.to_thread(value_of, running.server, "pycalc_outbox_backlog")
            seen.backlogs.append(backlog or 0.0)
            if ending:
                # The broker must not be started in another thread, because its process ends with the thread that starts
                # it.
                where.broker.launch()
                await asyncio.to_thread(where.broker.await_connections)
            else:
                where.broker.resume()
            seen.drained.append(await _drained(running))
    return seen


async def _drained(running: Scene) -> float:
    """Wait until no event has waited longer than a second to be published; return the seconds that this took.

    While the service does not answer, keep waiting. Give up after twice _DRAINED_SECONDS, the time that the
    drill allows.
    """
    began = monotonic()
    while monotonic() - began <= 2 * _DRAINED_SECONDS:
        oldest = await asyncio.to_thread(value_of, running.server, _OLDEST)
        if oldest is not None and oldest <= _UP_TO_DATE_SECONDS:
            break
        await asyncio.sleep(0.1)
    return monotonic() - began


def _latencies(exchanges: list[Exchange], windows: list[tuple[float, float]]) -> list[float]:
    return [
        exchange.seconds
        for exchange in exchanges
        if exchange.status == 200 and any(began <= exchange.sent < ended for began, ended in windows)
    ]


def _p99_ms(latencies: list[float]) -> float:
    return statistics.quantiles(latencies, n=100)[98] * 1000
