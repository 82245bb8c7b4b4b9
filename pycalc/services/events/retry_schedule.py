"""Events that the stream refuses: tried again for a while, then given up, so that the rest flows on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import NamedTuple

from pycalc.db.base import OutboxRow

TRIES, SECONDS = 5, 60.0
"""An event is given up after so many refusals, over so long; pauses grow like odd numbers, whose sums are squares."""
_MOST = 1_000
"""Refused events that are tried again; what is refused beyond them is given up at once."""


class _Refusal(NamedTuple):
    tries: int
    first: float
    next_try: float


class Refusals:
    """Which entries wait for another try."""

    def __init__(self, seconds: float = SECONDS, clock: Callable[[], float] = monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._waiting: dict[int, _Refusal] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def split(self, entries: Sequence[OutboxRow]) -> tuple[list[OutboxRow], list[OutboxRow]]:
        """Return the entries that were not refused yet, and those that may be tried again now."""
        now = self._clock()
        fresh = [entry for entry in entries if entry.seq not in self._waiting]
        again = [entry for entry in entries if (known := self._waiting.get(entry.seq)) and known.next_try <= now]
        return fresh, again

    def clear(self) -> None:
        """Forget all: another relay tries them now."""
        self._waiting.clear()

    def forget_settled(self, oldest: Sequence[OutboxRow], *, more: bool) -> None:
        """Forget what another relay has settled: missing from the oldest entries; ``more``: there may be later ones."""
        seqs = {entry.seq for entry in oldest}
        last = max(seqs, default=0)
        self._waiting = {seq: refusal for seq, refusal in self._waiting.items() if seq in seqs or (more and seq > last)}

    def put_off(self) -> None:
        """Let nothing be tried again for a while: a try has failed, for no reason of one event."""
        soonest = self._clock() + self._seconds / TRIES**2
        self._waiting = {
            seq: refusal._replace(next_try=max(soonest, refusal.next_try)) for seq, refusal in self._waiting.items()
        }

    def settle(self, tried: Sequence[OutboxRow], reasons: Mapping[bytes, str]) -> dict[int, str]:
        """Note what was refused, by event id with the reason; return the entries to give up, by sequence number."""
        now = self._clock()
        hopeless: dict[int, str] = {}
        for entry in tried:
            known = self._waiting.pop(entry.seq, None)
            reason = reasons.get(entry.row.id)
            if reason is None:
                continue
            tries, first = (known.tries + 1, known.first) if known else (1, now)
            refusal = _Refusal(tries, first, now + self._seconds * (2 * tries - 1) / TRIES**2)
            patient = refusal.tries < TRIES or now - refusal.first < self._seconds
            if patient and len(self._waiting) < _MOST:
                self._waiting[entry.seq] = refusal
            else:
                hopeless[entry.seq] = reason
        return hopeless
