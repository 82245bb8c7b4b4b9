"""``pycalc relay`` and ``pycalc consume`` with Kafka, as processes: signals end them with status 0 at any time."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.harness.accounts import new_person
from tests.harness.kafka import Kafka
from tests.harness.metrics import metric
from tests.harness.servers import Server, background, background_command, free_port, pycalc, settings_of, spawn
from tests.harness.waiting import found, wait_until

# The deadline for a process to end. A broker in these tests hangs for longer.
SECONDS = 60.0
COMMANDS = ("relay", "consume")


@pytest.fixture
def shared(real_kafka: Kafka, postgres_url: str) -> dict[str, Any]:
    """Return settings with a new database and a new topic."""
    return {"database_url": postgres_url, "stream_url": real_kafka.url(f"background-{secrets.token_hex(6)}")}


def blocks_signals(pid: int) -> bool:
    """Return whether a process blocks SIGTERM, so that the signal waits until the process reads it."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.partition("SigBlk:")[2].split()[0], 16)
    return bool(mask >> signal.SIGTERM - 1 & 1)


@pytest.mark.parametrize("command", COMMANDS)
def test_signals_while_it_starts(shared: dict[str, Any], tmp_path: Path, command: str) -> None:
    """A signal during the start ends the process cleanly; further signals change nothing."""
    process = spawn(background_command(command), settings_of(tmp_path, free_port(), **shared), tmp_path / "log")
    try:
        wait_until(lambda: blocks_signals(process.pid), "it has taken over its signals")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_port_that_is_taken(shared: dict[str, Any], tmp_path: Path, command: str) -> None:
    """If the port is taken, the process ends with status 1 and a message that names the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = spawn(background_command(command), settings_of(tmp_path, port, **shared), tmp_path / "log")
        try:
            assert process.wait(SECONDS) == 1
        finally:
            process.kill()
            process.wait()
    told = (tmp_path / "log").read_text().splitlines()[-1]
    assert told == f"pycalc: can't serve metrics on 127.0.0.1:{port}: Address already in use; see PYCALC_PORT"


@pytest.mark.parametrize("command", COMMANDS)
def test_signals_again_and_again(shared: dict[str, Any], tmp_path: Path, command: str) -> None:
    """Repeated signals end a running process with status 0 and without a traceback."""
    with background(command, log=tmp_path / "log", **shared) as running:
        with pytest.raises(subprocess.TimeoutExpired):
            running.process.wait(0.2)
        while running.process.poll() is None:
            running.process.send_signal(signal.SIGTERM)
            running.process.send_signal(signal.SIGINT)
    assert running.process.returncode == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (
            {"stream_url": "kafka://127.0.0.1:9/events"},
            "PYCALC_DATABASE_URL names an SQLite file, which only one process may use: `pycalc serve` runs the relay "
            "and the consumer itself. Separate processes need PostgreSQL.",
        ),
        (
            {"database_url": "postgresql://ada@127.0.0.1:1/pycalc"},
            "PYCALC_STREAM_URL is memory://, a stream within one process: `pycalc serve` runs the relay and the "
            "consumer itself. Separate processes need a broker.",
        ),
    ],
    ids=["SQLite", "memory://"],
)
def test_what_one_process_serves_has_no_other(
    tmp_path: Path, command: str, setting: dict[str, str], sentence: str
) -> None:
    """A separate relay or consumer is refused with SQLite and with memory://, because the server does its work."""
    environment = settings_of(tmp_path, free_port(), **setting)
    told = subprocess.run(
        background_command(command), env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stderr) == (1, f"pycalc: {sentence}\n")


@contextmanager
def hanging(broker: Kafka) -> Iterator[None]:
    """Stop a broker by SIGSTOP during the ``with`` block."""
    broker.pause()
    try:
        yield
    finally:
        broker.resume()


def metric_of(server: Server, name: str) -> float:
    """Return the value of a running process's metric."""
    with httpx.Client(base_url=server.url) as client:
        return metric(client, name)


def calculate(server: Server) -> None:
    """Record calculations, whose events then wait to be published."""
    with httpx.Client(base_url=server.url) as client:
        person = new_person(client)
        for number in range(20):
            client.get(f"/fibonacci/{number}", headers=person.headers).raise_for_status()


def ends(server: Server) -> None:
    """Send SIGTERM to a process, and assert that it ends with status 0."""
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(SECONDS) == 0


@pytest.mark.parametrize("command", ["relay", "serve"])
def test_a_broker_that_hangs_does_not_hold_a_relay_up(
    real_kafka: Kafka, shared: dict[str, Any], tmp_path: Path, command: str
) -> None:
    """While the broker hangs, a relay that is publishing ends at SIGTERM.

    This holds for a separate relay and for one in the server.
    """
    with (
        pycalc(data=tmp_path, relay=str(command == "serve"), **shared) as server,
        background("relay", **shared) if command == "relay" else nullcontext(server) as relaying,
        hanging(real_kafka),
    ):
        calculate(server)
        wait_until(lambda: metric_of(relaying, "pycalc_outbox_backlog") > 0, "events wait to be published")
        ends(relaying)


@pytest.mark.parametrize("command", ["consume", "serve"])
def test_a_broker_that_hangs_does_not_hold_an_idle_consumer_up(
    real_kafka: Kafka, shared: dict[str, Any], tmp_path: Path, command: str
) -> None:
    """While the broker hangs, an idle consumer ends at SIGTERM, both as a process and in a server with SQLite."""
    if command == "serve":
        del shared["database_url"]
    with (
        pycalc(data=tmp_path, **shared) as server,
        background("consume", **shared) if command == "consume" else nullcontext(server) as consumer,
    ):
        calculate(server)
        wait_until(lambda: metric_of(consumer, "pycalc_events_consumed_total") == 20, "all 20 events are counted")
        with hanging(real_kafka):
            ends(consumer)


@asynccontextmanager
async def counting_held_up(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Lock the usage table during the ``with`` block, so that consumers wait; yield a second connection."""
    locking, watching = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
    try:
        async with locking.transaction():
            await locking.execute("LOCK TABLE usage IN EXCLUSIVE MODE")
            yield watching
    finally:
        await locking.close()
        await watching.close()


@pytest.mark.anyio
async def test_a_broker_that_hangs_does_not_hold_a_consumer_up(
    real_kafka: Kafka, shared: dict[str, Any], tmp_path: Path
) -> None:
    """While the broker hangs, a consumer that has counted a batch but can't commit its offsets ends at SIGTERM."""

    async def in_hand() -> bool | None:
        waits = "SELECT true FROM pg_locks WHERE relation = 'usage'::regclass AND NOT granted"
        seen: bool | None = await database.fetchval(waits)
        return seen

    with (
        pycalc(data=tmp_path, **shared) as server,
        background("consume", **shared) as consumer,
        ExitStack() as outage,
    ):
        async with counting_held_up(shared["database_url"]) as database:
            calculate(server)
            await found(in_hand, "the consumer waits to count a batch")
            outage.enter_context(hanging(real_kafka))
        wait_until(lambda: metric_of(consumer, "pycalc_events_consumed_total") > 0, "the consumer has counted events")
        ends(consumer)
