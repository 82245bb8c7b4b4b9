"""Reading the history, page by page."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import NamedTuple

from pycalc.db.base import HistoryFilter, HistoryStore, UserStore
from pycalc.errors import FieldProblem, InvalidInput
from pycalc.models.auth import Principal
from pycalc.models.history import encode_item
from pycalc.models.ids import AHEAD_MS, first_id_of_ms, id_of_text, unix_ms
from pycalc.services.accounts.authorization import whose

_CURSOR_VERSION = b"\x01"
_ID_LENGTH = 36


class Wanted(NamedTuple):
    """Which calculations are asked for; None excludes nothing."""

    cursor: str | None = None
    """Those older than this one: a page's ``next_cursor``, or an item's id."""
    operation: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    user: str | None = None


class Page(NamedTuple):
    """A HistoryPage as JSON text, and the cursor of the page that follows it, None on the last."""

    text: str
    next_cursor: str | None


def _cursor_text(last: bytes) -> str:
    return base64.urlsafe_b64encode(_CURSOR_VERSION + last).rstrip(b"=").decode()


def cursor_id(text: str | None) -> bytes | None:
    """Return the id of the calculation that a cursor names; raises InvalidInput for a cursor that is not ours."""
    if text is None:
        return None
    try:
        if len(text) == _ID_LENGTH:
            return id_of_text(text)
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 17 or raw[:1] != _CURSOR_VERSION:
        raise InvalidInput.of(FieldProblem("/cursor", "cursor must be a page's next_cursor or an item's id."))
    return raw[1:]


async def selection_of(wanted: Wanted, caller: Principal, users: UserStore) -> HistoryFilter:
    """Return the store's selection, ``since`` <= time < ``until``; raises Forbidden when a user asks for another's."""
    since_ms, until_ms = (None if moment is None else unix_ms(moment) for moment in (wanted.since, wanted.until))
    return HistoryFilter(
        user_ids=await whose(users, caller, wanted.user),
        operation=wanted.operation,
        since=None if since_ms is None else first_id_of_ms(since_ms),
        until=None if until_ms is None else first_id_of_ms(until_ms + AHEAD_MS),
        since_ms=since_ms,
        until_ms=until_ms,
    )


class HistoryReader:
    """Pages of the history: one's own, or everyone's for an admin."""

    def __init__(self, history: HistoryStore, users: UserStore) -> None:
        self._history = history
        self._users = users

    async def page(self, caller: Principal, wanted: Wanted, limit: int) -> Page:
        """Return up to ``limit`` calculations, newest first.

        Raises Forbidden when a user asks for another's, InvalidInput for a cursor that is not ours.
        """
        selection = await selection_of(wanted, caller, self._users)
        rows = await self._history.page(selection, cursor_id(wanted.cursor), limit + 1)
        following = _cursor_text(rows[limit - 1].id) if len(rows) > limit else None
        items = ",".join(map(encode_item, rows[:limit]))
        member = "null" if following is None else f'"{following}"'
        return Page(f'{{"items":[{items}],"next_cursor":{member},"role":"{caller.role.value}"}}', following)
