"""The services' interface to the database: a store for each kind of data, on a ``Database`` that runs transactions.

A store's method makes all its changes in one transaction, and returns once they are durable. Every method raises
StoreUnavailable if the database is closed or overloaded, can't write, or does not answer in time.
"""

from __future__ import annotations

from pycalc.db.base.audit import AuditStore
from pycalc.db.base.database import ROWS_PER_STATEMENT, Database, Rows
from pycalc.db.base.deleted_accounts import DeletedAccount, DeletedAccountStore
from pycalc.db.base.history import HistoryFilter, HistoryStore, IdempotencyStore, RowSize
from pycalc.db.base.instances import Instance, InstanceStore
from pycalc.db.base.keys import KeyBearer, KeyStore, KeyUse
from pycalc.db.base.outbox import DeadLetter, DeadLetterStore, OutboxRow, OutboxStore
from pycalc.db.base.password_resets import PasswordResetStore
from pycalc.db.base.quotas import QuotaStore, QuotaTotal, QuotaUse
from pycalc.db.base.revocations import Revocations, RevocationStore
from pycalc.db.base.sessions import NewSession, RefreshHashes, Rotation, SessionLimits, SessionStore
from pycalc.db.base.totp import StoredTotp, TotpStore
from pycalc.db.base.usage import UsageFilter, UsageStore
from pycalc.db.base.users import Deletion, ProviderIdentity, UserListStore, UserSelection, UserStore

__all__ = [
    "ROWS_PER_STATEMENT",
    "AuditStore",
    "Database",
    "DeadLetter",
    "DeadLetterStore",
    "DeletedAccount",
    "DeletedAccountStore",
    "Deletion",
    "HistoryFilter",
    "HistoryStore",
    "IdempotencyStore",
    "Instance",
    "InstanceStore",
    "KeyBearer",
    "KeyStore",
    "KeyUse",
    "NewSession",
    "OutboxRow",
    "OutboxStore",
    "PasswordResetStore",
    "ProviderIdentity",
    "QuotaStore",
    "QuotaTotal",
    "QuotaUse",
    "RefreshHashes",
    "RevocationStore",
    "Revocations",
    "Rotation",
    "RowSize",
    "Rows",
    "SessionLimits",
    "SessionStore",
    "StoredTotp",
    "TotpStore",
    "UsageFilter",
    "UsageStore",
    "UserListStore",
    "UserSelection",
    "UserStore",
]
