"""The Kafka stream, checked with Kafka's own clients, and its reactions to Kafka's errors."""

from __future__ import annotations

import asyncio
import re
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing
from time import monotonic

import pytest
from confluent_kafka import Consumer, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic
from structlog.testing import capture_logs

from pycalc.errors import EventsRefused, StreamUnavailable
from pycalc.models.events import Event
from pycalc.models.ids import text_of_id
from pycalc.observability.metrics import Metrics
from pycalc.streaming.base import PUBLISH_SECONDS, USAGE_GROUP, Delivery, Member
from pycalc.streaming.kafka import producer as kafka_producer
from pycalc.streaming.kafka.client import kafka_errors
from pycalc.streaming.kafka.consumer import KafkaMember
from pycalc.streaming.kafka.options import kafka_options
from pycalc.streaming.kafka.producer import KafkaProducer
from pycalc.streaming.kafka.stream import KafkaStream
from pycalc.streaming.kafka.topic import Topic
from tests.harness.consuming import consumed, delivered
from tests.harness.events import key_of, number_of, numbered
from tests.harness.kafka import AnyKafka, Kafka
from tests.harness.mock_kafka import (
    GROUP_AUTHORIZATION_FAILED,
    MSG_SIZE_TOO_LARGE,
    OFFSET_COMMIT,
    PRODUCE,
    TOPIC_AUTHORIZATION_FAILED,
    UNKNOWN_MEMBER_ID,
    UNKNOWN_TOPIC_OR_PART,
    MockKafka,
)
from tests.harness.raw_kafka import put_with_header
from tests.harness.servers import free_port

pytestmark = pytest.mark.anyio

ADA, BOB = key_of("ada"), key_of("bob")
SECONDS = 30.0

Open = Callable[..., KafkaStream]


@pytest.fixture
def topic() -> str:
    """Return a new topic's name."""
    return f"kafka-{secrets.token_hex(6)}"


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Return a function that opens a stream by its URL; close all of them at the end."""
    async with AsyncExitStack() as stack:

        def open_one(
            url: str, credentials: str = "", metrics: Metrics | None = None, seconds: float = PUBLISH_SECONDS
        ) -> KafkaStream:
            stream = KafkaStream(url, metrics or Metrics(), credentials, seconds)
            stack.push_async_callback(stream.aclose)
            return stream

        yield open_one


@pytest.fixture
def admin(real_kafka: Kafka) -> AdminClient:
    """Return an admin client of the real broker."""
    return AdminClient({"bootstrap.servers": real_kafka.servers})


def read(servers: str, topic: str, count: int) -> list[Message]:
    """Return the first ``count`` messages of a topic, read by a plain consumer."""
    settings = {"bootstrap.servers": servers, "group.id": secrets.token_hex(6), "auto.offset.reset": "earliest"}
    with closing(Consumer(settings)) as consumer:
        consumer.subscribe([topic])
        messages: list[Message] = []
        while len(messages) < count:
            messages += consumer.consume(count - len(messages), SECONDS)
    return messages


async def test_a_message_is_a_structured_cloud_event(kafka: AnyKafka, topic: str, opened: Open) -> None:
    """A message has the event as CloudEvents JSON, its media type and ``ce_`` headers, and the user's id as key."""
    (event,) = numbered(ADA, [7])
    await opened(kafka.url(topic)).publish([event])
    (message,) = await asyncio.to_thread(read, kafka.servers, topic, 1)
    assert message.value() == event.payload
    assert message.key() == b"00000000-0000-0000-0000-000000616461"
    headers = message.headers()
    assert isinstance(headers, list)
    time = dict(headers).pop("ce_time")
    assert isinstance(time, bytes)
    assert b'"time":"' + time + b'"' in event.payload
    assert [pair for pair in headers if pair[0] != "ce_time"] == [
        ("content-type", b"application/cloudevents+json; charset=UTF-8"),
        ("ce_specversion", b"1.0"),
        ("ce_id", text_of_id(event.id).encode()),
        ("ce_source", b"/pycalc"),
        ("ce_type", b"pycalc.operation.completed.v1"),
        ("ce_subject", b"00000000-0000-0000-0000-000000616461"),
    ]


async def test_a_user_s_events_are_in_one_partition(kafka: AnyKafka, topic: str, opened: Open) -> None:
    """Events with the same key are in one partition, so every reader sees them in order."""
    keys = [key_of(f"user {n}") for n in range(20)]
    await opened(kafka.url(topic)).publish([event for key in keys for event in numbered(key, range(3))])
    partitions: dict[bytes | None, set[int | None]] = {}
    for message in await asyncio.to_thread(read, kafka.servers, topic, 60):
        partitions.setdefault(message.key(), set()).add(message.partition())
    assert [len(used) for used in partitions.values()] == [1] * 20
    assert len(set.union(*partitions.values())) > 1


async def test_a_missing_topic_is_made_as_the_url_says(real_kafka: Kafka, admin: AdminClient, opened: Open) -> None:
    """The first use creates a missing topic with the URL's number of partitions, six by default."""
    named, plain = f"kafka-{secrets.token_hex(6)}", f"kafka-{secrets.token_hex(6)}"
    await opened(real_kafka.url(named, "partitions=3")).ping()
    await opened(real_kafka.url(plain)).ping()
    assert len(admin.list_topics(named, SECONDS).topics[named].partitions) == 3
    assert len(admin.list_topics(plain, SECONDS).topics[plain].partitions) == 6


async def test_a_missing_topic_that_may_not_be_made(real_kafka: Kafka, topic: str, opened: Open) -> None:
    """With ``create=false``, the stream fails until somebody creates the topic; each failure is logged and counted."""
    metrics = Metrics()
    stream = opened(real_kafka.url(topic, "create=false"), metrics=metrics)
    events = numbered(ADA, range(2))
    with capture_logs() as logs:
        with pytest.raises(StreamUnavailable):
            await stream.publish(events)
        with pytest.raises(StreamUnavailable):
            await stream.ping()
    assert {log["error"] for log in logs} == {"UNKNOWN_TOPIC_OR_PART"}
    failures = metrics.registry.get_sample_value("pycalc_stream_failures_total", {"call": "topic"})
    assert failures == 2
    await opened(real_kafka.url(topic)).ping()
    await stream.publish(events)
    await stream.ping()
    assert await consumed(stream, 2) == events


async def read_on(member: Member) -> None:
    """Receive batches until an error is raised."""
    while True:
        await member.receive()


async def test_a_topic_that_is_deleted_meanwhile(
    real_kafka: Kafka, topic: str, admin: AdminClient, opened: Open
) -> None:
    """A deleted topic is created again; with ``create=false``, the stream is unavailable instead."""
    strict, stream = (opened(real_kafka.url(topic, options), seconds=2.0) for options in ("create=false", ""))
    *first, second = numbered(ADA, range(51))
    async with stream.consume(USAGE_GROUP) as member, asyncio.timeout(3 * SECONDS):
        await stream.publish(first)
        await strict.ping()
        before: list[Event | None] = []
        while len(before) < 50:
            before += [delivery.event for delivery in (await member.receive()).deliveries]
        assert before == first
        admin.delete_topics([topic])[topic].result(SECONDS)
        with pytest.raises(StreamUnavailable):
            await strict.publish([second])
        with pytest.raises(StreamUnavailable):
            await strict.ping()
        while True:
            try:
                await stream.publish([second])
                break
            except StreamUnavailable:
                await asyncio.sleep(0.1)
        with pytest.raises(StreamUnavailable):
            await read_on(member)
    assert set(await consumed(stream, 1)) == {second}


def make_anew(admin: AdminClient, topic: str) -> None:
    """Delete a topic, and create another one of the same name as soon as the broker allows it."""
    admin.delete_topics([topic])[topic].result(SECONDS)
    deadline = monotonic() + SECONDS
    while True:
        try:
            admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(SECONDS)
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS" or monotonic() > deadline:
                raise
        else:
            return


async def test_a_topic_made_anew_is_read_from_its_beginning(
    real_kafka: Kafka, topic: str, admin: AdminClient, opened: Open
) -> None:
    """A recreated topic is read from its beginning, even after a late commit for the old topic.

    Members of the old topic get an error, and must rejoin.
    """
    stream = opened(real_kafka.url(topic, "partitions=1"))
    old, new = numbered(ADA, range(5)), numbered(ADA, range(5, 15))
    await stream.publish(old)
    async with asyncio.timeout(SECONDS), stream.consume(USAGE_GROUP) as member:
        while not (batch := await member.receive()).deliveries:
            pass
        await asyncio.to_thread(make_anew, admin, topic)
        await opened(real_kafka.url(topic)).publish(new)
        await member.commit(batch)
        with pytest.raises(StreamUnavailable):
            await read_on(member)
    assert await consumed(stream, 10) == new
    groups = await asyncio.to_thread(admin.list_consumer_groups().result, SECONDS)
    names = [group.group_id for group in groups.valid if group.group_id.startswith(topic)]
    assert len(names) == 2
    assert all(re.fullmatch(rf"{topic}-usage-[\w-]{{22}}", name) for name in names)


async def test_topic_checks_continue_after_a_timeout(
    real_kafka: Kafka, topic: str, admin: AdminClient, opened: Open
) -> None:
    """After a check of the topic has timed out, a later check still notices that the topic was recreated."""
    await opened(real_kafka.url(topic)).ping()
    options = kafka_options(real_kafka.url(topic), "")
    asked = Topic(options, kafka_errors(Metrics()), call_seconds=0.5)
    identity = await asked.identity()
    real_kafka.pause()
    await asked.check(identity)
    real_kafka.resume()
    await asked.check(identity)
    await asyncio.to_thread(make_anew, admin, topic)

    async def check_on() -> None:
        while True:
            await asked.check(identity)

    with pytest.raises(KafkaException):
        await asyncio.wait_for(check_on(), SECONDS)
    asked.close()


async def test_a_password_over_tls(real_kafka: Kafka, topic: str, opened: Open) -> None:
    """The right password, in the URL or in a setting, gives access over TLS."""
    events = numbered(ADA, range(3))
    url = real_kafka.secure_url(topic)
    await opened(url).publish(events[:2])
    beside = opened(url.replace("ada:lovelace@", ""), "ada:lovelace")
    await beside.publish(events[2:])
    assert await consumed(beside, 3) == events


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("ada:lovelace@", "ada:wrong@"), "Authentication failed"),
        (("ada:lovelace@", ""), "transport failure"),
        (("?ssl.ca.location=", "?client.id="), "certificate"),
    ],
)
async def test_wrong_credentials(
    real_kafka: Kafka, topic: str, opened: Open, change: tuple[str, str], reason: str
) -> None:
    """With a wrong or missing password or certificate, the stream is unavailable, and the log has the reason."""
    stream = opened(real_kafka.secure_url(topic).replace(*change))
    with capture_logs() as logs:
        outcomes = await asyncio.gather(stream.publish(numbered(ADA, range(1))), stream.ping(), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StreamUnavailable, StreamUnavailable]
    assert any(reason in f"{log['reason']} {log.get('trouble')}" for log in logs)
    assert len(logs) < 10
    assert not any("lovelace" in str(log) for log in logs)


def limit_messages(admin: AdminClient, topic: str) -> None:
    """Limit a topic's message size to 3,000 bytes."""
    limit = ConfigEntry("max.message.bytes", "3000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[limit])
    admin.incremental_alter_configs([resource])[resource].result(SECONDS)


async def test_a_broker_with_a_lower_limit_refuses_that_event_only(
    real_kafka: Kafka, topic: str, admin: AdminClient, opened: Open
) -> None:
    """If one event exceeds the topic's own size limit, only this event is refused, and all others are accepted."""
    registered = Metrics()
    stream = opened(real_kafka.url(topic), metrics=registered)
    await stream.ping()
    limit_messages(admin, topic)
    ada, bob = numbered(ADA, range(20)), numbered(BOB, range(20))
    ada[7:7] = [Event(ada[7].id[:15] + b"!", ADA, secrets.token_hex(8_000).encode())]
    metrics = registered.registry.get_sample_value
    with pytest.raises(EventsRefused) as refusal:
        await stream.publish([*ada, *bob])
    assert list(refusal.value.refused) == [ada[7].id]
    assert metrics("pycalc_events_refused_total") == 1
    got = list(dict.fromkeys(await consumed(stream, 40)))
    assert sorted(got) == sorted([*ada[:7], *ada[8:], *bob])
    assert [number_of(event) for event in got if event.key == BOB] == list(range(20))


async def test_many_events_that_are_refused_are_found_in_time(
    real_kafka: Kafka, topic: str, admin: AdminClient, opened: Open
) -> None:
    """If half of a batch is refused, the refused events are named, and the other half is accepted in order."""
    stream = opened(real_kafka.url(topic))
    await stream.ping()
    limit_messages(admin, topic)
    good = numbered(ADA, range(60))
    bad = [event._replace(content=secrets.token_bytes(8_000)) for event in numbered(ADA, range(60))]
    with pytest.raises(EventsRefused) as refusal:
        await stream.publish([event for pair in zip(good, bad, strict=True) for event in pair])
    assert sorted(refusal.value.refused) == sorted(event.id for event in bad)
    assert list(dict.fromkeys(await consumed(stream, 60))) == good


async def test_one_by_one_keeps_the_order_though_the_broker_hangs(real_kafka: Kafka, topic: str, opened: Open) -> None:
    """If the broker hangs while a batch is sent event by event, all events still arrive in their order."""
    stream = opened(real_kafka.url(topic, "partitions=1"))
    events = numbered(ADA, range(4_000))
    await stream.publish(events[:1])
    impatient = {"bootstrap.servers": real_kafka.servers, "socket.timeout.ms": 300, "reconnect.backoff.max.ms": 100}
    producer = KafkaProducer(impatient | kafka_producer.SETTINGS | kafka_producer.ONE_BY_ONE)
    got: dict[Event | None, None] = {}
    async with asyncio.timeout(SECONDS), stream.consume(USAGE_GROUP) as member:
        while not got:
            got |= dict.fromkeys(delivery.event for delivery in (await member.receive()).deliveries)
        sending = asyncio.create_task(producer.send(topic, events[1:]))
        while len(got) == 1:
            got |= dict.fromkeys(delivery.event for delivery in (await member.receive()).deliveries)
        real_kafka.pause()
        try:
            assert not sending.done()
            await asyncio.sleep(1)  # the length of the outage
        finally:
            real_kafka.resume()
        assert await sending == ({}, {})
        while len(got) < len(events):
            got |= dict.fromkeys(delivery.event for delivery in (await member.receive()).deliveries)
    await producer.aclose()
    assert list(got) == events


async def test_a_stream_that_was_closed_is_unavailable(kafka: AnyKafka, topic: str, opened: Open) -> None:
    """All calls of a closed stream and of its member raise StreamUnavailable."""
    stream = opened(kafka.url(topic))
    async with asyncio.timeout(SECONDS):
        async with stream.consume(USAGE_GROUP) as member:
            batch = await member.receive()
        await stream.aclose()
        for call in (member.receive(), member.commit(batch), stream.ping(), stream.publish(numbered(ADA, [0]))):
            with pytest.raises(StreamUnavailable):
                await call


async def topic_lives() -> None:
    """Find that the topic was not recreated."""


def test_a_member_that_can_not_subscribe_leaves_no_thread() -> None:
    """A member that fails to subscribe stops its thread."""
    configuration = {"bootstrap.servers": "127.0.0.1:1", "group.id": "nobody"}
    with pytest.raises(KafkaException):
        KafkaMember(configuration, "", topic_lives, kafka_errors(Metrics()))
    assert "kafka-consumer" not in [thread.name for thread in threading.enumerate()]


async def test_foreign_messages_are_delivered_as_such(kafka: AnyKafka, topic: str, opened: Open) -> None:
    """A message that is not an event is delivered with its bytes and position, and does not block later events."""
    stream = opened(kafka.url(topic, "partitions=1"))
    (event,) = numbered(ADA, range(1))
    await stream.ping()
    plain = Producer({"bootstrap.servers": kafka.servers})
    plain.produce(topic, b"not an event", b"key")
    plain.produce(topic, None, b"a tombstone")
    plain.flush(SECONDS)
    await stream.publish([event])
    got: list[Delivery] = []
    async with stream.consume(USAGE_GROUP) as member, asyncio.timeout(SECONDS):
        while len(got) < 3:
            batch = await member.receive()
            got += batch.deliveries
            await member.commit(batch)
    assert sorted((delivery.event, delivery.raw) for delivery in got[:2]) == [(None, b""), (None, b"not an event")]
    assert got[2].event == event
    assert [delivery.origin for delivery in got] == [f"{topic}[0]@{offset}" for offset in range(3)]


async def test_a_header_that_is_no_text_ends_nothing(kafka: AnyKafka, topic: str, opened: Open) -> None:
    """A header name that is not valid text does not crash the process, and later events are delivered."""
    stream = opened(kafka.url(topic, "partitions=1"))
    (event,) = numbered(ADA, range(1))
    await stream.ping()
    await asyncio.to_thread(put_with_header, kafka.servers, topic, b"\xff\xfe", b"poison")
    await stream.publish([event])
    first, second = await delivered(stream, 2)
    assert (first.event, first.raw) == (None, b"poison")
    assert second.event == event


@pytest.fixture
def one_partition(mocked_kafka: MockKafka, topic: str) -> str:
    """Return the URL of a topic with one partition and a long batching delay, so that a batch is one request."""
    return mocked_kafka.url(topic, "partitions=1&linger.ms=200")


async def test_of_a_refused_batch_each_event_is_tried_alone(
    mocked_kafka: MockKafka, one_partition: str, opened: Open
) -> None:
    """If the broker refuses a batch because of one event, only that one is refused; the others arrive in order."""
    metrics = Metrics()
    stream = opened(one_partition, metrics=metrics)
    events = numbered(ADA, range(5))
    mocked_kafka.fail(PRODUCE, MSG_SIZE_TOO_LARGE, 0, 0, MSG_SIZE_TOO_LARGE, 0, 0)
    with pytest.raises(EventsRefused) as refusal:
        await stream.publish(events)
    assert list(refusal.value.refused) == [events[2].id]
    assert metrics.registry.get_sample_value("pycalc_events_refused_total") == 1
    assert await consumed(stream, 4) == [*events[:2], *events[3:]]
    await stream.ping()


async def test_an_event_that_is_refused_in_a_batch_and_taken_alone_is_no_refusal(
    mocked_kafka: MockKafka, topic: str, opened: Open
) -> None:
    """An event that is refused in a batch, but accepted when sent alone, arrives once and in order."""
    stream = opened(mocked_kafka.url(topic, "partitions=1&linger.ms=0"))
    first, second, *rest = numbered(ADA, range(4))
    await stream.publish([first])
    mocked_kafka.fail(PRODUCE, MSG_SIZE_TOO_LARGE)
    await stream.publish([second])
    await stream.publish(rest)
    assert await consumed(stream, 4) == [first, second, *rest]


async def test_a_broker_that_takes_nothing_refuses_no_event(
    mocked_kafka: MockKafka, one_partition: str, opened: Open
) -> None:
    """If the broker accepts no event, the stream is unavailable, and the ping fails until events are accepted again."""
    stream = opened(one_partition)
    events = numbered(ADA, range(3))
    await stream.ping()
    mocked_kafka.fail(PRODUCE, TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(StreamUnavailable):
        await stream.publish(events)
    with pytest.raises(StreamUnavailable):
        await stream.ping()
    await stream.publish(events)
    await stream.ping()
    assert await consumed(stream, 3) == events


async def test_a_topic_that_is_not_there_and_may_not_be_made(mocked_kafka: MockKafka, topic: str, opened: Open) -> None:
    """With ``create=false``, publishing and pings fail until the topic exists; each failure is logged and counted."""
    metrics = Metrics()
    stream = opened(mocked_kafka.url(topic, "create=false"), metrics=metrics)
    events = numbered(ADA, range(2))
    mocked_kafka.hide(topic, UNKNOWN_TOPIC_OR_PART)
    with capture_logs() as logs:
        with pytest.raises(StreamUnavailable):
            await stream.publish(events)
        with pytest.raises(StreamUnavailable):
            await stream.ping()
    assert {log["error"] for log in logs} == {"UNKNOWN_TOPIC_OR_PART"}
    assert metrics.registry.get_sample_value("pycalc_stream_failures_total", {"call": "topic"}) == 2
    mocked_kafka.hide(topic, 0)
    await stream.publish(events)
    await stream.ping()
    assert await consumed(stream, 2) == events


async def test_a_late_commit_ends_nothing(mocked_kafka: MockKafka, one_partition: str, opened: Open) -> None:
    """A commit that fails because of a rebalance is only logged; one without permission raises StreamUnavailable."""
    stream = opened(one_partition)
    await stream.publish(numbered(ADA, range(2)))
    async with asyncio.timeout(SECONDS), stream.consume(USAGE_GROUP) as member:
        while not (batch := await member.receive()).deliveries:
            pass
        mocked_kafka.fail(OFFSET_COMMIT, GROUP_AUTHORIZATION_FAILED)
        with pytest.raises(StreamUnavailable):
            await member.commit(batch)
        mocked_kafka.fail(OFFSET_COMMIT, UNKNOWN_MEMBER_ID)
        with capture_logs() as logs:
            await member.commit(batch)
        assert [log["error"] for log in logs] == ["UNKNOWN_MEMBER_ID"]


async def test_nobody_listening_is_told_with_the_reason() -> None:
    """If no broker listens, the client's error is logged once, and a failed call's log line repeats the reason."""
    options = kafka_options(f"kafka://127.0.0.1:{free_port()}/events", "")
    topic = Topic(options, kafka_errors(Metrics()), call_seconds=0.5)
    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(StreamUnavailable):
                await topic.ensure()
    topic.close()
    told = [log for log in logs if log["event"] == "the broker reports an error"]
    assert [log["error"] for log in told] == ["_TRANSPORT"]
    assert "Connection refused" in told[0]["reason"]
    assert "Connection refused" in logs[-1]["broker_error"]
