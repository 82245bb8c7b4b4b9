"""Visible records: a user sees only own records, an admin everyone's or those of one account."""

from __future__ import annotations

from datetime import UTC, datetime
from time import time

import pytest

from pycalc.errors import Forbidden, InvalidToken
from pycalc.models.auth import Principal, Role, User
from pycalc.models.ids import text_of_id
from pycalc.services.accounts.authorization import visible_user_ids
from tests.harness.authentication import authentication
from tests.harness.stores import MemoryUserStore

pytestmark = pytest.mark.anyio

ADA, BOB = b"a" * 16, b"b" * 16


async def stored(*accounts: tuple[bytes, str, Role]) -> MemoryUserStore:
    """Return a store with these accounts."""
    users = MemoryUserStore()
    for identity, name, role in accounts:
        await users.add(User(identity, name, f"{name}@example.com", "hash", role, datetime(2026, 11, 22, tzinfo=UTC)))
    return users


def caller(identity: bytes, name: str, role: Role) -> Principal:
    """Return an authenticated caller."""
    return Principal(identity, name, role, identity, time() + 900)


async def test_an_admin_selects_one_account_by_name_or_id() -> None:
    """A name in any letter case and an id select the account; an unknown name selects nobody instead of everybody."""
    users = await stored((ADA, "ada", Role.ADMIN), (BOB, "bob", Role.USER))
    admin = caller(ADA, "ada", Role.ADMIN)
    assert await visible_user_ids(users, admin, "BOB") == (BOB,)
    assert await visible_user_ids(users, admin, text_of_id(BOB)) == (BOB,)
    assert await visible_user_ids(users, admin, "carl") == ()
    assert await visible_user_ids(users, admin, None) is None


async def test_an_admin_s_role_is_read_from_the_store() -> None:
    """If an admin's account has lost its role, is disabled or is deleted, the admin's request is refused."""
    admin = caller(ADA, "ada", Role.ADMIN)
    with pytest.raises(Forbidden):
        await visible_user_ids(await stored((ADA, "ada", Role.USER)), admin, None)
    users = await stored((ADA, "ada", Role.ADMIN))
    await users.change("ada", None, True)
    for gone in (users, MemoryUserStore()):
        with pytest.raises(InvalidToken):
            await visible_user_ids(gone, admin, None)


async def test_an_account_that_is_gone_is_refused() -> None:
    """If an account is deleted or disabled, its token is refused."""
    users = await stored((ADA, "ada", Role.USER), (BOB, "bob", Role.USER))
    await users.change("bob", None, True)
    accounts = authentication(users).accounts
    assert (await accounts.own(caller(ADA, "ada", Role.USER))).id == ADA
    for identity, name in ((BOB, "bob"), (b"c" * 16, "carl")):
        with pytest.raises(InvalidToken):
            await accounts.own(caller(identity, name, Role.USER))
