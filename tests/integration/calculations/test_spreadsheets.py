"""Results for programs that can only read a URL, such as spreadsheets: API key and format are in the query."""

from __future__ import annotations

import csv
from urllib.request import Request, urlopen

import httpx
import pytest

from tests.harness.accounts import new_person
from tests.harness.servers import Server

F_100 = "354224848179261915075"


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    """Make an API key that may be sent in a URL, and return it."""
    with httpx.Client(base_url=server.url) as client:
        person = new_person(client)
        body = {"name": "sheet", "scopes": ["calculate"], "allow_query": True}
        made: str = client.post("/me/keys", headers=person.headers, json=body).json()["key"]
    return made


def read(url: str) -> tuple[str, str]:
    """Return the content type and the text at a URL, read with ``Accept: */*`` and without a token."""
    with urlopen(Request(url, headers={"Accept": "*/*"}), timeout=15) as answer:  # noqa: S310  # the test's own server
        return answer.headers["Content-Type"], answer.read().decode()


def test_a_cell_reads_a_result_from_a_url(server: Server, key: str) -> None:
    """With a key and ``format=text`` in the URL, the result is plain text, which is also CSV with a single cell."""
    media_type, text = read(f"{server.url}/fibonacci/100?format=text&key={key}")
    assert (media_type, text) == ("text/plain; charset=utf-8", F_100)
    assert list(csv.reader([text])) == [[F_100]]
    assert read(f"{server.url}/pow/2/-1?key={key}&format=text") == ("text/plain; charset=utf-8", "0.5")
    assert read(f"{server.url}/fibonacci/1000000?mod=97&format=text&key={key}")[1] == str(
        fibonacci_modulo(1_000_000, 97)
    )


def fibonacci_modulo(n: int, modulus: int) -> int:
    """Return F(n) modulo a number, by plain addition."""
    a, b = 0, 1
    for _ in range(n):
        a, b = b, (a + b) % modulus
    return a


def test_the_parameter_comes_before_the_header_field(server: Server) -> None:
    """``format`` overrides Accept; without ``format``, Accept decides."""
    with httpx.Client(base_url=server.url) as client:
        client.headers.update(new_person(client).headers)
        json, text = "application/json", "text/plain; charset=utf-8"
        for url, accept, expected in [
            ("/fibonacci/100?format=json", "text/plain", json),
            ("/fibonacci/100?format=text", "application/json", text),
            ("/fibonacci/100", "*/*", json),
            ("/fibonacci/100", "text/plain", text),
        ]:
            assert client.get(url, headers={"Accept": accept}).headers["Content-Type"] == expected, (url, accept)


@pytest.mark.parametrize("query", ["format=", "format=csv", "format=text&format=text", "format=text&view=summary"])
def test_another_format_is_invalid(server: Server, query: str) -> None:
    """An unknown or repeated format, or ``format=text`` for a summary, gets 422 and is not recorded."""
    with httpx.Client(base_url=server.url) as client:
        client.headers.update(new_person(client).headers)
        answer = client.get(f"/fibonacci/100?{query}")
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/format")
        assert client.get("/secure-history").json()["items"] == []
