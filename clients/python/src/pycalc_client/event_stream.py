"""A parser of server-sent events (WHATWG HTML, section 9.2.6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Message(NamedTuple):
    """A block of an event stream: an event, a heartbeat, or only a position in the stream.

    Only an event has data. A position is an id; all later events have higher ids.
    """

    id: str | None
    data: str


class EventParser:
    """A parser that takes a stream's bytes as they arrive; it ignores fields other than ``id`` and ``data``."""

    def __init__(self) -> None:
        self._rest = b""
        self._id: str | None = None
        self._data: list[str] = []

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the blocks that these bytes complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if text := line.removesuffix(b"\r").decode():
                name, _, value = text.partition(":")
                value = value.removeprefix(" ")
                if name == "id":
                    self._id = value
                elif name == "data":
                    self._data.append(value)
            else:
                yield Message(self._id, "\n".join(self._data))
                self._id, self._data = None, []
