"""The SQL of the usage totals. One transaction counts an event and stores its id, so each event is counted once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.exc import IntegrityError

from pycalc.db.base import UsageFilter
from pycalc.db.rows import insert_rows
from pycalc.db.sql_store import SqlStore
from pycalc.db.tables import consumed, usage
from pycalc.models.usage import Total, Use

LOW = 10**12  # sums of digits may exceed 64 bits, so they are stored as high * 10^12 + low
_ADD = f"""
ON CONFLICT (user_id, day, operation) DO UPDATE SET
    count = usage.count + excluded.count,
    cached = usage.cached + excluded.cached,
    digits_high = usage.digits_high + excluded.digits_high + (usage.digits_low + excluded.digits_low) / {LOW},
    digits_low = (usage.digits_low + excluded.digits_low) % {LOW},
    compute_us = usage.compute_us + excluded.compute_us
"""


def _add(connection: Connection, uses: Iterable[Use]) -> None:
    """Add the amounts of events to the usage totals; raises IntegrityError if one of them was counted before."""
    insert_rows(connection, consumed, sorted((use.event_id,) for use in uses))
    sums: dict[tuple[bytes, int, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for _, user_id, day, operation, cached, digits, compute_us in uses:
        total = sums[user_id, day, operation]
        total[0] += 1
        total[1] += cached
        total[2] += digits
        total[3] += compute_us
    rows = [
        (*key, count, cached, *divmod(digits, LOW), compute_us)
        for key, (count, cached, digits, compute_us) in sorted(sums.items())  # as above, no deadlock of two consumers
    ]
    insert_rows(connection, usage, rows, _ADD)


class SqlUsageStore(SqlStore):
    """Usage totals in SQL."""

    async def count(self, uses: Sequence[Use]) -> int:
        new = {use.event_id: use for use in uses}
        while new:
            try:
                await self._database.write(lambda connection: _add(connection, new.values()))
                break
            except IntegrityError:  # some were counted before, perhaps by another consumer just now
                counted = select(consumed.c.event_id).where(consumed.c.event_id.in_(new))
                known = await self._list(counted, lambda row: row.event_id)
                if not known:
                    raise
                for event_id in known:
                    del new[event_id]
        return len(new)

    async def forget(self, before: bytes, limit: int) -> int:
        oldest = select(consumed.c.event_id).where(consumed.c.event_id < before).order_by(consumed.c.event_id)
        return await self._change(delete(consumed).where(consumed.c.event_id.in_(oldest.limit(limit))))

    async def totals(self, selection: UsageFilter, limit: int) -> list[Total]:
        def total(row: Any) -> Total:
            day, operation, count, cached, high, low, compute_us = row
            return Total(day, operation, int(count), int(cached), int(high) * LOW + int(low), int(compute_us))

        columns = [usage.c.count, usage.c.cached, usage.c.digits_high, usage.c.digits_low, usage.c.compute_us]
        query = (
            select(usage.c.day, usage.c.operation, *(func.sum(column) for column in columns))
            .group_by(usage.c.day, usage.c.operation)
            .order_by(usage.c.day.desc(), usage.c.operation)
            .limit(limit)
        )
        if selection.user_ids is not None:
            query = query.where(usage.c.user_id.in_(selection.user_ids))
        if selection.since is not None:
            query = query.where(usage.c.day >= selection.since)
        if selection.until is not None:
            query = query.where(usage.c.day < selection.until)
        return await self._list(query, total)
