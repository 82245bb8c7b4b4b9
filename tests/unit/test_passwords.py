"""Password hashes: the whole password counts, the pool is bounded, and a missing user costs as much as any."""

from __future__ import annotations

import asyncio
import threading

import bcrypt
import pytest

from pycalc.errors import Overloaded
from pycalc.observability.metrics import Metrics
from pycalc.services.passwords import PasswordHasher

pytestmark = pytest.mark.anyio


async def test_the_right_password_and_no_other_is_accepted() -> None:
    """The hash is bcrypt's; every character counts, those after the 72nd byte and non-ASCII ones too."""
    passwords = PasswordHasher(Metrics(), rounds=4)
    hashed = await passwords.hash("p" * 72 + "ä")
    assert hashed.startswith("$2b$04$")
    assert await passwords.check("p" * 72 + "ä", hashed)
    for wrong in ("p" * 72, "p" * 72 + "a", "p" * 73, ""):
        assert not await passwords.check(wrong, hashed)
    assert await passwords.hash("p" * 72 + "ä") != hashed
    await passwords.aclose()


async def test_a_missing_user_costs_a_hash_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no hash to check against, one of the same cost is computed all the same, and does not fit."""
    costs: list[bytes] = []
    real = bcrypt.checkpw

    def watched(password: bytes, hashed: bytes) -> bool:
        costs.append(hashed[:7])
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", watched)
    passwords = PasswordHasher(Metrics(), rounds=5)
    hashed = await passwords.hash("correct horse")
    assert not await passwords.check("wrong", hashed)
    assert not await passwords.check("wrong", None)
    assert costs == [b"$2b$05$", b"$2b$05$"]
    await passwords.aclose()


async def test_what_would_queue_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the pool and its queue full a login is refused at once and counted; the others finish."""
    release = threading.Event()

    def slow(password: bytes, hashed: bytes) -> bool:
        assert release.wait(20)
        return True

    monkeypatch.setattr(bcrypt, "checkpw", slow)
    metrics = Metrics()
    passwords = PasswordHasher(metrics, rounds=4)
    accepted = [asyncio.create_task(passwords.check("a", "b")) for _ in range(32)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await passwords.check("a", "b")
    value = metrics.registry.get_sample_value
    assert value("pycalc_password_hashes_waiting") == 32
    assert value("pycalc_password_hashes_refused_total") == 1
    release.set()
    assert await asyncio.gather(*accepted) == [True] * 32
    assert value("pycalc_password_hashes_waiting") == 0
    await passwords.aclose()


async def test_an_outdated_hash_is_known_by_its_cost() -> None:
    """A hash of another cost factor is outdated; one of the factor in force is not."""
    cheap, dear = PasswordHasher(Metrics(), 4), PasswordHasher(Metrics(), 5)
    hashed = await cheap.hash("correct horse battery staple")
    assert not cheap.outdated(hashed)
    assert dear.outdated(hashed)
