"""The caches, streams and databases under contract tests. A backend that is added here runs all tests of its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.harness.kafka import Kafka
from tests.harness.pubsub import PubSub

# The URL of each cache, with at most about a megabyte in each tier; {port} stands for the port of a Redis of that size.
CACHES: dict[str, str] = {
    "memory": "memory://?max_bytes=1000000",
    "fake redis": "redis://127.0.0.1:{port}/0?max_bytes=1000000",
    "fake redis alone": "redis://127.0.0.1:{port}/0?max_bytes=0",
    "redis": "redis://127.0.0.1:{port}/0?max_bytes=1000000",
    "redis alone": "redis://127.0.0.1:{port}/0?max_bytes=0",
}
_SHORT_SESSIONS = "session.timeout.ms=3000"
STREAMS: dict[str, Callable[[pytest.FixtureRequest, str], str]] = {
    "memory": lambda _request, _topic: "memory://",
    "mock kafka": lambda request, topic: request.getfixturevalue("mocked_kafka").url(topic, _SHORT_SESSIONS),
    "fake pubsub": lambda request, topic: request.getfixturevalue("faked_pubsub").url(topic),
    "kafka": lambda request, topic: request.getfixturevalue("real_kafka").url(topic, _SHORT_SESSIONS),
    "pubsub": lambda request, topic: request.getfixturevalue("real_pubsub").url(topic),
}
DATABASES = ("sqlite", "postgresql")
_WITHOUT_PROGRAM = {"memory", "sqlite", "fake redis", "fake redis alone", "mock kafka", "fake pubsub"}


def each(kinds: Iterable[str]) -> list[object]:
    """Return a test parameter for each backend; those that need a server program have the mark ``programs``."""
    return [pytest.param(kind, marks=[] if kind in _WITHOUT_PROGRAM else pytest.mark.programs) for kind in kinds]


@contextmanager
def _ended(broker: Kafka) -> Iterator[None]:
    broker.kill()
    try:
        yield
    finally:
        broker.start()


@contextmanager
def _hanging(broker: Kafka | PubSub) -> Iterator[None]:
    broker.pause()
    try:
        yield
    finally:
        broker.resume()


# Ways in which a real broker becomes unavailable without losing data: the broker, and a context manager.
OUTAGES: dict[str, tuple[str, Callable[[pytest.FixtureRequest], AbstractContextManager[None]]]] = {
    "kafka, killed": ("kafka", lambda request: _ended(request.getfixturevalue("real_kafka"))),
    "kafka, hanging": ("kafka", lambda request: _hanging(request.getfixturevalue("real_kafka"))),
    "pubsub, hanging": ("pubsub", lambda request: _hanging(request.getfixturevalue("real_pubsub"))),
}
