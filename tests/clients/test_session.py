"""The Python client's URL, credentials, tokens and streams, with responses from a mock transport."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pycalc_client import AsyncClient, BatchItem, Client, ConnectionFailed, NotFound, RetryPolicy, UnexpectedAnswer

URL = "http://pycalc.test"
ITEM = {
    "id": "01a22877-dcfd-715f-93ba-549634cd3dd1",
    "operation": "gcd",
    "input": {"a": 4, "b": 6},
    "digits": 1,
    "exact": True,
    "cached": False,
    "elapsed_ms": 0.1,
}
TOKENS = {"access_token": "access", "refresh_token": "first", "expires_in": 900}


@pytest.mark.parametrize("key", ["", "pck_secret\n", "pck secret", "pck_sécret"])
def test_a_key_that_no_header_field_can_carry_is_refused_at_once(key: str) -> None:
    """An API key that no header field can carry raises ValueError at once; the message does not contain the key."""
    with pytest.raises(ValueError, match=r"^api_key .* line break") as refusal:
        Client(URL, api_key=key)
    assert "pck" not in str(refusal.value)


@pytest.mark.parametrize("url", ["", "pycalc.test", "localhost:8080", "ftp://pycalc.test", "http://", "http://[::1"])
def test_an_invalid_url_is_refused_at_once(url: str) -> None:
    """A URL that is malformed, has no host, or is not http or https raises ValueError before any request."""
    with pytest.raises(ValueError, match=r"^base_url must be like http://127\.0\.0\.1:8080"):
        Client(url)


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b"{}"])
def test_a_login_answer_of_another_program_is_an_error(answer: bytes) -> None:
    """If the answer to a login does not have the service's form, UnexpectedAnswer is raised."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=answer))
    with Client(URL, username="me", password="secret", transport=transport) as calc, pytest.raises(UnexpectedAnswer):
        calc.usage()


@pytest.mark.parametrize("answer", [b"[]", b"{}", b"[[]]", b"7", b'{"items": [1], "results": [1], "quotas": []}'])
def test_json_of_another_program_is_an_error(answer: bytes) -> None:
    """If the JSON of an answer does not have the service's form, UnexpectedAnswer is raised by every method."""
    calc = Client(URL, transport=httpx.MockTransport(lambda _: httpx.Response(200, content=answer)))
    items: list[BatchItem] = [{"operation": "gcd", "input": {"a": 4, "b": 6}}]
    calls = (lambda: calc.gcd(4, 6), lambda: calc.batch(items), lambda: [*calc.history()], calc.usage)
    for call in calls:
        with pytest.raises(UnexpectedAnswer, match="does the URL lead to a pycalc service"):
            call()


@pytest.mark.parametrize("login", [{"api_key": "pck_key"}, {"username": "me", "password": "secret"}])
def test_a_redirect_is_told_with_its_target(login: dict[str, str]) -> None:
    """If the URL redirects, such as from http to https, UnexpectedAnswer names the target; nothing is sent there."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        return httpx.Response(302, headers={"Location": "https://pycalc.test/calculations"})

    calc = Client(URL, transport=httpx.MockTransport(answer), **login)  # type: ignore[arg-type]
    with calc, pytest.raises(UnexpectedAnswer, match=r"redirects to https://pycalc\.test/calculations: use"):
        calc.fibonacci(3)
    assert asked == ["POST"]


@pytest.mark.anyio
async def test_a_refresh_that_is_cancelled_is_not_sent_again() -> None:
    """After a cancelled refresh, the client logs in anew, because the service may have replaced the refresh token."""
    asked: list[str] = []
    refreshing = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path == "/token/refresh" and not refreshing.is_set():
            refreshing.set()
            await asyncio.Event().wait()
        content = TOKENS if request.url.path in ("/login", "/token/refresh") else {"items": [], "quotas": []}
        return httpx.Response(200, json=content)

    async with AsyncClient(URL, username="me", password="secret", transport=httpx.MockTransport(answer)) as calc:
        await calc.usage()
        tokens = calc._session._tokens
        assert tokens is not None
        tokens._renew_at = 0.0
        cancelled = asyncio.create_task(calc.usage())
        await refreshing.wait()
        cancelled.cancel()
        await asyncio.wait([cancelled])
        await calc.usage()
    assert asked == ["/login", "/usage", "/token/refresh", "/login", "/usage", "/logout"]


class CutStream(httpx.SyncByteStream):
    """A response stream that yields the given blocks and then loses its connection."""

    def __init__(self, *blocks: bytes) -> None:
        self._blocks = blocks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._blocks
        raise httpx.ReadError("cut")


@pytest.mark.parametrize("opening", [b"id: 01a22877-dcfd-715f-93ba-549634cd3dd1\n\n", b": connected\n\n"])
def test_a_stream_that_only_opens_is_a_failed_attempt(opening: bytes) -> None:
    """If every connection is cut after the stream's first block, the client gives up after the policy's attempts."""
    answers = [httpx.Response(200, stream=CutStream(opening)) for _ in range(5)]
    policy = RetryPolicy(attempts=3, first_wait=0.001)
    with Client(URL, retries=policy, transport=httpx.MockTransport(lambda _: answers.pop())) as calc:
        events = calc.events()
        with pytest.raises(ConnectionFailed, match="cut"):
            next(events)
    assert len(answers) == 2


def test_heartbeats_are_progress() -> None:
    """A stream that is cut after a heartbeat is always resumed; such a cut does not count as a failed attempt."""
    blocks = (b": connected\n\n", b": heartbeat\n\n")
    answers = [httpx.Response(200, stream=CutStream(*blocks)) for _ in range(5)]

    def answer(_: httpx.Request) -> httpx.Response:
        if not answers:
            raise httpx.ConnectError("refused")
        return answers.pop()

    policy = RetryPolicy(attempts=2, first_wait=0.001)
    with Client(URL, retries=policy, transport=httpx.MockTransport(answer)) as calc:
        events = calc.events()
        with pytest.raises(ConnectionFailed, match="refused"):
            next(events)
    assert answers == []


def test_a_download_that_is_refused_leaves_no_file(tmp_path: Path) -> None:
    """If a download is refused before its first byte, no file is left."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/digits"):
            problem = {"type": "/docs/problems#not-found", "status": 404}
            return httpx.Response(404, json=problem, headers={"Content-Type": "application/problem+json"})
        return httpx.Response(200, json=ITEM)

    with Client(URL, transport=httpx.MockTransport(answer)) as calc:
        calculation = calc.calculation("x")
        with pytest.raises(NotFound):
            calculation.save(tmp_path / "digits.txt")
    assert [*tmp_path.iterdir()] == []
