"""A benchmark of 8,000 open event streams: their memory, and the delay of events and calculations meanwhile."""

from __future__ import annotations

import asyncio
import re
import resource
import statistics
from time import time

from drills.support.connection import Connection, request
from tests.harness.servers import A_DAY, Server, log_in, pycalc

# Fewer than the 8,192 connections that the server accepts, because the calculations need some too.
STREAMS = 8_000
_EACH = 20
_RATE, _CALCULATING, _SECONDS = 100, 20, 20
_OPENING = 16  # opened at the same time; each opening reads the database
_EVENT = re.compile(rb"id: ([0-9a-f]{8})-([0-9a-f]{4})-[^\n]*\ndata: ")


class _Listener(asyncio.Protocol):
    """A client of one event stream that notes the age of each event on arrival."""

    def __init__(self, delays: list[float]) -> None:
        self._delays = delays
        self.connected: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Note the age of each received event, computed from the time in its id."""
        now = time()
        if not self.connected.done():
            self.connected.set_result(data.startswith(b"HTTP/1.1 200 "))
        self._delays += [now - int(high + low, 16) / 1000 for high, low in _EVENT.findall(data)]

    def connection_lost(self, error: Exception | None) -> None:
        """If the connection ends before any answer, raise the error in the task that waits for the answer."""
        if not self.connected.done():
            self.connected.set_exception(error or ConnectionError("the stream was not opened"))


def event_streams() -> None:
    """Print the memory per open stream, and the 99th percentiles of the delays of events and of calculations."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with pycalc(
        event_streams=str(STREAMS + 100), trusted_proxies="127.0.0.1", access_token_seconds=A_DAY, compute_workers="1"
    ) as server:
        tokens = [log_in(server, f"user-{number}") for number in range(STREAMS // _EACH)]
        asyncio.run(_measure(server, tokens))


async def _measure(server: Server, tokens: list[str]) -> None:
    alone = await _calculate(server, tokens)
    before, delays = server.memory_mib(), list[float]()
    opened = await _open(server, tokens, delays)
    each = (server.memory_mib() - before) * 1024 / STREAMS
    used = server.cpu_seconds()
    times = await _calculate(server, tokens)
    used = (server.cpu_seconds() - used) / _SECONDS
    for transport in opened:
        transport.close()
    expected = len(times) * _EACH
    print(f"\n## {STREAMS:,} event streams open, {_RATE} calculations/s\n")
    print("| | figure | target |\n|---|---|---|")
    print(f"| memory of an open stream, KiB | **{each:.1f}** | 30 |")
    print(f"| events that arrived, of {expected:,} | {len(delays):,} | all |")
    print(f"| events' p99, s | **{_p99(delays):.3f}** | 1 |")
    print(f"| calculations' p99, ms | **{_p99(times) * 1000:.1f}** | 50 |")
    print(f"| calculations' p99 without streams, ms | {_p99(alone) * 1000:.1f} | |")
    print(f"| cores used by the service | {used:.2f} | |", flush=True)


async def _open(server: Server, tokens: list[str], delays: list[float]) -> list[asyncio.Transport]:
    """Open several event streams with each token, and return their connections.

    Each stream adds the delays of its events to ``delays``.
    """
    loop, slots = asyncio.get_running_loop(), asyncio.Semaphore(_OPENING)

    async def opened(token: str) -> asyncio.Transport:
        async with slots:
            while True:
                transport, listener = await loop.create_connection(lambda: _Listener(delays), "127.0.0.1", server.port)
                transport.write(request("/events", {"Authorization": f"Bearer {token}"}))
                if await listener.connected:
                    return transport
                transport.close()
                await asyncio.sleep(1)  # as Retry-After asks

    return await asyncio.gather(*(opened(token) for token in tokens for _ in range(_EACH)))


async def _calculate(server: Server, tokens: list[str]) -> list[float]:
    """Calculate on a fixed schedule, each request as the next user in turn; return the latencies in seconds."""
    began, times = asyncio.get_running_loop().time(), list[float]()

    async def client(number: int) -> None:
        connection = await Connection.open(server.port)
        for turn in range(_SECONDS * _RATE // _CALCULATING):
            due = began + (turn * _CALCULATING + number) / _RATE
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            token = tokens[(turn * _CALCULATING + number) % len(tokens)]
            answer = await connection.ask(request("/fibonacci/100", {"Authorization": f"Bearer {token}"}))
            if answer.status != 200:
                raise RuntimeError(f"{answer.status} {answer.body!r}")
            times.append(answer.seconds)
        connection.close()

    await asyncio.gather(*map(client, range(_CALCULATING)))
    await asyncio.sleep(1)  # let the last events arrive
    return times


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]
