"""Local servers that pycalc can use, without Docker: ``make services`` and ``make up-local``.

``make services`` starts those that are installed, and prints the settings to export. ``make up-local`` starts Redis,
Kafka and ``pycalc serve``, which uses these and an SQLite file. Ctrl-C stops everything.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from tests.harness.kafka import kafka
from tests.harness.postgres import postgres
from tests.harness.pubsub import PROJECT, pubsub
from tests.harness.redis import redis
from tests.harness.servers import KEYS

Settings = list[str]


@contextmanager
def _postgres() -> Iterator[Settings]:
    with postgres() as server:
        keys = [f"PYCALC_{name.upper()}={key}" for name, key in KEYS.items()]
        yield [f"PYCALC_DATABASE_URL={server.new_database()}", *keys]


@contextmanager
def _redis() -> Iterator[Settings]:
    with redis() as server:
        yield [f"PYCALC_CACHE_URL={server.url}"]


@contextmanager
def _kafka() -> Iterator[Settings]:
    with kafka() as broker:
        yield [f"PYCALC_STREAM_URL={broker.url('pycalc')}"]


@contextmanager
def _pubsub() -> Iterator[Settings]:
    with pubsub() as emulator:
        yield [f"PUBSUB_EMULATOR_HOST={emulator.emulator_host}", f"# PYCALC_STREAM_URL=pubsub://{PROJECT}/pycalc"]


SERVERS: dict[str, Callable[[], AbstractContextManager[Settings]]] = {
    "PostgreSQL": _postgres,
    "Redis": _redis,
    "Apache Kafka": _kafka,
    "the Pub/Sub emulator": _pubsub,
}


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _run_services(stack: ExitStack) -> int:
    """Start every server that is installed, print the settings to use it, and wait for a signal; never return."""
    for name, server in SERVERS.items():
        try:
            settings = stack.enter_context(server())
        except RuntimeError as reason:
            _say(f"# {name} does not run: {reason}")
            continue
        for setting in settings:
            _say(setting if setting.startswith("#") else f"export {setting}")
    _say("# Ctrl-C stops them all")
    while True:
        signal.pause()


def _run_service(stack: ExitStack) -> int:
    """Run the service with Redis, Kafka and the environment's database (default: SQLite); return the exit status."""
    environment = dict(os.environ)
    for name in ("Redis", "Apache Kafka"):
        try:
            settings = stack.enter_context(SERVERS[name]())
        except RuntimeError as reason:
            _say(f"{name} does not run: {reason}. `make run` needs neither Redis nor Kafka.")
            return 1
        environment |= dict(setting.split("=", 1) for setting in settings)
        _say(f"{name} runs: {' '.join(settings)}")
    # The service gets its own session, because the terminal's Ctrl-C must not reach it a second time while it drains.
    service = subprocess.Popen([sys.executable, "-m", "pycalc", "serve"], env=environment, start_new_session=True)
    try:
        return service.wait()
    except KeyboardInterrupt:
        _say("stopping")
        service.terminate()
        return service.wait()


def main(arguments: Sequence[str]) -> int:
    """Run the requested servers until Ctrl-C or SIGTERM."""
    # SIGINT is handled explicitly: a shell starts background jobs with SIGINT ignored, and Python leaves that so.
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    with ExitStack() as stack:
        try:
            return _run_service(stack) if arguments == ["local"] else _run_services(stack)
        except KeyboardInterrupt:
            _say("# stopping")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
