"""A computed result, as it is kept and sent: its text once, and the facts about it."""

from __future__ import annotations

from dataclasses import dataclass
from mmap import mmap


@dataclass(frozen=True, slots=True)
class Result:
    """The text of a result, ASCII, and what is told about it.

    ``head`` and ``tail`` are what stands around the text in the JSON form: made once, so that the thousandth
    answer costs no encoding.
    """

    text: bytes | mmap
    digits: int
    exact: bool
    leading: str
    trailing: str
    sha256: bytes
    head: bytes
    tail: bytes
    stored: str | None
    """The text as the history stores it, None when it is too long for that."""
