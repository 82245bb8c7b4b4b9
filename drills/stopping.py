"""A drill that sends SIGTERM under load: each accepted request is answered, and the process exits in time with 0.

A request is accepted once the service has read it. But a request can reach a connection just as the service closes it.
Then the client gets no byte of an answer, no row is recorded, and HTTP allows a retry (RFC 9112 §9.3.1).
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from drills.support.finding import Finding, faults
from drills.support.history import Row, compare, in_sqlite, over_http
from drills.support.load import Exchange, Ledger, Load, ask_once
from pycalc.db import migrate_database
from tests.harness.postgres import postgres
from tests.harness.servers import A_DAY, SERVE, Process, Server, free_port, log_in, pycalc, settings_of, spawn

_FEWEST_ANSWERS = 50
_LONGEST_LOAD = 0.4
# Before the shortest time, the interpreter still imports its own modules, and would handle the signal itself.
_SHORTEST_START, _LONGEST_START = 0.1, 1.2
# x^3,500,000 has 21 million digits and takes a worker about two seconds, so several requests wait when the signal
# comes.
_LONG_EXPONENTS = (1_000_000, 3_500_000, 3_500_000, 3_500_000)
_IN_TIME = 9.0
# The share of requests that may find their connection closed.
_UNREAD = 0.001
# Exit statuses of a process that was stopped before it was ready: -signal if the signal ended it, and 128 + signal if
# its handler did.
_BY_SIGNAL = (-signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGINT)


@dataclass(slots=True)
class _Stops:
    """The observations of a drill, from all its rounds."""

    slowest: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    # Exit statuses of the servers that were stopped while they started.
    starting: Counter[int] = field(default_factory=Counter)
    long: list[Exchange] = field(default_factory=list)
    streams_cut: int = 0
    # Tracebacks in the servers' logs.
    tracebacks: int = 0


def stopping(rounds: int = 50, long: Sequence[int] = _LONG_EXPONENTS) -> Finding:
    """Stop ``rounds`` servers under load. Every second server gets another signal if it still runs a while later.

    After every fifth server, start one more, and stop it during its start. ``long`` holds the exponents of powers
    that are requested just before each stop and take long to compute.
    """
    with TemporaryDirectory(prefix="drill-") as folder:
        data, port = Path(folder), free_port()
        start = partial(pycalc, data=data, port=port, log=data / "log", compute_workers="1")
        ledger, stops, _ = asyncio.run(_stopping(start, settings_of(data, port), rounds, long))
        stops.tracebacks = (data / "log").read_text().count("Traceback")
        rows = list(in_sqlite(data / "pycalc.db"))
    return _finding(
        "SIGTERM", f"{rounds} servers stopped under load, every second one by two signals", ledger, stops, rows
    )


def stopping_several(rounds: int = 20, long: Sequence[int] = _LONG_EXPONENTS) -> Finding:
    """Stop ``rounds`` services of two processes on PostgreSQL under load, in the same way as ``stopping``."""
    with postgres() as database, TemporaryDirectory(prefix="drill-") as folder:
        url = database.new_database()
        asyncio.run(migrate_database(url))
        data, port = Path(folder), free_port()
        start = partial(
            pycalc, data=data, port=port, log=data / "log", compute_workers="1", workers="2", database_url=url
        )
        environment = settings_of(data, port, workers="2", database_url=url)
        ledger, stops, token = asyncio.run(_stopping(start, environment, rounds, long))
        stops.tracebacks = (data / "log").read_text().count("Traceback")
        with pycalc(database_url=url) as server:
            rows = list(over_http(server.url, token))
    shown = f"{rounds} services of two processes on PostgreSQL stopped under load, every second one by two signals"
    return _finding("SIGTERM, several processes", shown, ledger, stops, rows)


def _finding(drill: str, shown: str, ledger: Ledger, stops: _Stops, rows: list[Row]) -> Finding:
    there = {row.operand for row in rows}
    unanswered = [each for each in ledger.exchanges if each.status is None]
    accepted = [each for each in unanswered if each.cut or there & set(each.operands)]
    unread = len(unanswered) - len(accepted)
    return Finding(
        drill,
        shown,
        {
            "requests": len(ledger.exchanges),
            "closed unread": unread,
            "long computations answered": str(dict(Counter(str(each.status) for each in stops.long))),
            "slowest exit s": stops.slowest,
            "while starting": str({str(status): times for status, times in stops.starting.items()}),
        },
        faults(
            **compare(ledger, rows)._asdict(),
            accepted_and_unanswered=len(accepted) + sum(each.status is None for each in stops.long),
            too_many_unread=unread > max(1.0, _UNREAD * len(ledger.exchanges)),
            streams_cut=stops.streams_cut,
            too_slow=stops.slowest > _IN_TIME,
            other_exit_statuses=str(+Counter({s: n for s, n in stops.statuses.items() if s != 0}) or ""),
            other_statuses_at_start=sum(n for s, n in stops.starting.items() if s not in (0, *_BY_SIGNAL)),
            tracebacks=stops.tracebacks,
        ),
    )


async def _stopping(
    start: Callable[..., AbstractContextManager[Server]],
    environment: Mapping[str, str],
    rounds: int,
    exponents: Sequence[int],
) -> tuple[Ledger, _Stops, str]:
    """Stop ``rounds`` services; return the ledger of requests, the observations, and the access token."""
    # Servers would inherit an ignored SIGINT, which shells set for jobs in the background.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    ledger, stops, chance = Ledger(), _Stops(), random.Random()  # noqa: S311  # moments, not secrets
    with start(access_token_seconds=A_DAY) as server:
        token, port = log_in(server), server.port
    load = Load(ledger, token, patient=False)
    for number in range(1, rounds + 1):
        with start() as server:
            async with load.on(port):
                await ledger.more_answers(_FEWEST_ANSWERS)
                long = [asyncio.create_task(ask_once(ledger, port, token, exponent)) for exponent in exponents]
                stream = asyncio.create_task(_stream_ended(port, token))
                await asyncio.sleep(chance.uniform(0.05, _LONGEST_LOAD))
                await _stop(
                    server.process, stops, chance.choice((0.1, 5.0)) * chance.random() if number % 2 == 0 else 30
                )
            stops.long += await asyncio.gather(*long)
            stops.streams_cut += not await stream
        if number % 5 == 0:
            await _stop_at_start(environment, stops, chance)
    return ledger, stops, token


async def _stop(process: Process, stops: _Stops, again_after: float) -> None:
    """Send SIGTERM, and a second signal if the process still runs after ``again_after`` seconds; note how it ends."""
    began = monotonic()
    process.send_signal(signal.SIGTERM)
    ended = asyncio.create_task(asyncio.to_thread(process.wait, 30))
    await asyncio.wait({ended}, timeout=again_after)
    if not ended.done():
        process.send_signal(random.choice((signal.SIGTERM, signal.SIGINT)))  # noqa: S311
    stops.statuses[await ended] += 1
    stops.slowest = max(stops.slowest, monotonic() - began)


async def _stop_at_start(environment: Mapping[str, str], stops: _Stops, chance: random.Random) -> None:
    process = spawn(SERVE, environment)
    await asyncio.sleep(chance.uniform(_SHORTEST_START, _LONGEST_START))
    process.send_signal(chance.choice((signal.SIGTERM, signal.SIGINT)))
    await asyncio.to_thread(process.wait, 30)
    stops.starting[process.returncode] += 1


async def _stream_ended(port: int, token: str) -> bool:
    """Follow the event stream; return whether it ended with its last chunk (RFC 9112 §7.1) instead of being cut."""
    request = f"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request.encode())
        received = await reader.read()
    except OSError:
        return False
    writer.close()
    return received.startswith(b"HTTP/1.1 200") and received.endswith(b"\r\n0\r\n\r\n")
