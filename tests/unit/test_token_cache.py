"""The token cache: removals from it, and their notifications to other processes."""

from __future__ import annotations

from time import time

import pytest

from pycalc.errors import StoreUnavailable
from pycalc.models.auth import Principal, Role
from pycalc.observability.metrics import Metrics
from pycalc.services.accounts.token_cache import TokenCache

pytestmark = pytest.mark.anyio

ADA = Principal(b"a" * 16, "ada", Role.USER, b"s" * 16, time() + 86_400)  # valid for longer than any test run takes


class NotifyingCache:
    """A token cache with Ada's token; each notification records whether the token had already been removed."""

    def __init__(self) -> None:
        self.notified: list[bool] = []
        self.cache = TokenCache(Metrics(), lambda: self.notified.append(self.cache.get(b"token") is None))
        self.cache.put(b"token", ADA, self.cache.epoch)


async def test_a_revocation_is_notified_after_it_is_stored_and_evicted() -> None:
    """Other processes are notified only after the revocation is stored and the token removed."""
    notifying, stored = NotifyingCache(), []

    async def change() -> str:
        assert notifying.notified == []
        stored.append(True)
        return "changed"

    assert await notifying.cache.revoke(change(), lambda principal: True) == "changed"
    assert (stored, notifying.notified) == ([True], [True])


async def test_a_change_of_unknown_outcome_is_notified() -> None:
    """Other processes are notified even if a change raises an error, because the database may have stored it."""
    notifying = NotifyingCache()

    async def change() -> None:
        raise StoreUnavailable("The database does not answer.")

    with pytest.raises(StoreUnavailable):
        await notifying.cache.revoke(change(), lambda principal: True)
    assert notifying.notified == [True]


def test_revocations_of_others_are_not_notified_again() -> None:
    """Removing a token because of a notification causes no new one, which would circulate without end."""
    notifying = NotifyingCache()
    notifying.cache.evict(lambda principal: True)
    assert (notifying.cache.get(b"token"), notifying.notified) == (None, [])


def test_so_many_are_kept_and_no_more() -> None:
    """The 10,001st token displaces the least recently used one, so that memory stays bounded."""
    metrics = Metrics()
    token_cache = TokenCache(metrics)
    for number in range(10_000):
        token_cache.put(b"%d" % number, ADA, token_cache.epoch)
    assert token_cache.get(b"0") == ADA
    assert metrics.registry.get_sample_value("pycalc_tokens_cached") == 10_000
    token_cache.put(b"one more", ADA, token_cache.epoch)
    assert metrics.registry.get_sample_value("pycalc_tokens_cached") == 10_000
    assert [token_cache.get(token) for token in (b"0", b"1", b"2", b"one more")] == [ADA, None, ADA, ADA]


def test_what_was_read_before_a_revocation_is_not_kept() -> None:
    """A token is not cached if rights of its user were revoked during its verification."""
    token_cache = TokenCache(Metrics())
    before = token_cache.epoch
    token_cache.evict(lambda principal: principal.user_id == ADA.user_id)
    token_cache.put(b"token", ADA, before)
    assert token_cache.get(b"token") is None


def test_revocations_of_others_do_not_keep_a_token_out() -> None:
    """A token is cached even if rights of other users were revoked up to 64 times during its verification."""
    token_cache = TokenCache(Metrics())
    before = token_cache.epoch
    for _ in range(64):
        token_cache.evict(lambda principal: principal.username == "eve")
    token_cache.put(b"token", ADA, before)
    assert token_cache.get(b"token") == ADA


@pytest.mark.parametrize("others", [63, 64])
def test_one_of_many_revocations_is_not_missed(others: int) -> None:
    """A token is not cached if rights of its user were revoked during its verification.

    This holds even if rights of other users were revoked many times after that.
    """
    token_cache = TokenCache(Metrics())
    before = token_cache.epoch
    token_cache.evict(lambda principal: principal.username == "ada")
    for _ in range(others):
        token_cache.evict(lambda principal: principal.username == "eve")
    token_cache.put(b"token", ADA, before)
    assert token_cache.get(b"token") is None


def test_a_token_ends_at_its_expiry() -> None:
    """A cached token is refused from its expiry time on."""
    now = ADA.expires_at - 0.001
    token_cache = TokenCache(Metrics(), wall_clock=lambda: now)
    token_cache.put(b"token", ADA, token_cache.epoch)
    assert token_cache.get(b"token") == ADA
    now = ADA.expires_at
    assert token_cache.get(b"token") is None


def test_no_token_is_accepted_while_revocations_are_unknown() -> None:
    """After ``trusted_until``, the time up to which revocations are known, no cached token is accepted."""
    now = 100.0
    token_cache = TokenCache(Metrics(), clock=lambda: now)
    token_cache.put(b"token", ADA, token_cache.epoch)
    token_cache.trusted_until = 100.0
    assert token_cache.get(b"token") == ADA
    now = 100.001
    assert token_cache.get(b"token") is None
