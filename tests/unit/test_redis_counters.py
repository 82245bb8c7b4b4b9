"""Counters in Redis: which replies of the server are accepted."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pycalc.cache.base import Bound, Spent
from pycalc.cache.redis.client import RedisClient
from pycalc.cache.redis.counters import RedisCounters

pytestmark = pytest.mark.anyio

BOUND = Bound("ada/60", 60, 10)


def counters(answer: object) -> RedisCounters:
    """Return counters whose server gives this answer to every command."""

    async def execute(convert: Callable[[object], Any], *_: object) -> object:
        return convert(answer)

    client = SimpleNamespace(redis=SimpleNamespace(register_script=lambda _: None), execute=execute)
    return RedisCounters(cast("RedisClient", client), "limits/")


async def test_a_reply_has_three_numbers_for_each_counter() -> None:
    """A reply has three numbers: whether the amount fits, the count, and the milliseconds until the counter expires.

    A count above the limit is returned as the limit.
    """
    assert await counters([[1, 12, 1500]]).spend(1, [BOUND]) == [Spent(True, 10, 1.5)]


@pytest.mark.parametrize("answer", [5, b"abc", [b"abc"], ["abc"], [5], [None], [[1, 2]], [[1, b"2", 3]]])
async def test_a_reply_of_another_kind_is_an_error(answer: object) -> None:
    """A reply of another form raises a TypeError or ValueError, which the client reports as an unavailable server.

    Bytes are a sequence of numbers too, so a text of three characters must not pass for a counter.
    """
    with pytest.raises((TypeError, ValueError)):
        await counters(answer).spend(1, [BOUND])
