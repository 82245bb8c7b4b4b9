"""Kafka URLs: ``kafka://[user:password@]host:port[,host:port]/topic?option=value``, or ``kafka+ssl://...``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote

from pycalc.files import require_readable
from pycalc.urls import flag_option, require_server, split_url, url_options, whole_option

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_CLIENT = {
    "client.id",
    "sasl.mechanism",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
}
_FILES = {"ssl.ca.location", "ssl.certificate.location", "ssl.key.location"}
_PRODUCER = {"compression.type", "linger.ms", "message.max.bytes"}
_CONSUMER = {"group.instance.id", "session.timeout.ms"}
_MOST_PARTITIONS = 10_000
_OWN = {"create", "partitions", "replication"}


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """The options in a Kafka URL: the topic, and settings of clients under librdkafka's names."""

    topic: str
    create: bool  # create a missing topic
    partitions: int  # the number of partitions of a topic that is created
    replication: int  # the replication factor of a topic that is created; -1 is the broker's default
    client: dict[str, str] = field(repr=False)  # settings of every client: the brokers, a password and others
    producer: dict[str, str]
    consumer: dict[str, str]


def kafka_options(url: str, credentials: str) -> KafkaOptions:
    """Return the options in a URL. ``credentials`` are ``user:password``, or empty; those in the URL take precedence.

    Raises ValueError for a malformed URL, a wrong option, a file that can't be read, or a password without a user.
    """
    parts = split_url(url)
    topic = parts.path.removeprefix("/")
    if not _TOPIC.fullmatch(topic):
        raise ValueError("the path is not the name of a Kafka topic")
    options = url_options(url, _CLIENT | _PRODUCER | _CONSUMER | _OWN)
    if parts.scheme == "kafka+ssl":  # else the driver ignores these options
        for name in sorted(_FILES & options.keys()):
            authorities = name == "ssl.ca.location"
            if not (authorities and options[name] == "probe"):  # the driver's word for the system's authorities
                require_readable(name, options[name], or_folder=authorities)  # its own errors do not name the file
    return KafkaOptions(
        topic=topic,
        create=flag_option(options, "create"),
        partitions=whole_option(options, "partitions", 6, 1, _MOST_PARTITIONS),
        replication=whole_option(options, "replication", -1, 1, _MOST_PARTITIONS),
        client=_client(parts, credentials) | {name: options[name] for name in _CLIENT & options.keys()},
        producer={name: options[name] for name in _PRODUCER & options.keys()},
        consumer={name: options[name] for name in _CONSUMER & options.keys()},
    )


def _client(parts: SplitResult, credentials: str) -> dict[str, str]:
    """Return the settings of addresses, encryption and login; raises ValueError for a wrong address or login."""
    userinfo, _, servers = parts.netloc.rpartition("@")
    if not servers:
        raise ValueError("kafka:// needs a broker: kafka://host:port/topic")
    for server in servers.split(","):
        require_server(server)
    tls = parts.scheme == "kafka+ssl"
    user, _, password = credentials.partition(":")
    if userinfo:
        own_user, colon, own_password = (unquote(part) for part in userinfo.partition(":"))
        user, password = own_user or user, own_password if colon else password
    if password and not user:
        raise ValueError("there is a password without a user's name; the form is user:password")
    client = {"bootstrap.servers": servers, "security.protocol": "SSL" if tls else "PLAINTEXT"}
    if user:
        client["security.protocol"] = f"SASL_{client['security.protocol']}"
        client["sasl.mechanism"] = "PLAIN" if tls else "SCRAM-SHA-512"  # SCRAM never sends the password
        client["sasl.username"], client["sasl.password"] = user, password
    return client
