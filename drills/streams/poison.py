"""A drill with an event that the broker refuses, and a message that is no event: only they are dead-lettered.

The message that is no event is called the foreign message.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from drills.streams.scene import Place, Scene, place, scene
from drills.streams.topics import SMALL_LIMIT, USUAL_LIMIT, limit_messages, put_foreign_message
from drills.support.connection import Connection, request
from drills.support.finding import Finding, faults
from drills.support.load import Exchange
from pycalc.db import open_database
from pycalc.db.base import DeadLetter
from pycalc.db.outbox import SqlDeadLetterStore, SqlOutboxStore
from pycalc.errors import StreamUnavailable
from pycalc.observability.metrics import Metrics
from pycalc.services.events import retry_schedule
from pycalc.services.events.relay import Relay
from pycalc.streaming import open_stream
from tests.harness.servers import background, settings_of
from tests.harness.waiting import until

# The URL option that turns compression off, so that a message's size is predictable.
PLAIN = "compression.type=none"
_WAIT_SECONDS = 60.0


@dataclass(slots=True)
class _Seen:
    """A record of how the service deals with the event that the stream refuses."""

    tries: float = 0.0
    # Seconds from the event's recording until it and the foreign message were dead-lettered.
    seconds: float = 0.0
    # True when the relay's ping reported the event.
    reported: bool = False
    # True when all other events arrived while this one was retried.
    flowed_on: bool = False
    letters: list[DeadLetter] = field(default_factory=list)
    # The exit status of ``pycalc dead-letters requeue``.
    requeueing: int = -1


def poison(seconds: float = retry_schedule.SECONDS) -> Finding:
    """Let Kafka refuse an event until the relay dead-letters it, after ``seconds`` seconds or more; then requeue it."""
    with place("kafka", PLAIN) as where:
        return poison_at(where, seconds)


def poison_at(where: Place, seconds: float) -> Finding:
    """Run the drill ``poison`` with a broker that runs already."""
    with background("consume", **where.settings), scene(where, relay="false") as running:
        seen = asyncio.run(_poison(where, running, seconds))
        found = running.faults("events_overtaken")  # a requeued event arrives after later ones, so order is not judged
    stages = sorted(letter.stage for letter in seen.letters)
    return Finding(
        "poison event",
        f"refused by the broker for {seconds:g} s; and a message that is no event",
        {"requests": len(running.ledger.exchanges), "tries": seen.tries, "dead-lettered after s": seen.seconds},
        faults(
            **found,
            too_few_tries=seen.tries < retry_schedule.TRIES,
            given_up_too_early=seen.seconds < seconds,
            ping_did_not_report=not seen.reported,
            rest_waited=not seen.flowed_on,
            other_letters=str(stages if stages != ["consumer", "relay"] else ""),
            requeueing_failed=seen.requeueing,
        ),
    )


async def _poison(where: Place, running: Scene, seconds: float) -> _Seen:
    """Run the drill's relay in this process, where its retry schedule can be set; return the observations."""
    seen, metrics = _Seen(), Metrics()
    async with AsyncExitStack() as stack:
        database = await open_database(where.database_url)
        stack.push_async_callback(database.aclose)
        stream = await open_stream(where.topic_url, metrics)
        stack.push_async_callback(stream.aclose)
        await asyncio.to_thread(limit_messages, where, SMALL_LIMIT)
        relay = Relay(SqlOutboxStore(database), stream, metrics, shared=True, try_seconds=seconds)
        stack.push_async_callback(relay.aclose)
        async with running.load():
            refused, identity = await too_large(running)
            await asyncio.to_thread(put_foreign_message, where)
            await _await_dead_letters(running, relay, SqlDeadLetterStore(database), seen)
        seen.tries = metrics.registry.get_sample_value("pycalc_events_refused_total") or 0.0
        await asyncio.to_thread(limit_messages, where, USUAL_LIMIT)
        numbers = [letter.number for letter in seen.letters if letter.stage == "relay"]
        seen.requeueing = await asyncio.to_thread(_requeue, where, *numbers)
        refused.ids = (identity,)
        await until(lambda: running.topic.missing([identity]) == 0, "the requeued event has arrived", _WAIT_SECONDS)
    return seen


async def _await_dead_letters(running: Scene, relay: Relay, letters: SqlDeadLetterStore, seen: _Seen) -> None:
    """Wait until the refused event and the foreign message are dead-lettered, for three minutes at most."""
    began = monotonic()
    while not seen.reported and monotonic() < began + _WAIT_SECONDS:
        try:
            await relay.ping()
        except StreamUnavailable:
            seen.reported = True
        await asyncio.sleep(0.01)
    earlier = running.ledger.acknowledged()
    await until(lambda: running.topic.missing(earlier) == 0, "all other events have arrived", _WAIT_SECONDS)
    stages: set[str] = set()
    while "relay" not in stages or "consumer" not in stages:
        seen.letters = await letters.page(0, 10)
        stages = {letter.stage for letter in seen.letters}
        seen.flowed_on = seen.flowed_on or "relay" not in stages
        seen.seconds = monotonic() - began
        await asyncio.sleep(0.05)
        if seen.seconds > 3 * _WAIT_SECONDS:
            return


async def too_large(running: Scene) -> tuple[Exchange, str]:
    """Request a calculation whose event exceeds SMALL_LIMIT, the lowered message limit of the topic.

    Return the request, and the event's id.
    """
    exchange = running.ledger.ask()
    exponent, modulus = (secrets.randbelow(9 * 10**980) + 10**980 for _ in range(2))
    connection = await Connection.open(running.server.port)
    path = f"/pow/{exchange.operands[0]}/{exponent}?mod={modulus}"
    answer = await connection.ask(request(path, {"Authorization": f"Bearer {running.tokens[0]}"}))
    connection.close()
    exchange.status, exchange.seconds = answer.status, answer.seconds
    return exchange, json.loads(answer.body)["id"]


def _requeue(where: Place, *numbers: int) -> int:
    """Requeue dead letters by ``pycalc dead-letters requeue``; return the highest exit status.

    Return 1 if no ``numbers`` are given, because the drill expects a dead letter.
    """
    with TemporaryDirectory(prefix="drill-") as data:
        environment = {**os.environ, **settings_of(Path(data), 0, **where.settings)}
        command = [sys.executable, "-m", "pycalc", "dead-letters", "requeue"]
        return max(
            (subprocess.run([*command, str(number)], env=environment, check=False).returncode for number in numbers),
            default=1,
        )
