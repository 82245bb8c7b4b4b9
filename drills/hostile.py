"""A drill that measures another user's latencies while a hostile account and a hostile IP address attack the service.

Clients of the hostile account ask for expensive calculations and batches, and some read their answers slowly. Clients
of the hostile address have no account: they send large and broken bodies, invent credentials, and ask for public pages.
The other user asks for small calculations, one after the other, and a probe asks for ``/healthz``.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import resource
import secrets
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count, cycle
from multiprocessing.connection import Connection as Pipe
from time import monotonic
from typing import Any

from drills.support.connection import Connection, Unanswered, request
from drills.support.finding import Finding, faults
from tests.harness.servers import log_in, pycalc

# Upper bounds in ms of the 99th percentile of the other user's calculations and of ``/healthz``.
CALCULATION_MS, HEALTH_MS = 100.0, 50.0
_PAUSE = 0.02
_ACCOUNT_CONNECTIONS, _ADDRESS_CONNECTIONS, _SLOW_READERS = 64, 32, 16
_PRIMES = [n for n in range(2, 18_000) if all(n % k for k in range(2, int(n**0.5) + 1))]
_JSON = {"Content-Type": "application/json"}


def _smooth_modulus(digits: int) -> int:
    """Return twice the product of the first primes, about 10^``digits``; few numbers have an inverse modulo it."""
    product = 2
    for prime in _PRIMES:
        product *= prime
        if product >= 10**digits:
            break
    return product


def _batch(path: list[dict[str, object]]) -> bytes:
    return json.dumps({"operations": path}).encode()


def account_requests(token: str) -> Iterator[bytes]:
    """Yield the requests of the hostile account, without end; nearly all have new operands."""
    bearer = {"Authorization": f"Bearer {token}"}
    modulus = _smooth_modulus(7_000)
    long_base = "1" + "0" * 9_990
    for number in count(1):
        yield request(f"/factorial/{modulus - number}?mod={modulus}", bearer)
        yield request(f"/pow/{long_base}{number}/1", bearer)
        yield request(f"/factorial/{200_000_000 + number}?mod={_PRIMES[-number % 1_000] * 1_000_003}", bearer)
        yield request(f"/pow/{'7' * 9_000}{number}/{'3' * 9_000}?mod={modulus}", bearer)
        yield request(f"/fibonacci/{10**18 - number}?view=summary", bearer)
        yield request(f"/pow/{number + 2}/0.{'3' * 200}?precision=10000", bearer)
        yield request(f"/fibonacci/{50_000_000 + number}", {**bearer, "Accept": "text/plain"})
        long_ones: list[dict[str, object]] = [
            {"operation": "pow", "input": {"x": f"{long_base}{number}{index}", "y": "1"}} for index in range(40)
        ]
        yield request("/batch", {**bearer, **_JSON}, "POST", _batch(long_ones))
        yield request("/fibonacci/30000000", {**bearer, "Accept": "text/plain", "If-None-Match": f'"{number}"'})


def address_requests() -> Iterator[bytes]:
    """Yield the requests of the hostile address, without end; none has valid credentials."""
    many_fields = json.dumps({str(index): 0 for index in range(100_000)}).encode()
    deep = b"[" * 500_000
    for path in cycle(("/login", "/register", "/token/refresh", "/batch")):
        yield request(path, _JSON, "POST", many_fields)
        yield request(path, _JSON, "POST", deep)
        yield request(path, {**_JSON, "Transfer-Encoding": "chunked"}, "POST") + b"-1\r\n{}\r\n0\r\n\r\n"
        yield request(path, {**_JSON, "Content-Length": "1000"}, "POST") + b"{"
        yield request("/me", {"Authorization": f"Bearer pck_{secrets.token_urlsafe(32)}"})
        yield request("/fibonacci/1", {"Authorization": f"Bearer {secrets.token_urlsafe(300)}"})
        for page in ("/metrics", "/readyz", "/openapi.json", "/docs"):
            yield request(page, {})


async def _keep_asking(port: int, requests: Iterator[bytes], until: float, seen: Counter[int]) -> None:
    """Send requests until ``monotonic`` reaches ``until``, and count the statuses; reconnect after a failure."""
    while monotonic() < until:
        with suppress(OSError, Unanswered, ValueError, TimeoutError):
            connection = await Connection.open(port)
            try:
                while connection.usable and monotonic() < until:
                    async with asyncio.timeout(min(40.0, until - monotonic())):
                        seen[(await connection.ask(next(requests))).status] += 1
            finally:
                connection.close()


async def _read_slowly(port: int, token: str, until: float) -> None:
    """Request batches with long answers until ``monotonic`` reaches ``until``; read a byte of the answer a second."""
    items: list[dict[str, object]] = [{"operation": "pow", "input": {"x": "2", "y": "3300"}} for _ in range(900)]
    sent = request("/batch", {"Authorization": f"Bearer {token}", **_JSON}, "POST", _batch(items))
    while monotonic() < until:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
            writer.write(sent)
            for _ in range(round(until - monotonic())):
                if not await reader.read(1):
                    break
                await asyncio.sleep(1)
            writer.close()


def _attack(port: int, token: str, seconds: float, report: Pipe) -> None:
    """Run the hostile clients for ``seconds`` seconds, then send the count of each status to ``report``."""
    os.nice(10)  # on a real network the clients run on other machines
    sys.set_int_max_str_digits(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    until, seen = monotonic() + seconds, Counter[int]()

    async def all_of_them() -> None:
        of_account, of_address = account_requests(token), address_requests()
        await asyncio.gather(
            *(_keep_asking(port, of_account, until, seen) for _ in range(_ACCOUNT_CONNECTIONS)),
            *(_keep_asking(port, of_address, until, seen) for _ in range(_ADDRESS_CONNECTIONS)),
            *(_read_slowly(port, token, until) for _ in range(_SLOW_READERS)),
        )

    asyncio.run(all_of_them())
    report.send(seen)


@contextmanager
def attacked(
    attack: Callable[[int, str, float, Pipe], None], port: int, token: str, seconds: float
) -> Iterator[Callable[[], Counter[Any]]]:
    """Run ``attack`` in a process during the ``with`` block; yield a function that waits for the report."""
    context = multiprocessing.get_context("spawn")
    report, remote = context.Pipe()
    process = context.Process(target=attack, args=(port, token, seconds, remote))
    process.start()
    try:
        yield report.recv
    finally:
        process.terminate()
        process.join()


async def _timed(port: int, requests: Iterator[bytes], until: float, statuses: Counter[int]) -> list[float]:
    """Send requests with pauses until ``monotonic`` reaches ``until``; return the latencies in seconds."""
    connection, latencies = await Connection.open(port), []
    while monotonic() < until:
        if not connection.usable:
            connection = await Connection.open(port)
        answer = await connection.ask(next(requests))
        statuses[answer.status] += 1
        latencies.append(answer.seconds)
        await asyncio.sleep(_PAUSE)
    connection.close()
    return latencies


async def others(port: int, token: str, seconds: float) -> tuple[list[float], list[float], Counter[int]]:
    """Request calculations and health checks for ``seconds``; return both latencies in seconds, and the statuses."""
    until, statuses = monotonic() + seconds, Counter[int]()
    bearer = {"Authorization": f"Bearer {token}"}
    small = (request(f"/pow/{number}/2", bearer) for number in count(10_000))
    health = (request("/healthz", {}) for _ in count())
    calculations, checks = await asyncio.gather(
        _timed(port, small, until, statuses), _timed(port, health, until, statuses)
    )
    return calculations, checks, statuses


def hostile(seconds: float = 600.0) -> Finding:
    """Measure the latencies of another user and of health checks for ``seconds`` seconds, during an attack."""
    with pycalc(login_limit="10/minute") as server:
        user, attacker = log_in(server, "user"), log_in(server, "attacker")
        with attacked(_attack, server.port, attacker, seconds + 5) as seen:
            calculations, checks, statuses = asyncio.run(others(server.port, user, seconds))
            hostile_statuses = seen()
        memory = server.memory_mib("VmHWM")
    refused = statuses.total() - statuses[200]
    return Finding(
        "hostile clients",
        f"an account with {_ACCOUNT_CONNECTIONS + _SLOW_READERS} connections and an address with "
        f"{_ADDRESS_CONNECTIONS} for {seconds:g} s",
        {
            "hostile requests": hostile_statuses.total(),
            "another user's p50 ms": statistics.median(calculations) * 1000,
            "p99 ms": p99(calculations),
            "longest ms": max(calculations) * 1000,
            "/healthz p99 ms": p99(checks),
            "/healthz longest ms": max(checks) * 1000,
            "memory at its peak MiB": memory,
        },
        faults(
            slow_calculations=p99(calculations) > CALCULATION_MS,
            slow_health_checks=p99(checks) > HEALTH_MS,
            others_refused=refused,
            internal_errors=hostile_statuses[500],
        ),
    )


def p99(latencies: list[float]) -> float:
    """Return the 99th percentile in milliseconds of latencies in seconds."""
    return statistics.quantiles(latencies, n=100)[98] * 1000
