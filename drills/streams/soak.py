"""A long, steady load with every backend: memory, descriptors and latencies stay level, and nothing is lost."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import monotonic

from drills.streams.scene import PacedLoad, Place, Scene, brokers, place_on, scene
from drills.support.finding import Finding, faults
from tests.harness.kafka import Kafka
from tests.harness.postgres import Postgres, postgres
from tests.harness.redis import Redis, redis
from tests.harness.servers import Server, background

# A function that stops a server, and one that starts it.
Restart = tuple[Callable[[], object], Callable[[], object]]

_CLIENTS = 200
# A figure is level if the median of its last third is at most this many times as large as the median of its first
# third.
_LEVEL = 1.1
# The share of the soak that is left out of the figures: ten minutes of an hour.
_WARM_UP = 1 / 6
# The number of samples of memory and descriptors.
_SAMPLES = 120
# How often each server is restarted, and the longest time in seconds for which it is stopped or paused.
_RESTARTS, _AWAY_SECONDS = 6, 5.0


@dataclass(slots=True)
class _Samples:
    """Samples of the service's resident memory and open descriptors, taken after the warm-up."""

    memory_mib: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def take(self, server: Server) -> None:
        """Add one sample."""
        self.memory_mib.append(server.memory_mib())
        self.descriptors.append(sum(len(list((process / "fd").iterdir())) for process in server.processes()))


def soak() -> Finding:
    """Load a service on PostgreSQL, Redis and Kafka at half its capacity for an hour (see ``soak_at``)."""
    with postgres() as database, brokers("kafka") as broker, redis() as cache:
        return soak_at(place_on(broker, database), database, cache, 3600.0)


def soak_at(
    where: Place,
    database: Postgres,
    cache: Redis,
    seconds: float,
    clients: int = _CLIENTS,
    restarts: int = _RESTARTS,
) -> Finding:
    """Load a service for ``seconds`` and meanwhile restart its database and its cache, and pause Kafka, in turn.

    Each of the three is stopped ``restarts`` times. The first sixth of the time is a warm-up, in which memory,
    descriptors and latencies are not judged.
    """
    samples = _Samples()
    with ExitStack() as stack:
        stack.enter_context(background("consume", **where.settings))
        running = stack.enter_context(scene(where, cache_url=cache.url, compute_workers="2"))
        servers = _servers(where, database, cache)
        began = asyncio.run(_soak(running, samples, servers * restarts, seconds, clients))
        found = running.faults("failed_requests")
    thirds = _p99_by_third(running, began, seconds)
    return Finding(
        "soak",
        f"{seconds:g} s at half the capacity, {clients} clients; PostgreSQL, Redis, Kafka stopped {restarts} times",
        {
            "requests": len(running.ledger.exchanges),
            "memory MiB": _thirds(samples.memory_mib),
            "descriptors": _thirds(samples.descriptors),
            "p99 ms by third": ", ".join(f"{p99:.1f}" for p99 in thirds),
        },
        faults(
            **found,
            memory_grows=not _is_level(samples.memory_mib),
            descriptors_grow=not _is_level(samples.descriptors),
            slower=thirds[-1] > _LEVEL * thirds[0],
        ),
    )


def _servers(where: Place, database: Postgres, cache: Redis) -> list[Restart]:
    """Return functions that stop and start PostgreSQL and Redis, and that pause and resume Kafka."""
    broker = where.broker
    assert isinstance(broker, Kafka)  # noqa: S101  # ``soak`` runs on Kafka
    return [(database.stop, database.start), (cache.kill, cache.start), (broker.pause, broker.resume)]


async def _soak(running: Scene, samples: _Samples, restarts: Sequence[Restart], seconds: float, clients: int) -> float:
    """Find the capacity, then load the service at half of it. Return the ``monotonic`` time when that load began."""
    load = PacedLoad(running.ledger, running.tokens[0], patient=True)
    load.interval_seconds = 0.0
    trial = min(20.0, seconds * _WARM_UP)
    async with load.on(running.server.port, clients):
        await asyncio.sleep(trial)
    load.interval_seconds = 2 * clients * trial / running.ledger.answered
    began = monotonic()
    async with load.on(running.server.port, clients):
        restarting = asyncio.create_task(_restart(restarts, seconds / len(restarts)))
        await asyncio.sleep(seconds * _WARM_UP)
        for _ in range(_SAMPLES):
            await asyncio.sleep(seconds * (1 - _WARM_UP) / _SAMPLES)
            await asyncio.to_thread(samples.take, running.server)
        await restarting
    return began


async def _restart(restarts: Sequence[Restart], interval: float) -> None:
    """Stop and start the servers one after the other, one every ``interval`` seconds."""
    away = min(_AWAY_SECONDS, interval / 2)
    for stop, start in restarts:
        await asyncio.to_thread(stop)
        await asyncio.sleep(away)
        await asyncio.to_thread(start)
        await asyncio.sleep(interval - away)


def _p99_by_third(running: Scene, began: float, seconds: float) -> list[float]:
    """Return the 99th percentile of the latencies in milliseconds, for each third of the time after the warm-up."""
    first, length = began + seconds * _WARM_UP, seconds * (1 - _WARM_UP) / 3
    times: list[list[float]] = [[], [], []]
    for exchange in running.ledger.since(first):
        if exchange.status == 200:
            times[min(2, int((exchange.sent - first) / length))].append(exchange.seconds * 1000)
    return [statistics.quantiles(third, n=100)[98] for third in times]


def _medians(samples: Sequence[float]) -> list[float]:
    third = len(samples) // 3
    return [statistics.median(samples[start : start + third]) for start in (0, third, 2 * third)]


def _thirds(samples: Sequence[float]) -> str:
    return ", ".join(f"{median:.0f}" for median in _medians(samples))


def _is_level(samples: Sequence[float]) -> bool:
    medians = _medians(samples)
    return medians[-1] <= _LEVEL * medians[0]
