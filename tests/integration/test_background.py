"""``pycalc relay`` and ``pycalc consume`` as processes: signals at any time end them in time, with status 0."""

from __future__ import annotations

import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from tests.services.accounts import new_person
from tests.services.kafka import Kafka, MockKafka
from tests.services.servers import background, background_command, free_port, pycalc, settings_of, spawn
from tests.services.waiting import wait_until

pytestmark = pytest.mark.serial

IN_TIME = 9.0
COMMANDS = ("relay", "consume")


@pytest.fixture
def shared(kafka: Kafka | MockKafka, postgres_url: str) -> dict[str, Any]:
    """Return the settings of a database and a topic of the test's own."""
    return {"database_url": postgres_url, "stream_url": kafka.url(f"background-{secrets.token_hex(6)}")}


def blocks_signals(pid: int) -> bool:
    """Return whether a process has taken over its signals."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.partition("SigBlk:")[2].split()[0], 16)
    return bool(mask >> signal.SIGTERM - 1 & 1)


@pytest.mark.parametrize("command", COMMANDS)
def test_signals_while_it_starts(shared: dict[str, Any], tmp_path: Path, command: str) -> None:
    """The first one is kept until it can be heeded, the others change nothing."""
    process = spawn(background_command(command), settings_of(tmp_path, free_port(), **shared), tmp_path / "log")
    wait_until(lambda: blocks_signals(process.pid), "it has taken over its signals")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
    assert process.wait(IN_TIME) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("command", COMMANDS)
def test_signals_again_and_again(shared: dict[str, Any], tmp_path: Path, command: str) -> None:
    """It ends once, cleanly, whatever else is sent meanwhile."""
    with background(command, log=tmp_path / "log", **shared) as running:
        with pytest.raises(subprocess.TimeoutExpired):
            running.process.wait(0.2)
        while running.process.poll() is None:
            running.process.send_signal(signal.SIGTERM)
            running.process.send_signal(signal.SIGINT)
    assert running.process.returncode == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


@contextmanager
def hanging(broker: Kafka) -> Iterator[None]:
    """Hold a broker up."""
    broker.pause()
    try:
        yield
    finally:
        broker.resume()


@pytest.mark.parametrize("command", [*COMMANDS, "serve"])
def test_a_broker_that_hangs_does_not_hold_it_up(
    real_kafka: Kafka, shared: dict[str, Any], tmp_path: Path, command: str
) -> None:
    """With events on their way, or a group to leave: it ends within nine seconds, with status 0."""
    with (
        pycalc(data=tmp_path, relay=str(command == "serve"), **shared) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        person = new_person(client)
        with background("consume" if command == "serve" else command, **shared) as other, hanging(real_kafka):
            ending = server if command == "serve" else other
            for number in range(20):
                client.get(f"/fibonacci/{number}", headers=person.headers).raise_for_status()
            began = monotonic()
            wait_until(lambda: monotonic() > began + 1, "it is at work")
            ending.process.send_signal(signal.SIGTERM)
            began = monotonic()
            assert ending.process.wait(2 * IN_TIME) == 0
            assert monotonic() - began < IN_TIME
