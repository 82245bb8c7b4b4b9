"""Redis goes away under load, and comes back: nobody gets an error, and hardly anybody waits."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import httpx
import pytest

from tests.services.metrics import metric
from tests.services.redis import Redis
from tests.services.servers import Server, log_in, pycalc
from tests.services.waiting import until, wait_until

pytestmark = [pytest.mark.anyio, pytest.mark.serial]

MEMORY = Path("/dev", "shm")
"""Where files are in memory: a slow disk is nobody's fault."""
JUDGED = 1_000
"""Requests to each service, from a signal on. Less than one in a hundred is under way then: the slowest count too."""


@pytest.mark.parametrize("signals", ["STOP and CONT", "KILL and a new start"])
async def test_redis_goes_away_under_load(own_real_redis: Redis, signals: str) -> None:
    """Every answer is 200, the 99th percentile grows by 25 ms at most and the median by 5; nobody is left hanging.

    Four clients ask all the time, before the signal, at that moment and after it, a service with Redis and one without
    in turn: the second one is what the first is compared with, and how far two halves of its own times are apart is
    what this machine adds. The same holds when Redis is back. The breaker's state stands in /metrics and /readyz; in
    the end it is closed.
    """
    go, come = {
        "STOP and CONT": (own_real_redis.pause, own_real_redis.resume),
        "KILL and a new start": (own_real_redis.kill, own_real_redis.start),
    }[signals]
    settings: dict[str, Any] = {"rate_limit": "1000000/minute", "compute_workers": "1"}
    with (
        TemporaryDirectory(dir=MEMORY) as data,
        pycalc(data=Path(data, "server"), cache_url=own_real_redis.url, **settings) as server,
        pycalc(data=Path(data, "control"), cache_url="memory://", **settings) as control,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        used = partial(wait_until, lambda: metric(client, "pycalc_cache_circuit") == 0, "Redis is used", 60)
        async with _load((server, control)) as load:
            await load.around(used, 200)
            _judge(await load.around(go, JUDGED))
            await asyncio.to_thread(_require_degraded, client)
            _judge(await load.around(come, JUDGED))
        await asyncio.to_thread(used)
        assert (await asyncio.to_thread(client.get, "/readyz")).json()["status"] == "ok"


def _judge(times: list[list[float]]) -> None:
    """Compare the seconds of a service with Redis with those of one without."""
    for name, most, noise in (("median", 0.005, 0.025), ("99th percentile", 0.025, 0.025), ("slowest", 0.025, 0.1)):
        with_redis, without = (_statistic(each, name) for each in times)
        halves = [_statistic(times[1][half::2], name) for half in range(2)]
        assert with_redis - without <= most + min(noise, abs(halves[0] - halves[1])), name


def _statistic(seconds: list[float], name: str) -> float:
    percentiles = statistics.quantiles(seconds, n=100)
    return {"median": percentiles[49], "99th percentile": percentiles[98], "slowest": max(seconds)}[name]


def _require_degraded(client: httpx.Client) -> None:
    answer = client.get("/readyz")
    told = answer.json()
    assert (answer.status_code, told["status"], told["checks"]["cache"]["ok"]) == (200, "degraded", False)
    assert "circuit is" in told["checks"]["cache"]["detail"]
    assert told["checks"]["database"]["ok"] is True
    assert metric(client, "pycalc_cache_circuit") > 0
    assert metric(client, "pycalc_cache_circuit_opened_total") > 0


class _Load:
    """Clients that ask several servers in turn, for one new number after the other."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._tokens = {server.url: log_in(server) for server in servers}
        self._numbers = count(30_000)
        self._seconds: dict[str, list[float]] = {url: [] for url in self._tokens}

    async def around(self, step: Callable[[], None], requests: int) -> list[list[float]]:
        """Do a step; return the seconds of the next so many requests to each server, those under way among them."""
        begun = len(min(self._seconds.values(), key=len))
        await asyncio.to_thread(step)
        enough = begun + requests
        await until(lambda: all(len(each) >= enough for each in self._seconds.values()), "they are answered", 120)
        return [each[begun:enough] for each in self._seconds.values()]

    async def ask(self, client: httpx.AsyncClient) -> None:
        """Ask for ever; fails when an answer is not 200."""
        for number in self._numbers:
            for url, token in self._tokens.items():
                began = perf_counter()
                answer = await client.get(f"{url}/fibonacci/{number}", headers={"Authorization": f"Bearer {token}"})
                self._seconds[url].append(perf_counter() - began)
                assert answer.status_code == 200, answer.text


@asynccontextmanager
async def _load(servers: Sequence[Server]) -> AsyncIterator[_Load]:
    """Let four clients ask all the time."""
    load = _Load(servers)
    async with httpx.AsyncClient(timeout=30) as client, asyncio.TaskGroup() as group:
        asking = [group.create_task(load.ask(client)) for _ in range(4)]
        yield load
        for task in asking:
            task.cancel()
