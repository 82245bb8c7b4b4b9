"""Authentication: tokens are verified once, remembered in a bounded cache, and forgotten when revoked."""

from __future__ import annotations

import asyncio
import base64
import hmac
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from time import time

import bcrypt
import pytest

from pycalc.db.base import ProviderIdentity
from pycalc.errors import Conflict, Forbidden, Unauthorized
from pycalc.models.audit import AuditEntry
from pycalc.models.auth import KeyRequest, Principal, Registration, Role, User, UserChange
from tests.harness.authentication import Authentication, authentication
from tests.harness.stores import MemoryUserStore

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse battery staple"


class SlowUserStore(MemoryUserStore):
    """A store that reads the account ``held`` at once, but delays its return until ``released`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.held: bytes | None = None
        self.reading = asyncio.Event()
        self.released = asyncio.Event()

    async def by_id(self, user_id: bytes) -> User | None:
        self.reads += 1
        found = await super().by_id(user_id)
        if user_id == self.held:
            self.reading.set()
            await self.released.wait()
        return found


def _unkeyed(password: str) -> str:
    """Return a password hash in the old form, which uses no key."""
    digest = base64.b64encode(hmac.digest(b"pycalc password v1", password.encode(), "sha256"))
    return bcrypt.hashpw(digest, bcrypt.gensalt(4)).decode()


async def opened(services: Authentication, name: str, role: Role = Role.USER) -> bytes:
    """Register an account, log it in, and return its access token."""
    await services.accounts.register(
        Registration(username=name, email=f"{name}@example.com", password=PASSWORD, confirm_password=None, role=role),
        None,
        None,
    )
    return (await services.authenticator.log_in(name, PASSWORD)).access.encode()


async def admin_of(services: Authentication) -> Principal:
    """Register an admin and return it as a caller."""
    return await services.authenticator.authenticate(await opened(services, "root", Role.ADMIN))


class WatchedUserStore(MemoryUserStore):
    """A store of accounts that records each read by name and each new account."""

    def __init__(self, work: list[str]) -> None:
        super().__init__()
        self._work = work

    async def by_username(self, username: str) -> User | None:
        self._work.append("a read")
        return await super().by_username(username)

    async def add(
        self,
        user: User,
        *,
        burn_bootstrap: bytes | None = None,
        granted_by: bytes | None = None,
        identity: ProviderIdentity | None = None,
        audit: AuditEntry | None = None,
    ) -> None:
        self._work.append("a write")
        await super().add(user, burn_bootstrap=burn_bootstrap, granted_by=granted_by, identity=identity, audit=audit)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that records each password check and each password hash, in order."""
    done: list[str] = []
    check, make = bcrypt.checkpw, bcrypt.hashpw

    def checkpw(password: bytes, hashed: bytes) -> bool:
        done.append(f"a check of cost {hashed[4:6].decode()}")
        return check(password, hashed)

    def hashpw(password: bytes, salt: bytes) -> bytes:
        done.append(f"a hash of cost {salt[4:6].decode()}")
        return make(password, salt)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    monkeypatch.setattr(bcrypt, "hashpw", hashpw)
    return done


async def test_every_refused_login_does_the_same_work(work: list[str]) -> None:
    """A refused login makes one read and one password check, for each of three causes.

    The causes are a wrong password, an unknown name, and a disabled account with the right password.
    """
    users = WatchedUserStore(work)
    services = authentication(users)
    await opened(services, "ada")
    await opened(services, "bob")
    root = await admin_of(services)
    await services.accounts.change(root, "bob", UserChange(disabled=True))
    for name, password in (("ada", "wrong"), ("nobody", "wrong"), ("bob", PASSWORD)):
        work.clear()
        with pytest.raises(Unauthorized):
            await services.authenticator.log_in(name, password)
        assert work == ["a read", "a check of cost 04"], name


async def test_a_registration_does_the_same_work_whatever_is_taken(work: list[str]) -> None:
    """A registration makes one hash and one write, whether the name, the email address or neither is taken."""
    services = authentication(WatchedUserStore(work))
    await opened(services, "ada")
    done = {}
    for name, address in (("ada", "other"), ("other", "ada"), ("bob", "bob")):
        work.clear()
        with suppress(Conflict):
            await services.accounts.register(registration(name, address), None, None)
        done[name, address] = [*work]
    assert [*done.values()] == [["a hash of cost 04", "a write"]] * 3


def registration(name: str, address: str) -> Registration:
    """Return a registration of a user."""
    return Registration(username=name, email=f"{address}@example.com", password=PASSWORD, confirm_password=None)


async def test_a_token_is_verified_once() -> None:
    """The first request with a token puts it into the token cache; the second one does not read the store."""
    users = SlowUserStore()
    services = authentication(users)
    token = await opened(services, "ada")
    assert services.authenticator.token_cache.get(token) is None
    bearer = await services.authenticator.authenticate(token)
    assert (bearer.username, bearer.role) == ("ada", Role.USER)
    assert services.authenticator.token_cache.get(token) == bearer
    assert await services.authenticator.authenticate(token) == bearer
    assert users.reads == 1


async def test_a_known_token_ends_with_its_expiry() -> None:
    """A cached token is accepted without a new verification until it expires, and then leaves the cache."""
    moment, users = time(), MemoryUserStore()
    services = authentication(users, wall_clock=lambda: moment)
    token = await opened(services, "ada")
    bearer = await services.authenticator.authenticate(token)
    users.sessions.open_ones.clear()  # so that a verification refuses the token
    moment = bearer.expires_at - 0.001
    assert await services.authenticator.authenticate(token) == bearer
    moment = bearer.expires_at
    assert services.authenticator.token_cache.get(token) is None
    with pytest.raises(Unauthorized):
        await services.authenticator.authenticate(token)


async def test_a_deleted_users_token_is_refused_at_once() -> None:
    """The token of a deleted account raises Unauthorized, whether it is in the cache or not."""
    services = authentication(MemoryUserStore())
    root = await admin_of(services)
    known, unknown = (
        await opened(services, "ada"),
        (await services.authenticator.log_in("ada", PASSWORD)).access.encode(),
    )
    await services.authenticator.authenticate(known)
    await services.accounts.delete(root, "ada")
    for token in (known, unknown):
        with pytest.raises(Unauthorized):
            await services.authenticator.authenticate(token)
    with pytest.raises(Unauthorized):
        await services.authenticator.log_in("ada", PASSWORD)


async def test_a_deletion_is_not_undone_by_a_request_that_read_the_account_before() -> None:
    """If a request reads an account just before its deletion, the account is not cached after the deletion."""
    users = SlowUserStore()
    services = authentication(users)
    root = await admin_of(services)
    token = await opened(services, "ada")
    users.held = next(user.id for user in users.users.values() if user.username == "ada")
    reading = asyncio.create_task(services.authenticator.authenticate(token))
    await users.reading.wait()
    await services.accounts.delete(root, "ada")
    users.released.set()
    await reading
    assert services.authenticator.token_cache.get(token) is None
    with pytest.raises(Unauthorized):
        await services.authenticator.authenticate(token)


async def test_a_deletion_checks_the_role_in_the_store() -> None:
    """Only a user whose role in the store is admin may delete users; the role in the token may be outdated."""
    users = MemoryUserStore()
    services = authentication(users)
    root = await admin_of(services)
    ada = await services.authenticator.authenticate(await opened(services, "ada"))
    with pytest.raises(Forbidden):
        await services.accounts.delete(ada, "root")
    stored = users.users[root.user_id]
    users.users[root.user_id] = User(
        stored.id, stored.username, stored.email, stored.password_hash, Role.USER, stored.created_at
    )
    with pytest.raises(Forbidden):
        await services.accounts.delete(root, "ada")


async def test_login_does_not_say_what_was_wrong() -> None:
    """An unknown name and a wrong password are refused with the same message."""
    services = authentication(MemoryUserStore())
    await opened(services, "ada")
    refusals = []
    for name, password in (("ada", "wrong"), ("eve", PASSWORD)):
        with pytest.raises(Unauthorized) as refusal:
            await services.authenticator.log_in(name, password)
        refusals.append(str(refusal.value))
    assert refusals[0] == refusals[1]


async def test_an_outdated_hash_is_replaced_at_login() -> None:
    """A login replaces a password hash in the old form by one with the newest key; the next login works too."""
    users = MemoryUserStore()
    services = authentication(users)
    await opened(services, "ada")
    user_id = next(user.id for user in users.users.values() if user.username == "ada")
    unkeyed = _unkeyed(PASSWORD)
    users.users[user_id] = replace(users.users[user_id], password_hash=unkeyed)
    with pytest.raises(Unauthorized):
        await services.authenticator.log_in("ada", "wrong")
    assert users.users[user_id].password_hash == unkeyed
    await services.authenticator.log_in("ada", PASSWORD)
    upgraded = users.users[user_id].password_hash
    assert upgraded.partition("$")[0]
    await services.authenticator.log_in("ada", PASSWORD)
    assert users.users[user_id].password_hash == upgraded


async def test_a_cached_token_ends_with_its_signing_key() -> None:
    """A remembered token is refused once its signing key is removed; API keys do not depend on signing keys."""
    services = authentication(MemoryUserStore())
    token = await opened(services, "ada")
    caller = await services.authenticator.authenticate(token)
    _, text = await services.keys.create(caller, KeyRequest(name="program"))
    await services.authenticator.authenticate(text.encode())
    services.authenticator.replace_keys(["n" * 32])
    with pytest.raises(Unauthorized):
        await services.authenticator.authenticate(token)
    assert services.authenticator.token_cache.get(text.encode()) is not None


class OvertakenUserStore(MemoryUserStore):
    """A store that replaces an account's password hash by one of ``hashes``, if any, after each read by name."""

    def __init__(self) -> None:
        super().__init__()
        self.hashes: list[str] = []

    async def by_username(self, username: str) -> User | None:
        found = await super().by_username(username)
        if found is not None and self.hashes:
            self.users[found.id] = replace(found, password_hash=self.hashes.pop())
        return found


@pytest.mark.parametrize("outdated", [False, True])
async def test_a_login_under_way_does_not_survive_a_new_password(outdated: bool) -> None:
    """If the password changes after its check, before the session is opened, the login is refused."""
    users = OvertakenUserStore()
    services = authentication(users)
    await opened(services, "ada")
    ada = next(user.id for user in users.users.values() if user.username == "ada")
    if outdated:
        users.users[ada] = replace(users.users[ada], password_hash=_unkeyed(PASSWORD))
    users.hashes = [_unkeyed("another password")]
    with pytest.raises(Unauthorized):
        await services.authenticator.log_in("ada", PASSWORD)


async def test_two_logins_that_upgrade_a_hash_both_succeed() -> None:
    """If two logins upgrade a password hash at the same time, the one that finds it upgraded succeeds too."""
    users = OvertakenUserStore()
    services = authentication(users)
    await opened(services, "ada")
    user_id = next(user.id for user in users.users.values() if user.username == "ada")
    users.hashes = [users.users[user_id].password_hash]
    users.users[user_id] = replace(users.users[user_id], password_hash=_unkeyed(PASSWORD))
    assert (await services.authenticator.log_in("ada", PASSWORD)).access


class DemotingUserStore(MemoryUserStore):
    """A store in which an account loses the admin role right after ``by_id`` has read it."""

    async def by_id(self, user_id: bytes) -> User | None:
        found = await super().by_id(user_id)
        if found is not None:
            self.users[user_id] = replace(found, role=Role.USER)
        return found


async def test_an_admin_demoted_on_the_way_makes_no_admin() -> None:
    """An admin who is demoted during a registration can't create an admin: the role is checked again at the end."""
    users = DemotingUserStore()
    services = authentication(users, "bootstrap")
    token = "b" * 43
    await users.offer_bootstrap(sha256(token.encode()).digest())
    body = Registration(username="root", email="root@example.com", password=PASSWORD, role=Role.ADMIN)
    root = await services.accounts.register(body, None, token)
    caller = Principal(root.id, "root", Role.ADMIN, bytes(16), time() + 60)
    with pytest.raises(Forbidden):
        await services.accounts.register(
            body.model_copy(update={"username": "eve", "email": "eve@example.com"}), caller, None
        )
    assert await users.by_username("eve") is None
