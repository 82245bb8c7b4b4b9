"""The Pub/Sub stream, checked with Google's own clients, and its reactions to Pub/Sub's errors."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from time import monotonic

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1 import ReceivedMessage
from structlog.testing import capture_logs

from pycalc.errors import EventsRefused, StreamUnavailable
from pycalc.models.events import event_of
from pycalc.models.ids import text_of_id
from pycalc.observability.metrics import Metrics
from pycalc.streaming.base import PUBLISH_SECONDS, USAGE_GROUP, Delivery, Member, MessageBatch
from pycalc.streaming.pubsub.stream import PubSubStream
from pycalc.streaming.pubsub.subscriber import INTERVALS, Intervals, PubSubMember
from tests.harness.consuming import delivered
from tests.harness.events import key_of, numbered
from tests.harness.fake_pubsub import AnyPubSub, FakePubSub
from tests.harness.pubsub import PROJECT, PubSub
from tests.harness.servers import free_port
from tests.harness.stores import history_row
from tests.harness.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_loop")]

ADA = key_of("ada")
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SECONDS = 30.0
DENIED = grpc.StatusCode.PERMISSION_DENIED

Open = Callable[..., PubSubStream]


@pytest.fixture
def topic() -> str:
    """Return a new topic's name."""
    return f"pubsub-{secrets.token_hex(6)}"


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Return a function that opens a stream by its URL; close all of them at the end."""
    async with AsyncExitStack() as stack:

        def open_one(
            url: str,
            metrics: Metrics | None = None,
            seconds: float = PUBLISH_SECONDS,
            intervals: Intervals = INTERVALS,
        ) -> PubSubStream:
            stream = PubSubStream(url, metrics or Metrics(), "", seconds, intervals)
            stack.push_async_callback(stream.aclose)
            return stream

        yield open_one


@pytest.fixture
def publisher(pubsub: AnyPubSub) -> Iterator[PublisherClient]:
    """Return Google's own publisher client."""
    with PublisherClient() as client:
        yield client


@pytest.fixture
def subscriber(pubsub: AnyPubSub) -> Iterator[SubscriberClient]:
    """Return Google's own subscriber client."""
    with SubscriberClient() as client:
        yield client


def subscription(topic: str, name: str) -> str:
    """Return the full resource name of a topic's subscription."""
    return f"projects/{PROJECT}/subscriptions/{topic}-{name}"


async def received(member: Member) -> MessageBatch:
    """Return a member's next batch that is not empty."""
    while not (batch := await member.receive()).deliveries:
        pass
    return batch


async def test_a_message_is_a_structured_cloud_event(
    pubsub: AnyPubSub, topic: str, opened: Open, subscriber: SubscriberClient
) -> None:
    """An event becomes a message of CloudEvents JSON with ``ce-`` attributes and the user's id as ordering key."""
    (event,) = numbered(ADA, [7])
    await opened(pubsub.url(topic)).publish([event])
    response = subscriber.pull(subscription=subscription(topic, "usage"), max_messages=10, timeout=SECONDS)
    (received,) = response.received_messages
    assert isinstance(received, ReceivedMessage)
    assert received.message.data == event.payload
    assert received.message.ordering_key == "00000000-0000-0000-0000-000000616461"
    attributes = dict(received.message.attributes)
    assert f'"time":"{attributes.pop("ce-time")}"'.encode() in event.payload
    assert attributes == {
        "content-type": "application/cloudevents+json; charset=UTF-8",
        "ce-specversion": "1.0",
        "ce-id": text_of_id(event.id),
        "ce-source": "/pycalc",
        "ce-type": "pycalc.operation.completed.v1",
        "ce-subject": "00000000-0000-0000-0000-000000616461",
    }


async def test_a_message_carries_its_trace(
    pubsub: AnyPubSub, topic: str, opened: Open, subscriber: SubscriberClient
) -> None:
    """The trace context is sent as an attribute and in the body, and the consumer receives it."""
    stream = opened(pubsub.url(topic))
    await stream.publish([event_of(history_row()._replace(traceparent=TRACEPARENT))])
    response = subscriber.pull(subscription=subscription(topic, "usage"), max_messages=10, timeout=SECONDS)
    (received,) = response.received_messages
    assert received.message.attributes["ce-traceparent"] == TRACEPARENT
    assert json.loads(received.message.data)["traceparent"] == TRACEPARENT
    subscriber.modify_ack_deadline(
        subscription=subscription(topic, "usage"), ack_ids=[received.ack_id], ack_deadline_seconds=0, timeout=SECONDS
    )
    (delivery,) = await delivered(stream, 1)
    assert delivery.event is not None
    assert delivery.event.traceparent == TRACEPARENT


async def test_what_is_missing_is_made(
    pubsub: AnyPubSub, topic: str, opened: Open, subscriber: SubscriberClient
) -> None:
    """A ping creates the topic, and the usage group's subscription, which is ordered and never expires.

    Further pings, also of another instance, find both.
    """
    stream = opened(pubsub.url(topic))
    await stream.ping()
    await stream.ping()
    await opened(pubsub.url(topic)).ping()
    made = subscriber.get_subscription(subscription=subscription(topic, "usage"), timeout=SECONDS)
    assert made.topic == f"projects/{PROJECT}/topics/{topic}"
    assert made.enable_message_ordering
    assert "ttl" not in made.expiration_policy
    assert made.dead_letter_policy.max_delivery_attempts == 0


async def test_what_is_missing_and_may_not_be_made(pubsub: AnyPubSub, topic: str, opened: Open) -> None:
    """With ``create=false``, the stream fails until somebody creates the topic; each failure is logged and counted."""
    metrics = Metrics()
    stream = opened(pubsub.url(topic, "create=false"), metrics)
    events = numbered(ADA, range(2))
    with capture_logs() as logs:
        with pytest.raises(StreamUnavailable):
            await stream.publish(events)
        with pytest.raises(StreamUnavailable):
            await stream.ping()
    assert {log["error"] for log in logs} == {"NotFound"}
    failures = metrics.registry.get_sample_value
    assert failures("pycalc_stream_failures_total", {"call": "publish"}) == 1
    assert failures("pycalc_stream_failures_total", {"call": "topic"}) == 1
    await opened(pubsub.url(topic)).ping()
    await stream.publish(events)
    await stream.ping()


async def test_a_deleted_topic_loses_no_event(
    pubsub: AnyPubSub, topic: str, opened: Open, publisher: PublisherClient, subscriber: SubscriberClient
) -> None:
    """After a topic was deleted, publishing fails until its subscription is deleted, too.

    The subscription of the deleted topic would not receive the events of a new topic.
    """
    stream = opened(pubsub.url(topic))
    old, new = numbered(ADA, range(2))
    await stream.publish([old])
    publisher.delete_topic(topic=f"projects/{PROJECT}/topics/{topic}", timeout=SECONDS)
    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(StreamUnavailable):
                await stream.publish([new])
        with pytest.raises(StreamUnavailable):
            await stream.ping()
    assert f"{topic}-usage belongs to a deleted topic" in logs[-1]["reason"]
    subscriber.delete_subscription(subscription=subscription(topic, "usage"), timeout=SECONDS)
    await stream.publish([new])
    await stream.ping()
    assert [delivery.event for delivery in await delivered(stream, 1)] == [new]


async def test_a_consumer_of_a_deleted_topic_gets_the_rest_then_an_error(
    pubsub: AnyPubSub,
    topic: str,
    opened: Open,
    publisher: PublisherClient,
    subscriber: SubscriberClient,
) -> None:
    """A consumer of a deleted topic gets the remaining events, then an error."""
    stream = opened(pubsub.url(topic), intervals=Intervals(check=0.0, detached_pull=0.5))
    old, new = numbered(ADA, range(2))
    await stream.publish([old])
    async with asyncio.timeout(SECONDS):
        async with stream.consume(USAGE_GROUP) as member:
            assert [delivery.event for delivery in (await member.receive()).deliveries] == [old]
            publisher.delete_topic(topic=f"projects/{PROJECT}/topics/{topic}", timeout=SECONDS)
            with pytest.raises(StreamUnavailable):
                await received(member)
        got: list[Delivery] = []
        while not got:  # it may take a moment until a returned message is delivered again
            with suppress(StreamUnavailable):
                got = list(await delivered(stream, 1))
        assert [delivery.event for delivery in got] == [old]
        with pytest.raises(StreamUnavailable):
            await delivered(stream, 1)
    subscriber.delete_subscription(subscription=subscription(topic, "usage"), timeout=SECONDS)
    await stream.ping()
    await stream.publish([new])
    assert [delivery.event for delivery in await delivered(stream, 1)] == [new]


async def test_foreign_messages_are_delivered_as_such(
    pubsub: AnyPubSub, topic: str, opened: Open, publisher: PublisherClient
) -> None:
    """A message that is not an event is delivered with its bytes and position, and does not block later events."""
    stream = opened(pubsub.url(topic))
    (event,) = numbered(ADA, range(1))
    await stream.ping()
    name = f"projects/{PROJECT}/topics/{topic}"
    identity = publisher.publish(name, b"not an event", timeout=SECONDS).result(SECONDS)
    await stream.publish([event])
    got = sorted(await delivered(stream, 2), key=lambda delivery: delivery.event is not None)
    assert got[0] == Delivery(None, b"not an event", f"{subscription(topic, 'usage')} {identity}")
    assert got[1].event == event


async def test_events_stay_leased_while_they_are_dealt_with(real_pubsub: PubSub, topic: str, opened: Open) -> None:
    """If a batch takes longer than the subscription's acknowledgement deadline, no other member receives it."""
    stream = opened(real_pubsub.url(topic))
    await stream.publish(numbered(ADA, range(3)))
    async with stream.consume(USAGE_GROUP) as slow, stream.consume(USAGE_GROUP) as other:
        batch = await slow.receive()
        async with asyncio.timeout(3 * SECONDS):
            for _ in range(11):
                assert not (await other.receive()).deliveries
        await slow.commit(batch)
    assert len(batch.deliveries) == 3


async def test_leases_are_extended_for_a_while(faked_pubsub: FakePubSub, topic: str, opened: Open) -> None:
    """While a batch is handled, its lease is extended, until the batch has been held for ``max_lease`` seconds."""
    stream = opened(faked_pubsub.url(topic), intervals=Intervals(extend=0.02, max_lease=0.5))
    await stream.publish(numbered(ADA, range(1)))

    def extended() -> int:
        return faked_pubsub.calls["ModifyAckDeadline"]

    async with stream.consume(USAGE_GROUP) as member:
        assert isinstance(member, PubSubMember)
        committed = await received(member)
        await until(lambda: extended() >= 3, "the lease is extended")
        await member.commit(committed)
        await stream.publish(numbered(ADA, range(1, 2)))
        held = await received(member)
        before = extended()
        await until(lambda: extended() > before and not member._leases, "the lease is not extended any more")
        await member.commit(held)  # the commit is late, but nobody else has received the messages yet
    assert faked_pubsub.calls["Acknowledge"] == 2


def service_account(folder: Path) -> Path:
    """Write a service account's key file, whose token URL is a port where nothing listens; return its path."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key": private,
        "client_email": f"nobody@{PROJECT}.iam.gserviceaccount.com",
        "token_uri": f"http://127.0.0.1:{free_port()}/token",
    }
    file = folder / "account.json"
    file.write_text(json.dumps(account))
    return file


async def test_a_publisher_needs_no_right_but_to_publish(faked_pubsub: FakePubSub, topic: str, opened: Open) -> None:
    """With only the permission to publish, pings succeed, and the events of each user are sent in one request."""
    faked_pubsub.make_topic(topic)
    faked_pubsub.failures = dict.fromkeys(("GetSubscription", "CreateSubscription", "CreateTopic"), DENIED)
    stream = opened(faked_pubsub.url(topic))
    ada, bob = numbered(ADA, range(3)), numbered(key_of("bob"), range(2))
    await stream.publish([ada[0], *bob, *ada[1:]])
    await stream.ping()
    assert sorted(faked_pubsub.requests) == sorted([[event.payload for event in ada], [event.payload for event in bob]])


async def test_requests_are_as_large_as_the_service_allows(faked_pubsub: FakePubSub, topic: str, opened: Open) -> None:
    """A user's events are sent in requests of at most a thousand messages and less than ten million bytes."""
    stream = opened(faked_pubsub.url(topic), seconds=SECONDS)
    await stream.publish(numbered(ADA, range(2_001)))
    assert [len(request) for request in faked_pubsub.requests] == [1_000, 1_000, 1]
    faked_pubsub.requests.clear()
    large = numbered(ADA, range(4), 3_000_000)
    await stream.publish(large)
    assert [len(request) for request in faked_pubsub.requests] == [3, 1]
    assert [data for request in faked_pubsub.requests for data in request] == [event.payload for event in large]


async def test_an_invalid_event_is_refused_alone(faked_pubsub: FakePubSub, topic: str, opened: Open) -> None:
    """When Pub/Sub refuses a request, its events are sent again one by one; only the invalid one is refused."""
    events = numbered(ADA, range(5))
    faked_pubsub.bad = {events[2].payload}
    with pytest.raises(EventsRefused) as refusal:
        await opened(faked_pubsub.url(topic)).publish(events)
    assert list(refusal.value.refused) == [events[2].id]
    assert faked_pubsub.requests == [[event.payload] for event in (*events[:2], *events[3:])]


@pytest.mark.parametrize("status", ["UNAUTHENTICATED", "PERMISSION_DENIED", "UNAVAILABLE", "RESOURCE_EXHAUSTED"])
async def test_a_service_that_does_not_take_events(
    faked_pubsub: FakePubSub, topic: str, opened: Open, status: str
) -> None:
    """While Pub/Sub answers with an error such as UNAVAILABLE, the stream is unavailable, and no event is refused."""
    stream = opened(faked_pubsub.url(topic), seconds=1.0)
    events = numbered(ADA, range(2))
    faked_pubsub.failures["Publish"] = grpc.StatusCode[status]
    with pytest.raises(StreamUnavailable):
        await stream.publish(events)
    with pytest.raises(StreamUnavailable):
        await stream.ping()
    faked_pubsub.failures.clear()
    await stream.publish(events)
    await stream.ping()
    assert faked_pubsub.requests == [[event.payload for event in events]]


@pytest.mark.parametrize(
    "status",
    [
        "ABORTED",
        "CANCELLED",
        "DEADLINE_EXCEEDED",
        "FAILED_PRECONDITION",
        "INTERNAL",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "UNAUTHENTICATED",
        "UNAVAILABLE",
        "UNKNOWN",
    ],
)
async def test_a_failed_check_ends_no_consumer(faked_pubsub: FakePubSub, topic: str, opened: Open, status: str) -> None:
    """A failed check of the subscription does not stop a consumer; a deleted subscription or topic stops it."""
    faked_pubsub.pull_seconds = 0.02
    stream = opened(faked_pubsub.url(topic), intervals=Intervals(check=0.0))
    async with asyncio.timeout(SECONDS), stream.consume(USAGE_GROUP) as member:
        faked_pubsub.failures["GetSubscription"] = grpc.StatusCode[status]
        while faked_pubsub.calls["GetSubscription"] < 4:
            assert not (await member.receive()).deliveries
        faked_pubsub.failures["GetSubscription"] = grpc.StatusCode.NOT_FOUND
        with pytest.raises(StreamUnavailable):
            await received(member)
        faked_pubsub.failures.clear()
        with PublisherClient() as publisher:
            publisher.delete_topic(topic=f"projects/{PROJECT}/topics/{topic}", timeout=SECONDS)
        with pytest.raises(StreamUnavailable):
            await received(member)


async def test_a_silent_subscription_is_looked_at_now_and_then(
    faked_pubsub: FakePubSub, topic: str, opened: Open
) -> None:
    """A subscription without messages is checked at intervals, not at each pull."""
    faked_pubsub.pull_seconds = 0.02
    stream = opened(faked_pubsub.url(topic), intervals=Intervals(check=0.3))
    async with asyncio.timeout(SECONDS), stream.consume(USAGE_GROUP) as member:
        joined = monotonic()
        while faked_pubsub.calls["GetSubscription"] < 4:  # the first check was made when joining
            assert not (await member.receive()).deliveries
        assert monotonic() - joined >= 0.9
    assert faked_pubsub.calls["Pull"] > 4


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("none", "DefaultCredentialsError"),
        ("no file", "DefaultCredentialsError"),
        ("a folder", "GoogleAPIError"),
        ("a list", "GoogleAPIError"),
        ("out of reach", "ServiceUnavailable"),
    ],
)
async def test_credentials_that_do_not_work(
    topic: str, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, error: str
) -> None:
    """With missing or unusable credentials, each call raises StreamUnavailable within 30 s, and the error is logged."""
    (tmp_path / "list.json").write_text("[]")
    files = {
        "no file": tmp_path / "nothing.json",
        "a folder": tmp_path,
        "a list": tmp_path / "list.json",
        "out of reach": service_account(tmp_path),
    }
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    if kind in files:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(files[kind]))
    stream = opened(f"pubsub://{PROJECT}/{topic}?endpoint=127.0.0.1:{free_port()}")
    asked = stream.publish(numbered(ADA, range(1))), stream.ping(), delivered(stream, 1)
    with capture_logs() as logs:
        async with asyncio.timeout(SECONDS):
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StreamUnavailable] * 3
    assert {log["error"] for log in logs} == {error}
