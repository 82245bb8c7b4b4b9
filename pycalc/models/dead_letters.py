"""Dead letters as admins see them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from pycalc.models.formats import NextCursor, Timestamp, Uuid


class DeadLetterItem(TypedDict):
    """An event that could not be delivered or read, or a message that is no event of this service."""

    id: Annotated[int, Field(description="the dead letter's number")]
    stage: Annotated[Literal["relay", "consumer"], Field(description="where it failed")]
    event_id: Annotated[Uuid | None, Field(description="the calculation's id; null: no event of this service")]
    origin: Annotated[str, Field(description="where it came from, such as a topic, partition and offset")]
    reason: str
    content: Annotated[str, Field(description="up to 8 KiB; bytes that are not UTF-8 are escaped")]
    created_at: Timestamp


class DeadLetterPage(TypedDict):
    """A page of the dead letters, the oldest first."""

    items: list[DeadLetterItem]
    next_cursor: NextCursor
