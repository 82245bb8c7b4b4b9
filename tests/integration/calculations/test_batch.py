"""Batches over HTTP: the items are answered in order, and their calculations are recorded in one commit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import gmpy2
import httpx
import pytest

from tests.harness.accounts import new_person
from tests.harness.metrics import metric
from tests.harness.servers import Server, pycalc

JSON = {"Content-Type": "application/json"}


def item(operation: str, **operands: object) -> dict[str, object]:
    """Return one item of a batch."""
    return {"operation": operation, "input": operands}


def outcome(told: dict[str, Any]) -> object:
    """Return an item's result, or the last part of its problem's type and the pointers of its errors."""
    if "result" in told:
        return told["result"]
    slug = str(told["type"]).rpartition("#")[2]
    return (slug, *(error["pointer"] for error in told.get("errors", ())))


def history(client: httpx.Client) -> list[dict[str, Any]]:
    """Return the caller's last 1,000 calculations, newest first."""
    items: list[dict[str, Any]] = (
        client.get("/secure-history", params={"limit": 1000}).raise_for_status().json()["items"]
    )
    return items


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """Return a client of the session's server, logged in as a new user."""
    with httpx.Client(base_url=server.url, timeout=60) as opened:
        opened.headers.update(new_person(opened).headers)
        yield opened


class TestAnswers:
    """The answers to a batch."""

    def test_answers_and_problems_are_in_order(self, client: httpx.Client) -> None:
        """Each item gets a calculation or a problem; the history has the calculations in the same order."""
        operations = [
            item("fibonacci", n=100),
            item("pow", x=2, y="-1"),
            item("factorial", n=-1),
            item("pow", x=0, y=-1),
            item("pow", x="two", y="NaN"),
            item("pow", x=2),
            item("fibonacci", n=10, mod=0),
            item("fibonacci", n=10, m=7),
            item("fibonacci", n="1000000000000000000"),
            item("pow", x=7, y=222, mod=1000),
            item("pow", x=2, y=0.5, precision=5),
            item("factorial", n="1000000000000000000", view="summary"),
            item("factorial", n=5),
        ]
        answer = client.post("/batch", json={"operations": operations})
        assert answer.status_code == 200
        results = answer.json()["results"]
        summary = results.pop(11)
        assert [outcome(told) for told in results] == [
            "354224848179261915075",
            "0.5",
            ("validation-error", "/n"),
            ("domain-error",),
            ("validation-error", "/x", "/y"),
            ("validation-error", "/y"),
            ("validation-error", "/mod"),
            ("validation-error", "/m"),
            ("result-too-large",),
            49,
            "1.4142",
            120,
        ]
        assert (summary["digits"], summary["leading"]) == ("17565705518096748182", "55970735673103951804")
        assert results[8]["digits"] == "208987640249978734"
        assert {told["status"] for told in results if "status" in told} == {422}
        made = [told["id"] for told in [*results[:11], summary, results[11]] if "id" in told]
        assert all(a < b for a, b in pairwise(made))
        assert [row["id"] for row in history(client)] == made[::-1]

    @pytest.mark.parametrize(
        ("literal", "told"),
        [
            ("2.50", "2.5"),
            ("1e3", 1000),
            ("1E+3", 1000),
            ("1180591620717411303424", "1180591620717411303424"),
            ("0.1", "0.1"),
            ("100000000000000000000000.000000000000000000001", "100000000000000000000000.000000000000000000001"),
            ("-0.0", 0),
            ("9007199254740993", "9007199254740993"),
        ],
    )
    def test_numbers_are_the_literals_that_they_are(self, client: httpx.Client, literal: str, told: object) -> None:
        """JSON numbers such as 2.50, 1e3 and 9007199254740993 are exact, because none becomes a float."""
        body = f'{{"operations":[{{"operation":"pow","input":{{"x":{literal},"y":1}}}}]}}'
        (made,) = client.post("/batch", content=body, headers=JSON).raise_for_status().json()["results"]
        assert (made["input"]["x"], made["result"]) == (told, told)

    def test_a_whole_number_may_be_written_with_a_point(self, client: httpx.Client) -> None:
        """5.0 is accepted as a natural number, because Lua and PHP write it so; 5.5 is refused."""
        body = (
            '{"operations":[{"operation":"factorial","input":{"n":5.0}},{"operation":"factorial","input":{"n":5.5}}]}'
        )
        whole, fraction = client.post("/batch", content=body, headers=JSON).raise_for_status().json()["results"]
        assert (whole["input"], whole["result"]) == ({"n": 5}, 120)
        assert fraction["status"] == 422

    def test_the_second_of_two_equal_ones_is_cached(self, client: httpx.Client) -> None:
        """Two equal items are recorded with different ids, but computed once."""
        n = 77_777
        answer = client.post("/batch", json={"operations": [item("fibonacci", n=n)] * 2}).raise_for_status()
        first, second = answer.json()["results"]
        assert (first["cached"], second["cached"]) == (False, True)
        assert first["result"] == second["result"] == gmpy2.fib(n).digits()
        assert [row["cached"] for row in history(client)] == [True, False]

    def test_a_thousand_are_one_transaction_in_the_history(self, server: Server, client: httpx.Client) -> None:
        """A thousand items are recorded in order in one commit."""
        before = metric(client, "pycalc_commit_rows_count")
        answer = client.post("/batch", json={"operations": [item("fibonacci", n=n) for n in range(1_000)]})
        results = answer.raise_for_status().json()["results"]
        assert [int(told["result"]) for told in results] == [int(gmpy2.fib(n)) for n in range(1_000)]
        assert metric(client, "pycalc_commit_rows_count") == before + 1
        assert [row["id"] for row in history(client)] == [told["id"] for told in reversed(results)]

    def test_no_cache_may_store_the_answer(self, client: httpx.Client) -> None:
        """A batch's answer has ``Cache-Control: private, no-store``."""
        answer = client.post("/batch", json={"operations": [item("factorial", n=3)]})
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert answer.headers["Content-Type"] == "application/json"


class TestRefusals:
    """Invalid bodies are refused as a whole, and nothing is recorded."""

    @pytest.mark.parametrize(
        ("body", "pointers"),
        [
            (b"", [""]),
            (b"{", [""]),
            (b"\xff", [""]),
            (b"[]", [""]),
            (b"null", [""]),
            (b"{}", [""]),
            (b'{"operations":[],"x":1}', [""]),
            (b'{"operations":[{"operation":"pow","input":{"x":NaN,"y":1}}]}', [""]),
            (b'{"operations":[{"operation":"pow","input":{"x":Infinity,"y":1}}]}', [""]),
            (b"[" * 100_000, [""]),
            (b'{"operations":{}}', ["/operations"]),
            (b'{"operations":[]}', ["/operations"]),
            (b'{"operations":[' + b",".join([b"{}"] * 1_001) + b"]}", ["/operations"]),
            (b'{"operations":[1,{}]}', ["/operations/0", "/operations/1"]),
            (b'{"operations":[{"operation":"pow","input":{},"x":1}]}', ["/operations/0"]),
            (b'{"operations":[{"operation":"sqrt","input":{}}]}', ["/operations/0/operation"]),
            (b'{"operations":[{"operation":7,"input":[]}]}', ["/operations/0/operation", "/operations/0/input"]),
            (b'{"operations":[{"operation":"pow","input":null}]}', ["/operations/0/input"]),
            (
                b'{"operations":[{"operation":"pow","input":{"x":1,"y":2}},'
                b'{"operation":"pow","input":{"x":true,"y":null,"z":[],"w":{}}}]}',
                [f"/operations/1/input/{name}" for name in "xyzw"],
            ),
            (b'{"operations":[{"operation":"fibonacci","input":{"a/b~":null}}]}', ["/operations/0/input/a~1b~0"]),
            (
                b'{"operations":[{"operation":"fibonacci","input":{"\\ud800":null}}]}',
                ["/operations/0/input/\N{REPLACEMENT CHARACTER}"],
            ),
        ],
    )
    def test_each_fault_is_pointed_at(self, client: httpx.Client, body: bytes, pointers: list[str]) -> None:
        """An invalid batch gets 422 validation-error, with a JSON pointer to each mistake."""
        answer = client.post("/batch", content=body, headers=JSON)
        assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")
        assert answer.json()["type"] == "/docs/problems#validation-error"
        assert [error["pointer"] for error in answer.json()["errors"]] == pointers
        assert history(client) == []

    def test_a_lone_surrogate_is_an_invalid_operand(self, client: httpx.Client) -> None:
        """A lone surrogate in an item's input gives a validation error, not an internal error."""
        body = (
            b'{"operations":[{"operation":"fibonacci","input":{"n":1,"\\ud800":"1"}},'
            b'{"operation":"fibonacci","input":{"n":"\\ud800"}},'
            b'{"operation":"fibonacci","input":{"n":1,"mod":"\\ud800"}}]}'
        )
        answer = client.post("/batch", content=body, headers=JSON)
        assert answer.status_code == 200
        assert [outcome(told) for told in answer.json()["results"]] == [
            ("validation-error", "/\N{REPLACEMENT CHARACTER}"),
            ("validation-error", "/n"),
            ("validation-error", "/mod"),
        ]

    def test_without_a_token_it_is_401(self, server: Server) -> None:
        """A batch without a token gets 401."""
        answer = httpx.post(f"{server.url}/batch", json={"operations": [item("factorial", n=3)]})
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="pycalc"')

    def test_a_body_over_a_mebibyte_is_413(self, client: httpx.Client) -> None:
        """A body above a mebibyte gets 413, and a body of exactly a mebibyte is accepted."""
        fits = json.dumps({"operations": [item("fibonacci", n=1)]}).ljust(1024 * 1024)
        assert client.post("/batch", content=fits, headers=JSON).status_code == 200
        answer = client.post("/batch", content=fits + " ", headers=JSON)
        assert (answer.status_code, answer.json()["type"]) == (413, "/docs/problems#payload-too-large")


class TestBounds:
    """The limits of a batch: an item beyond a limit becomes a problem at its position in the answer."""

    def test_digits_together(self) -> None:
        """The results of a batch share a limit on digits.

        An item whose result exceeds the remaining digits becomes a problem; a later, shorter result may still fit.
        """
        with pycalc(max_digits="300000") as own, httpx.Client(base_url=own.url, timeout=60) as client:
            client.headers.update(new_person(client).headers)
            numbers = (1_000_000, 999_999, 100, 400_000, 2_000_000)
            answer = client.post("/batch", json={"operations": [item("fibonacci", n=n) for n in numbers]})
            results = answer.raise_for_status().json()["results"]
            assert [outcome(told) for told in results[1:]] == [
                ("payload-too-large",),
                "354224848179261915075",
                gmpy2.fib(400_000).digits(),
                ("result-too-large",),
            ]
            assert results[0]["digits"] == 208_988
            assert len(history(client)) == 3

    def test_the_deadline_holds_for_planning_too(self) -> None:
        """Items whose size is not yet estimated at the batch's deadline become computation-timeout problems."""
        with pycalc(compute_timeout="0.5", compute_workers="1") as own, httpx.Client(base_url=own.url) as client:
            client.timeout = httpx.Timeout(60)
            client.headers.update(new_person(client).headers)
            operations = [item("factorial", n=f"{n}{'9' * 950}") for n in range(1_000)]
            results = client.post("/batch", json={"operations": operations}).raise_for_status().json()["results"]
            outcomes = [outcome(told) for told in results]
            planned = outcomes.index(("computation-timeout",))
            assert outcomes == [("result-too-large",)] * planned + [("computation-timeout",)] * (1_000 - planned)

    def test_the_deadline(self) -> None:
        """Each item that is unfinished at the batch's deadline becomes a computation-timeout problem."""
        with pycalc(compute_timeout="0.4", compute_workers="1") as own, httpx.Client(base_url=own.url) as client:
            client.timeout = httpx.Timeout(60)
            client.headers.update(new_person(client).headers)
            client.get("/fibonacci/100000").raise_for_status()  # now the worker has started
            numbers = [*range(4_000_000, 4_000_030), 10]
            answer = client.post("/batch", json={"operations": [item("fibonacci", n=n) for n in numbers]})
            results = answer.raise_for_status().json()["results"]
            late = [n for n, told in enumerate(results) if outcome(told) == ("computation-timeout",)]
            made = [n for n, told in enumerate(results) if "result" in told]
            assert late == list(range(late[0], 31))
            assert sorted(late + made) == list(range(31))
            assert results[30]["status"] == 504
            assert len(history(client)) == 1 + len(made)
