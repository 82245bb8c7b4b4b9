"""The list of accounts, for admins, with search, sorting and pages."""

from __future__ import annotations

import base64
import binascii
import json
from time import time
from typing import Annotated

from pydantic import Field, TypeAdapter

from pycalc.db.base import UserListStore, UserSelection
from pycalc.errors import FieldProblem, InvalidInput
from pycalc.models.auth import ListedUser, UserOrder
from pycalc.models.ids import id_of_text, text_of_id

_NameOrTime = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$")] | Annotated[int, Field(ge=0, lt=2**63, strict=True)]
_Cursor = TypeAdapter(tuple[UserOrder, _NameOrTime, str])


class AccountList:
    """A reader of the list of accounts. Its callers must ensure that the user is an admin."""

    def __init__(self, users: UserListStore) -> None:
        self._users = users

    async def page(
        self, prefix: str | None, order: UserOrder, cursor: str | None, limit: int, *, descending: bool
    ) -> tuple[list[ListedUser], str | None]:
        """Return up to ``limit`` accounts with today's usage, and the next page's cursor, or None on the last page.

        The day begins at midnight UTC. Select the accounts whose name or email address begins with ``prefix``, or all
        if it is None; accounts from the identity provider are found by their name only. Raises InvalidInput for a
        malformed cursor, and for a cursor of another order.
        """
        after = None if cursor is None else _position_of(cursor, order)
        selection = UserSelection(prefix, order, descending, after)
        listed = await self._users.page(selection, limit + 1, int(time()) // 86_400)
        if len(listed) <= limit:
            return listed, None
        last = listed[limit - 1]
        position = json.dumps([order, last.order_value, text_of_id(last.user.id)])
        return listed[:limit], base64.urlsafe_b64encode(position.encode()).rstrip(b"=").decode()


def _position_of(cursor: str, order: UserOrder) -> tuple[str | int, bytes]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        of_order, value, identity = _Cursor.validate_json(text)
        if of_order is order and isinstance(value, str) is (order is UserOrder.USERNAME):
            return value, id_of_text(identity)
    except (binascii.Error, ValueError):
        pass
    raise InvalidInput.of(FieldProblem("/cursor", "cursor must be the next_cursor of a page in the same order."))
