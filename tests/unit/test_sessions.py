"""Sessions: their limits, and the form of their refresh tokens."""

from __future__ import annotations

import base64
from hashlib import sha256
from time import time_ns

import pytest

from pycalc.db.base import NewSession, RefreshHashes, Rotation, SessionLimits
from pycalc.errors import Unauthorized
from pycalc.models.ids import IdSource
from pycalc.observability.metrics import Metrics
from pycalc.services.accounts.access_tokens import TokenSigner
from pycalc.services.accounts.sessions import Sessions
from tests.harness.authentication import audit_in
from tests.harness.stores import USER_ID, MemoryAuditStore, MemorySessionStore, MemoryUserStore

pytestmark = pytest.mark.anyio

DAY_MS = 86_400_000


class NotingStore(MemorySessionStore):
    """A store that records new sessions, their limits and refreshes; every refresh is refused."""

    def __init__(self) -> None:
        super().__init__(MemoryUserStore())
        self.opened: list[tuple[NewSession, SessionLimits]] = []
        self.presented: list[RefreshHashes] = []

    async def open(self, session: NewSession, limits: SessionLimits) -> None:
        self.opened.append((session, limits))

    async def rotate(self, refresh: RefreshHashes, limits: SessionLimits) -> Rotation:
        self.presented.append(refresh)
        return Rotation(None, False)


def sessions_in(store: MemorySessionStore) -> Sessions:
    """Return the session service on a store."""
    ids, metrics = IdSource(), Metrics()
    audit = audit_in(MemoryAuditStore(), metrics)
    return Sessions(store, TokenSigner(["k" * 32], ids, 900), ids, metrics, audit)


async def test_how_long_a_session_lives() -> None:
    """Sessions end after 7 days without use or 30 days in all, and a user has at most 100.

    A replaced refresh token may be used again for 10 s. These are the limits in docs/security.md.
    """
    store = NotingStore()
    before = time_ns() // 1_000_000
    await sessions_in(store).open(USER_ID, "hash", totp=False)
    ((session, limits),) = store.opened
    assert limits == SessionLimits(idle_ms=7 * DAY_MS, absolute_ms=30 * DAY_MS, grace_ms=10_000, per_user=100)
    assert before <= session.now_ms <= time_ns() // 1_000_000


async def test_a_refresh_token_is_the_session_and_256_bits() -> None:
    """A refresh token contains the session's id and 32 more bytes; tokens of another length or prefix are refused."""
    store = NotingStore()
    tokens = await sessions_in(store).open(USER_ID, "hash", totp=False)
    ((session, _),) = store.opened
    raw = base64.urlsafe_b64decode(tokens.refresh.removeprefix("pcr_"))
    assert (raw[:16], len(raw)) == (session.id, 48)
    sessions = sessions_in(MemorySessionStore(MemoryUserStore()))
    for wrong in (raw[:-1], raw + b"x", b""):
        with pytest.raises(Unauthorized):
            await sessions.refresh("pcr_" + base64.urlsafe_b64encode(wrong).decode())
    with pytest.raises(Unauthorized):
        await sessions.refresh(base64.urlsafe_b64encode(raw).decode())


async def test_an_earlier_release_s_refresh_token_fits() -> None:
    """As in earlier releases, a refresh token is the session's id, 16 constant bytes, and 16 that refreshes replace."""
    store = NotingStore()
    token = "pcr_" + base64.urlsafe_b64encode(b"i" * 16 + b"f" * 16 + b"s" * 16).decode()
    with pytest.raises(Unauthorized):
        await sessions_in(store).refresh(token)
    ((session_id, family_hash, refresh_hash, *_),) = store.presented
    assert session_id == b"i" * 16
    assert family_hash == sha256(b"f" * 16).digest()
    assert refresh_hash == sha256(b"f" * 16 + b"s" * 16).digest()
