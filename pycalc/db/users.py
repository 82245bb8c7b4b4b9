"""The SQL of the accounts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection, Row, delete, func, insert, literal, or_, select, tuple_, update
from sqlalchemy.exc import DataError, IntegrityError

from pycalc.db.audit import insert_entries
from pycalc.db.base import Deletion, ProviderIdentity, UserSelection
from pycalc.db.revocations import end_sessions, revoke
from pycalc.db.sql_store import SqlStore, transaction
from pycalc.db.tables import (
    api_keys,
    bootstrap,
    deleted_accounts,
    identities,
    password_resets,
    retired_names,
    search_key,
    sessions,
    totp,
    usage,
    users,
)
from pycalc.db.usage import LOW
from pycalc.errors import Conflict, Forbidden, InvalidToken, NotFound
from pycalc.models.audit import AuditEntry
from pycalc.models.auth import NO_PASSWORD, ListedUser, Role, User, UserOrder
from pycalc.models.ids import unix_ms
from pycalc.models.limits import OwnLimits

NOBODY = bytes(16)  # stored instead of an id, so that a retired name does not lead to a history
_TAKEN = "The username or the email address is taken."
_LAST_ADMIN = "This is the last admin; make another account an admin first."
_ENABLED_ADMIN = (users.c.role == Role.ADMIN) & ~users.c.disabled


def user_of(row: Row[tuple[object, ...]]) -> User:
    """Return the account in a row of the table ``users``."""
    created_at = datetime.fromtimestamp(row.created_ms / 1000, UTC)
    limits = OwnLimits.model_construct(  # checked before they were stored
        rate_limit=row.rate_limit, compute=row.compute_quota, digits=row.digits_quota, history=row.history_quota
    )
    role = Role(row.role)
    return User(row.id, row.username, row.email, row.password_hash, role, created_at, row.disabled, limits, row.totp)


def lock_admins(connection: Connection, granted_by: bytes | None = None) -> int:
    """Lock the enabled admins, and return their number. Raises Forbidden if ``granted_by`` is not one of them."""
    admins = connection.scalars(select(users.c.id).where(_ENABLED_ADMIN).order_by(users.c.id).with_for_update()).all()
    if granted_by is not None and granted_by not in admins:
        raise Forbidden("Only an admin may do this.")
    return len(admins)


def _locked(connection: Connection, username: str, granted_by: bytes | None) -> tuple[User, bool]:
    """Lock the enabled admins and an account. Return the account, and whether it is the only enabled admin."""
    admins = lock_admins(connection, granted_by)  # every change locks the admins first, which rules out deadlocks
    query = select(users).where(users.c.username_key == search_key(username)).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound("There is no such user.")
    user = user_of(row)
    return user, user.role is Role.ADMIN and not user.disabled and admins == 1


class SqlUserStore(SqlStore):
    """Accounts in SQL."""

    async def add(
        self,
        user: User,
        *,
        burn_bootstrap: bytes | None = None,
        granted_by: bytes | None = None,
        identity: ProviderIdentity | None = None,
        audit: AuditEntry | None = None,
    ) -> None:
        def work(connection: Connection) -> None:
            if granted_by is not None:
                lock_admins(connection, granted_by)
            if burn_bootstrap is not None:
                burned = connection.execute(delete(bootstrap).where(bootstrap.c.token_hash == burn_bootstrap))
                if burned.rowcount != 1 or lock_admins(connection):
                    raise Forbidden("The bootstrap token is not valid.")
            row = insert(users).values(
                id=user.id,
                username=user.username,
                username_key=user.username.lower(),
                email=user.email,
                # Addresses from a provider need not be unique, so the account's id is stored as its unique address key.
                email_key=user.email.lower() if identity is None else user.id.hex(),
                password_hash=user.password_hash,
                role=user.role.value,
                created_ms=unix_ms(user.created_at),
            )
            connection.execute(row)
            if identity is not None:
                connection.execute(insert(identities).values(**identity._asdict(), user_id=user.id))
            # If an account with this name is being deleted, the insert has waited until its name is reserved.
            of_name = retired_names.c.username_key == search_key(user.username)
            reserved = of_name & (retired_names.c.reserved_until_ms > unix_ms(user.created_at))
            if connection.scalar(select(retired_names.c.username_key).where(reserved).limit(1)) is not None:
                raise Conflict(_TAKEN)
            if audit is not None:
                insert_entries(connection, [audit])

        try:
            await self._database.write(work)
        except (IntegrityError, DataError) as error:
            raise Conflict(_TAKEN) from error

    async def by_username(self, username: str) -> User | None:
        return await self._row(select(users).where(users.c.username_key == search_key(username)), user_of)

    async def by_identity(self, identity: ProviderIdentity) -> User | None:
        linked = select(users).join(identities, identities.c.user_id == users.c.id)
        this = (identities.c.issuer == identity.issuer) & (identities.c.subject == identity.subject)
        return await self._row(linked.where(this), user_of)

    async def by_id(self, user_id: bytes) -> User | None:
        return await self._row(select(users).where(users.c.id == user_id), user_of)

    async def id_of(self, username: str) -> bytes | None:
        name = search_key(username)
        now = select(users.c.id).where(users.c.username_key == name)
        linked = (retired_names.c.username_key == name) & (retired_names.c.user_id != NOBODY)
        before = select(retired_names.c.user_id).where(linked)
        latest = before.order_by(retired_names.c.user_id.desc()).limit(1)
        return await self._database.read(lambda connection: connection.scalar(now) or connection.scalar(latest))

    async def page(self, selection: UserSelection, limit: int, day: int) -> list[ListedUser]:
        names = (users.c.username_key, users.c.email_key)  # sorted by their bytes in both databases
        value = {
            UserOrder.USERNAME: names[0],
            UserOrder.CREATED_AT: users.c.created_ms,
            UserOrder.LAST_SIGN_IN_AT: users.c.signed_in_ms,
        }[selection.order]
        order = (value.desc(), users.c.id.desc()) if selection.descending else (value, users.c.id)
        query = select(users, value.label("order_value")).order_by(*order).limit(limit)
        if selection.prefix is not None:
            first = search_key(selection.prefix)
            # A range, because the indexes of both databases search for ranges. No name with the prefix is after it.
            begins = [(name >= first) & (name < first + "\U0010ffff") for name in names]
            begins[1] &= users.c.password_hash != NO_PASSWORD  # the others' address key is the account's id
            query = query.where(or_(*begins))
        if selection.after is not None:
            place = tuple_(value, users.c.id)
            last = tuple_(*(literal(part) for part in selection.after))
            query = query.where(place < last if selection.descending else place > last)

        def work(connection: Connection) -> list[ListedUser]:
            found = connection.execute(query).all()
            of_day = usage.c.user_id.in_([row.id for row in found]) & (usage.c.day == day)
            columns = usage.c.count, usage.c.digits_high, usage.c.digits_low, usage.c.compute_us
            totals = select(usage.c.user_id, *map(func.sum, columns)).where(of_day).group_by(usage.c.user_id)
            figures = {user_id: list(map(int, values)) for user_id, *values in connection.execute(totals)}
            listed = []
            for row in found:
                count, high, low, compute_us = figures.get(row.id, (0, 0, 0, 0))
                used = count, high * LOW + low, compute_us
                listed.append(ListedUser(user_of(row), row.order_value, row.signed_in_ms, *used))
            return listed

        return await self._database.read(work)

    @transaction
    def change(
        self,
        connection: Connection,
        username: str,
        role: Role | None,
        disabled: bool | None,
        limits: OwnLimits | None = None,
        *,
        granted_by: bytes | None = None,
        audit: AuditEntry | None = None,
    ) -> User:
        user, last_admin = _locked(connection, username, granted_by)
        new_disabled = user.disabled if disabled is None else disabled
        given = {} if limits is None else limits.model_dump(exclude_unset=True)
        own = user.limits.model_copy(update=given)
        changed = replace(user, role=role or user.role, disabled=new_disabled, limits=own)
        if last_admin and (changed.role is not Role.ADMIN or changed.disabled):
            raise Conflict(_LAST_ADMIN)
        columns = {
            "role": changed.role.value,
            "disabled": changed.disabled,
            "rate_limit": own.rate_limit,
            "compute_quota": own.compute,
            "digits_quota": own.digits,
            "history_quota": own.history,
        }
        connection.execute(update(users).where(users.c.id == user.id).values(columns))
        if changed.disabled:
            for table in (sessions, password_resets):
                connection.execute(delete(table).where(table.c.user_id == user.id))
        if audit is not None:
            insert_entries(connection, [audit._replace(subject=user.username)])
        revoke(connection, user.id)
        return changed

    async def upgrade_hash(self, user_id: bytes, before: str, after: str) -> bool:
        unchanged = (users.c.id == user_id) & (users.c.password_hash == before)
        return await self._change(update(users).where(unchanged).values(password_hash=after)) == 1

    @transaction
    def set_password(self, connection: Connection, user_id: bytes, before: str, after: str, session_id: bytes) -> None:
        unchanged = (users.c.id == user_id) & (users.c.password_hash == before)
        changed = connection.execute(update(users).where(unchanged).values(password_hash=after))
        asking = select(sessions.c.id).where((sessions.c.user_id == user_id) & (sessions.c.id == session_id))
        if changed.rowcount != 1 or connection.scalar(asking.with_for_update()) is None:
            raise InvalidToken("The session has ended, or the password was changed meanwhile.")
        connection.execute(delete(password_resets).where(password_resets.c.user_id == user_id))
        end_sessions(connection, user_id, session_id)

    @transaction
    def delete(
        self,
        connection: Connection,
        username: str,
        deletion: Deletion,
        *,
        granted_by: bytes | None = None,
        audit: AuditEntry | None = None,
    ) -> User:
        user, last_admin = _locked(connection, username, granted_by)
        if deletion.password_hash not in (None, user.password_hash):
            raise InvalidToken("The password was changed meanwhile.")
        if last_admin:
            raise Conflict(_LAST_ADMIN)
        for table in (api_keys, sessions, totp, identities, password_resets):
            connection.execute(delete(table).where(table.c.user_id == user.id))
        connection.execute(delete(users).where(users.c.id == user.id))
        kept = deletion.history == "keep"
        name = {"username_key": user.username.lower(), "user_id": user.id if kept else NOBODY}
        connection.execute(delete(retired_names).filter_by(**name))  # the name may be retired since an earlier deletion
        connection.execute(insert(retired_names).values(**name, reserved_until_ms=deletion.reserved_until_ms))
        if not kept:
            row = {"user_id": user.id, "erase": deletion.history == "erase", "deleted_ms": deletion.now_ms}
            connection.execute(insert(deleted_accounts).values(row))
        if audit is not None:
            insert_entries(connection, [audit._replace(subject=user.username)])
        revoke(connection, user.id)
        return user

    async def has_admin(self) -> bool:
        return await self._scalar(select(users.c.id).where(_ENABLED_ADMIN).limit(1)) is not None

    async def bootstrap_hash(self) -> bytes | None:
        return await self._scalar(select(bootstrap.c.token_hash))

    async def offer_bootstrap(self, token_hash: bytes, *, replace: bool = True) -> bool:
        def work(connection: Connection) -> bool:
            # The lock waits for a first admin's registration, which uses the token up. Only then look for an admin.
            offered = connection.scalar(select(bootstrap.c.id).with_for_update()) is not None
            if lock_admins(connection):
                return False
            if not offered:
                connection.execute(insert(bootstrap).values(id=1, token_hash=token_hash))  # the table has one row
                return True
            if replace:
                connection.execute(update(bootstrap).values(token_hash=token_hash))
            return replace

        try:
            return await self._database.write(work)
        except IntegrityError:  # another process inserted its token first
            return False
