"""A drill in which Redis hangs or dies under load: no request fails, and hardly any is slower.

Clients ask a service with Redis and one without Redis in turn, and the drill compares the latencies. To allow for the
machine's noise, it splits the latencies without Redis into two halves; the noise is the difference between them.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from time import perf_counter
from typing import Any

import httpx

from drills.support.finding import Finding, faults
from tests.harness.metrics import metric
from tests.harness.redis import Redis, redis
from tests.harness.servers import Server, log_in, pycalc
from tests.harness.waiting import until, wait_until

# Ways to take Redis away and to bring it back.
WAYS: dict[str, tuple[Callable[[Redis], None], Callable[[Redis], None]]] = {
    "hanging": (Redis.pause, Redis.resume),
    "killed": (Redis.kill, Redis.start),
}
_CLIENTS = 4
# Requests before the first change.
_BEFORE = 200
# For each statistic, in seconds: how much slower the service with Redis may be, and the most that noise may add.
_LIMITS: Mapping[str, tuple[float, float]] = {
    "median": (0.005, 0.025),
    "99th percentile": (0.05, 0.025),
    "slowest": (0.05, 0.1),
}


@dataclass(slots=True)
class _Seen:
    """The latencies of all requests by the service's URL, the number of failed requests, and other observations."""

    seconds: dict[str, list[float]]
    failed: int = 0
    slower: list[str] = field(default_factory=list)
    # The states that /readyz reports during the outage and after it.
    readiness: list[str] = field(default_factory=list)


def redis_stops(way: str, requests: int = 1_000) -> Finding:
    """Take Redis away and bring it back; after each change, compare ``requests`` requests with and without Redis.

    ``way``, a key of WAYS, says how Redis is taken away.
    """
    settings: dict[str, Any] = {"rate_limit": "1000000/minute", "compute_workers": "1"}
    with (
        redis() as server,
        pycalc(cache_url=server.url, **settings) as with_redis,
        pycalc(cache_url="memory://", **settings) as without,
        httpx.Client(base_url=with_redis.url, timeout=30) as client,
    ):
        seen, openings = asyncio.run(_outage(server, (with_redis, without), client, WAYS[way], requests))
    return Finding(
        f"Redis {way}",
        f"{requests} requests judged after it went, and after it came back",
        {"requests": sum(map(len, seen.seconds.values())), "openings of the circuit": openings},
        faults(
            not_200=seen.failed,
            readyz_otherwise="" if seen.readiness == ["degraded", "ok"] else ", ".join(seen.readiness),
            never_opened=not openings,
            slower=", ".join(seen.slower),
        ),
    )


async def _outage(
    server: Redis,
    services: Sequence[Server],
    client: httpx.Client,
    way: tuple[Callable[[Redis], None], Callable[[Redis], None]],
    requests: int,
) -> tuple[_Seen, float]:
    go, come = way

    def used() -> None:
        wait_until(lambda: metric(client, "pycalc_cache_circuit") == 0, "Redis is used", 60)

    def away() -> None:
        wait_until(lambda: metric(client, "pycalc_cache_circuit") > 0, "the circuit is open", 60)

    async with _load(services) as seen:
        await _latencies_after(seen, used, _BEFORE)
        seen.slower += _slower(await _latencies_after(seen, lambda: go(server), requests))
        await asyncio.to_thread(away)
        seen.readiness.append(await asyncio.to_thread(_readiness, client))
        seen.slower += _slower(await _latencies_after(seen, lambda: come(server), requests))
        await asyncio.to_thread(used)
    with suppress(AssertionError):  # if /readyz never says ok, the drill reports this as a fault
        await asyncio.to_thread(wait_until, lambda: _readiness(client) == "ok", "/readyz says ok", 60)
    seen.readiness.append(await asyncio.to_thread(_readiness, client))
    return seen, await asyncio.to_thread(metric, client, "pycalc_cache_circuit_opened_total")


def _readiness(client: httpx.Client) -> str:
    """Return the state that /readyz reports, with the status code unless it is 200."""
    answer = client.get("/readyz")
    return str(answer.json()["status"]) + (f" {answer.status_code}" if answer.status_code != 200 else "")


async def _latencies_after(seen: _Seen, step: Callable[[], None], requests: int) -> list[list[float]]:
    """Call ``step``; return the latencies of the next ``requests`` answers of each service.

    ``step`` takes Redis away, brings it back, or waits until it is used. The first answers may be to requests that were
    sent before the call.
    """
    begun = len(min(seen.seconds.values(), key=len))
    await asyncio.to_thread(step)
    enough = begun + requests
    await until(lambda: all(len(each) >= enough for each in seen.seconds.values()), "the requests are answered", 120)
    return [each[begun:enough] for each in seen.seconds.values()]


@asynccontextmanager
async def _load(services: Sequence[Server]) -> AsyncIterator[_Seen]:
    """Let clients send requests to the services in turn during the ``with`` block; yield the observations."""
    tokens = {server.url: log_in(server) for server in services}
    seen, numbers = _Seen({url: [] for url in tokens}), count(30_000)

    async def ask(client: httpx.AsyncClient) -> None:
        for number in numbers:
            for url, token in tokens.items():
                began = perf_counter()
                answer = await client.get(f"{url}/fibonacci/{number}", headers={"Authorization": f"Bearer {token}"})
                seen.seconds[url].append(perf_counter() - began)
                seen.failed += answer.status_code != 200

    async with httpx.AsyncClient(timeout=30) as client, asyncio.TaskGroup() as group:
        asking = [group.create_task(ask(client)) for _ in range(_CLIENTS)]
        yield seen
        for task in asking:
            task.cancel()


def _slower(times: list[list[float]]) -> list[str]:
    """Return the statistics of the latencies that are too high with Redis, compared with those without.

    ``times`` holds the latencies with Redis, then those without.
    """
    found = []
    for name, (most, noise) in _LIMITS.items():
        with_redis, without = (_statistic(each, name) for each in times)
        halves = [_statistic(times[1][half::2], name) for half in range(2)]
        if with_redis - without > most + min(noise, abs(halves[0] - halves[1])):
            found.append(f"{name} {1000 * with_redis:.1f} ms, not {1000 * without:.1f} ms")
    return found


def _statistic(seconds: list[float], name: str) -> float:
    percentiles = statistics.quantiles(seconds, n=100)
    return {"median": percentiles[49], "99th percentile": percentiles[98], "slowest": max(seconds)}[name]
