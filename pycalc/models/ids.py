"""UUIDv7 identifiers (RFC 9562 §5.7) of 16 bytes, which contain their time and sort by it; cursors made of them."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import SystemRandom
from typing import Final
from uuid import UUID

from pycalc.errors import FieldProblem, InvalidInput

_COUNTER_BITS: Final = 42
_TAIL_BITS: Final = 32
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_random = SystemRandom()
_CURSOR_VERSION: Final = b"\x01"
AHEAD_MS: Final = 5_000  # ids may be this far ahead of the clock; NTP steps a clock back by less


class IdSource:
    """A source of ids that increase within this process, so that rows sort by id in the order of their commits.

    The 74 bits after the timestamp are a counter, with a new random start each millisecond, and random bits (RFC 9562
    §6.2, method 1). If the last id is ahead of the clock by up to AHEAD_MS, the next ids continue from its millisecond.
    An id that is further ahead, which a wrong clock has made, is ignored: the next ids are lower. Not thread-safe.
    """

    def __init__(self, newest: bytes | None = None, report_ahead: Callable[[float], None] = lambda _: None) -> None:
        """Continue after ``newest``, the newest stored id. None means that no id is stored.

        ``report_ahead`` is called for each ignored id, with the seconds by which the id is ahead of the clock.
        """
        self._ms = 0 if newest is None else unix_ms_of_id(newest) + 1
        self._start_counter()  # at random here too, because other processes may continue from the same id
        self._report_ahead = report_ahead
        self._furthest_ms = 0
        self._ignore_if_ahead(now_ms())

    def ahead_seconds(self) -> float:
        """Return the seconds by which the largest ignored id is ahead of the clock, or 0 if by AHEAD_MS or less."""
        ahead_ms = self._furthest_ms - now_ms()
        return ahead_ms / 1000 if ahead_ms > AHEAD_MS else 0.0

    def next(self) -> bytes:
        """Return the next id."""
        return self.take(1)[0]

    def take(self, count: int) -> list[bytes]:
        """Return the next ``count`` ids, all of the same millisecond."""
        now = now_ms()
        if self._ms > now + AHEAD_MS:
            self._ignore_if_ahead(now)
        if now > self._ms:
            self._ms = now
            self._start_counter()
        fixed = self._ms << 80 | 0x7 << 76 | 0b10 << 62 | self._tail
        first = self._counter + 1
        self._counter += count
        return [
            (fixed | counter >> 30 << 64 | (counter & 0x3FFFFFFF) << _TAIL_BITS).to_bytes(16)
            for counter in range(first, first + count)
        ]

    def _start_counter(self) -> None:
        seed = _random.getrandbits(_COUNTER_BITS - 1 + _TAIL_BITS)  # top bit clear: room to count up
        self._counter, self._tail = seed >> _TAIL_BITS, seed & 0xFFFFFFFF

    def _ignore_if_ahead(self, now_ms: int) -> None:
        """If the last id is over AHEAD_MS ahead of the clock, report and ignore it."""
        if self._ms > now_ms + AHEAD_MS:
            self._furthest_ms = max(self._furthest_ms, self._ms)
            self._report_ahead((self._ms - now_ms) / 1000)
            self._ms = 0


def now_ms() -> int:
    """Return the present time, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def text_of_id(value: bytes) -> str:
    """Return an id as a UUID's text of 36 characters, in lower case."""
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def id_of_text(text: str) -> bytes:
    """Return the id in a UUID's text; raises ValueError for other texts."""
    return UUID(text).bytes


def unix_ms_of_id(value: bytes) -> int:
    """Return the time that an id contains, in milliseconds since the epoch."""
    return int.from_bytes(value[:6])


def is_ahead(value: bytes) -> bool:
    """Return whether an id is over AHEAD_MS ahead of the clock, which shows that a wrong clock made it."""
    return unix_ms_of_id(value) > now_ms() + AHEAD_MS


def unix_ms(moment: datetime) -> int:
    """Return a time with a time zone in whole milliseconds since the epoch, rounded down."""
    # Integers are exact, but ``timestamp() * 1000`` is a millisecond too low for some times after 2038.
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def first_id_of_ms(unix_ms: int) -> bytes:
    """Return a lower bound of all ids with the time ``unix_ms`` or later. Ids with earlier times sort before it."""
    return max(0, min(unix_ms, 2**48 - 1)).to_bytes(6) + bytes(10)


def cursor_of(identity: bytes) -> str:
    """Return the cursor of the page that follows the item with this id, where the items have descending ids."""
    return base64.urlsafe_b64encode(_CURSOR_VERSION + identity).rstrip(b"=").decode()


def cursor_id(text: str | None) -> bytes | None:
    """Return the id in a cursor, or in an item's id as clients see it; None for None. Raises InvalidInput otherwise."""
    if text is None:
        return None
    try:
        if len(text) == 36:
            return id_of_text(text)
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    if len(raw) != 17 or raw[:1] != _CURSOR_VERSION:
        raise InvalidInput.of(FieldProblem("/cursor", "cursor must be a page's next_cursor or an item's id."))
    return raw[1:]
