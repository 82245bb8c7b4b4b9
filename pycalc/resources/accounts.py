"""Opening of the account services from the settings: keys, passwords, tokens and accounts (ADR 13)."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
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
from pycalc.services.history.retention import Retention
from pycalc.settings import Settings


class AccountServices:
    """The services that identify callers and manage accounts."""

    def __init__(
        self,
        stack: ResourceStack,
        backends: Backends,
        audit: AuditLog,
        limits: LimitPolicy,
        retention: Retention,
        last_revocation: int,
    ) -> None:
        """Create the services. The token cache will evict what is revoked after the number ``last_revocation``.

        Raises ValueError for keys that can't be used, and OSError if a file in the data folder can't be used.
        """
        settings, metrics, shared = stack.settings, stack.metrics, backends.shared
        users, database, ids = backends.users, backends.database, backends.ids
        passwords = stack.closing(_hasher(settings, metrics))
        secrets, key_file = _signing_keys(settings)
        tokens = TokenSigner(secrets, ids, settings.access_token_seconds)
        token_cache = TokenCache(metrics, shared.revocations.publish) if shared else TokenCache(metrics)
        revocations = SqlRevocationStore(database)
        watcher = stack.closing(RevocationWatcher(revocations, token_cache, metrics, last_seen=last_revocation))
        if shared is not None:
            shared.revocations.listen(watcher.poll_now)
        self.keys = ApiKeys(SqlKeyStore(database, backends.unshared), token_cache, ids, metrics, audit)
        stack.closing(self.keys.uses).start()
        sessions = Sessions(SqlSessionStore(database, backends.unshared), tokens, ids, metrics, audit)
        policy = _policy(settings, retention.account_deleted)
        self.accounts = Accounts(users, self.keys, passwords, token_cache, ids, audit, policy)
        password_keys = _password_keys(settings)
        self.totp = Totp(SqlTotpStore(database), self.accounts, SecretCipher(password_keys))
        self.authenticator = Authenticator(
            users,
            sessions,
            self.keys,
            passwords,
            token_cache,
            self.totp,
            limits,
            lambda caller: retention.learn(caller.user_id, caller.limits.history),
            admins_need_totp=settings.admin_totp == "required",
            passwords_allowed=settings.password_login,
        )
        self.provider_sign_in: ProviderSignIn | None = None
        if settings.oidc_issuer:
            secret = settings.oidc_client_secret.get_secret_value()
            client = ProviderSettings(settings.oidc_issuer, settings.oidc_client_id, secret, settings.oidc_redirect_url)
            provider = stack.closing(Provider(client, metrics))
            admin, factor = _requirement(settings.oidc_role_claim), _requirement(settings.oidc_factor_claim)
            self.provider_sign_in = ProviderSignIn(provider, admin, factor, users, sessions, token_cache, ids)
        if key_file is not None:
            stack.closing(SigningKeyFile(key_file, secrets, self.authenticator.replace_keys, metrics))
        self.password_resets = PasswordResets(SqlPasswordResetStore(database), self.accounts)
        # The HMAC key of results' ETags, the same on all instances.
        self.etag_key = hmac.digest(password_keys[0].encode(), b"pycalc etag", "sha256")


@asynccontextmanager
async def open_accounts(settings: Settings) -> AsyncIterator[Accounts]:
    """Return a context with the service Accounts for a command. Raises the errors of ``open_resources``."""
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

    Raises the errors of ``open_resources``.
    """
    settings.require_keys()
    _signing_keys(settings)
    _password_keys(settings)
    async with aclosing(await open_database(settings.database)) as database:
        return await bootstrap_token(settings, SqlUserStore(database), database)


async def bootstrap_token(settings: Settings, users: UserStore, database: Database) -> str | None:
    """Create or remove the bootstrap token, as the setting ``admin_registration`` requires; return a new token."""
    wanted = settings.admin_registration == "bootstrap"
    return await offer_bootstrap_token(users, settings.data_dir, wanted=wanted, replace=not database.shared)


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


def _signing_keys(settings: Settings) -> tuple[tuple[str, ...], Path | None]:
    """Return the keys that sign access tokens, and their file unless the settings contain them.

    Create a missing default file. Raises ValueError for a file that can't be used, with the name of its setting.
    """
    if settings.secret_keys:
        return tuple(key.get_secret_value() for key in settings.secret_keys), None
    setting, file = "PYCALC_SECRET_KEYS_FILE", settings.secret_keys_file
    if file is None:
        setting, file = "PYCALC_DATA_DIR", settings.data_dir / KEY_FILE
        development_key(file)
    try:
        return read_keys(file), file
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from error


def _hasher(settings: Settings, metrics: Metrics) -> PasswordHasher:
    return PasswordHasher(metrics, settings.bcrypt_rounds, _password_keys(settings))


def _password_keys(settings: Settings) -> list[str]:
    """Return the password keys in the settings, or the key in the data folder, which is created if it is missing."""
    keys = [key.get_secret_value() for key in settings.password_keys]
    return keys or [development_key(settings.data_dir / PASSWORD_KEY_FILE)]
