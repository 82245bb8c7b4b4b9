"""The retry schedule of events that the stream refuses. After several refusals, an event becomes a dead letter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import NamedTuple

from pycalc.db.base import OutboxRow

# An event is dead-lettered after at least 5 refusals and 60 s. Waits grow as 1:3:5:7:9; retry k is due at 60 k²/25 s.
TRIES, SECONDS = 5, 60.0
_MAX_SCHEDULED = 1_000  # further refused events are dead-lettered at once


class _Refusal(NamedTuple):
    tries: int
    first: float
    next_try: float


class RetrySchedule:
    """The outbox rows whose events the stream has refused, each with the time of its next try.

    An event becomes a dead letter after at least TRIES refusals and ``seconds``, or at once if the schedule is full.
    """

    def __init__(self, seconds: float = SECONDS, clock: Callable[[], float] = monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._waiting: dict[int, _Refusal] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def split(self, entries: Sequence[OutboxRow]) -> tuple[list[OutboxRow], list[OutboxRow]]:
        """Return the rows whose events were never refused, and the refused rows whose next try is due."""
        now = self._clock()
        fresh = [entry for entry in entries if entry.seq not in self._waiting]
        due = [entry for entry in entries if (known := self._waiting.get(entry.seq)) and known.next_try <= now]
        return fresh, due

    def forget(self, seqs: Iterable[int]) -> None:
        """Forget the rows with these sequence numbers, which have left the outbox."""
        for seq in seqs:
            self._waiting.pop(seq, None)

    def forget_settled(self, oldest: Sequence[OutboxRow], *, more: bool) -> None:
        """Forget rows that have left the outbox. ``oldest`` are its oldest rows; ``more`` keeps all rows after them."""
        seqs = {entry.seq for entry in oldest}
        last = max(seqs, default=0)
        self._waiting = {seq: refusal for seq, refusal in self._waiting.items() if seq in seqs or (more and seq > last)}

    def put_off(self) -> None:
        """Postpone the retries that are due now or soon, because the stream itself has failed."""
        soonest = self._clock() + self._seconds / TRIES**2
        self._waiting = {
            seq: refusal._replace(next_try=max(soonest, refusal.next_try)) for seq, refusal in self._waiting.items()
        }

    def settle(self, tried: Sequence[OutboxRow], reasons: Mapping[bytes, str]) -> dict[int, str]:
        """Forget published rows, schedule the next try of refused rows, and return the rows to dead-letter.

        ``reasons`` is by the event's id, the result by the row's sequence number. Call ``forget`` for these rows when
        the dead letters are stored. Until then, their next try stays due.
        """
        if not (reasons or self._waiting):
            return {}
        now = self._clock()
        given_up: dict[int, str] = {}
        for entry in tried:
            reason = reasons.get(entry.row.id)
            if reason is None:
                self._waiting.pop(entry.seq, None)
                continue
            known = self._waiting.get(entry.seq)
            tries, first = (known.tries + 1, known.first) if known else (1, now)
            refusal = _Refusal(tries, first, now + self._seconds * (2 * tries - 1) / TRIES**2)
            patient = refusal.tries < TRIES or now - refusal.first < self._seconds
            if patient and (known or len(self._waiting) < _MAX_SCHEDULED):
                self._waiting[entry.seq] = refusal
            else:
                given_up[entry.seq] = reason
        return given_up
