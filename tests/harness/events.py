"""Numbered events for tests of streams, in the form of real events."""

from __future__ import annotations

import json
from collections.abc import Iterable

from pycalc.models.events import EVENT_SOURCE, EVENT_TYPE, Event
from pycalc.models.formats import timestamp
from pycalc.models.ids import IdSource, text_of_id, unix_ms_of_id

_ids = IdSource()


def key_of(name: str) -> bytes:
    """Return a user id derived from a name, always the same for the same name."""
    return name.encode().rjust(16, b"\0")


def numbered(key: bytes, numbers: Iterable[int], size: int = 0) -> list[Event]:
    """Return new events of one user; the data of each is one of the numbers, padded to at least ``size`` bytes."""
    return [_event(_ids.next(), key, n, size) for n in numbers]


def number_of(event: Event) -> int:
    """Return the number that an event carries."""
    number: int = json.loads(event.payload)["data"]["n"]
    return number


def _event(identity: bytes, key: bytes, n: int, size: int) -> Event:
    payload = {
        "specversion": "1.0",
        "id": text_of_id(identity),
        "source": EVENT_SOURCE,
        "type": EVENT_TYPE,
        "subject": text_of_id(key),
        "time": timestamp(unix_ms_of_id(identity)),
        "datacontenttype": "application/json",
        "data": {"n": n, "padding": "x" * size},
    }
    return Event(identity, key, json.dumps(payload, separators=(",", ":")).encode())
