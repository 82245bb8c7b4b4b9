"""Stream URLs: valid forms, options and errors."""

from __future__ import annotations

import pytest

from pycalc.observability.metrics import Metrics
from pycalc.streaming import open_stream
from pycalc.streaming.kafka.options import kafka_options
from pycalc.streaming.pubsub.options import pubsub_options

pytestmark = pytest.mark.anyio


def test_a_kafka_url() -> None:
    """A Kafka URL has brokers and a topic; by default a missing topic is created with six partitions."""
    options = kafka_options("kafka://one:9092,two:9093/events", "")
    assert (options.topic, options.create, options.partitions, options.replication) == ("events", True, 6, -1)
    assert options.client == {"bootstrap.servers": "one:9092,two:9093", "security.protocol": "PLAINTEXT"}


def test_a_kafka_url_with_options() -> None:
    """Options with librdkafka's names are passed to the producer, the consumer or both."""
    query = "create=false&partitions=12&replication=3&linger.ms=50&session.timeout.ms=6000&client.id=one"
    options = kafka_options(f"kafka://one:9092/events?{query}", "")
    assert (options.create, options.partitions, options.replication) == (False, 12, 3)
    assert options.client["client.id"] == "one"
    assert options.producer == {"linger.ms": "50"}
    assert options.consumer == {"session.timeout.ms": "6000"}


@pytest.mark.parametrize(
    ("url", "credentials", "protocol", "mechanism"),
    [
        ("kafka+ssl://ada:p%40s:s%2F@one:9093/events", "", "SASL_SSL", "PLAIN"),
        ("kafka+ssl://one:9093/events", "ada:p@s:s/", "SASL_SSL", "PLAIN"),
        ("kafka+ssl://a%64a@one:9093/events", "ada:p@s:s/", "SASL_SSL", "PLAIN"),
        ("kafka://ada:p%40s:s%2F@one:9092/events", "", "SASL_PLAINTEXT", "SCRAM-SHA-512"),
        ("kafka://one:9092/events?sasl.mechanism=PLAIN", "ada:p@s:s/", "SASL_PLAINTEXT", "PLAIN"),
    ],
)
def test_a_login_to_kafka(url: str, credentials: str, protocol: str, mechanism: str) -> None:
    """User and password may be in the URL or in a separate setting.

    Without TLS the mechanism is SCRAM, which does not send the password, unless an option says PLAIN.
    """
    client = kafka_options(url, credentials).client
    assert client["security.protocol"] == protocol
    assert client["sasl.mechanism"] == mechanism
    assert (client["sasl.username"], client["sasl.password"]) == ("ada", "p@s:s/")


@pytest.mark.parametrize("partitions", [1, 10_000])
def test_a_topic_may_have_so_many_partitions(partitions: int) -> None:
    """A topic may have one to ten thousand partitions."""
    assert kafka_options(f"kafka://one:9092/events?partitions={partitions}", "").partitions == partitions


def test_a_password_is_not_shown() -> None:
    """The ``repr`` of the options hides the password, because a ``repr`` may get into logs and tracebacks."""
    assert "secret" not in repr(kafka_options("kafka+ssl://ada:secret@one:9093/events", ""))


def test_a_pubsub_url() -> None:
    """A Pub/Sub URL has a project and a topic, from which the names of the subscriptions are derived."""
    options = pubsub_options("pubsub://my-project/events?endpoint=europe-west1-pubsub.googleapis.com")
    assert options.topic == "projects/my-project/topics/events"
    assert options.subscription("usage") == "projects/my-project/subscriptions/events-usage"
    assert options.endpoint == "europe-west1-pubsub.googleapis.com"
    assert options.create


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("kafka:///events", "needs a broker"),
        ("kafka://one:9092/", "name of a Kafka topic"),
        ("kafka://one:9092/a/b", "name of a Kafka topic"),
        ("kafka://one:9092/events?acks=0", "an unknown option"),
        ("kafka://one:9092/events?client.id=", "'client.id' has no value"),
        ("kafka://one:9092/events?partitions=2&partitions=3", "'partitions' is given more than once"),
        ("kafka://one:9092/events?partitions=many", "partitions must be a whole number"),
        ("kafka://one:9092/events?partitions=0", "partitions must be a whole number"),
        ("kafka://one:9092/events?partitions=10001", "partitions must be a whole number from 1 to 10000"),
        ("kafka://one:9092/events?create=maybe", "create must be true or false"),
        ("pubsub:///events", "Google Cloud project"),
        ("pubsub://my-project/", "name of a Pub/Sub topic"),
        ("pubsub://my-project/ab", "name of a Pub/Sub topic"),
        ("pubsub://my-project/google-events", "name of a Pub/Sub topic"),
        ("pubsub://my-project/events?dead_letter_topic=x", "an unknown option"),
        ("pubsub://my-project/events?ordering=false", "an unknown option"),
        ("memory://host", "no host"),
        ("memory://?size=1", "no host"),
    ],
)
async def test_a_url_that_makes_no_sense(url: str, what: str) -> None:
    """An invalid URL is refused before anything is opened; the message names the setting and the mistake."""
    with pytest.raises(ValueError, match=rf"PYCALC_STREAM_URL: .*{what}"):
        await open_stream(url, Metrics())


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("kafka://ada:hunter2/events", "port must be a number from 1 to 65535; write @ and the host after"),
        ("kafka://ada:12hunt34er2/events", "port must be a number"),
        ("kafka://ada:hunter2,two:9092/events", "port must be a number"),
        ("kafka://ada:hunt/er2@one:9092/events", "written %40, %2F"),
        ("kafka://ada:hunt@er2@one:9092/events", "written %40"),
        ("kafka://ada:hunt?er2@one:9092/events", "written %40, %2F, %3F"),
        ("kafka://ada:hunt#er2@one:9092/events", "written %40, %2F, %3F and %23"),
        ("kafka+ssl://ada:hunt\N{ACCOUNT OF}er2@one:9093/events", "not a valid URL"),
        ("kafka+ssl://ada:[hunter2]@one:9093/events", "not a valid URL"),
        ("kafka//ada:hunter2@one:9093/events", "there is no stream for ''"),
        ("pubsub://ada:hunt\N{ACCOUNT OF}er2@my-project/events", "not a valid URL"),
        ("pubsub://ada:hunter2@my-project/events", "Google Cloud project"),
        ("kafka://ada:hunt/a?er2@one:9092/events", "written %40, %2F, %3F"),
        ("kafka://ada:1/hunt er2", "the path is not the name of a Kafka topic"),
        ("kafka:ada:hunter2", "the path is not the name of a Kafka topic"),
        ("pubsub://my-project/hunt er2", "the path is not the name of a Pub/Sub topic"),
        ("memory://[hunter2]", "not a valid URL"),
    ],
)
async def test_a_mistake_in_a_url_shows_no_password(url: str, what: str) -> None:
    """The message for an invalid URL names the setting, and contains no part of the password."""
    with pytest.raises(ValueError, match=rf"PYCALC_STREAM_URL: .*{what}") as refusal:
        await open_stream(url, Metrics())
    assert "hunt" not in str(refusal.value)
    assert "er2" not in str(refusal.value)


async def test_a_password_for_pubsub_is_refused() -> None:
    """Separate credentials for a Pub/Sub stream are refused, because Pub/Sub would silently ignore them."""
    with pytest.raises(ValueError, match=r"PYCALC_STREAM_URL.*application default credentials"):
        await open_stream("pubsub://my-project/events", Metrics(), "ada:secret")


@pytest.mark.parametrize(
    ("url", "credentials"),
    [("kafka://:secret@one:9092/events", "ada:other"), ("kafka://ada@one:9092/events", "bob:secret")],
)
def test_half_a_login_in_the_url_is_completed(url: str, credentials: str) -> None:
    """The URL takes precedence over the separate setting, which supplies a user or password that the URL lacks."""
    client = kafka_options(url, credentials).client
    assert (client["sasl.username"], client["sasl.password"]) == ("ada", "secret")


@pytest.mark.parametrize(
    ("url", "credentials"), [("kafka://:secret@one:9092/events", ""), ("kafka://one:9092/events", ":secret")]
)
def test_a_password_without_a_user_is_refused(url: str, credentials: str) -> None:
    """A password without a user is an error, because Kafka would be used without login."""
    with pytest.raises(ValueError, match="without a user's name") as refusal:
        kafka_options(url, credentials)
    assert "secret" not in str(refusal.value)
