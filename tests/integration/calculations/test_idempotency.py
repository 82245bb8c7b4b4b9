"""Requests with an Idempotency-Key: retries get the first answer (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from pycalc.models.ids import id_of_text
from pycalc.observability.metrics import Metrics
from pycalc.resources.wiring import Resources
from pycalc.services.limits.calculation_rate import calculation_limits
from pycalc.settings import Settings
from tests.contract.backends import each
from tests.harness.accounts import PASSWORD, new_name, new_session, registration
from tests.harness.in_process import changed, client_of, in_process
from tests.harness.servers import KEYS
from tests.harness.waiting import found, until

pytestmark = pytest.mark.anyio

REPLAYED = "Idempotency-Replayed"
FIBONACCI = {"operation": "fibonacci", "input": {"n": 100}}
POSTS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "an integer": ("/calculations", FIBONACCI),
    "a small integer": ("/calculations", {"operation": "gcd", "input": {"a": 12, "b": 18}}),
    "a result that is not stored": ("/calculations", {"operation": "factorial", "input": {"n": 1_000}}),
    "a residue": ("/calculations", {"operation": "pow", "input": {"x": 3, "y": "1e12"}, "mod": "1e20"}),
    "a summary": ("/calculations", {"operation": "factorial", "input": {"n": "1e18"}, "view": "summary"}),
    "rounded digits": ("/calculations", {"operation": "pow", "input": {"x": 2, "y": "0.5"}, "precision": 30}),
    "a rounded summary": ("/calculations", {"operation": "pow", "input": {"x": 2, "y": "0.5"}, "view": "summary"}),
    "a list": ("/calculations", {"operation": "factorize", "input": {"n": 360}}),
    "an object": ("/calculations", {"operation": "iroot", "input": {"n": 30, "k": 3}}),
    "a boolean": ("/calculations", {"operation": "isprime", "input": {"n": 97}}),
    "another base": ("/calculations", {"operation": "fibonacci", "input": {"n": 30}, "base": 16}),
    "operands that are not stored": ("/calculations", {"operation": "gcd", "input": {"a": "9" * 30_000, "b": 6}}),
    "an expression": ("/evaluate", {"expression": "3^(10^12) mod 10^20"}),
    "a batch": (
        "/batch",
        {
            "operations": [
                FIBONACCI,
                {"operation": "pow", "input": {"x": 0, "y": -1}},
                {"operation": "factorial", "input": {"n": 1_000}},
                {"operation": "factorial", "input": {"n": "1e18"}},
                {"operation": "pow", "input": {"x": "two", "y": 2}},
                {"operation": "evaluate", "input": {"expression": "2^0.5", "precision": 20}},
            ]
        },
    ),
}


@pytest.fixture
def settings(settings: Settings, database_url: str, request: pytest.FixtureRequest) -> Settings:
    """Return settings for SQLite and PostgreSQL in turn, with the test's changes."""
    keys = {"secret_keys": KEYS["secret_keys"], "password_keys": KEYS["password_keys"]}
    return changed(settings, database_url=database_url, **keys, **getattr(request, "param", {}))


@pytest.fixture
async def caller(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return the client, logged in and without compression."""
    await new_session(client)
    client.headers["Accept-Encoding"] = "identity"
    return client


async def post(
    client: httpx.AsyncClient, path: str, body: Mapping[str, Any], key: str, **headers: str
) -> httpx.Response:
    """Send a POST with an Idempotency-Key."""
    return await client.post(path, json=body, headers={"Idempotency-Key": key, **headers})


async def rows(client: httpx.AsyncClient) -> list[str]:
    """Return the ids of the caller's calculations, oldest first."""
    page = (await client.get("/secure-history", params={"limit": 1000})).raise_for_status().json()
    return [item["id"] for item in page["items"]][::-1]


def slug(answer: httpx.Response) -> str:
    """Return the last part of a problem's type, such as ``conflict``."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    return str(answer.json()["type"]).rpartition("#")[2]


@pytest.mark.parametrize(("path", "body"), POSTS.values(), ids=POSTS)
async def test_a_retry_gets_the_same_answer(caller: httpx.AsyncClient, path: str, body: Mapping[str, Any]) -> None:
    """A retry gets the status, body and Location of the first answer, and records nothing."""
    first = await post(caller, path, body, "once")
    recorded = await rows(caller)
    again = await post(caller, path, body, "once")
    assert first.status_code == (201 if path == "/calculations" else 200)
    assert REPLAYED not in first.headers
    assert again.headers[REPLAYED] == "true"
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers.get("Location") == first.headers.get("Location")
    assert "RateLimit" in again.headers
    assert recorded
    assert await rows(caller) == recorded
    anew = await post(caller, path, body, "twice")
    assert REPLAYED not in anew.headers
    assert len(await rows(caller)) == 2 * len(recorded)


async def test_a_retry_may_ask_for_the_bare_digits(caller: httpx.AsyncClient) -> None:
    """A retry that asks for plain text gets the first answer's digits, digest and id.

    A retry that asks for JSON gets the first answer's result.
    """
    body = {"operation": "factorial", "input": {"n": 1_000}}
    first = await post(caller, "/calculations", body, "digits", Accept="text/plain")
    again = await post(caller, "/calculations", body, "digits", Accept="text/plain")
    assert (again.content, again.status_code, again.headers[REPLAYED]) == (first.content, 201, "true")
    for name in ("Repr-Digest", "X-Calculation-Id", "Location"):
        assert again.headers[name] == first.headers[name]
    as_json = await post(caller, "/calculations", body, "digits")
    assert as_json.json()["result"] == first.text


async def test_the_quoted_and_the_bare_form_are_one_key(caller: httpx.AsyncClient) -> None:
    """A key in quotation marks, with or without escapes, is the same key as the text without quotation marks."""
    for forms in (('"abc-1"', "abc-1"), ('"a\\"b\\\\c"', 'a"b\\c'), ("!", '"!"'), ("~" * 255, f'"{"~" * 255}"')):
        first, again = [await post(caller, "/calculations", FIBONACCI, form) for form in forms]
        assert (REPLAYED in first.headers, again.headers.get(REPLAYED)) == (False, "true")
        assert again.content == first.content


@pytest.mark.parametrize(
    "key", ["", '""', '"a', "a b", '"a b"', "~" * 256, f'"{"~" * 256}"', '"a\\b"', '"a"b"', '"a";x']
)
@pytest.mark.parametrize(("path", "body"), [POSTS["an integer"], POSTS["an expression"], POSTS["a batch"]])
async def test_a_malformed_key_is_refused(
    caller: httpx.AsyncClient, key: str, path: str, body: Mapping[str, Any]
) -> None:
    """A malformed key, or one that does not have 1 to 255 visible characters, gets 422; nothing is recorded."""
    answer = await post(caller, path, body, key)
    assert (answer.status_code, slug(answer)) == (422, "validation-error")
    assert answer.json()["errors"][0]["pointer"] == "/idempotency-key"
    assert await rows(caller) == []


async def test_a_key_is_sent_once(caller: httpx.AsyncClient) -> None:
    """A request with two Idempotency-Key fields gets 422, even if they are equal."""
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
    answer = await caller.post("/calculations", json=FIBONACCI, headers=headers)
    assert (answer.status_code, slug(answer)) == (422, "validation-error")


async def test_a_key_belongs_to_one_request(caller: httpx.AsyncClient) -> None:
    """Another body, path or query under the same key gets 422, and the recorded answer stays."""
    first = await post(caller, "/calculations", FIBONACCI, "mine")
    others: list[tuple[str, Mapping[str, Any]]] = [
        ("/calculations", {"operation": "fibonacci", "input": {"n": 101}}),
        ("/calculations?a=1", FIBONACCI),
        ("/evaluate", {"expression": "1+1"}),
        ("/batch", {"operations": [FIBONACCI]}),
    ]
    for path, body in others:
        answer = await post(caller, path, body, "mine")
        assert (answer.status_code, slug(answer)) == (422, "validation-error"), path
        assert answer.json()["errors"][0]["pointer"] == "/idempotency-key"
        assert REPLAYED not in answer.headers
    assert (await post(caller, "/calculations", FIBONACCI, "mine")).content == first.content
    assert len(await rows(caller)) == 1


async def test_a_key_belongs_to_one_user(client: httpx.AsyncClient, app: FastAPI) -> None:
    """Two users who send the same key get separate answers."""
    await new_session(client)
    async with client_of(app, app.state.lifespan) as other:
        await new_session(other)
        mine = await post(client, "/calculations", FIBONACCI, "shared")
        theirs = await post(other, "/calculations", {"operation": "fibonacci", "input": {"n": 7}}, "shared")
        assert (theirs.status_code, theirs.json()["result"]) == (201, 13)
        assert REPLAYED not in theirs.headers
        assert (await rows(client), await rows(other)) == ([mine.json()["id"]], [theirs.json()["id"]])


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/calculations", {"operation": "fibonacci", "input": {"n": -1}}, 422),
        ("/calculations", {"operation": "pow", "input": {"x": 0, "y": -1}}, 422),
        ("/evaluate", {"expression": "1 +"}, 422),
        ("/batch", {"operations": []}, 422),
    ],
)
async def test_a_refusal_is_not_kept(
    caller: httpx.AsyncClient, path: str, body: Mapping[str, Any], status: int
) -> None:
    """A request that recorded nothing leaves its key free, even for another request."""
    for _ in range(2):
        answer = await post(caller, path, body, "free")
        assert (answer.status_code, answer.headers.get(REPLAYED)) == (status, None)
    assert (await post(caller, "/calculations", FIBONACCI, "free")).status_code == 201


@pytest.mark.parametrize("settings", [{"rate_limit": "2/minute"}], indirect=True)
async def test_a_request_beyond_a_limit_is_not_kept(caller: httpx.AsyncClient, resources: Resources) -> None:
    """A retry counts towards the rate limit; a 429 does not use up the key."""
    first = await post(caller, "/calculations", FIBONACCI, "kept")
    assert (await post(caller, "/calculations", FIBONACCI, "kept")).headers[REPLAYED] == "true"
    for key in ("kept", "new"):
        answer = await post(caller, "/calculations", FIBONACCI, key)
        assert (answer.status_code, slug(answer), answer.headers.get(REPLAYED)) == (429, "rate-limited", None)
    resources.calculation_limit_of = calculation_limits(Metrics())  # as in the next minute
    assert (await post(caller, "/calculations", FIBONACCI, "kept")).content == first.content
    assert REPLAYED not in (await post(caller, "/calculations", FIBONACCI, "new")).headers


async def test_a_batch_without_a_calculation_is_not_kept(caller: httpx.AsyncClient) -> None:
    """A batch in which every item fails records nothing, so a retry is executed like a new request."""
    body = {"operations": [{"operation": "factorial", "input": {"n": -1}}]}
    answers = [await post(caller, "/batch", body, "empty") for _ in range(2)]
    assert [answer.headers.get(REPLAYED) for answer in answers] == [None, None]
    assert answers[0].content == answers[1].content


async def test_a_full_batch_is_answered_again(caller: httpx.AsyncClient) -> None:
    """A retry of a batch of 1,000 items, a third of which are invalid, gets the whole first answer."""
    operations = [{"operation": "factorial", "input": {"n": n if n % 3 else -n}} for n in range(1, 1_001)]
    first = await post(caller, "/batch", {"operations": operations}, "full")
    again = await post(caller, "/batch", {"operations": operations}, "full")
    assert [("result" in told) for told in first.json()["results"]] == [bool(n % 3) for n in range(1, 1_001)]
    assert first.json()["results"][2]["errors"][0]["pointer"] == "/n"
    assert (again.headers[REPLAYED], again.content) == ("true", first.content)
    assert len(await rows(caller)) == 667


async def test_problems_that_are_too_long_to_keep_are_shortened_at_once(caller: httpx.AsyncClient) -> None:
    """If a batch's problems are too long to be stored, both the first answer and the retry have them shortened."""
    names = [
        "".join(chr(0x4E00 + (index * 7_919 + place * 104_729) % 20_000) for place in range(64)) for index in range(200)
    ]
    items = [{"operation": "fibonacci", "input": {"n": 1, name: "1"}} for name in names]
    first = await post(caller, "/batch", {"operations": [FIBONACCI, *items]}, "long")
    again = await post(caller, "/batch", {"operations": [FIBONACCI, *items]}, "long")
    calculation, *problems = first.json()["results"]
    assert calculation["result"] == "354224848179261915075"
    assert {problem["detail"] for problem in problems} == {
        "This calculation failed, but the batch's errors are too long to be kept for its Idempotency-Key: send it "
        "alone, without the key, to learn why."
    }
    assert all(problem["type"].endswith("#validation-error") and "errors" not in problem for problem in problems)
    assert (again.headers[REPLAYED], again.content) == ("true", first.content)


async def test_a_running_request_is_not_begun_again(caller: httpx.AsyncClient, resources: Resources) -> None:
    """While a request runs, a retry with its key gets 409 with Retry-After; a later retry gets the first answer."""
    body = {"operation": "fibonacci", "input": {"n": 10_000_000}}
    running = resources.metrics.registry.get_sample_value
    first = asyncio.create_task(post(caller, "/calculations", body, "slow"))
    await until(lambda: running("pycalc_idempotent_requests") == 1, "the first request runs")
    second = await post(caller, "/calculations", body, "slow")
    assert (second.status_code, slug(second), second.headers["Retry-After"]) == (409, "conflict", "1")
    assert (await post(caller, "/calculations", FIBONACCI, "other")).status_code == 201
    digits = (await first).json()
    again = await post(caller, "/calculations", body, "slow")
    assert (again.headers[REPLAYED], again.json()) == ("true", digits)
    assert running("pycalc_idempotent_requests") == 0


async def test_deleted_calculations_are_not_repeated(caller: httpx.AsyncClient, resources: Resources) -> None:
    """If the first request's calculation was deleted from the history, a retry gets 409 without Retry-After."""
    first = await post(caller, "/calculations", FIBONACCI, "deleted")
    identity = (int.from_bytes(id_of_text(first.json()["id"])) + 1).to_bytes(16)
    history = resources.idempotency._history

    async def pruned() -> int | None:
        return await history.prune(identity, 10) or None

    await found(pruned, "the calculation is deleted, once its event is published")
    answer = await post(caller, "/calculations", FIBONACCI, "deleted")
    assert (answer.status_code, slug(answer), answer.headers.get("Retry-After")) == (409, "conflict", None)
    assert "new key" in answer.json()["detail"]
    assert await rows(caller) == []


@pytest.mark.parametrize("database_url", each(["postgresql"]), indirect=True)
async def test_several_instances_record_once(settings: Settings) -> None:
    """If requests with one key reach two instances at once, one row is recorded, and both get the same answer."""
    name = new_name()
    async with in_process(settings) as one, in_process(settings) as two:
        assert (await one.post("/register", json=registration(name))).status_code == 201
        session = (await one.post("/login", json={"username": name, "password": PASSWORD})).json()
        for client in (one, two):
            client.headers["Authorization"] = f"Bearer {session['access_token']}"
        for number in range(30):
            body = {"operation": "fibonacci", "input": {"n": number}}
            answers = await asyncio.gather(*(post(client, "/calculations", body, str(number)) for client in (one, two)))
            assert [answer.status_code for answer in answers] == [201, 201]
            assert answers[0].content == answers[1].content
            assert sorted(answer.headers.get(REPLAYED, "false") for answer in answers) == ["false", "true"]
        assert len(await rows(one)) == 30
        for client in (one, two):  # a repeated answer is not counted as a failure
            metrics = (await client.get("/metrics")).text
            assert 'pycalc_calculations_total{operation="fibonacci",outcome="failed"} 0.0' in metrics
        other = await post(two, "/calculations", FIBONACCI, "0")
        assert other.status_code == 422


def test_the_document_has_the_header_fields(app: FastAPI) -> None:
    """The OpenAPI document describes Idempotency-Key, Idempotency-Replayed and the 409 of the routes that use them."""
    document = app.openapi()
    for path in ("/calculations", "/evaluate", "/batch"):
        operation = document["paths"][path]["post"]
        (parameter,) = [each for each in operation["parameters"] if each["name"] == "Idempotency-Key"]
        assert (parameter["in"], parameter["required"]) == ("header", False)
        success = operation["responses"]["201" if path == "/calculations" else "200"]
        assert REPLAYED in success["headers"]
        assert "Retry-After" in operation["responses"]["409"]["headers"]
        assert "application/problem+json" in operation["responses"]["409"]["content"]
    assert document["components"]["headers"][REPLAYED]["schema"]["enum"] == ["true"]
