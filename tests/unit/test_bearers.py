"""Bearers: whom a process forgets, and when it says so to others."""

from __future__ import annotations

from time import time

import pytest

from pycalc.errors import StoreUnavailable
from pycalc.models.auth import Principal, Role
from pycalc.observability.metrics import Metrics
from pycalc.services.accounts.token_cache import Bearers

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


def test_so_many_are_kept_and_no_more() -> None:
    """The least recently used one goes when the 10,001st comes: memory stays bounded whatever clients do."""
    metrics = Metrics()
    bearers = Bearers(metrics)
    for number in range(10_000):
        bearers.keep(b"%d" % number, ADA, bearers.epoch)
    assert bearers.get(b"0") == ADA
    assert metrics.registry.get_sample_value("pycalc_tokens_cached") == 10_000
    bearers.keep(b"one more", ADA, bearers.epoch)
    assert metrics.registry.get_sample_value("pycalc_tokens_cached") == 10_000
    assert [bearers.get(token) for token in (b"0", b"1", b"2", b"one more")] == [ADA, None, ADA, ADA]


def test_what_was_read_before_a_revocation_is_not_kept() -> None:
    """It may be what was revoked."""
    bearers = Bearers(Metrics())
    before = bearers.epoch
    bearers.forget(lambda bearer: False)
    bearers.keep(b"token", ADA, before)
    assert bearers.get(b"token") is None


def test_a_token_ends_at_its_expiry() -> None:
    """Not a moment later: at that second it is not valid any more."""
    now = ADA.expires_at - 0.001
    bearers = Bearers(Metrics(), wall_clock=lambda: now)
    bearers.keep(b"token", ADA, bearers.epoch)
    assert bearers.get(b"token") == ADA
    now = ADA.expires_at
    assert bearers.get(b"token") is None


def test_nobody_is_believed_while_revocations_are_unknown() -> None:
    """Up to the time that they were read for, and not beyond."""
    now = 100.0
    bearers = Bearers(Metrics(), clock=lambda: now)
    bearers.keep(b"token", ADA, bearers.epoch)
    bearers.believed_until = 100.0
    assert bearers.get(b"token") == ADA
    now = 100.001
    assert bearers.get(b"token") is None
