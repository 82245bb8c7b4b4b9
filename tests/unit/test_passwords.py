"""Password hashes: keyed, upgraded at login, limited in number at a time, and equally expensive for unknown users."""

from __future__ import annotations

import asyncio
import base64
import hmac
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import bcrypt
import pytest
from structlog.testing import capture_logs

from pycalc.errors import InvalidInput, Overloaded
from pycalc.observability.metrics import Metrics
from pycalc.services.accounts.passwords import PasswordHasher, require_uncommon

pytestmark = pytest.mark.anyio

OLD, NEW = "o" * 32, "n" * 32
PASSWORD = "correct horse battery staple"

Open = Callable[..., PasswordHasher]


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Return a function that opens hashers; close them at the end."""
    hashers: list[PasswordHasher] = []

    def open_one(*keys: str, rounds: int = 4, metrics: Metrics | None = None) -> PasswordHasher:
        hashers.append(PasswordHasher(metrics or Metrics(), rounds, keys or (NEW,)))
        return hashers[-1]

    yield open_one
    for hasher in hashers:
        await hasher.aclose()


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list to which each check by bcrypt adds the first 7 characters of the hash, such as ``$2b$04$``.

    They contain the cost factor.
    """
    costs: list[bytes] = []
    real = bcrypt.checkpw

    def watched(password: bytes, hashed: bytes) -> bool:
        costs.append(hashed[:7])
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", watched)
    return costs


def unkeyed(password: str) -> str:
    """Return a password hash in the old form, which uses no key."""
    digest = hmac.digest(b"pycalc password v1", password.encode(), "sha256")
    return bcrypt.hashpw(base64.b64encode(digest), bcrypt.gensalt(4)).decode()


async def test_the_right_password_and_no_other_is_accepted(opened: Open) -> None:
    """Every character of a password counts, also after the 72nd byte and beyond ASCII."""
    passwords = opened()
    hashed = await passwords.hash("p" * 72 + "ä")
    assert hashed[8:].startswith("$2b$04$")
    assert await passwords.check("p" * 72 + "ä", hashed)
    for wrong in ("p" * 72, "p" * 72 + "a", "p" * 73, ""):
        assert not await passwords.check(wrong, hashed)
    assert await passwords.hash("p" * 72 + "ä") != hashed


async def test_a_stolen_table_is_not_enough(opened: Open) -> None:
    """Without the key, a stolen hash can't be checked: neither the plain password nor another key fits."""
    hashed = await opened(NEW).hash(PASSWORD)
    assert NEW not in hashed
    stored = hashed[8:].encode()
    assert not bcrypt.checkpw(PASSWORD.encode(), stored)
    for key in (b"", b"pycalc password v1", NEW.encode(), OLD.encode()):
        assert not bcrypt.checkpw(base64.b64encode(hmac.digest(key, PASSWORD.encode(), "sha256")), stored)
    renamed = (await opened(OLD).hash("x"))[:8] + hashed[8:]
    assert not await opened(OLD).check(PASSWORD, renamed)


async def test_a_listed_key_verifies_and_the_newest_hashes(opened: Open) -> None:
    """The first key makes hashes. Hashes of other listed keys verify and count as outdated; all others are refused."""
    before, between, after = opened(OLD), opened(NEW, OLD), opened(NEW)
    old, new = await before.hash(PASSWORD), await between.hash(PASSWORD)
    assert await between.check(PASSWORD, old)
    assert not await between.check("wrong", old)
    assert (between.outdated(old), between.outdated(new)) == (True, False)
    assert await after.check(PASSWORD, new)
    with capture_logs() as logs:
        assert not await after.check(PASSWORD, old)
    assert [(entry["log_level"], entry["key"]) for entry in logs] == [("error", old[:8])]


async def test_a_hash_without_a_key_is_good_and_to_be_upgraded(opened: Open) -> None:
    """A hash that was made before keys were used still verifies, and counts as outdated."""
    passwords, hashed = opened(), unkeyed(PASSWORD)
    assert await passwords.check(PASSWORD, hashed)
    assert not await passwords.check("wrong", hashed)
    assert passwords.outdated(hashed)
    assert not passwords.outdated(await passwords.hash(PASSWORD))


async def test_every_check_costs_one_hash(opened: Open, checked: list[bytes]) -> None:
    """Each failed check computes one hash with the configured cost factor, even for an unknown user.

    This holds whether the stored hash was made with the newest, an older, a removed or no key.
    """
    passwords = opened(NEW, OLD)
    hashes: list[Any] = [await opened(key).hash(PASSWORD) for key in (NEW, OLD, "g" * 32)]
    for hashed in (*hashes, unkeyed(PASSWORD), None):
        assert not await passwords.check("wrong", hashed)
    assert not await passwords.check(PASSWORD, None)
    assert checked == [b"$2b$04$"] * 6


async def test_a_missing_user_costs_what_is_set(opened: Open, checked: list[bytes]) -> None:
    """A login with an unknown name computes a hash with the configured cost factor."""
    assert not await opened(rounds=5).check("wrong", None)
    assert checked == [b"$2b$05$"]


@pytest.mark.parametrize("password", [PASSWORD, "a wrong password"])
async def test_an_outdated_hash_costs_what_is_set(opened: Open, checked: list[bytes], password: str) -> None:
    """After the cost was raised, a check takes as long for an outdated hash as for an unknown user.

    A hash with cost factor n takes 2^n rounds. Here the stored hash has the factor 4, and 6 is configured. The check
    computes two further hashes: 2^4 + 2^4 + 2^5 = 2^6.
    """
    outdated = await opened(rounds=4).hash(PASSWORD)
    raised = opened(rounds=6)
    assert await raised.check(password, outdated) is (password == PASSWORD)
    assert checked == [b"$2b$04$", b"$2b$04$", b"$2b$05$"]
    checked.clear()
    assert not await raised.check(password, None)
    assert checked == [b"$2b$06$"]


async def test_a_hash_that_fits_by_accident_lets_nobody_in(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a stored hash made with a listed key, a check fails even if bcrypt accepts the password.

    Examples are an unknown user, ``!`` for an account without a password, and a hash made with an unlisted key.
    """
    monkeypatch.setattr(bcrypt, "checkpw", lambda *_: True)
    passwords = opened(NEW)
    listed, unlisted = await passwords.hash("x"), await opened(OLD).hash("x")
    assert [await passwords.check("y", hashed) for hashed in (listed, None, "!", unlisted)] == [True] + [False] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
async def test_a_hash_leaves_the_processor_to_requests(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes run in threads whose niceness is 10, or that of the process if this is higher."""
    found: list[int] = []

    def watched(*_: bytes) -> bool:
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return True

    monkeypatch.setattr(bcrypt, "checkpw", watched)
    await opened().check("x", None)
    assert found == [max(10, os.getpriority(os.PRIO_PROCESS, 0))]


def test_without_a_key_there_is_no_hasher() -> None:
    """Without keys the hasher does not start, so that nothing is hashed with an empty key."""
    with pytest.raises(ValueError, match="key"):
        PasswordHasher(Metrics(), 4, [])


async def test_what_would_queue_too_long_is_refused(monkeypatch: pytest.MonkeyPatch, opened: Open) -> None:
    """While 32 password checks run or wait, another one is refused at once and counted; the 32 finish."""
    release = threading.Event()

    def slow(password: bytes, hashed: bytes) -> bool:
        assert release.wait(20)
        return True

    monkeypatch.setattr(bcrypt, "checkpw", slow)
    metrics = Metrics()
    passwords = opened(metrics=metrics)
    accepted = [asyncio.create_task(passwords.check("a", "$2b$04$b")) for _ in range(32)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await passwords.check("a", "$2b$04$b")
    value = metrics.registry.get_sample_value
    assert value("pycalc_password_hashes_waiting") == 32
    assert value("pycalc_password_hashes_refused_total") == 1
    release.set()
    assert await asyncio.gather(*accepted) == [True] * 32
    assert value("pycalc_password_hashes_waiting") == 0


async def test_an_outdated_hash_is_known_by_its_cost(opened: Open) -> None:
    """A hash is outdated if its cost factor is not the configured one."""
    cheap, dear = opened(rounds=4), opened(rounds=5)
    hashed = await cheap.hash("correct horse battery staple")
    assert not cheap.outdated(hashed)
    assert dear.outdated(hashed)


@pytest.mark.parametrize(
    ("password", "guessed"),
    [
        ("pycalc-ada-ada1", True),
        ("pycalc-ada-ada12", False),
        ("PYCALCada123", True),
        ("PYCALCada1234", False),
        ("lovelace123", True),
        ("lovelace1234", False),
        ("fibonaccifactorial", True),
        ("iloveyou", True),
        ("ILOVEYOU", True),
        ("correct horse battery staple", False),
    ],
)
def test_a_password_must_not_be_made_of_what_others_know(password: str, guessed: bool) -> None:
    """A password is refused if it is common, or has fewer than four characters besides known words and names."""
    if guessed:
        with pytest.raises(InvalidInput) as refused:
            require_uncommon(password, "/password", "Ada", "lovelace@example.com")
        assert [problem.pointer for problem in refused.value.problems] == ["/password"]
    else:
        require_uncommon(password, "/password", "Ada", "lovelace@example.com")


@pytest.mark.parametrize(
    ("password", "username", "email", "guessed"),
    [
        ("adalovelace123", "ada", "adalovelace@example.com", True),
        ("adalovelace123", "adalovelace", "ada@example.com", True),
        ("abababab12", "ab", "ab@example.com", False),
        ("abcabcabc123", "abc", "x@example.com", True),
    ],
)
def test_the_longest_name_is_removed_first(password: str, username: str, email: str, guessed: bool) -> None:
    """When names are removed from a password to judge the rest, longer ones go first; names of two characters stay."""
    if guessed:
        with pytest.raises(InvalidInput):
            require_uncommon(password, "/password", username, email)
    else:
        require_uncommon(password, "/password", username, email)
