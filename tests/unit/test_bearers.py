"""Bearers: whom a process forgets, and when it says so to others."""

from __future__ import annotations

from time import time

import pytest

from pycalc.errors import StoreUnavailable
from pycalc.models.auth import Principal, Role
from pycalc.observability.metrics import Metrics
from pycalc.services.bearers import Bearers

pytestmark = pytest.mark.anyio

ADA = Principal(b"a" * 16, "ada", Role.USER, b"s" * 16, time() + 900)


class Told:
    """Bearers that know Ada, and what they had forgotten whenever they told others."""

    def __init__(self) -> None:
        self.told: list[bool] = []
        self.bearers = Bearers(Metrics(), lambda: self.told.append(self.bearers.get(b"token") is None))
        self.bearers.keep(b"token", ADA, self.bearers.epoch)


async def test_a_revocation_here_is_told_after_it_is_stored_and_forgotten() -> None:
    """Whoever is told by this finds it in the store."""
    told, stored = Told(), []

    async def change() -> str:
        assert told.told == []
        stored.append(True)
        return "changed"

    assert await told.bearers.revoke(change(), lambda bearer: True) == "changed"
    assert (stored, told.told) == ([True], [True])


async def test_a_change_that_may_have_happened_is_told() -> None:
    """A database that does not answer may have done it."""
    told = Told()

    async def change() -> None:
        raise StoreUnavailable("The database does not answer.")

    with pytest.raises(StoreUnavailable):
        await told.bearers.revoke(change(), lambda bearer: True)
    assert told.told == [True]


def test_what_others_revoked_is_not_told_again() -> None:
    """Processes that repeat to each other what they hear would never be silent."""
    told = Told()
    told.bearers.forget(lambda bearer: True)
    assert (told.bearers.get(b"token"), told.told) == (None, [])
