"""Contract tests for the list of accounts: search, order, pages and activity."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pycalc.db.base import Database, NewSession, ProviderIdentity, SessionLimits, UserSelection
from pycalc.db.sessions import SqlSessionStore
from pycalc.db.usage import SqlUsageStore
from pycalc.db.users import SqlUserStore
from pycalc.models.auth import NO_PASSWORD, ListedUser, Role, User, UserOrder
from pycalc.models.ids import IdSource
from pycalc.models.usage import Use

pytestmark = pytest.mark.anyio

DAY = 20_000
MOMENT = datetime(2026, 11, 22, tzinfo=UTC)
NAMES = ["bob", "Ada", "al-khwarizmi", "al.gauss", "alan", "zeno", "Al_1"]

ids = IdSource()


@pytest.fixture
async def users(database: Database) -> list[User]:
    """Store accounts that sort differently by name, by email address and by creation time."""
    made = [
        User(ids.next(), name, f"x{9 - n}.{name}@Example.com", "hash", Role.USER, MOMENT + timedelta(minutes=n))
        for n, name in enumerate(NAMES)
    ]
    for user in made:
        await SqlUserStore(database).add(user)
    return made


async def listed(
    database: Database, prefix: str | None = None, order: UserOrder = UserOrder.USERNAME, *, descending: bool = False
) -> list[str]:
    """Return the sorted names of the accounts that a search finds (all if ``prefix`` is None), read in pages of two."""
    store, seen, after = SqlUserStore(database), list[ListedUser](), None
    while page := await store.page(UserSelection(prefix, order, descending, after), 2, DAY):
        seen += page
        after = (page[-1].order_value, page[-1].user.id)
    return [each.user.username for each in seen]


@pytest.mark.usefixtures("users")
async def test_accounts_are_sorted(database: Database) -> None:
    """Accounts are sorted by the bytes of their lower-case names, or by creation, ascending or descending."""
    by_name = ["Ada", "al-khwarizmi", "al.gauss", "Al_1", "alan", "bob", "zeno"]
    assert await listed(database) == by_name
    assert await listed(database, descending=True) == by_name[::-1]
    assert await listed(database, order=UserOrder.CREATED_AT) == NAMES
    assert await listed(database, order=UserOrder.CREATED_AT, descending=True) == NAMES[::-1]


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("AL", ["al-khwarizmi", "al.gauss", "Al_1", "alan"]),
        ("al_", ["Al_1"]),
        ("x9.", ["bob"]),
        ("x3.aL_1@exAmple.com", ["Al_1"]),
        ("%", []),
        ("gauss", []),
        ("\x00", []),
        ("\ud800", []),
        ("\U0010ffff", []),
    ],
)
async def test_a_search_finds_what_begins_so(database: Database, prefix: str, names: list[str]) -> None:
    """A search compares the beginning of names and email addresses, ignores letter case, and has no wildcards."""
    assert await listed(database, prefix) == names


async def test_a_sign_in_and_the_days_usage_are_shown(database: Database, users: list[User]) -> None:
    """The list has each account's last sign-in and its usage of one day. Both are 0 if there was none."""
    limits = SessionLimits(idle_ms=1_000, absolute_ms=5_000, grace_ms=10, per_user=3)
    session = NewSession(ids.next(), users[1].id, "hash", b"F" * 32, b"R" * 32, 1_700_000_000_000)
    await SqlSessionStore(database).open(session, limits)
    uses = [
        Use(ids.next(), users[1].id, DAY, "pow", False, 10**13, 5),
        Use(ids.next(), users[1].id, DAY, "gcd", True, 2, 7),
        Use(ids.next(), users[1].id, DAY - 1, "gcd", True, 2, 7),
        Use(ids.next(), users[2].id, DAY, "pow", False, 1, 1),
    ]
    await SqlUsageStore(database).count(uses)
    page = await SqlUserStore(database).page(UserSelection("a"), 3, DAY)
    assert page == [
        ListedUser(users[1], "ada", 1_700_000_000_000, 2, 10**13 + 2, 12),
        ListedUser(users[2], "al-khwarizmi", 0, 1, 1, 1),
        ListedUser(users[3], "al.gauss", 0, 0, 0, 0),
    ]
    assert (await listed(database, order=UserOrder.LAST_SIGN_IN_AT, descending=True))[0] == "Ada"


async def test_an_account_of_the_provider_is_found_by_its_name_only(database: Database) -> None:
    """A search finds an account of the identity provider by its name, but not by its email address or id."""
    user = User(ids.next(), "grace", "hopper@example.com", NO_PASSWORD, Role.USER, MOMENT)
    await SqlUserStore(database).add(user, identity=ProviderIdentity("https://sign-in.example", "1"))
    assert await listed(database, "GRA") == ["grace"]
    assert await listed(database, "hopper") == []
    assert await listed(database, user.id.hex()[:2]) == []
