"""The interface of the list of accounts."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from pycalc.models.auth import ListedUser, UserOrder


class UserSelection(NamedTuple):
    """A filter and an order of accounts."""

    prefix: str | None = None  # of the username or the email address, in any letter case; None selects all
    order: UserOrder = UserOrder.USERNAME
    descending: bool = False
    after: tuple[str | int, bytes] | None = None  # the order's value and the id of the account before the page


class UserListStore(Protocol):
    """The accounts with their activity, which can be searched and sorted."""

    async def page(self, selection: UserSelection, limit: int, day: int) -> list[ListedUser]:
        """Return up to ``limit`` of the selected accounts, with their usage on ``day``, in days since 1970-01-01."""
