"""A computed result, as it is kept and sent: its text once, and the facts about it."""

from __future__ import annotations

from dataclasses import dataclass
from mmap import mmap
from typing import NamedTuple


class Facts(NamedTuple):
    """What the history tells of a result, in the order of its columns."""

    stored: str | None
    """The text, None when it is too long to be stored."""
    digits: str
    """Their number, as text: a summary may count more than an integer's text form allows."""
    exact: bool
    leading: str
    trailing: str
    sha256: bytes | None
    """None where only the ends are known."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Result:
    """The text of a result, ASCII, and the facts about it.

    ``head`` and ``tail`` are what stands around the text in the JSON form: made once, so that the thousandth
    answer costs no encoding.
    """

    text: bytes | mmap
    facts: Facts
    head: bytes
    tail: bytes
