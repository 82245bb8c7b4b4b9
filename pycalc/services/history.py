"""Reading the history, page by page."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

from pycalc.db.base import HistoryFilter, HistoryStore, UserStore
from pycalc.errors import FieldProblem, InvalidInput
from pycalc.models.auth import Principal
from pycalc.models.history import encode_item
from pycalc.models.ids import first_id_of_ms, unix_ms
from pycalc.services.visibility import whose

_CURSOR_VERSION = b"\x01"


def _cursor_text(last: bytes) -> str:
    return base64.urlsafe_b64encode(_CURSOR_VERSION + last).rstrip(b"=").decode()


def _cursor_id(text: str) -> bytes:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 17 or raw[:1] != _CURSOR_VERSION:
        raise InvalidInput(
            "The cursor is not one of ours.", (FieldProblem("/cursor", "not a cursor from next_cursor"),)
        )
    return raw[1:]


def _bound(moment: datetime | None) -> bytes | None:
    return None if moment is None else first_id_of_ms(unix_ms(moment))


class HistoryReader:
    """Pages of the history: one's own, or everyone's for an admin."""

    def __init__(self, history: HistoryStore, users: UserStore) -> None:
        self._history = history
        self._users = users

    async def page(
        self,
        caller: Principal,
        *,
        limit: int,
        cursor: str | None = None,
        operation: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        user: str | None = None,
    ) -> str:
        """Return a HistoryPage as JSON: up to ``limit`` calculations, newest first, ``since`` <= time < ``until``.

        Raises Forbidden when a user asks for another's, InvalidInput for a cursor that is not ours.
        """
        selection = HistoryFilter(
            user_ids=await whose(self._users, caller, user),
            operation=operation,
            since=_bound(since),
            until=_bound(until),
        )
        rows = await self._history.page(selection, _cursor_id(cursor) if cursor is not None else None, limit + 1)
        following = f'"{_cursor_text(rows[limit - 1].id)}"' if len(rows) > limit else "null"
        items = ",".join(map(encode_item, rows[:limit]))
        return f'{{"items":[{items}],"next_cursor":{following},"role":"{caller.role.value}"}}'
