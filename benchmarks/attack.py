"""A benchmark of the latencies of other users while one user sends the most expensive requests."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import statistics
from collections import Counter
from multiprocessing.connection import Connection
from time import perf_counter

import httpx

from tests.harness.servers import Server, log_in, pycalc

ATTACKERS = 100
SECONDS = 20.0
# The largest results that the limits allow, and requests far beyond the limits. In each request, new operands replace
# the names in braces.
SHAPES = (
    "/fibonacci/{fib}",
    "/factorial/{fac}",
    "/pow/3/{pow}",
    "/fibonacci/{fib}{zeros}1",
    "/pow/{odd}/1e9980?view=summary",
    "/pow/{odd}/0.5?precision=10000",
    "/factorial/1000000000000000000?mod=1000000000000000000000000{odd}",
    "/fibonacci/1000000000000000{odd}",
)


def _client(server_url: str, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=server_url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=120.0,
        limits=httpx.Limits(max_connections=None),
    )


async def _attack(client: httpx.AsyncClient, index: int, statuses: Counter[int]) -> None:
    """Send expensive requests with new operands until cancelled; count the statuses of the answers.

    ``index``, the number of this attacker, selects its operands and the first of its requests.
    """
    attempt = 0
    while True:
        attempt += 1
        number = 119_000_000 - 1000 * attempt - index
        shape = SHAPES[(index + attempt) % len(SHAPES)]
        path = shape.format(
            fib=number, fac=number // 30, pow=number // 3, zeros="0" * (attempt % 2000), odd=2 * attempt + 1
        )
        async with client.stream("GET", path, headers={"Accept": "text/plain"}) as answer:
            statuses[answer.status_code] += 1
            async for _ in answer.aiter_raw():
                pass
            if answer.status_code == 503:
                await asyncio.sleep(1)  # less than Retry-After asks, which is 5 s when the workers' queue is full


async def _attack_all(url: str, token: str) -> Counter[int]:
    statuses: Counter[int] = Counter()
    async with _client(url, token) as client:
        attacks = [asyncio.create_task(_attack(client, index, statuses)) for index in range(ATTACKERS)]
        _, pending = await asyncio.wait(attacks, timeout=SECONDS + 1)
        for attack in pending:
            attack.cancel()
        await asyncio.gather(*attacks, return_exceptions=True)
    return statuses


def _attacking_process(url: str, token: str, report: Connection) -> None:
    os.nice(15)  # on a real network the attackers run on other machines
    report.send(asyncio.run(_attack_all(url, token)))


async def _probe(client: httpx.AsyncClient, path: str, until: float) -> list[float]:
    """Request a path again and again until ``perf_counter`` reaches ``until``; return the latencies in seconds.

    In each request, a new number replaces ``{}`` in the path. Raises HTTPStatusError for an error status.
    """
    latencies = []
    number = 0
    while perf_counter() < until:
        number += 1
        started = perf_counter()
        answer = await client.get(path.format(number))
        answer.raise_for_status()
        latencies.append(perf_counter() - started)
        await asyncio.sleep(0.02)
    return latencies


async def _probe_all(server: Server, token: str) -> tuple[list[float], list[float]]:
    async with _client(server.url, token) as client:
        until = perf_counter() + SECONDS
        return await asyncio.gather(_probe(client, "/healthz", until), _probe(client, "/fibonacci/{}", until))


def attack() -> None:
    """Print the latencies of /healthz and of a user's small calculations while another user attacks."""
    context = multiprocessing.get_context("spawn")
    with pycalc() as server:
        attacker, victim = log_in(server, "mallory"), log_in(server, "alice")
        report, remote = context.Pipe(duplex=False)
        process = context.Process(target=_attacking_process, args=(server.url, attacker, remote))
        process.start()
        health, small = asyncio.run(_probe_all(server, victim))
        peak = server.memory_mib("VmHWM")
        statuses: Counter[int] = report.recv()
        process.join()
    print(f"\n## {ATTACKERS} clients asking for the largest things for {SECONDS:.0f} s\n")
    for title, latencies, target in (("/healthz", health, 50), ("another user's small calculation", small, 100)):
        p99 = statistics.quantiles(latencies, n=100)[98] * 1000
        print(f"- {title}: p50 {statistics.median(latencies) * 1000:.1f} ms, **p99 {p99:.1f} ms** (target {target} ms)")
    print(f"- answers to the attackers: {dict(sorted(statuses.items()))}; memory at its peak {peak:.0f} MiB")
