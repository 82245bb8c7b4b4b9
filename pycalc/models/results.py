"""A computed result: its text, and the facts about it that the history stores."""

from __future__ import annotations

from dataclasses import dataclass
from mmap import mmap
from typing import NamedTuple

STORED_DIGITS = 1_000  # of a longer result, the history stores only the ends and the digest


class Facts(NamedTuple):
    """The facts of a result that the history stores, in the order of the history's columns."""

    stored: str | None  # the text, None when it is too long to be stored
    digits: str  # the number of digits, as text: that of a summary may be too long for ``int``
    exact: bool
    leading: str
    trailing: str
    sha256: bytes | None  # None when only the ends are known


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Result:
    """The ASCII text of a result, and the facts about the result."""

    text: bytes | mmap
    facts: Facts
    # The JSON of an answer before and after the text, made once, so that answers from the cache need no encoding.
    head: bytes
    tail: bytes
