"""Functions that create the account services on stores in memory."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time
from typing import NamedTuple

from pycalc.db.base import AuditStore, KeyStore
from pycalc.models.ids import IdSource
from pycalc.models.limits import UNLIMITED
from pycalc.observability.metrics import Metrics
from pycalc.services.accounts.access_tokens import TokenSigner
from pycalc.services.accounts.accounts import AccountPolicy, Accounts, AdminRegistration
from pycalc.services.accounts.api_keys import ApiKeys
from pycalc.services.accounts.audit_log import AuditLog
from pycalc.services.accounts.authenticator import Authenticator
from pycalc.services.accounts.authorization import LimitPolicy
from pycalc.services.accounts.passwords import PasswordHasher
from pycalc.services.accounts.sessions import Sessions
from pycalc.services.accounts.token_cache import TokenCache
from pycalc.services.accounts.totp import SecretCipher, Totp
from tests.harness.stores import MemoryAuditStore, MemoryKeyStore, MemoryTotpStore, MemoryUserStore


class Authentication(NamedTuple):
    """The account services, the authenticator, and the store of second factors."""

    accounts: Accounts
    keys: ApiKeys
    authenticator: Authenticator
    totp: Totp
    second_factors: MemoryTotpStore


def keys_in(store: KeyStore, metrics: Metrics, clock: Callable[[], float] = monotonic) -> ApiKeys:
    """Return the service for the API keys in a store."""
    return ApiKeys(store, TokenCache(metrics), IdSource(), metrics, audit_in(MemoryAuditStore(), metrics), clock)


def audit_in(store: AuditStore, metrics: Metrics, clock: Callable[[], float] = monotonic) -> AuditLog:
    """Return an audit log that keeps its entries in a store."""
    return AuditLog(store, IdSource(), metrics, clock=clock, retry_seconds=0.001)


def authentication(
    users: MemoryUserStore,
    admin_registration: AdminRegistration = "open",
    on_admin_created: Callable[[], None] = lambda: None,
    wall_clock: Callable[[], float] = time,
    admins_need_totp: bool = False,
) -> Authentication:
    """Return the account services for the accounts in ``users``; their other stores are in memory, too."""
    metrics, ids = Metrics(), IdSource()
    policy = AccountPolicy(admin_registration, True, on_admin_created, "keep", None, lambda _: None)
    token_cache, passwords = TokenCache(metrics, wall_clock=wall_clock), PasswordHasher(metrics, 4, ["p" * 32])
    audit = audit_in(MemoryAuditStore(), metrics)
    keys = ApiKeys(MemoryKeyStore(users), token_cache, ids, metrics, audit)
    sessions = Sessions(users.sessions, TokenSigner(["k" * 32], ids, 3600), ids, metrics, audit)
    second_factors = MemoryTotpStore(users)
    accounts = Accounts(users, keys, passwords, token_cache, ids, audit, policy)
    totp = Totp(second_factors, accounts, SecretCipher(["p" * 32]), wall_clock)
    return Authentication(
        accounts,
        keys,
        Authenticator(
            users,
            sessions,
            keys,
            passwords,
            token_cache,
            totp,
            LimitPolicy(UNLIMITED, {}),
            lambda _: None,
            admins_need_totp=admins_need_totp,
        ),
        totp,
        second_factors,
    )
