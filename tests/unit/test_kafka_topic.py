"""How a Kafka topic is watched, and what is sent again of a batch, without a broker."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, repeat

import pytest
from confluent_kafka import KafkaError, KafkaException

from pycalc.observability.metrics import Metrics
from pycalc.streaming import kafka_topic
from pycalc.streaming.kafka import _from_the_first
from pycalc.streaming.kafka_client import kafka_troubles
from pycalc.streaming.kafka_options import kafka_options
from pycalc.streaming.kafka_topic import Topic
from tests.services.events import key_of, numbered
from tests.services.waiting import until

pytestmark = pytest.mark.anyio


def scripted(*answers: str | None) -> Callable[[], str]:
    """Return a function that gives a topic's ids in turn, the last one for ever; None is a broker that fails."""
    remaining = chain(answers, repeat(answers[-1]))

    def identity() -> str:
        answer = next(remaining)
        if answer is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return answer

    return identity


async def test_a_topic_that_is_made_anew_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that fails, or sees the same topic, ends nothing; one that sees another topic ends it for good."""
    monkeypatch.setattr(kafka_topic, "_LOOK_SECONDS", 0.01)
    topic = Topic(kafka_options("kafka://127.0.0.1:1/events", ""), kafka_troubles(Metrics()))
    looks = scripted("old", "old", None, "old", "new", "old")
    seen: list[str] = []

    def looking() -> str:
        seen.append(looks())
        return seen[-1]

    monkeypatch.setattr(topic, "_identity", looking)
    async with topic.incarnation() as current:
        assert current.identity == "old"
        current.check()
        await until(lambda: current.over, "the new topic is noticed")
        assert seen == ["old", "old", "old", "new"]
        with pytest.raises(KafkaException) as refusal:
            current.check()
        assert refusal.value.args[0].code() == KafkaError.UNKNOWN_TOPIC_ID
    topic.close()


def test_from_a_keys_first_doubtful_event_on_all_are_sent_again() -> None:
    """What came before it was taken, and so was everything of other keys."""
    ada, bob, eve = (numbered(key_of(name), range(4)) for name in ("ada", "bob", "eve"))
    events = [event for trio in zip(ada, bob, eve, strict=True) for event in trio]
    doubtful = {ada[1].id, bob[3].id}
    assert _from_the_first(doubtful, events) == [ada[1], ada[2], ada[3], bob[3]]
