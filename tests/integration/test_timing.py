"""What is done for an answer tells nothing about accounts: as much password hashing, whether or not one exists.

How long answers really take is compared by the drill ``timing``.
"""

from __future__ import annotations

import bcrypt
import httpx
import pytest

from drills.timing import area
from tests.services.accounts import new_name, registration

pytestmark = pytest.mark.anyio


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes]]:
    """Return a list to which each use of bcrypt is added, with its cost factor."""
    uses: list[tuple[str, bytes]] = []
    check, make = bcrypt.checkpw, bcrypt.hashpw

    def checkpw(password: bytes, stored: bytes) -> bool:
        uses.append(("check", stored[:7]))
        return check(password, stored)

    def hashpw(password: bytes, salt: bytes) -> bytes:
        uses.append(("make", salt[:7]))
        return make(password, salt)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    monkeypatch.setattr(bcrypt, "hashpw", hashpw)
    return uses


@pytest.fixture
async def taken(client: httpx.AsyncClient) -> str:
    """Register an account and return its name."""
    name = new_name()
    assert (await client.post("/register", json=registration(name))).status_code == 201
    return name


async def test_a_refused_login_does_not_tell_whether_there_is_such_a_user(
    client: httpx.AsyncClient, taken: str, hashed: list[tuple[str, bytes]]
) -> None:
    """A wrong password of an account, and of a name that nobody has: one check each."""
    answers = []
    for name in (taken, new_name()):
        hashed.clear()
        answers.append(await client.post("/login", json={"username": name, "password": "a wrong password"}))
        assert hashed == [("check", b"$2b$04$")]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json() == answers[1].json()


async def test_a_registration_takes_as_long_whether_the_name_is_taken(
    client: httpx.AsyncClient, taken: str, hashed: list[tuple[str, bytes]]
) -> None:
    """The contract tells by 409 that something is taken; the password is hashed all the same."""
    for body, status in ((registration(taken, email="new@example.com"), 409), (registration(new_name()), 201)):
        hashed.clear()
        assert (await client.post("/register", json=body)).status_code == status
        assert hashed == [("make", b"$2b$04$")]


async def test_a_conflict_does_not_tell_what_is_taken(
    client: httpx.AsyncClient, taken: str, hashed: list[tuple[str, bytes]]
) -> None:
    """Neither its words nor the work say whether it is the name or the address."""
    answers = []
    for body in (
        registration(taken, email=f"{new_name()}@example.com"),
        registration(new_name(), email=f"{taken}@example.com"),
    ):
        hashed.clear()
        answers.append(await client.post("/register", json=body))
        assert hashed == [("make", b"$2b$04$")]
    assert [answer.status_code for answer in answers] == [409, 409]
    assert answers[0].json() == answers[1].json()


def test_the_measure_of_the_drill_measures() -> None:
    """Times that lie among each other give one half, and times that never overlap give one."""
    assert area([1, 4], [2, 3]) == 0.5
    assert area([1, 2, 3], [4, 5, 6]) == area([4, 5, 6], [1, 2, 3]) == 1
