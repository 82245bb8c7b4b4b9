"""librdkafka's mock Kafka cluster in this process, used through its C interface (``rdkafka_mock.h``)."""

from __future__ import annotations

import ctypes
from ctypes import c_int, c_int16, c_size_t, c_void_p

from tests.harness.raw_kafka import library

# Numbers of request types in Kafka's protocol.
PRODUCE, OFFSET_COMMIT = 0, 8
# Numbers of errors in Kafka's protocol.
UNKNOWN_TOPIC_OR_PART, MSG_SIZE_TOO_LARGE, UNKNOWN_MEMBER_ID = 3, 10, 25
TOPIC_AUTHORIZATION_FAILED, GROUP_AUTHORIZATION_FAILED = 29, 30
_PRODUCER = 0
# Milliseconds that a new group waits for more members before it begins.
_GATHER_MS = 500


class MockKafka:
    """A running cluster of one broker, which can't create topics on request and gives topics no ids."""

    def __init__(self, cluster: c_void_p) -> None:
        self._cluster = cluster
        self._topics: set[str] = set()
        self.servers: str = library().rd_kafka_mock_cluster_bootstraps(cluster).decode()

    def url(self, topic: str, options: str = "") -> str:
        """Return a topic's URL, and create the topic at the first call for it."""
        if topic not in self._topics:
            self._topics.add(topic)
            partitions = 1 if "partitions=1" in options else 4
            assert library().rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1) == 0
        return f"kafka://{self.servers}/{topic}{'?' if options else ''}{options}"

    def fail(self, request: int, *errors: int) -> None:
        """Answer the next requests of a type with these errors in turn; the error 0 means success."""
        library().rd_kafka_mock_push_request_errors_array(
            self._cluster, c_int16(request), c_size_t(len(errors)), (c_int * len(errors))(*errors)
        )

    def hide(self, topic: str, error: int) -> None:
        """Answer metadata requests for a topic with an error; the error 0 ends that."""
        library().rd_kafka_mock_topic_set_error(self._cluster, topic.encode(), c_int(error))


def mock_kafka() -> MockKafka:
    """Return a running cluster, in which a new consumer group waits only briefly for further members.

    The cluster is never destroyed, because librdkafka crashes if a client's request is still waiting in it.
    """
    kafka = library()
    reason = ctypes.create_string_buffer(512)
    client = c_void_p(kafka.rd_kafka_new(_PRODUCER, None, reason, c_size_t(len(reason))))
    cluster = c_void_p(kafka.rd_kafka_mock_cluster_new(client, 1))
    kafka.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, c_int(_GATHER_MS))
    return MockKafka(cluster)
