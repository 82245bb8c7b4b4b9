"""UUIDv7 identifiers (RFC 9562 §5.7) as 16 bytes: they sort by time, and carry it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from random import SystemRandom
from typing import Final
from uuid import UUID

_COUNTER_BITS: Final = 42
_TAIL_BITS: Final = 32
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_random = SystemRandom()


class IdSource:
    """Makes ids that strictly increase within this process, so that ids sort as commits do.

    The 74 bits after the timestamp are a counter, seeded anew each millisecond, over a random tail
    (RFC 9562 §6.2, method 1). A clock that steps back does not: the last millisecond is kept on, across
    a restart too when the newest id in the store is given.
    Not safe to share between threads.
    """

    def __init__(self, newest: bytes | None = None) -> None:
        self._ms = 0 if newest is None else unix_ms_of_id(newest) + 1
        self._counter = 0
        self._tail = 0

    def next(self) -> bytes:
        """Return the next id."""
        now = time.time_ns() // 1_000_000
        if now > self._ms:
            self._ms = now
            seed = _random.getrandbits(_COUNTER_BITS - 1 + _TAIL_BITS)  # top bit clear: room to count up
            self._counter, self._tail = seed >> _TAIL_BITS, seed & 0xFFFFFFFF
        else:
            self._counter += 1
        high, low = self._counter >> 30, self._counter & 0x3FFFFFFF
        number = self._ms << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low << _TAIL_BITS | self._tail
        return number.to_bytes(16)


def text_of_id(value: bytes) -> str:
    """Return an id's canonical text, 36 characters."""
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def id_of_text(text: str) -> bytes:
    """Return the id that a text names; raises ValueError for anything that is not a UUID."""
    return UUID(text).bytes


def unix_ms_of_id(value: bytes) -> int:
    """Return the time an id was made, in milliseconds since the epoch."""
    return int.from_bytes(value[:6])


def unix_ms(moment: datetime) -> int:
    """Return a moment, aware of its zone, in whole milliseconds since the epoch, rounded down.

    In integers: the float ``timestamp() * 1000`` is a millisecond short for some moments after 2038.
    """
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def first_id_of_ms(unix_ms: int) -> bytes:
    """Return the lower bound of all ids made in that millisecond or later."""
    return max(0, min(unix_ms, 2**48 - 1)).to_bytes(6) + bytes(10)
