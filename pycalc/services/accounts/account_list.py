"""The list of accounts, for admins: searched, sorted and in pages."""

from __future__ import annotations

import base64
import binascii
import json
from time import time
from typing import Annotated, NamedTuple

from pydantic import Field, TypeAdapter

from pycalc.db.base import UserListStore, UserSelection
from pycalc.errors import FieldProblem, InvalidInput
from pycalc.models.auth import ListedUser, UserOrder
from pycalc.models.ids import id_of_text, text_of_id

_DAY_SECONDS = 86_400
_Name = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$")]
_Milliseconds = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
_Cursor = TypeAdapter(tuple[UserOrder, _Name | _Milliseconds, str])


class AccountSearch(NamedTuple):
    """A search for accounts whose name or email address begins with a text, and the order of the results."""

    prefix: str | None
    order: UserOrder
    descending: bool
    cursor: str | None  # the ``next_cursor`` of the previous page, which had the same order


class AccountList:
    """A reader of the list of accounts. Its callers must ensure that the user is an admin."""

    def __init__(self, users: UserListStore) -> None:
        self._users = users

    async def page(self, search: AccountSearch, limit: int) -> tuple[list[ListedUser], str | None]:
        """Return up to ``limit`` accounts with today's usage, and the next page's cursor, or None on the last page.

        Raises InvalidInput for a malformed cursor, and for a cursor of another order.
        """
        after = None if search.cursor is None else _place_of(search.cursor, search.order)
        selection = UserSelection(search.prefix, search.order, search.descending, after)
        listed = await self._users.page(selection, limit + 1, int(time()) // _DAY_SECONDS)
        if len(listed) <= limit:
            return listed, None
        last = listed[limit - 1]
        place = json.dumps([search.order, last.order_value, text_of_id(last.user.id)])
        return listed[:limit], base64.urlsafe_b64encode(place.encode()).rstrip(b"=").decode()


def _place_of(cursor: str, order: UserOrder) -> tuple[str | int, bytes]:
    """Return the position in the list that a cursor encodes.

    Raises InvalidInput for a malformed cursor, and for a cursor of another order.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        of_order, value, identity = _Cursor.validate_json(text)
        if of_order is order and isinstance(value, str) is (order is UserOrder.USERNAME):
            return value, id_of_text(identity)
    except (binascii.Error, ValueError):
        pass
    raise InvalidInput.of(FieldProblem("/cursor", "cursor must be the next_cursor of a page in the same order."))
