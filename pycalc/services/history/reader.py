"""Reading of the history: pages and single calculations."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from pycalc.db.base import HistoryFilter, HistoryStore, UserStore
from pycalc.errors import NotFound
from pycalc.models.auth import Principal
from pycalc.models.history import HistoryRow, encode_item
from pycalc.models.ids import AHEAD_MS, cursor_id, cursor_of, first_id_of_ms, unix_ms
from pycalc.services.accounts.authorization import visible_user_ids


class HistorySelection(NamedTuple):
    """A client's filter of calculations. A field that is None does not filter."""

    cursor: str | None = None  # a page's next_cursor or an item's id: selects older calculations
    operation: str | None = None
    since: datetime | None = None  # inclusive
    until: datetime | None = None  # exclusive
    user: str | None = None  # an account's name or id


async def filter_of(selection: HistorySelection, caller: Principal, users: UserStore) -> HistoryFilter:
    """Return the store's filter for a selection, without its cursor. Raises the errors of ``visible_user_ids``."""
    since_ms, until_ms = (None if moment is None else unix_ms(moment) for moment in (selection.since, selection.until))
    return HistoryFilter(
        user_ids=await visible_user_ids(users, caller, selection.user),
        operation=selection.operation,
        above=None if since_ms is None else first_id_of_ms(since_ms),
        until=None if until_ms is None else first_id_of_ms(until_ms + AHEAD_MS),
        since_ms=since_ms,
        until_ms=until_ms,
    )


class HistoryReader:
    """A reader of recorded calculations: the caller's own, or everyone's for an admin."""

    def __init__(self, history: HistoryStore, users: UserStore) -> None:
        self._history = history
        self._users = users

    async def one(self, caller: Principal, identity: bytes) -> HistoryRow:
        """Return the calculation with this id. Raises NotFound if there is none or the caller may not see it.

        Raises Forbidden if an admin has lost the role, and Unauthorized if the admin's account is deleted or disabled.
        """
        visible = await visible_user_ids(self._users, caller, None)
        row = await self._history.find(identity)
        if row is None or (visible is not None and row.user_id not in visible):
            raise NotFound("There is no such calculation.")
        return row

    async def page(self, caller: Principal, selection: HistorySelection, limit: int) -> tuple[str, str | None]:
        """Return the newest ``limit`` of the selected calculations, a HistoryPage as JSON, and the next page's cursor.

        Raises InvalidInput for a malformed cursor, and the errors of ``visible_user_ids``.
        """
        history_filter = await filter_of(selection, caller, self._users)
        rows = await self._history.page(history_filter, cursor_id(selection.cursor), limit + 1)
        next_cursor = cursor_of(rows[limit - 1].id) if len(rows) > limit else None
        member = "null" if next_cursor is None else f'"{next_cursor}"'
        items = ",".join(map(encode_item, rows[:limit]))
        return f'{{"items":[{items}],"next_cursor":{member},"role":"{caller.role.value}"}}', next_cursor
