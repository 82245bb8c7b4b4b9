"""Kafka topics without a broker: noticing a recreated topic, and which events of a batch are sent again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from itertools import chain, repeat
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.cimpl import NewTopic
from structlog.testing import capture_logs

from pycalc.errors import StreamUnavailable
from pycalc.observability.metrics import Metrics
from pycalc.streaming.kafka.client import kafka_errors
from pycalc.streaming.kafka.options import kafka_options
from pycalc.streaming.kafka.stream import _from_the_first
from pycalc.streaming.kafka.topic import Topic
from tests.harness.events import key_of, numbered

pytestmark = pytest.mark.anyio


def scripted(*answers: str | None) -> Callable[[], str]:
    """Return a function that returns these topic ids in turn and repeats the last one; None raises a broker error."""
    remaining = chain(answers, repeat(answers[-1]))

    def identity() -> str:
        answer = next(remaining)
        if answer is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return answer

    return identity


async def test_a_topic_that_is_made_anew_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the topic gets a new id, it was recreated. A failed look-up is no sign of this."""
    topic = Topic(kafka_options("kafka://127.0.0.1:1/events", ""), kafka_errors(Metrics()))
    monkeypatch.setattr(topic, "_identity", scripted("old", "old", None, "old", "new"))
    identity = await topic.identity()
    assert identity == "old"
    for _ in range(3):
        await topic.check(identity)
    with pytest.raises(KafkaException) as refusal:
        await topic.check(identity)
    assert refusal.value.args[0].code() == KafkaError.UNKNOWN_TOPIC_ID
    topic.close()


class Admin:
    """A fake Kafka administrator. Each look at a topic reports the next of ``faults``; the last one is repeated."""

    def __init__(self, *faults: str | None, controller: int = 1, refusal: str | None = None) -> None:
        self.faults = list(faults)
        self.controller = controller
        self.refusal = refusal
        self.made: list[NewTopic] = []
        self.looks = 0

    def list_topics(self, name: str, timeout: float) -> SimpleNamespace:
        """Describe a topic whose second partition has the next of ``faults`` as its error."""
        self.looks += 1
        fault = self.faults.pop(0) if len(self.faults) > 1 else self.faults[0]
        error = None if fault is None else KafkaError(getattr(KafkaError, fault))
        partitions = {0: SimpleNamespace(error=None), 1: SimpleNamespace(error=error)}
        described = SimpleNamespace(error=None, partitions=partitions)
        return SimpleNamespace(controller_id=self.controller, brokers={1: "one"}, topics={name: described})

    def describe_topics(self, topics: TopicCollection, request_timeout: float) -> dict[str, Future[SimpleNamespace]]:
        """Return the topic's id in the driver's form."""
        future: Future[SimpleNamespace] = Future()
        future.set_result(SimpleNamespace(topic_id="ab+/cd"))
        return dict.fromkeys(topics.topic_names, future)

    def create_topics(self, topics: list[NewTopic], **_seconds: float) -> dict[str, Future[None]]:
        """Record the topics to be created."""
        self.made += topics
        future: Future[None] = Future()
        if self.refusal is None:
            future.set_result(None)
        else:
            future.set_exception(KafkaException(KafkaError(getattr(KafkaError, self.refusal))))
        return {topic.topic: future for topic in topics}

    def poll(self, timeout: float) -> None:
        """Serve callbacks without waiting."""
        assert timeout == 0


def topic_of(admin: Admin, monkeypatch: pytest.MonkeyPatch, options: str = "", seconds: float = 3.0) -> Topic:
    """Return a topic that uses this administrator."""
    wanted = kafka_options(f"kafka://127.0.0.1:1/events?{options}", "")
    topic = Topic(wanted, kafka_errors(Metrics()), call_seconds=seconds)
    monkeypatch.setattr(topic, "_client", lambda: admin)
    return topic


MISSING = "UNKNOWN_TOPIC_OR_PART"


@pytest.mark.parametrize("fault", [None, "LEADER_NOT_AVAILABLE"])
async def test_a_topic_that_is_there_is_not_made(monkeypatch: pytest.MonkeyPatch, fault: str | None) -> None:
    """An existing topic is found by one request and not created, even if a partition has no leader yet."""
    admin = Admin(fault)
    topic = topic_of(admin, monkeypatch)
    await topic.ensure()
    assert (admin.made, admin.looks) == ([], 1)
    topic.close()


async def test_a_missing_topic_is_made_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing topic is created as the URL says, and waited for until the broker lists it."""
    admin = Admin(MISSING, MISSING, "LEADER_NOT_AVAILABLE", None)
    topic = topic_of(admin, monkeypatch, "partitions=3&replication=2")
    with capture_logs() as logs:
        await topic.ensure()
    (made,) = admin.made
    assert (made.topic, made.num_partitions, made.replication_factor) == ("events", 3, 2)
    assert admin.looks == 4
    assert [log["event"] for log in logs] == ["the topic was missing and has been created"]
    topic.close()


async def test_waiting_for_a_topic_that_stays_invisible_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for a new topic that the broker does not list ends after a time limit, without an error."""
    admin = Admin(MISSING)
    topic = topic_of(admin, monkeypatch, seconds=0.2)
    await topic.ensure()
    assert admin.looks > 2
    topic.close()


async def test_an_instance_that_was_quicker_is_nothing_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """If another instance has created the topic first, that is no error."""
    admin = Admin(MISSING, None, refusal="TOPIC_ALREADY_EXISTS")
    topic = topic_of(admin, monkeypatch)
    with capture_logs() as logs:
        await topic.ensure()
    assert logs == []
    topic.close()


@pytest.mark.parametrize(
    ("faults", "options", "refusal", "made"),
    [
        ([MISSING], "", "TOPIC_AUTHORIZATION_FAILED", 1),
        ([MISSING], "create=false", None, 0),
        (["TOPIC_AUTHORIZATION_FAILED"], "", None, 0),
    ],
)
async def test_a_topic_that_can_not_be_had_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, faults: list[str], options: str, refusal: str | None, made: int
) -> None:
    """If a topic can be neither created nor seen, StreamUnavailable is raised without further tries."""
    admin = Admin(*faults, refusal=refusal)
    topic = topic_of(admin, monkeypatch, options)
    with pytest.raises(StreamUnavailable):
        await topic.ensure()
    assert (len(admin.made), admin.looks) == (made, 1)
    topic.close()


@pytest.mark.parametrize(
    ("controller", "identity"),
    [(1, "ab-_cd"), (-1, "ab-_cd"), (2, "A" * 22)],
    ids=["a cluster", "no controller known", "a controller that is no broker"],
)
async def test_a_topics_id_is_written_as_kafkas_tools_do(
    monkeypatch: pytest.MonkeyPatch, controller: int, identity: str
) -> None:
    """A topic's id is written in URL-safe base64; in a cluster without ids, all topics have the same id."""
    topic = topic_of(Admin(None, controller=controller), monkeypatch)
    assert await topic.identity() == identity
    topic.close()


def test_from_a_keys_first_doubtful_event_on_all_are_sent_again() -> None:
    """If an event was perhaps not delivered, it is sent again with all later events of its key, and with no others."""
    ada, bob, eve = (numbered(key_of(name), range(4)) for name in ("ada", "bob", "eve"))
    events = [event for trio in zip(ada, bob, eve, strict=True) for event in trio]
    doubtful = {ada[1].id, bob[3].id}
    assert _from_the_first(doubtful, events) == [ada[1], ada[2], ada[3], bob[3]]
