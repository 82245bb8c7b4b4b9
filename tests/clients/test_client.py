"""The Python client against a real service, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from pycalc_client import (
    AsyncClient,
    Calculation,
    Client,
    DomainError,
    Factor,
    Forbidden,
    IntegerRoot,
    NotFound,
    NotLoaded,
    ResultTooLarge,
    Unauthorized,
    ValidationError,
)
from pycalc_client.calls import Call

from tests.harness.accounts import PASSWORD
from tests.harness.servers import Server

# F(6,000,000) has 1,253,926 digits: the client does not hold such an answer in memory, but downloads the digits.
LONG = 6_000_000
LONG_DIGITS = 1_253_926


def fibonacci_modulo(n: int, modulus: int) -> int:
    """Return F(n) modulo a number, by the doubling formulas."""
    a, b = 0, 1
    for bit in f"{n:b}":
        a, b = a * (2 * b - a) % modulus, (a * a + b * b) % modulus
        if bit == "1":
            a, b = b, (a + b) % modulus
    return a


def test_every_kind_of_result_is_a_python_value(calc: Client) -> None:
    """Results are Python integers, decimals, fractions, booleans, lists of factors, or roots."""
    assert calc.fibonacci(100).result == 354224848179261915075
    assert calc.pow(2.5, -3).result == Decimal("0.064")
    assert calc.pow(Fraction(1, 3), 5).result == Fraction(1, 243)
    root = calc.pow("2", "0.5", precision=20)
    assert (root.result, root.exact, root.digits) == (Decimal("1.4142135623730950488"), False, 20)
    assert calc.isprime(2**521 - 1).result is True
    assert calc.factorize(360).result == [Factor(2, 3), Factor(3, 2), Factor(5, 1)]
    assert calc.iroot(-16, 3).result == IntegerRoot(-3, 11)
    assert calc.fibonacci(1000, base=16).result == calc.fibonacci(1000).result
    assert calc.fibonacci(10**15, mod=97).result == fibonacci_modulo(10**15, 97)
    assert calc.evaluate("3^(10^12) mod 10^20").result == pow(3, 10**12, 10**20)
    assert calc.evaluate("1/3 < 2").result is True
    assert calc.calculate("gcd", a=2**70_000, b=2 * 3**9_000).result == 2


def test_a_summary_has_the_first_and_last_digits(calc: Client) -> None:
    """A summary has the digit count and the first and last digits of a result.

    The whole result is never computed, so it can't be loaded.
    """
    summary = calc.fibonacci("1e18", view="summary")
    assert (summary.digits, summary.leading) == (208987640249978734, "26289788186792204674")
    assert int(summary.trailing or "") == fibonacci_modulo(10**18, 10**20)
    with pytest.raises(NotFound):
        summary.load()


def test_problems_are_raised_as_their_classes(calc: Client) -> None:
    """Invalid operands, an undefined power and a result above the limit each raise an exception class of their own."""
    with pytest.raises(ValidationError) as invalid:
        calc.fibonacci(-1)
    assert [error.pointer for error in invalid.value.errors] == ["/input/n"]
    with pytest.raises(DomainError, match=r"0 has no negative powers\."):
        calc.pow(0, -1)
    with pytest.raises(ResultTooLarge) as large:
        calc.fibonacci(10**18)
    assert large.value.digits == 208987640249978734


def test_a_long_result_is_downloaded_when_it_is_wanted(calc: Client, tmp_path: Path) -> None:
    """The digits of a long result are downloaded only when they are saved or read; the calculation is recorded once."""
    calculation = calc.fibonacci(LONG)
    assert (calculation.digits, calculation._held) == (LONG_DIGITS, [])
    positions: list[tuple[int, int | None]] = []
    saved = calculation.save(tmp_path / "f.txt", progress=lambda *position: positions.append(position))
    digits = saved.read_text()
    assert hashlib.sha256(digits.encode()).hexdigest() == calculation.sha256
    assert len(digits) == LONG_DIGITS
    assert int(digits[-10:]) == fibonacci_modulo(LONG, 10**10)
    assert positions[-1] == (LONG_DIGITS, LONG_DIGITS)
    assert calculation.text == digits
    assert [path.name for path in tmp_path.iterdir()] == ["f.txt"]
    assert [item.id for item in calc.history()] == [calculation.id]


def test_a_short_result_is_saved_too(calc: Client, tmp_path: Path) -> None:
    """A result that is in memory is written to the file without a download."""
    assert calc.fibonacci(100).save(str(tmp_path / "f.txt")).read_text() == "354224848179261915075"


def test_a_key_that_may_only_calculate_gets_long_results_at_once(calc: Client, server: Server) -> None:
    """A key without the scope ``history:read`` gets all digits with the response; the calculation is recorded once."""
    key = calc.create_api_key("calculator", scopes=["calculate"], limits={"rate_limit": "60/minute"})
    assert ([each.id for each in calc.api_keys()], key.scopes) == ([key.id], ["calculate"])
    with Client(server.url, api_key=key.key) as limited:
        calculation = limited.fibonacci(LONG)
        assert len(calculation.text) == LONG_DIGITS
        with pytest.raises(Forbidden):
            limited.usage()
        calc.delete_api_key(key.id)
        with pytest.raises(Unauthorized):
            limited.fibonacci(1)
    assert [item.id for item in calc.history()] == [calculation.id]


def test_a_batch_of_any_size_is_answered_in_order(calc: Client) -> None:
    """A batch that is too large for one request is sent in several; the result of a failed item is its exception."""
    items = [{"operation": "fibonacci", "input": {"n": n, "mod": 1_000}} for n in range(1_500)]
    items[1_200] = {"operation": "pow", "input": {"x": 0, "y": -1}}
    results = calc.batch(items)  # type: ignore[arg-type]  # a dict of these types is no TypedDict
    assert isinstance(results[1_200], DomainError)
    values = [each.result for each in results if isinstance(each, Calculation)]
    assert values == [fibonacci_modulo(n, 1_000) for n in range(1_500) if n != 1_200]


def test_the_history_pages_by_itself(calc: Client) -> None:
    """``history`` yields more calculations than a page holds, newest first, and passes the service's filters on."""
    items = [{"operation": "fibonacci", "input": {"n": n}} for n in range(250)]
    calc.batch(items)  # type: ignore[arg-type]
    calc.pow(2, 4_000)
    assert [item.operation for item in calc.history()] == ["pow"] + ["fibonacci"] * 250
    [power] = calc.history(operation="pow", since=datetime.now(UTC) - timedelta(hours=1))
    assert (power.result, power.user) == (2**4_000, calc.history(operation="pow").__next__().user)
    assert [*calc.history(until="2020-01-01T00:00:00Z")] == []
    with pytest.raises(ValueError, match="no time zone"):
        next(calc.history(since=datetime(2026, 1, 1)))  # noqa: DTZ001  # it is what is refused


def test_usage_has_totals_and_quotas(calc: Client) -> None:
    """``usage`` returns the caller's quotas, and no totals for a time without calculations."""
    usage = calc.usage(until="2020-01-01")
    assert usage.totals == []
    assert {quota.name for quota in usage.quotas} == {"compute", "digits"}
    assert all(quota.resets_at.tzinfo is not None for quota in usage.quotas)


@pytest.mark.anyio
async def test_the_asynchronous_client_does_the_same(server: Server, username: str, tmp_path: Path) -> None:
    """The asynchronous client has operations, batches, history and downloads, with ``await`` and ``async for``."""
    async with AsyncClient(server.url, username=username, password=PASSWORD) as calc:
        assert (await calc.fibonacci(100)).result == 354224848179261915075
        [power] = await calc.batch([{"operation": "pow", "input": {"x": 2, "y": -1}}])
        assert "result=0.5" in repr(power)
        calculation = await calc.fibonacci(LONG)
        with pytest.raises(NotLoaded):
            _ = calculation.result
        assert await calculation.load() == (await calculation.save(tmp_path / "f.txt")).read_text()
        assert len(calculation.text) == LONG_DIGITS
        assert [item.operation async for item in calc.history()] == ["fibonacci", "pow", "fibonacci"]


@pytest.mark.anyio
async def test_ten_tasks_log_in_once(server: Server, username: str) -> None:
    """Tasks that begin at the same time share one session."""
    async with AsyncClient(server.url, username=username, password=PASSWORD) as calc:
        results = await asyncio.gather(*(calc.fibonacci(n) for n in range(10)))
        assert [each.result for each in results] == [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]
        sessions = await calc._session.send(Call("GET", "/me/sessions"))
        assert sessions.read(len) == 1


@pytest.mark.anyio
async def test_events_come_live(server: Server, username: str) -> None:
    """A calculation made while a task follows the events is yielded to that task."""
    async with AsyncClient(server.url, username=username, password=PASSWORD) as calc:
        first = await calc.fibonacci(10)
        events = calc.events(last_event_id=first.id)
        following = asyncio.ensure_future(anext(events))
        second = await calc.pow(2, 10)
        event = await following
        assert (event.id, event.type, event.calculation.result) == (second.id, "pycalc.operation.completed.v1", 1024)
        await events.aclose()
