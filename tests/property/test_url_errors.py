"""Errors in the URLs of settings: no message contains a part of a password, whatever characters it has."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pycalc.cache.redis.cache import RedisCache
from pycalc.cache.redis.client import DEFAULT_TIMES
from pycalc.db.postgres_url import location_of
from pycalc.observability.metrics import Metrics
from pycalc.streaming.kafka.options import kafka_options
from pycalc.streaming.memory import MemoryStream
from pycalc.streaming.pubsub.options import pubsub_options

METRICS = Metrics()
# Functions that read a URL without connecting, by scheme.
READERS: dict[str, Callable[[str], object]] = {
    "redis": lambda url: RedisCache(url, METRICS, "1", DEFAULT_TIMES),
    "rediss": lambda url: RedisCache(url, METRICS, "1", DEFAULT_TIMES),
    "kafka": lambda url: kafka_options(url, ""),
    "kafka+ssl": lambda url: kafka_options(url, ""),
    "pubsub": pubsub_options,
    "postgresql": location_of,
    "memory": lambda url: MemoryStream(url, METRICS),
}
SECRETS = ("hunt", "er2")
_OTHERS = (*"/?#@:[]%&=;,\\ 7", "ttl=", "create=", "host=", "%40", "\N{ACCOUNT OF}")
PASSWORDS = st.lists(st.sampled_from((*SECRETS, *_OTHERS)), max_size=8).map("".join)


@pytest.mark.parametrize("scheme", READERS)
@given(password=PASSWORDS, user=st.sampled_from(["", "ada"]), tail=st.sampled_from(["", "/0", "/events?ttl=x"]))
@example(password="p/a?hunter2", user="ada", tail="/0")
@example(password="p/a?host=hunter2", user="ada", tail="/0")
def test_no_message_has_a_part_of_the_password(scheme: str, password: str, user: str, tail: str) -> None:
    """If a URL with a login is refused, the message contains no part of the password."""
    told = ""
    try:
        READERS[scheme](f"{scheme}://{user}:{password}@host:1{tail}")
    except ValueError as error:
        told = str(error)
    assert not any(secret in told for secret in SECRETS)
