"""The interface of the list of accounts."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from pycalc.models.auth import ListedUser, UserOrder


class UserSelection(NamedTuple):
    """A filter and an order of accounts."""

    # Of the username or the email address, in any letter case; None selects all. The address of an account from the
    # identity provider is not searched, because such addresses have no index.
    prefix: str | None = None
    order: UserOrder = UserOrder.USERNAME
    descending: bool = False
    # The last account of the previous page: its value in the order, and its id. None selects the first page.
    after: tuple[str | int, bytes] | None = None


class UserListStore(Protocol):
    """The accounts with their activity, which can be searched and sorted."""

    async def page(self, selection: UserSelection, limit: int, day: int) -> list[ListedUser]:
        """Return up to ``limit`` of the selected accounts, with their usage on ``day``, in days since 1970-01-01."""
