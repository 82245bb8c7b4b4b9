"""A member of a Kafka consumer group, with a driver whose answers the test sets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from structlog.testing import capture_logs

from pycalc.errors import StreamUnavailable
from pycalc.observability.metrics import Metrics
from pycalc.streaming.base import MessageBatch
from pycalc.streaming.broker_errors import BrokerErrors
from pycalc.streaming.kafka.client import kafka_errors
from pycalc.streaming.kafka.consumer import KafkaMember

pytestmark = pytest.mark.anyio

BATCH = MessageBatch([], [TopicPartition("events", 0, 7), TopicPartition("events", 1, 8)])


class Driver:
    """A fake Kafka consumer with two partitions and no messages; its commits report ``errors``, by partition."""

    errors: Sequence[KafkaError | None] = (None, None)

    def __init__(self, _configuration: object) -> None:
        """Accept every configuration."""

    def subscribe(self, _topics: object) -> None:
        """Accept every topic."""

    def assignment(self) -> list[TopicPartition]:
        """Return both partitions."""
        return [TopicPartition("events", number) for number in range(2)]

    def commit(self, *, offsets: Sequence[TopicPartition], asynchronous: bool) -> list[SimpleNamespace]:
        """Return the offsets, with the errors that the test has set."""
        assert not asynchronous
        return [SimpleNamespace(error=error) for _, error in zip(offsets, self.errors, strict=True)]

    def poll(self, _seconds: float) -> None:
        """Return no message."""

    def close(self) -> None:
        """Do nothing."""


async def topic_lives() -> None:
    """Find that the topic was not recreated."""


@pytest.fixture
def errors() -> BrokerErrors:
    """Return the handler of the member's errors."""
    return kafka_errors(Metrics())


@pytest.fixture
async def member(errors: BrokerErrors, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KafkaMember]:
    """Return a member that uses the fake driver."""
    monkeypatch.setattr("pycalc.streaming.kafka.consumer.Consumer", Driver)
    monkeypatch.setattr("pycalc.streaming.kafka.consumer.RECEIVE_SECONDS", 0.0)
    opened = KafkaMember({}, "events", topic_lives, errors)
    yield opened
    await opened.aclose()


async def test_a_commit_fails_when_it_fails_for_one_partition(
    member: KafkaMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit fails if the driver reports an error for one partition in the result instead of raising it."""
    await member.commit(BATCH)
    for position in range(2):
        results: list[KafkaError | None] = [None, None]
        results[position] = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
        monkeypatch.setattr(Driver, "errors", results)
        with pytest.raises(StreamUnavailable):
            await member.commit(BATCH)


async def test_a_partition_that_another_member_has_now_is_only_logged(
    member: KafkaMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If another member has got the partition, a failed commit is only logged: that member gets the messages again."""
    monkeypatch.setattr(Driver, "errors", [None, KafkaError(KafkaError.ILLEGAL_GENERATION)])
    with capture_logs() as logs:
        await member.commit(BATCH)
    assert [log["error"] for log in logs] == ["ILLEGAL_GENERATION"]


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list whose last number is the time for members, which use the Driver and never wait for messages."""
    moments = [100.0]
    monkeypatch.setattr("pycalc.streaming.kafka.consumer.Consumer", Driver)
    monkeypatch.setattr("pycalc.streaming.kafka.consumer.RECEIVE_SECONDS", 0.0)
    monkeypatch.setattr("pycalc.streaming.kafka.consumer.monotonic", lambda: moments[-1])
    return moments


async def test_a_member_checks_its_topic_every_3_seconds(errors: BrokerErrors, moments: list[float]) -> None:
    """A member checks every 3 s that its topic was not recreated, and then fails."""
    checks = list[float]()

    async def check() -> None:
        checks.append(moments[-1])
        if len(checks) == 3:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_ID))

    member = KafkaMember({}, "events", check, errors)
    for moment in (100.0, 102.9, 103.1, 106.0, 106.2, 109.1):
        moments.append(moment)
        await member.receive()
    moments.append(109.3)
    with pytest.raises(StreamUnavailable):
        await member.receive()
    assert checks == [103.1, 106.2, 109.3]
    await member.aclose()


async def test_slow_checks_leave_time_for_messages(errors: BrokerErrors, moments: list[float]) -> None:
    """If a check of the topic takes longer than the interval, messages are still received for 3 s until the next."""
    checks = list[float]()

    async def check() -> None:
        checks.append(moments[-1])
        moments.append(moments[-1] + 5)

    member = KafkaMember({}, "events", check, errors)
    for moment in (103.1, 108.2, 111.0, 111.2):
        moments.append(moment)
        await member.receive()
    assert checks == [103.1, 111.2]
    await member.aclose()


async def test_silence_is_no_sign_that_the_broker_answers(member: KafkaMember, errors: BrokerErrors) -> None:
    """While no message arrives, a repeated error of the driver is not logged again."""
    with capture_logs() as logs:
        for _ in range(2):
            errors.note("_ALL_BROKERS_DOWN", "all brokers are down")
            assert not (await member.receive()).deliveries
    assert [log["error"] for log in logs] == ["_ALL_BROKERS_DOWN"]
