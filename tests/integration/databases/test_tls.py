"""TLS to PostgreSQL: ``sslmode`` and ``sslrootcert`` in the URL verify the server; a password verifies the client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

import pytest

from pycalc.db import migrate_database, open_database
from pycalc.db.roles import api_role
from pycalc.errors import StoreUnavailable
from tests.harness.certificates import self_signed
from tests.harness.postgres import missing, postgres
from tests.harness.servers import API_ROLE

pytestmark = [pytest.mark.anyio, pytest.mark.programs]

PASSWORD = "a-password/of:the?role#"
ENCODED = "a-password%2Fof%3Athe%3Frole%23"


class Secured(NamedTuple):
    """A database that requires TLS: host, port and name; the certificates of its own authority and of another one."""

    place: str
    authority: Path
    stranger: Path


@pytest.fixture(scope="module")
async def secured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    """Run a PostgreSQL that requires TLS, with a migrated database and the role of servers."""
    if missing():
        pytest.skip(missing() or "")
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = folder / "ca.pem", folder / "other.pem"
    self_signed(stranger, folder / "other-identity.pem")
    with postgres(durable=False, identity=self_signed(authority, folder / "identity.pem")) as server:
        url = server.new_database()
        # This does not use asyncio.run, which may end before the TLS connection is closed.
        await migrate_database(f"{url}?sslmode=require", [api_role(f"{API_ROLE}:{PASSWORD}")])
        yield Secured(url.rpartition("@")[2], authority, stranger)


async def _open(secured: Secured, options: str, password: str = ENCODED) -> None:
    async with aclosing(await open_database(f"postgresql://{API_ROLE}:{password}@{secured.place}?{options}")):
        pass


async def test_the_server_s_own_authority_is_accepted(secured: Secured) -> None:
    """If the URL names the server's own certificate authority, a role can connect with its password."""
    await _open(secured, f"sslmode=verify-ca&sslrootcert={secured.authority}")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("sslmode=verify-ca&sslrootcert={stranger}", "certificate verify failed"),
        ("sslmode=verify-ca&sslrootcert=/nowhere/ca.pem", "sslrootcert: /nowhere/ca.pem can't be read"),
        ("sslmode=disable", "no encryption"),
    ],
)
async def test_another_server_gets_no_password(secured: Secured, options: str, sentence: str) -> None:
    """If the URL names another authority, a missing file or no TLS, the connection is refused with the reason."""
    with pytest.raises((StoreUnavailable, ValueError), match=sentence):
        await _open(secured, options.format(stranger=secured.stranger))


async def test_a_wrong_password_is_refused(secured: Secured) -> None:
    """A wrong password is refused."""
    with pytest.raises(StoreUnavailable, match="password authentication failed"):
        await _open(secured, "sslmode=require", "another-password")
