"""What a worker process does: results are verified when they are long, handed over in files, and bounded in time."""

from __future__ import annotations

import resource
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pycalc.errors import Overloaded, VerificationFailed
from pycalc.services import worker
from pycalc.services.operations import OPERATIONS
from pycalc.services.worker import Task, execute, limited, timed

POWER = OPERATIONS["pow"]


def power_of_ten(digits: int, **changes: Any) -> Task:
    """Return the task of a power of ten with so many digits."""
    return Task("pow", POWER.parse({"x": "10", "y": str(digits - 1)}), 50)._replace(**changes)


@pytest.mark.parametrize(("digits", "refused"), [(1_000, False), (1_001, True)])
def test_from_1001_digits_on_a_result_is_verified(monkeypatch: pytest.MonkeyPatch, digits: int, refused: bool) -> None:
    """One that does not agree with its residue is never given out."""
    monkeypatch.setattr(type(POWER), "verify", lambda *_: False)
    if refused:
        with pytest.raises(VerificationFailed):
            execute(power_of_ten(digits))
    else:
        assert execute(power_of_ten(digits)).digits == "1000"


@pytest.mark.parametrize(("digits", "refused"), [(1_000, False), (1_001, True)])
def test_from_1001_digits_on_a_residue_is_verified(monkeypatch: pytest.MonkeyPatch, digits: int, refused: bool) -> None:
    """By the residue modulo a wider number."""
    monkeypatch.setattr(type(POWER), "agrees_modulo", lambda *_: False)
    task = power_of_ten(digits, view="modulo", modulus=10 ** (digits + 5))
    if refused:
        with pytest.raises(VerificationFailed):
            execute(task)
    else:
        assert execute(task).text == b"1" + b"0" * 999


def test_a_wrong_residue_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wider residue must agree modulo m, not only modulo the prime."""
    right = type(POWER).modulo
    modulus = 10**1_100
    monkeypatch.setattr(type(POWER), "modulo", lambda self, args, m: right(self, args, m) + (m == modulus))
    with pytest.raises(VerificationFailed):
        execute(power_of_ten(1_050, view="modulo", modulus=modulus))


@pytest.mark.parametrize(("digits", "in_file"), [(65_536, False), (65_537, True)])
def test_a_text_over_64_kib_goes_into_the_file(tmp_path: Path, digits: int, in_file: bool) -> None:
    """Without a file every text is in the reply; the facts are the same."""
    file = tmp_path / "result"
    text = b"1" + b"0" * (digits - 1)
    facts = (str(digits), True, "1" + "0" * 19, "0" * 20, sha256(text).digest())
    outcome = execute(power_of_ten(digits), str(file))
    assert outcome == ((None if in_file else text), *facts)
    assert file.exists() == in_file
    assert not in_file or file.read_bytes() == text
    assert execute(power_of_ten(digits)) == (text, *facts)


def test_the_processor_time_of_a_computation_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was used before, the deadline, and up to two seconds more; nobody may raise the hard limit meanwhile."""
    bounds: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_utime=3.0, ru_stime=1.25))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (7, 1_000))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: bounds.append((which, limits)))
    assert limited(10.0, lambda a, b: a - b, 5, 3) == 2
    assert bounds == [(resource.RLIMIT_CPU, (16, 1_000))]


def test_too_little_memory_is_an_overload() -> None:
    """It is no fault of the request's: it may be tried again."""

    def hungry() -> None:
        raise MemoryError

    with pytest.raises(Overloaded):
        limited(10.0, hungry)


def test_work_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By Unix time, before and after."""
    times = iter([100, 200])
    monkeypatch.setattr(worker, "time_ns", lambda: next(times))
    assert timed(abs, -3)[:3] == (3, 100, 200)
