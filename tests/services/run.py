"""The servers that pycalc can use, on loopback, without Docker: ``make services``.

Prints the settings to export, and stops everything at Ctrl-C.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from tests.services.kafka import kafka
from tests.services.postgres import postgres
from tests.services.pubsub import PROJECT, pubsub
from tests.services.redis import redis
from tests.services.servers import KEYS

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


def main() -> int:
    """Run every server that is installed until Ctrl-C, or SIGTERM."""
    signal.signal(signal.SIGTERM, _interrupt)
    with ExitStack() as stack:
        try:
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
        except KeyboardInterrupt:
            _say("# stopping")
    return 0


if __name__ == "__main__":
    sys.exit(main())
