"""``POST /evaluate/preview``: the size of a value or the position of an error, without a calculation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import Any

import httpx
import mpmath
import pytest

from tests.harness.accounts import new_person
from tests.harness.hostile import hostile
from tests.harness.servers import Server

MILLION_MILLION = 10**12


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """Return a client of the session's server, logged in as a new user."""
    with httpx.Client(base_url=server.url, timeout=60) as opened:
        opened.headers.update(new_person(opened).headers)
        yield opened


def preview(client: httpx.Client, expression: str, **more: object) -> dict[str, Any]:
    """Return the answer to a preview."""
    document: dict[str, Any] = client.post("/evaluate/preview", json={"expression": expression, **more}).json()
    return document


def test_a_preview_gives_the_size_and_records_nothing(client: httpx.Client) -> None:
    """A preview of 2^256 - 1 says that it has 78 digits (OEIS A034887); history, usage and quotas are unchanged."""
    found = preview(client, "2**256-1")
    assert (found["expression"], found["digits"], found["exact"], found["too_large"]) == ("2^256 - 1", 78, True, False)
    assert found["timeout"] > found["seconds"] > 0
    assert "call" not in found
    assert client.get("/secure-history").json()["items"] == []
    usage = client.get("/usage").json()
    assert (usage["items"], [quota["used"] for quota in usage["quotas"]]) == ([], [0, 0])


def test_a_power_that_no_memory_holds_has_a_size_and_ends(client: httpx.Client) -> None:
    """A preview of 3^(10^12) has its number of digits; its member ``call`` can be posted to get a summary."""
    found = preview(client, "3^(10^12)")
    assert (found["digits"], found["too_large"]) == (477_121_254_720, True)
    assert found["call"] == {"operation": "pow", "input": {"x": 3, "y": MILLION_MILLION}}
    summary = client.post("/calculations", json={**found["call"], "view": "summary"}).json()
    assert (summary["digits"], summary["trailing"]) == (477_121_254_720, str(pow(3, MILLION_MILLION, 10**20)))
    with mpmath.workdps(60):
        fraction = mpmath.frac(MILLION_MILLION * mpmath.log10(3))
        assert summary["leading"] == str(int(mpmath.power(10, fraction + 19)))


@pytest.mark.parametrize(
    ("expression", "call"),
    [
        ("(10^9)!", {"operation": "factorial", "input": {"n": 10**9}}),
        ("fibonacci(2^62)", {"operation": "fibonacci", "input": {"n": str(2**62)}}),
        ("fibonacci(10^18) + 1", None),
        ("isprime(91)", None),
    ],
)
def test_one_call_is_offered_with_its_operands(
    client: httpx.Client, expression: str, call: dict[str, Any] | None
) -> None:
    """A preview has a member ``call`` only if the expression is a single operation that has summaries."""
    assert preview(client, expression).get("call") == call


@pytest.mark.parametrize(
    ("expression", "problem", "position"),
    [
        ("1 + ", "validation-error", 4),
        ("1,000", "validation-error", 0),
        ("2^0.5", "domain-error", 1),
        ("factorial(-1)", "domain-error", 0),
        ("1 + 3^(10^12)", "result-too-large", 5),
    ],
)
def test_an_error_has_its_place(client: httpx.Client, expression: str, problem: str, position: int) -> None:
    """A preview reports an error that is known before the value is computed, with its position."""
    found = preview(client, expression)
    assert (found["status"], found["type"].partition("#")[2]) == (422, problem)
    assert [error["position"] for error in found["errors"]] == [position]


def test_a_rounded_value_says_so(client: httpx.Client) -> None:
    """With a precision, the preview of an irrational value says that the value is not exact."""
    assert preview(client, "2^0.5", precision=20)["exact"] is False


def test_previews_of_hostile_expressions_are_answered(client: httpx.Client) -> None:
    """Previews of hostile expressions get 200 or 422, never an internal error."""
    headers = {"Content-Type": "application/json"}
    bodies = [json.dumps({"expression": text}) for text in islice(hostile(Random(7)), 60)]  # noqa: S311  # no secrets
    statuses = {client.post("/evaluate/preview", content=body, headers=headers).status_code for body in bodies}
    assert statuses == {200, 422}
