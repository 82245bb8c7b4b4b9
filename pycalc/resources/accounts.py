"""Opening of the account services from the settings: keys, passwords, tokens and accounts (ADR 13)."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pycalc.db import open_database
from pycalc.db.audit import SqlAuditStore
from pycalc.db.base import Database, DeletedAccount, UserStore
from pycalc.db.keys import SqlKeyStore
from pycalc.db.password_resets import SqlPasswordResetStore
from pycalc.db.revocations import SqlRevocationStore
from pycalc.db.sessions import SqlSessionStore
from pycalc.db.totp import SqlTotpStore
from pycalc.db.users import SqlUserStore
from pycalc.models.auth import Principal
from pycalc.models.formats import parse_age
from pycalc.models.ids import IdSource
from pycalc.observability.metrics import Metrics
from pycalc.resources.backends import Backends
from pycalc.resources.resource_stack import ResourceStack
from pycalc.services.accounts.access_tokens import TokenSigner
from pycalc.services.accounts.accounts import AccountPolicy, Accounts
from pycalc.services.accounts.api_keys import ApiKeys
from pycalc.services.accounts.audit_log import AuditLog
from pycalc.services.accounts.authenticator import Authenticator
from pycalc.services.accounts.authorization import LimitPolicy
from pycalc.services.accounts.bootstrap import (
    KEY_FILE,
    PASSWORD_KEY_FILE,
    development_key,
    forget_bootstrap_token,
    offer_bootstrap_token,
)
from pycalc.services.accounts.oidc.id_tokens import Requirement
from pycalc.services.accounts.oidc.provider import Provider, ProviderSettings
from pycalc.services.accounts.oidc.sign_in import ProviderSignIn
from pycalc.services.accounts.password_resets import PasswordResets
from pycalc.services.accounts.passwords import PasswordHasher
from pycalc.services.accounts.revocation_watcher import RevocationWatcher
from pycalc.services.accounts.sessions import Sessions
from pycalc.services.accounts.signing_key_file import SigningKeyFile, read_keys
from pycalc.services.accounts.token_cache import TokenCache
from pycalc.services.accounts.totp import SecretCipher, Totp
from pycalc.settings import Settings


@dataclass
class AccountServices:
    """The services that identify callers and manage accounts."""

    authenticator: Authenticator
    accounts: Accounts
    keys: ApiKeys
    totp: Totp
    provider_sign_in: ProviderSignIn | None  # None without an identity provider
    password_resets: PasswordResets
    bootstrap_token: str | None  # a new token to show on the console, or None
    etag_key: bytes  # the HMAC key of results' ETags; the same on all instances


async def open_account_services(
    stack: ResourceStack,
    backends: Backends,
    audit: AuditLog,
    limits: LimitPolicy,
    identified: Callable[[Principal], None],
    on_deleted: Callable[[DeletedAccount], None],
) -> AccountServices:
    """Open the account services of a server. ``limits`` determines each caller's limits.

    ``identified`` is called with each caller whose credentials are looked up in the database. ``on_deleted`` is called
    for a deleted account whose history is to be erased or made anonymous.

    Raises ValueError for keys that can't be used, OSError if a file in the data folder can't be used, and
    StoreUnavailable if the database does not answer.
    """
    settings, metrics, shared = stack.settings, stack.metrics, backends.shared
    users, database, ids = backends.users, backends.database, backends.ids
    passwords = stack.closing(_hasher(settings, metrics))
    bootstrap_token = await _bootstrap_token(settings, users, database)
    key_file = _signing_key_file(settings)
    secrets = _signing_keys(settings, key_file)
    tokens = TokenSigner(secrets, ids, settings.access_token_seconds)
    token_cache = TokenCache(metrics, shared.revocations.publish) if shared else TokenCache(metrics)
    revocations = SqlRevocationStore(database)
    last_seen = await revocations.newest()  # the cache is empty, so earlier revocations do not concern it
    watcher = stack.closing(RevocationWatcher(revocations, token_cache, metrics, last_seen=last_seen))
    if shared is not None:
        shared.revocations.listen(watcher.poll_now)
    keys = ApiKeys(SqlKeyStore(database, backends.unshared), token_cache, ids, metrics, audit)
    stack.closing(keys.uses).start()
    sessions = Sessions(SqlSessionStore(database, backends.unshared), tokens, ids, metrics, audit)
    accounts = Accounts(users, keys, passwords, token_cache, ids, audit, _policy(settings, on_deleted))
    totp = Totp(SqlTotpStore(database), accounts, SecretCipher(_password_keys(settings)))
    authenticator = Authenticator(
        users,
        sessions,
        keys,
        passwords,
        token_cache,
        totp,
        limits,
        identified,
        admins_need_totp=settings.admin_totp == "required",
        passwords_allowed=settings.password_login,
    )
    provider_sign_in = None
    if settings.oidc_issuer:
        secret = settings.oidc_client_secret.get_secret_value()
        client = ProviderSettings(settings.oidc_issuer, settings.oidc_client_id, secret, settings.oidc_redirect_url)
        provider = stack.closing(Provider(client, metrics))
        admin, factor = _requirement(settings.oidc_role_claim), _requirement(settings.oidc_factor_claim)
        provider_sign_in = ProviderSignIn(provider, admin, factor, users, sessions, token_cache, ids)
    if key_file is not None:
        stack.closing(SigningKeyFile(key_file, secrets, authenticator.replace_keys, metrics))
    resets = PasswordResets(SqlPasswordResetStore(database), accounts)
    etag_key = hmac.digest(_password_keys(settings)[0].encode(), b"pycalc etag", "sha256")
    return AccountServices(authenticator, accounts, keys, totp, provider_sign_in, resets, bootstrap_token, etag_key)


@asynccontextmanager
async def open_accounts(settings: Settings) -> AsyncIterator[Accounts]:
    """Return a context with the service Accounts for a command, without the services that only HTTP requests need.

    Raises ValueError for missing keys. Raises StoreUnavailable if the database is unreachable or not migrated, and
    OSError if a file in the data folder can't be used.
    """
    settings.require_keys()
    metrics, ids = Metrics(), IdSource()
    async with (
        aclosing(await open_database(settings.database)) as database,
        aclosing(_hasher(settings, metrics)) as passwords,
        aclosing(AuditLog(SqlAuditStore(database), ids, metrics)) as audit,
    ):
        token_cache = TokenCache(metrics)
        keys = ApiKeys(SqlKeyStore(database), token_cache, ids, metrics, audit)
        policy = _policy(settings, lambda _: None)
        yield Accounts(SqlUserStore(database), keys, passwords, token_cache, ids, audit, policy)


async def prepare(settings: Settings) -> str | None:
    """Create the missing keys and the bootstrap token that all server processes share. Return the token if it is new.

    Raises ValueError for missing keys that must be set, OSError if a file in the data folder can't be used, and
    StoreUnavailable if the database is unreachable or not migrated.
    """
    settings.require_keys()
    _signing_key_file(settings)
    await _hasher(settings, Metrics()).aclose()
    async with aclosing(await open_database(settings.database)) as database:
        return await _bootstrap_token(settings, SqlUserStore(database), database)


def _policy(settings: Settings, on_deleted: Callable[[DeletedAccount], None]) -> AccountPolicy:
    return AccountPolicy(
        admin_registration=settings.admin_registration,
        passwords_allowed=settings.password_login,
        on_admin_created=partial(forget_bootstrap_token, settings.data_dir),
        history=settings.deleted_accounts,
        reserved=parse_age(settings.history_retention) if settings.history_retention else None,
        on_deleted=on_deleted,
    )


def _requirement(setting: str) -> Requirement | None:
    """Return the requirement on ID tokens (OpenID Connect) in a setting ``claim=value``, or None if it is empty."""
    claim, _, value = setting.partition("=")
    return Requirement(claim, value) if setting else None


def _signing_key_file(settings: Settings) -> Path | None:
    """Return the file of the signing keys, or None if the settings contain the keys. Create a missing default file."""
    if settings.secret_keys or settings.secret_keys_file:
        return settings.secret_keys_file
    file = settings.data_dir / KEY_FILE
    development_key(file)
    return file


def _signing_keys(settings: Settings, file: Path | None) -> tuple[str, ...]:
    """Return the keys in the file, or those in the settings if there is no file.

    Raises ValueError for a file that can't be used; its message begins with the name of the setting.
    """
    if file is None:
        return tuple(key.get_secret_value() for key in settings.secret_keys)
    try:
        return read_keys(file)
    except ValueError as error:
        setting = "PYCALC_SECRET_KEYS_FILE" if settings.secret_keys_file else "PYCALC_DATA_DIR"
        raise ValueError(f"{setting}: {error}") from error


def _hasher(settings: Settings, metrics: Metrics) -> PasswordHasher:
    return PasswordHasher(metrics, settings.bcrypt_rounds, _password_keys(settings))


def _password_keys(settings: Settings) -> list[str]:
    """Return the password keys in the settings, or the key in the data folder, which is created if it is missing."""
    keys = [key.get_secret_value() for key in settings.password_keys]
    return keys or [development_key(settings.data_dir / PASSWORD_KEY_FILE)]


async def _bootstrap_token(settings: Settings, users: UserStore, database: Database) -> str | None:
    """Create or remove the bootstrap token, as the setting ``admin_registration`` requires; return a new token."""
    wanted = settings.admin_registration == "bootstrap"
    return await offer_bootstrap_token(users, settings.data_dir, wanted=wanted, replace=not database.shared)
