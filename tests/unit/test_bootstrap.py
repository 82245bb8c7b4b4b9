"""Secret files in the data folder, and the bootstrap token with which the first admin registers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from pycalc.errors import Forbidden
from pycalc.models.auth import Registration, Role
from pycalc.services.accounts.accounts import Accounts, AdminRegistration
from pycalc.services.accounts.bootstrap import (
    development_key,
    forget_bootstrap_token,
    offer_bootstrap_token,
    write_private,
)
from tests.harness.authentication import authentication
from tests.harness.stores import MemoryUserStore

pytestmark = pytest.mark.anyio


def accounts_over(
    users: MemoryUserStore,
    admin_registration: AdminRegistration = "bootstrap",
    on_admin_created: Callable[[], None] = lambda: None,
) -> Accounts:
    """Return an account service that uses this store."""
    return authentication(users, admin_registration, on_admin_created).accounts


def admin(name: str) -> Registration:
    """Return the registration of an admin."""
    return Registration(
        username=name, email=f"{name}@example.com", password="correct horse", confirm_password=None, role=Role.ADMIN
    )


def test_a_private_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    """A secret file has mode 0600 from the start, replaces an earlier file, and leaves no temporary file."""
    file = tmp_path / "new" / "secret"
    write_private(file, "one")
    file.chmod(0o644)
    write_private(file, "two")
    assert file.read_text() == "two\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == ["secret"]


def test_the_development_key_is_made_once(tmp_path: Path) -> None:
    """The development key has 256 bits in hexadecimal, its file is private, and the next start reuses it."""
    file = tmp_path / "new" / "key"
    key = development_key(file)
    assert len(bytes.fromhex(key)) == 32
    assert development_key(file) == key
    assert file.stat().st_mode & 0o777 == 0o600
    assert development_key(tmp_path / "other") != key


async def test_the_token_is_shown_once_and_stored_hashed(tmp_path: Path) -> None:
    """The bootstrap token is returned only once: while its file is unchanged, it stays valid and is not shown again."""
    users = MemoryUserStore()
    token = await offer_bootstrap_token(users, tmp_path, wanted=True, replace=True)
    file = tmp_path / "bootstrap-token"
    assert token is not None
    assert file.read_text().strip() == token
    assert file.stat().st_mode & 0o777 == 0o600
    assert users.token_hash == sha256(token.encode()).digest()
    assert await offer_bootstrap_token(users, tmp_path, wanted=True, replace=True) is None
    assert users.token_hash == sha256(token.encode()).digest()


@pytest.mark.parametrize("spoil", [Path.unlink, lambda file: file.write_text("changed\n")], ids=["lost", "changed"])
async def test_a_token_whose_file_does_not_fit_is_replaced(tmp_path: Path, spoil: object) -> None:
    """If the bootstrap token's file is lost or changed, a new token replaces the old one, which becomes invalid."""
    users = MemoryUserStore()
    first = await offer_bootstrap_token(users, tmp_path, wanted=True, replace=True)
    assert callable(spoil)
    spoil(tmp_path / "bootstrap-token")
    second = await offer_bootstrap_token(users, tmp_path, wanted=True, replace=True)
    assert second not in (None, first)
    assert (tmp_path / "bootstrap-token").read_text().strip() == second
    with pytest.raises(Forbidden):
        await accounts_over(users).register(admin("ada"), None, first)


async def test_with_an_admin_there_is_no_token(tmp_path: Path) -> None:
    """If an admin exists, no token is offered and the file is removed."""
    users = MemoryUserStore()
    token = await offer_bootstrap_token(users, tmp_path, wanted=True, replace=True)
    await accounts_over(users).register(admin("ada"), None, token)
    assert await offer_bootstrap_token(users, tmp_path, wanted=True, replace=True) is None
    assert not (tmp_path / "bootstrap-token").exists()
    assert users.token_hash is None


async def test_of_many_registrations_at_once_the_token_admits_one(tmp_path: Path) -> None:
    """If many registrations use the bootstrap token at the same time, only one of them succeeds."""
    users = MemoryUserStore()
    token = await offer_bootstrap_token(users, tmp_path, wanted=True, replace=True)
    accounts = accounts_over(users)
    outcomes = await asyncio.gather(
        *(accounts.register(admin(f"admin{n}"), None, token) for n in range(20)), return_exceptions=True
    )
    assert sum(isinstance(outcome, Forbidden) for outcome in outcomes) == 19
    assert len(users.users) == 1


@pytest.mark.parametrize("token", [None, "", "wrong", "é"])
async def test_without_the_token_there_is_no_admin_and_no_account(tmp_path: Path, token: str | None) -> None:
    """Without the right bootstrap token, the registration of an admin is refused, and no account is created."""
    users = MemoryUserStore()
    await offer_bootstrap_token(users, tmp_path, wanted=True, replace=True)
    with pytest.raises(Forbidden):
        await accounts_over(users).register(admin("ada"), None, token)
    assert not users.users


async def test_closed_means_closed(tmp_path: Path) -> None:
    """If the registration of admins is ``closed``, not even the right bootstrap token makes an admin."""
    users = MemoryUserStore()
    token = await offer_bootstrap_token(users, tmp_path, wanted=True, replace=True)
    with pytest.raises(Forbidden):
        await accounts_over(users, "closed").register(admin("ada"), None, token)


async def test_open_means_open() -> None:
    """If the registration of admins is ``open``, anyone may register as an admin."""
    user = await accounts_over(MemoryUserStore(), "open").register(admin("ada"), None, None)
    assert user.role is Role.ADMIN


async def test_the_file_goes_with_the_token(tmp_path: Path) -> None:
    """The token's file is removed before the registration of the first admin is answered."""
    users = MemoryUserStore()
    token = await offer_bootstrap_token(users, tmp_path, wanted=True, replace=True)
    accounts = accounts_over(users, on_admin_created=lambda: forget_bootstrap_token(tmp_path))
    await accounts.register(admin("root"), None, token)
    assert not (tmp_path / "bootstrap-token").exists()


async def test_a_file_that_stays_does_not_hide_the_new_admin() -> None:
    """If the token's file can't be removed, the registration of an admin still succeeds, and a warning is logged.

    The account is stored by then, and the token in the file is no longer valid.
    """

    def read_only() -> None:
        raise OSError("PYCALC_DATA_DIR: the folder /data can't be used.")

    with capture_logs() as logs:
        user = await accounts_over(MemoryUserStore(), "open", read_only).register(admin("ada"), None, None)
    assert user.username == "ada"
    (warning,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert warning["error"] == "PYCALC_DATA_DIR: the folder /data can't be used."


async def test_the_command_line_s_first_admin_uses_up_the_token(tmp_path: Path) -> None:
    """The command line creates admins without a token; the first of them makes the bootstrap token invalid."""
    users = MemoryUserStore()
    await offer_bootstrap_token(users, tmp_path, wanted=True, replace=True)
    accounts = accounts_over(users)
    await accounts.create_admin(admin("ada"))
    assert users.token_hash is None
    await accounts.create_admin(admin("bob"))
    assert [user.username for user in users.users.values()] == ["ada", "bob"]
