"""Kafka messages that the Python driver can't write: headers whose names are not valid text."""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_int, c_size_t, c_ssize_t, c_void_p
from functools import cache
from pathlib import Path

import confluent_kafka

# ``rd_kafka_vtype_t`` of librdkafka's public header.
_END, _TOPIC, _VALUE, _FLAGS, _HEADERS = 0, 1, 4, 7, 10
_COPY = 2
_FLUSH_MS = 10_000


@cache
def library() -> ctypes.CDLL:
    """Return the C library of the Python driver, librdkafka."""
    (path,) = Path(confluent_kafka.__file__).parents[1].glob("confluent_kafka.libs/librdkafka*.so*")
    loaded = ctypes.CDLL(str(path))
    for function in (
        loaded.rd_kafka_conf_new,
        loaded.rd_kafka_new,
        loaded.rd_kafka_headers_new,
        loaded.rd_kafka_mock_cluster_new,
    ):
        function.restype = c_void_p
    loaded.rd_kafka_mock_cluster_bootstraps.restype = c_char_p
    return loaded


def put_with_header(servers: str, topic: str, name: bytes, value: bytes) -> None:
    """Publish a message with one empty header, whose name may be any bytes, through the Python driver's C library."""
    kafka = library()
    reason = ctypes.create_string_buffer(512)
    settings = c_void_p(kafka.rd_kafka_conf_new())
    assert kafka.rd_kafka_conf_set(settings, b"bootstrap.servers", servers.encode(), reason, len(reason)) == 0
    producer = c_void_p(kafka.rd_kafka_new(0, settings, reason, c_size_t(len(reason))))
    headers = c_void_p(kafka.rd_kafka_headers_new(c_size_t(1)))
    kafka.rd_kafka_header_add(headers, name, c_ssize_t(len(name)), b"", c_ssize_t(0))
    to = (c_int(_TOPIC), c_char_p(topic.encode()), c_int(_VALUE), c_char_p(value), c_size_t(len(value)))
    what = (c_int(_FLAGS), c_int(_COPY), c_int(_HEADERS), headers, c_int(_END))
    assert kafka.rd_kafka_producev(producer, *to, *what) == 0
    assert kafka.rd_kafka_flush(producer, _FLUSH_MS) == 0
    kafka.rd_kafka_destroy(producer)
