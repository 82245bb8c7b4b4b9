"""Events: CloudEvents 1.0 in the JSON format, one for each recorded calculation."""

from __future__ import annotations

from typing import NamedTuple

from pycalc.models.formats import timestamp
from pycalc.models.history import HistoryRow, encode_item
from pycalc.models.ids import text_of_id, unix_ms_of_id
from pycalc.models.json_text import quoted

EVENT_TYPE = "pycalc.operation.completed.v1"
EVENT_SOURCE = "/pycalc"


class Event(NamedTuple):
    """An event to publish or consume. A stream keeps the order of events with the same key."""

    id: bytes
    key: bytes  # the user's id
    content: bytes | HistoryRow  # the event's JSON, or the calculation, from which the JSON is made when needed
    traceparent: str | None = None  # the trace of the calculation

    @property
    def time_ms(self) -> int:
        """Return the time at which the calculation was recorded, in milliseconds since the epoch."""
        # The time in an id may be a few seconds later.
        return unix_ms_of_id(self.id) if isinstance(self.content, bytes) else self.content.time_ms

    @property
    def payload(self) -> bytes:
        """Return the event as CloudEvents JSON."""
        if isinstance(self.content, bytes):
            return self.content
        # A row has at most about 1,000 characters for each operand and for the result, so the event stays below 8 KiB.
        row = self.content
        trace = "" if row.traceparent is None else f'"traceparent":{quoted(row.traceparent)},'
        return (
            f'{{"specversion":"1.0","id":"{text_of_id(row.id)}","source":"{EVENT_SOURCE}","type":"{EVENT_TYPE}",'
            f'"subject":"{text_of_id(row.user_id)}","time":"{timestamp(row.time_ms)}",'
            f'"datacontenttype":"application/json",{trace}"data":{encode_item(row)}}}'
        ).encode()


def event_of(row: HistoryRow) -> Event:
    """Return the event of a recorded calculation."""
    return Event(row.id, row.user_id, row, row.traceparent)
