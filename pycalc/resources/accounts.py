"""Who may do what: keys, passwords, tokens and accounts, opened from the settings (ADR 13)."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from pycalc.db import open_database
from pycalc.db.base import UserStore
from pycalc.db.keys import SqlKeyStore
from pycalc.db.revocations import SqlRevocationStore
from pycalc.db.sessions import SqlSessionStore
from pycalc.db.users import SqlUserStore
from pycalc.models.ids import IdSource
from pycalc.observability.metrics import Metrics
from pycalc.resources.backends import Backends
from pycalc.resources.resource_stack import Opening
from pycalc.services.accounts.access_tokens import TokenSigner
from pycalc.services.accounts.accounts import Accounts
from pycalc.services.accounts.api_keys import ApiKeys
from pycalc.services.accounts.authenticator import Authenticator
from pycalc.services.accounts.bootstrap import (
    KEY_FILE,
    PASSWORD_KEY_FILE,
    development_key,
    forget_bootstrap_token,
    offer_bootstrap_token,
)
from pycalc.services.accounts.passwords import PasswordHasher
from pycalc.services.accounts.revocation_watcher import RevocationWatch
from pycalc.services.accounts.sessions import Sessions
from pycalc.services.accounts.signing_key_file import KeyFile, read_keys
from pycalc.services.accounts.token_cache import Bearers
from pycalc.settings import Settings


class Access(NamedTuple):
    """The services that know who somebody is."""

    authenticator: Authenticator
    accounts: Accounts
    bootstrap_token: str | None
    """A new one, for the console."""
    etag_key: bytes
    """What the validators of results are made with: the same on all instances."""


async def open_access(opening: Opening, backends: Backends) -> Access:
    """Open what tells callers apart; raises ValueError for keys that can't be used."""
    settings, metrics, shared = opening.settings, opening.metrics, backends.shared
    users, ids = backends.users, backends.ids
    passwords = opening.closing(_hasher(settings, metrics))
    bootstrap_token = await _bootstrap_token(settings, users, replace=not backends.database.shared)
    key_file, secrets = _signing_keys(settings)
    tokens = TokenSigner(secrets, ids, settings.access_token_seconds)
    bearers = Bearers(metrics, shared.revocations.publish) if shared else Bearers(metrics)
    await _watch_revocations(opening, backends, bearers)
    keys, sessions = (
        ApiKeys(SqlKeyStore(backends.database), ids, metrics),
        Sessions(SqlSessionStore(backends.database), ids, metrics),
    )
    authenticator = Authenticator(users, sessions, keys, passwords, tokens, bearers)
    if key_file is not None:
        opening.closing(KeyFile(key_file, secrets, authenticator.replace_keys, metrics))
    accounts = _accounts(settings, users, keys, passwords, bearers, ids)
    etag_key = hmac.digest(_password_keys(settings)[0].encode(), b"pycalc etag", "sha256")
    return Access(authenticator, accounts, bootstrap_token, etag_key)


@asynccontextmanager
async def open_accounts(settings: Settings) -> AsyncIterator[Accounts]:
    """Open what the command line keeps accounts with: the database, and nothing that serves requests.

    Raises ValueError where keys are missing.
    """
    settings.require_keys()
    metrics, ids = Metrics(), IdSource()
    async with (
        aclosing(await open_database(settings.database)) as database,
        aclosing(_hasher(settings, metrics)) as passwords,
    ):
        users, keys = SqlUserStore(database), ApiKeys(SqlKeyStore(database), ids, metrics)
        yield _accounts(settings, users, keys, passwords, Bearers(metrics), ids)


async def prepare(settings: Settings) -> str | None:
    """Make what all server processes share, keys and the bootstrap token; return the token if it is a new one.

    Raises StoreUnavailable when the database is not there or not migrated, ValueError where keys are missing.
    """
    settings.require_keys()
    _key_file(settings)
    await _hasher(settings, Metrics()).aclose()
    async with aclosing(await open_database(settings.database)) as database:
        return await _bootstrap_token(settings, SqlUserStore(database), replace=not database.shared)


async def _watch_revocations(opening: Opening, backends: Backends, bearers: Bearers) -> None:
    """Forget verified tokens when they are revoked, at once where another process says so."""
    store = SqlRevocationStore(backends.database)
    revocations = opening.closing(await RevocationWatch.open(store, bearers, opening.metrics))
    if backends.shared is not None:
        backends.shared.revocations.listen(revocations.notify)


def _accounts(
    settings: Settings, users: UserStore, keys: ApiKeys, passwords: PasswordHasher, bearers: Bearers, ids: IdSource
) -> Accounts:
    """Return the accounts' service; the first admin makes the bootstrap token's file go."""
    return Accounts(
        users,
        keys,
        passwords,
        bearers,
        ids,
        settings.admin_registration,
        bootstrapped=lambda: forget_bootstrap_token(settings.data_dir),
    )


def _key_file(settings: Settings) -> Path | None:
    """Return the file that holds the signing keys, None when the settings do; in development it is made once."""
    if settings.secret_keys or settings.secret_keys_file:
        return settings.secret_keys_file
    file = settings.data_dir / KEY_FILE
    development_key(file)
    return file


def _signing_keys(settings: Settings) -> tuple[Path | None, tuple[str, ...]]:
    """Return the file of the signing keys, where they are in one, and the keys; raises ValueError."""
    file = _key_file(settings)
    return file, read_keys(file) if file else tuple(key.get_secret_value() for key in settings.secret_keys)


def _hasher(settings: Settings, metrics: Metrics) -> PasswordHasher:
    return PasswordHasher(metrics, settings.bcrypt_rounds, _password_keys(settings))


def _password_keys(settings: Settings) -> list[str]:
    """Return the settings' keys, or the one of the data folder."""
    keys = [key.get_secret_value() for key in settings.password_keys]
    return keys or [development_key(settings.data_dir / PASSWORD_KEY_FILE)]


async def _bootstrap_token(settings: Settings, users: UserStore, *, replace: bool) -> str | None:
    """Keep the bootstrap token as the settings want it; return it if it is a new one."""
    if settings.admin_registration == "bootstrap":
        return await offer_bootstrap_token(users, settings.data_dir, replace=replace)
    forget_bootstrap_token(settings.data_dir)
    return None
