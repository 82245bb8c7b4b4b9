"""Changes that an administrator may make to a broker's topics, on purpose or by mistake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic
from google.api_core.exceptions import NotFound
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient

from drills.streams.scene import Place
from tests.harness.kafka import Kafka
from tests.harness.pubsub import PROJECT

# Message limits in bytes: the event of a small calculation has about 900, the largest event 4,000.
SMALL_LIMIT = 2_500
USUAL_LIMIT = 1_000_000
_SECONDS = 30.0


def _topic(where: Place) -> str:
    return urlsplit(where.topic_url).path.removeprefix("/")


def _admin(broker: Kafka) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.servers})


def limit_messages(where: Place, most: int) -> None:
    """Make Kafka refuse messages of more than ``most`` bytes for the topic."""
    assert isinstance(where.broker, Kafka)  # noqa: S101  # Pub/Sub has one limit for all
    limit = ConfigEntry("max.message.bytes", str(most), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, _topic(where), incremental_configs=[limit])
    admin = _admin(where.broker)
    admin.incremental_alter_configs([resource])[resource].result(_SECONDS)


def put_foreign_message(where: Place) -> None:
    """Put a message that is not an event into the Kafka topic."""
    assert isinstance(where.broker, Kafka)  # noqa: S101
    producer = Producer({"bootstrap.servers": where.broker.servers})
    producer.produce(_topic(where), b"not an event", b"key")
    producer.flush(_SECONDS)
    producer.close()


def make(where: Place) -> None:
    """Create the topic in Kafka, with six partitions."""
    assert isinstance(where.broker, Kafka)  # noqa: S101
    name, admin = _topic(where), _admin(where.broker)
    admin.create_topics([NewTopic(name, 6, 1)])[name].result(_SECONDS)


@contextmanager
def deleted(where: Place) -> Iterator[None]:
    """Delete the topic. After the ``with`` block, create it again in Kafka, or delete its subscriptions in Pub/Sub.

    In Pub/Sub, the service then creates the topic and the subscriptions again.
    """
    name = _topic(where)
    if isinstance(where.broker, Kafka):
        admin = _admin(where.broker)
        admin.delete_topics([name])[name].result(_SECONDS)
        yield
        make(where)
        return
    with PublisherClient() as publisher:
        publisher.delete_topic(topic=f"projects/{PROJECT}/topics/{name}", timeout=_SECONDS)
    yield
    with SubscriberClient() as subscriber:
        for group in ("usage", "drill"):
            with suppress(NotFound):
                subscriber.delete_subscription(
                    subscription=f"projects/{PROJECT}/subscriptions/{name}-{group}", timeout=_SECONDS
                )
