"""The list of accounts: its pages, the day whose usage it shows, and cursors that no page has issued."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from pycalc.db.base import UserSelection
from pycalc.errors import InvalidInput
from pycalc.models.auth import ListedUser, Role, User, UserOrder
from pycalc.models.ids import text_of_id
from pycalc.services.accounts import accounts
from pycalc.services.accounts.accounts import AccountList
from tests.harness.stores import USER_ID

pytestmark = pytest.mark.anyio

ID = text_of_id(USER_ID)


class Store:
    """A store of three accounts, which records the arguments of each call."""

    def __init__(self) -> None:
        self.asked: list[tuple[UserSelection, int, int]] = []

    async def page(self, selection: UserSelection, limit: int, day: int) -> list[ListedUser]:
        self.asked.append((selection, limit, day))
        values = ["b", "bb", "bbb"] if selection.order is UserOrder.USERNAME else [1, 22, 333]
        user = User(USER_ID, "ada", "ada@example.com", "hash", Role.USER, datetime(2026, 11, 22, tzinfo=UTC))
        return [ListedUser(user, value, 0, 0, 0, 0) for value in values[:limit]]


def cursor(*position: object) -> str:
    """Return the cursor for a position, as a client may forge it."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("order", "limit", "last"),
    [
        (UserOrder.USERNAME, 1, "b"),
        (UserOrder.USERNAME, 2, "bb"),
        (UserOrder.CREATED_AT, 1, 1),
        (UserOrder.LAST_SIGN_IN_AT, 2, 22),
    ],
)
async def test_a_cursor_leads_behind_the_last_account_of_its_page(
    order: UserOrder, limit: int, last: str | int
) -> None:
    """A page has as many accounts as requested, and its cursor selects the accounts after its last one."""
    store = Store()
    users = AccountList(store)
    page, after = await users.page("b", order, None, limit, descending=True)
    assert [each.order_value for each in page][-1] == last
    assert len(page) == limit
    await users.page("b", order, after, limit, descending=True)
    assert [asked[:2] for asked in store.asked] == [
        (UserSelection("b", order, True, None), limit + 1),
        (UserSelection("b", order, True, (last, USER_ID)), limit + 1),
    ]


async def test_the_last_page_has_no_cursor() -> None:
    """A page without further accounts has no cursor."""
    page, after = await AccountList(Store()).page(None, UserOrder.USERNAME, None, 3, descending=False)
    assert ([each.order_value for each in page], after) == (["b", "bb", "bbb"], None)


@pytest.mark.parametrize(("seconds", "day"), [(1_727_999_999.9, 19_999), (1_728_000_000.0, 20_000)])  # 2024-10-04 UTC
async def test_the_figures_are_those_of_the_day_in_utc(
    monkeypatch: pytest.MonkeyPatch, seconds: float, day: int
) -> None:
    """The list has the usage of the current day in UTC."""
    monkeypatch.setattr(accounts, "time", lambda: seconds)
    store = Store()
    await AccountList(store).page(None, UserOrder.USERNAME, None, 3, descending=False)
    assert [asked[2] for asked in store.asked] == [day]


@pytest.mark.parametrize("value", ["", " ~", 0, 2**63 - 1])
async def test_the_least_and_the_largest_position_are_accepted(value: str | int) -> None:
    """A cursor may contain any name in printable ASCII, and any time that the databases can store."""
    store = Store()
    order = UserOrder.USERNAME if isinstance(value, str) else UserOrder.CREATED_AT
    await AccountList(store).page(None, order, cursor(order, value, ID), 3, descending=False)
    assert store.asked[0][0].after == (value, USER_ID)


@pytest.mark.parametrize(
    ("order", "forged"),
    [
        (UserOrder.CREATED_AT, cursor("created_at", -1, ID)),
        (UserOrder.CREATED_AT, cursor("created_at", 2**63, ID)),
        (UserOrder.CREATED_AT, cursor("created_at", 1.0, ID)),
        (UserOrder.CREATED_AT, cursor("created_at", True, ID)),
        (UserOrder.CREATED_AT, cursor("created_at", "1", ID)),
        (UserOrder.CREATED_AT, cursor("created_at", 1, "1")),
        (UserOrder.CREATED_AT, cursor("created_at", 1)),
        (UserOrder.CREATED_AT, cursor("last_sign_in_at", 1, ID)),
        (UserOrder.CREATED_AT, cursor("password_hash", 1, ID)),
        (UserOrder.USERNAME, cursor("username", 1, ID)),
        (UserOrder.USERNAME, cursor("username", "\x1f", ID)),
        (UserOrder.USERNAME, cursor("username", "\x7f", ID)),
        (UserOrder.USERNAME, cursor("username", "ada\n", ID)),
        (UserOrder.USERNAME, "!!!!" + cursor("username", "ada", ID)),
        (UserOrder.USERNAME, "A"),
        (UserOrder.USERNAME, ""),
    ],
)
async def test_a_forged_cursor_reaches_no_database(order: UserOrder, forged: str) -> None:
    """A cursor that no page can have is refused before the store is asked."""
    store = Store()
    with pytest.raises(InvalidInput) as refused:
        await AccountList(store).page(None, order, forged, 3, descending=False)
    assert [problem.pointer for problem in refused.value.problems] == ["/cursor"]
    assert store.asked == []
