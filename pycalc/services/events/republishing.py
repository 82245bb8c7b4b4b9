"""Republishing of events that were never counted, because a topic was lost or a backup was restored (ADR 17)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

from pycalc.db.base import RefillableOutbox
from pycalc.models.ids import first_id_of_ms, now_ms

# The database keeps the ids of counted events for 14 days. Beyond that, an event that is published again would count
# twice. The difference is more than the clocks of two hosts may differ by.
AGE = timedelta(days=13)
_BATCH = 1_000


async def republish(outbox: RefillableOutbox) -> AsyncIterator[int]:
    """Put the lost events of the last 13 days back into the outbox. Yield their number after each transaction.

    An event is lost if it is neither in the outbox, nor counted, nor a dead letter. This includes an event that was
    published a moment ago: consumers see it twice, with the same id. Raises StoreUnavailable if the database does not
    answer.
    """
    last: bytes | None = first_id_of_ms(now_ms() - AGE // timedelta(milliseconds=1))
    while last is not None:
        added, last = await outbox.refill(last, _BATCH)
        yield added
