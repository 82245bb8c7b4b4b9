"""Drills that kill relays and consumers: each event arrives in order and is counted once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from drills.streams.scene import Place, Scene, place, reaches, scene, value_of
from drills.support.finding import Finding, faults
from tests.harness.servers import Server, background, background_command, free_port, settings_of, spawn

_LONGEST_WORK = 0.5
_LONGEST_START = 1.5
# Every tenth time, the relay is killed soon after its start, mostly before it is ready.
_STARTS_EVERY = 10
# Seconds of a pause that is longer than the relay's lease, so that another relay takes over.
_LEASE_SECONDS = 20.0
_PUBLISHED = "pycalc_events_published_total"


def relay_killing(kind: str = "kafka", rounds: int = 50) -> Finding:
    """Kill ``pycalc relay`` ``rounds`` times while it is the only relay."""
    with place(kind) as where:
        return relay_killing_at(where, rounds)


def relay_killing_at(where: Place, rounds: int) -> Finding:
    """Run the drill ``relay_killing`` with a broker that runs already."""
    with background("consume", **where.settings), scene(where, relay="false") as running:
        asyncio.run(_kill_relays(where, running, rounds))
        with background("relay", **where.settings):
            found = running.faults()
    return _finding(running, "kill -9 of the relay", f"the only one, killed {rounds} times under load", found)


async def _kill_relays(where: Place, running: Scene, rounds: int) -> None:
    chance = random.Random()  # noqa: S311  # moments, not secrets
    async with running.load():
        for number in range(1, rounds + 1):
            if number % _STARTS_EVERY == 0:
                await _kill_at_start(where, "relay", chance.uniform(0, _LONGEST_START))
                continue
            with ExitStack() as stack:
                relay = await _started(stack, where, "relay")
                await reaches(relay, _PUBLISHED, 1)
                await asyncio.sleep(chance.uniform(0, _LONGEST_WORK))
                _kill(relay)


def three_relays(kind: str = "kafka", rounds: int = 20, away_seconds: float = _LEASE_SECONDS) -> Finding:
    """Run three relays, and ``rounds`` times stop, kill or pause (in turn) the leader, the one that publishes.

    A pause lasts ``away_seconds``, by default longer than the leader's lease.
    """
    with place(kind) as where:
        return three_relays_at(where, rounds, away_seconds)


def three_relays_at(where: Place, rounds: int, away_seconds: float) -> Finding:
    """Run the drill ``three_relays`` with a broker that runs already."""
    ways: list[Callable[[Server], None]] = [_stop, _kill]
    with background("consume", **where.settings), scene(where, relay="false") as running, ExitStack() as stack:
        relays = [stack.enter_context(background("relay", **where.settings)) for _ in range(3)]
        asyncio.run(_change_leaders(where, running, stack, relays, ways, rounds, away_seconds))
        found = running.faults()
    return _finding(running, "three relays", f"the leader taken away {rounds} times under load", found)


async def _change_leaders(
    where: Place,
    running: Scene,
    stack: ExitStack,
    relays: list[Server],
    ways: list[Callable[[Server], None]],
    rounds: int,
    away_seconds: float,
) -> None:
    async with running.load():
        for number in range(rounds):
            leader = await _leader(relays)
            if number % 3 == 2:
                os.kill(leader.pid, signal.SIGSTOP)
                await asyncio.sleep(away_seconds)
                os.kill(leader.pid, signal.SIGCONT)
            else:
                ways[number % 3](leader)
                relays[relays.index(leader)] = await _started(stack, where, "relay")


async def _leader(relays: list[Server]) -> Server:
    """Return the relay that publishes (the leader); raises TimeoutError if there is none within 60 s."""
    async with asyncio.timeout(60):
        while True:
            for relay in relays:
                if await asyncio.to_thread(value_of, relay, "pycalc_relay_leading"):
                    before = await asyncio.to_thread(value_of, relay, _PUBLISHED)
                    if before is not None:
                        await reaches(relay, _PUBLISHED, before + 1)
                        return relay
            await asyncio.sleep(0.1)


def consumer_killing(kind: str = "kafka", rounds: int = 50) -> Finding:
    """Start a third consumer and kill one of the three, ``rounds`` times, so that the group keeps rebalancing.

    Every fifth time, the consumer is stopped instead of killed.
    """
    with place(kind, "session.timeout.ms=6000" if kind == "kafka" else "") as where:
        return consumer_killing_at(where, rounds)


def consumer_killing_at(where: Place, rounds: int) -> Finding:
    """Run the drill ``consumer_killing`` with a broker that runs already."""
    with scene(where) as running:
        counted = asyncio.run(_kill_consumers(where, running, rounds))
        with background("consume", **where.settings), background("consume", **where.settings):
            found = running.faults()
    shown = f"one of three killed {rounds} times under load, {counted} events counted meanwhile"
    return _finding(running, "kill -9 of the consumer", shown, found)


async def _kill_consumers(where: Place, running: Scene, rounds: int) -> int:
    chance = random.Random()  # noqa: S311  # moments, not secrets
    with ExitStack() as stack:
        consumers = [stack.enter_context(background("consume", **where.settings)) for _ in range(2)]
        async with running.load():
            for number in range(1, rounds + 1):
                consumers.append(await _started(stack, where, "consume"))
                await asyncio.sleep(chance.uniform(0, _LONGEST_START))
                gone = consumers.pop(chance.randrange(len(consumers)))
                (_stop if number % 5 == 0 else _kill)(gone)
        return await asyncio.to_thread(running.counted)


async def _started(stack: ExitStack, where: Place, command: str) -> Server:
    """Start a relay or a consumer, which ends with ``stack``; return it once it runs."""
    return await asyncio.to_thread(stack.enter_context, background(command, **where.settings))


def _kill(server: Server) -> None:
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()


def _stop(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(15)


async def _kill_at_start(where: Place, command: str, seconds: float) -> None:
    with TemporaryDirectory(prefix="drill-") as data:
        process = spawn(background_command(command), settings_of(Path(data), free_port(), **where.settings))
        await asyncio.sleep(seconds)
        process.kill()
        process.wait()


def _finding(running: Scene, drill: str, shown: str, found: Mapping[str, int | str]) -> Finding:
    figures = {"requests": len(running.ledger.exchanges), "deliveries repeated": running.repeated}
    return Finding(drill, shown, figures, faults(**found))
