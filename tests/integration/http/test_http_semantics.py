"""HTTP semantics (RFC 9110) in the test's process: methods, Host, conditional requests, wrong paths."""

from __future__ import annotations

import re
from collections.abc import Mapping

import httpx
import pytest

from pycalc.routers.http.problem_types import responses
from tests.harness.accounts import history_of, new_session

pytestmark = pytest.mark.anyio

TEXT = {"Accept": "text/plain"}


@pytest.fixture
async def caller(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return the client, logged in."""
    await new_session(client)
    return client


async def recorded(client: httpx.AsyncClient) -> list[str]:
    """Return the ids in the caller's history, newest first."""
    items = await history_of(client)
    return [item["id"] for item in items]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/fibonacci/10", "GET, HEAD"),
        ("OPTIONS", "/pow/2/3", "GET, HEAD"),
        ("PATCH", "/me", "GET, HEAD, DELETE"),
        ("GET", "/register", "POST"),
        ("DELETE", "/me/keys", "GET, HEAD, POST"),
        ("HEAD", "/login", "POST"),
        ("TRACE", "/openapi.json", "GET, HEAD"),
        ("POST", "/web/console.css", "GET, HEAD"),
    ],
)
async def test_405_lists_every_method_of_the_path(
    client: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    """The Allow field lists the methods of all routes with the path, and HEAD where there is GET (RFC 9110 §15.5.6)."""
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allow)
    assert answer.headers.get_list("Allow") == [allow]


@pytest.mark.parametrize("path", ["/nowhere", "/nowhere/", "/fibonacci/1/2/", "/fibonacci/100/", "/login/"])
async def test_a_path_that_does_not_exist_is_404(client: httpx.AsyncClient, path: str) -> None:
    """A path that no route has gets a 404, also if it exists without its empty segments."""
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such path.")


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("slug", "method", "path", "headers", "content"),
    [
        ("validation-error", "POST", "/evaluate", JSON, '{"expression": 1}'),
        ("domain-error", "GET", "/pow/0/-1", {}, ""),
        ("result-too-large", "GET", "/fibonacci/1000000000000000000", {}, ""),
        ("precondition-failed", "GET", "/openapi.json", {"If-Match": '"other"'}, ""),
        ("range-not-satisfiable", "GET", "/fibonacci/100", {**TEXT, "Range": "bytes=21-"}, ""),
        ("unauthorized", "POST", "/evaluate", {**JSON, "Authorization": ""}, '{"expression": "1"}'),
        ("method-not-allowed", "GET", "/evaluate", {}, ""),
        ("payload-too-large", "POST", "/login", JSON, " " * 10_000),
        ("unsupported-media-type", "POST", "/evaluate", {"Content-Type": "text/csv"}, "1"),
    ],
)
async def test_examples_of_problems_are_real_responses(
    caller: httpx.AsyncClient, slug: str, method: str, path: str, headers: Mapping[str, str], content: str
) -> None:
    """The service sends the examples of problems that the OpenAPI document has."""
    (documented,) = responses(slug).values()
    answer = await caller.request(method, path, headers=headers, content=content)
    assert answer.json() == documented["content"]["application/problem+json"]["examples"][slug]["value"]


async def test_an_instance_never_reads_as_a_host(client: httpx.AsyncClient) -> None:
    """``instance``, resolved against the request's URL, stays on the same host (RFC 3986 §4.2, §5.2.4)."""
    url = httpx.URL("http://pycalc.test//fibonacci/100")
    answer = await client.get(url)
    instance = answer.json()["instance"]
    assert instance == "/.//fibonacci/100"
    assert url.join(instance).host == "pycalc.test"


@pytest.mark.parametrize("hosts", [[], ["pycalc.test", "pycalc.test"], [""]])
async def test_a_request_without_exactly_one_host_is_bad(caller: httpx.AsyncClient, hosts: list[str]) -> None:
    """A request without exactly one Host gets 400 on every kind of route, and is not recorded (RFC 9112 §3.2)."""
    fields = [("Authorization", caller.headers["Authorization"]), *(("Host", host) for host in hosts)]
    for path in ("/fibonacci/10", "/me", "/nowhere"):
        request = caller.build_request("GET", path)
        request.headers = httpx.Headers(fields)
        answer = await caller.send(request)
        assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
        assert answer.json()["type"] == "/docs/problems#bad-request"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert await recorded(caller) == []


async def test_rounded_digits_say_so_and_all_digits_name_their_record(caller: httpx.AsyncClient) -> None:
    """Full, partial and 304 responses name the recorded calculation; X-Exact is sent only for rounded digits."""
    for path, exact in (("/pow/2/0.5", "false"), ("/pow/2/10", None)):
        whole = await caller.get(path, headers=TEXT)
        part = await caller.get(path, headers={**TEXT, "Range": "bytes=0-1"})
        held = await caller.get(path, headers={**TEXT, "If-None-Match": whole.headers["ETag"]})
        head = await caller.head(path, headers=TEXT)
        answers = [whole, part, held, head]
        assert [answer.status_code for answer in answers] == [200, 206, 304, 200]
        assert [answer.headers.get("X-Exact") for answer in answers] == [exact] * 4
        ids = [answer.headers["X-Calculation-Id"] for answer in answers]
        assert ids == (await recorded(caller))[:4][::-1]


@pytest.mark.parametrize("path", ["/fibonacci/1000", "/fibonacci/400000"])
async def test_a_range_beyond_the_end_is_not_recorded(caller: httpx.AsyncClient, path: str) -> None:
    """A 416 is not recorded, whether the result is computed or cached."""
    beyond = {**TEXT, "Range": "bytes=99999999-"}
    for _ in range(2):
        answer = await caller.get(path, headers=beyond)
        assert answer.status_code == 416
        assert answer.headers["Content-Range"].startswith("bytes */")
    assert await recorded(caller) == []
    assert (await caller.get(path)).json()["cached"] is True
    assert len(await recorded(caller)) == 1


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({**TEXT, "If-Match": '"another"'}, 412),
        ({**TEXT, "If-Match": "*"}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"another"'}, 412),
        ({**TEXT, "If-None-Match": "*"}, 304),
        ({"If-None-Match": "*"}, 304),
        ({**TEXT, "If-Match": '"another"', "If-None-Match": "*"}, 412),
        ({**TEXT, "If-Match": "*", "If-None-Match": "*"}, 304),
        ({**TEXT, "If-Match": "*", "Range": "bytes=0-3"}, 206),
    ],
)
async def test_conditions(caller: httpx.AsyncClient, fields: Mapping[str, str], status: int) -> None:
    """If-Match precedes If-None-Match and Range (RFC 9110 §13.2.2); if If-Match fails, nothing is recorded."""
    answer = await caller.get("/fibonacci/1000", headers=fields)
    assert answer.status_code == status
    assert len(await recorded(caller)) == (status != 412)
    if status == 412:
        assert answer.json()["type"] == "/docs/problems#precondition-failed"


async def test_if_match_holds_for_the_current_tag_of_each_coding(caller: httpx.AsyncClient) -> None:
    """If-Match accepts the current ETag with and without the suffix of a coding, but not as a weak ETag."""
    tag = (await caller.get("/fibonacci/1000", headers=TEXT)).headers["ETag"]
    statuses = [
        (await caller.get("/fibonacci/1000", headers={**TEXT, "If-Match": held, "Range": "bytes=4-7"})).status_code
        for held in (tag, f'"another", {tag[:-1]}-gzip"', f"W/{tag}")
    ]
    assert statuses == [206, 206, 412]


async def test_a_condition_is_no_way_around_an_error(caller: httpx.AsyncClient) -> None:
    """A condition does not change an error, because an error has no representation that could match."""
    for path in ("/pow/0/-1", f"/fibonacci/{10**30}", "/fibonacci/x"):
        assert (await caller.get(path, headers={**TEXT, "If-None-Match": "*"})).status_code == 422
    assert await recorded(caller) == []


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("text/*", "text/plain; charset=utf-8"),
        ("application/json;q=0.5, text/*", "text/plain; charset=utf-8"),
        ("text/plain;q=0.5, */*", "application/json"),
        ("application/*", "application/json"),
        ("image/png", "application/json"),
    ],
)
async def test_the_form_with_the_highest_weight(caller: httpx.AsyncClient, accept: str, content_type: str) -> None:
    """The media type with the highest weight is sent, also for ranges such as text/*; the default is JSON."""
    answer = await caller.get("/fibonacci/1000", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, content_type)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/json, text/html;q=0.9", "application/json"),
        ("text/html", "text/html; charset=utf-8"),
        ("text/html;q=0", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
    ],
)
async def test_the_console_is_for_clients_that_prefer_html(
    client: httpx.AsyncClient, accept: str, content_type: str
) -> None:
    """Clients that prefer HTML get the console; a program that lists HTML last gets JSON."""
    answer = await client.get("/", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, content_type)


@pytest.mark.parametrize(("asked", "language"), [("de-AT, en;q=0.5", "de"), ("fr", "en")])
@pytest.mark.parametrize("path", ["/", "/console/history", "/docs", "/guide"])
async def test_pages_name_the_texts_of_the_readers_language(
    client: httpx.AsyncClient, path: str, asked: str, language: str
) -> None:
    """A page loads only the texts of the preferred language, and its Vary keeps caches from mixing languages."""
    answer = await client.get(path, headers={"Accept": "text/html", "Accept-Language": asked})
    assert re.findall(r"/strings/(\w+)\.js", answer.text) == [language]
    assert "Accept-Language" in answer.headers["Vary"]


@pytest.mark.parametrize(
    ("path", "accept", "status", "content_type"),
    [
        ("/console/history", "text/html", 200, "text/html; charset=utf-8"),
        ("/console/nothing", "text/html", 404, "text/html; charset=utf-8"),
        ("/console/nothing", "application/json", 404, "application/problem+json"),
    ],
)
async def test_an_unknown_page_of_the_console_is_not_found(
    client: httpx.AsyncClient, path: str, accept: str, status: int, content_type: str
) -> None:
    """An unknown address below /console gets 404: a browser gets the console's page, and a program a problem."""
    answer = await client.get(path, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, content_type)


async def test_a_change_under_a_condition_that_fails_is_not_made(caller: httpx.AsyncClient) -> None:
    """A change whose If-Match fails is not made (RFC 9110 §13.1.1).

    An account's keys have no ETag, so only ``*`` matches.
    """
    key = {"name": "laptop"}
    refused = await caller.post("/me/keys", json=key, headers={"If-Match": '"an-old-one"'})
    assert (refused.status_code, refused.json()["type"]) == (412, "/docs/problems#precondition-failed")
    assert (await caller.get("/me/keys")).json() == []
    assert (await caller.post("/me/keys", json=key, headers={"If-Match": "*"})).status_code == 201
