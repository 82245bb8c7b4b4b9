"""Events: CloudEvents 1.0 in the JSON format, one for each recorded calculation."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import Field
from pydantic_core import to_json
from typing_extensions import TypedDict

from pycalc.models.history import HistoryItem, HistoryRow, history_item
from pycalc.models.ids import text_of_id

EVENT_TYPE = "pycalc.operation.completed.v1"
EVENT_SOURCE = "/pycalc"


class Event(NamedTuple):
    """An event on its way: ``key`` is the user's id, and events of one key keep their order."""

    id: bytes
    key: bytes
    payload: bytes


class CloudEvent(TypedDict):
    """A calculation as an event; never more than 8 KiB."""

    specversion: str
    id: Annotated[str, Field(description="the calculation's id: duplicates share it")]
    source: str
    type: str
    subject: Annotated[str, Field(description="the user's id")]
    time: str
    datacontenttype: str
    data: HistoryItem


def event_of(row: HistoryRow) -> Event:
    """Return the event that tells of a recorded calculation."""
    item = history_item(row)
    body: CloudEvent = {
        "specversion": "1.0",
        "id": item["id"],
        "source": EVENT_SOURCE,
        "type": EVENT_TYPE,
        "subject": text_of_id(row.user_id),
        "time": item["created_at"],
        "datacontenttype": "application/json",
        "data": item,
    }
    return Event(row.id, row.user_id, to_json(body))
