"""An export as ASGI messages: complete, or broken off in a way that the client can detect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from types import SimpleNamespace

import pytest
from starlette.types import Message

from pycalc.errors import PycalcError, StoreUnavailable, Unauthorized
from pycalc.observability.metrics import Metrics
from pycalc.observability.requests import REQUEST, RequestContext
from pycalc.routers.http.connection import ClientGone
from pycalc.routers.http.exports import send_export
from pycalc.routers.http.sending import ClientTooSlow, in_time
from pycalc.services.limits.concurrency import ReadingSpeed
from tests.harness.virtual_time import in_virtual_time, now
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio

LAST = {"type": "http.response.body", "body": b""}
FIELDS = [(b"content-type", b"text/csv")]


class Pages:
    """An export's pages after the first one. ``read`` counts the pages read; ``closed`` tells if reading has ended."""

    def __init__(self, *pages: bytes, failure: Exception | None = None) -> None:
        self._pages = pages
        self._failure = failure
        self.read = 0
        self.closed = False

    async def rest(self) -> AsyncGenerator[bytes, None]:
        """Yield the pages, then raise the failure if there is one."""
        try:
            for page in self._pages:
                self.read += 1
                yield page
            if self._failure is not None:
                raise self._failure
        finally:
            self.closed = True


class Client:
    """A client that reads the header and ``reads`` parts of the body, by default all; ``gone`` makes it disconnect."""

    def __init__(self, *, reads: int | None = None) -> None:
        self.messages: list[Message] = []
        self.gone = asyncio.Event()
        self._reads = reads

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self._reads is not None and len(self.messages) > self._reads:
            await asyncio.Event().wait()
        self.messages.append(message)

    @property
    def body(self) -> bytes:
        """Return the body that was received."""
        return b"".join(message["body"] for message in self.messages[1:])


async def answered(client: Client, pages: Pages, metrics: Metrics, *, content_wanted: bool = True) -> None:
    """Send an export to a client."""
    scope = {
        "type": "http",
        REQUEST: RequestContext(content_wanted=content_wanted),
        "state": {"resources": SimpleNamespace(metrics=metrics)},
    }
    await send_export(b"first\n", pages.rest(), FIELDS, None, scope, client.receive, client.send)


async def test_a_whole_export_is_ended() -> None:
    """A complete export has its non-empty pages in order, no Content-Length, and a message that ends the body."""
    client, pages = Client(), Pages(b"second\n", b"")
    await answered(client, pages, Metrics())
    start, *_, last = client.messages
    assert (start["status"], dict(start["headers"])) == (200, {b"content-type": b"text/csv"})
    assert [message["body"] for message in client.messages[1:]] == [b"first\n", b"second\n", b""]
    assert last == LAST
    assert pages.closed


@pytest.mark.parametrize("failure", [StoreUnavailable("The database is closed."), Unauthorized("Ended.")])
async def test_what_is_not_whole_has_no_end(failure: PycalcError) -> None:
    """If an export fails, no message ends the body, so the server breaks the connection.

    A metric counts the failure by its reason.
    """
    client, pages, metrics = Client(), Pages(b"second\n", failure=failure), Metrics()
    await answered(client, pages, metrics)
    assert client.body == b"first\nsecond\n"
    assert all(message["more_body"] for message in client.messages[1:])
    assert metrics.registry.get_sample_value("pycalc_history_exports_cut_total", {"reason": failure.code}) == 1


async def test_a_bug_is_no_end_either() -> None:
    """If an export raises an unexpected exception, no message ends the body, and the server receives the exception."""
    client, pages = Client(), Pages(failure=LookupError("a bug"))
    with pytest.raises(LookupError):
        await answered(client, pages, Metrics())
    assert client.messages[-1] != LAST


@in_virtual_time
async def test_a_reader_that_stops_is_given_up() -> None:
    """If a client does not read a part in time, the export ends with ClientTooSlow, which the application counts."""
    began = now()
    client, pages = Client(reads=1), Pages(b"second\n", b"third\n")
    client.send = in_time(client.send, ReadingSpeed(30, 1_000))  # type: ignore[assignment,method-assign]
    with pytest.raises(ClientTooSlow):
        await answered(client, pages, Metrics())
    assert now() - began == pytest.approx(30)
    assert client.body == b"first\n"
    assert pages.closed


async def test_a_client_that_hangs_up_ends_the_export() -> None:
    """After the client disconnects, the export ends and reads no more pages."""
    client, pages = Client(reads=1), Pages(b"second\n", b"third\n")
    answering = asyncio.ensure_future(answered(client, pages, Metrics()))
    await until(lambda: pages.read == 1, "the second page is being sent")
    client.gone.set()
    with pytest.raises(ClientGone):
        await answering
    await until(lambda: pages.closed, "the export is closed")
    assert pages.read == 1


async def test_a_head_reads_no_more_than_the_first_page() -> None:
    """A HEAD request gets an export's header without content; only the first page is read."""
    client, pages = Client(), Pages(b"second\n")
    await answered(client, pages, Metrics(), content_wanted=False)
    assert client.messages[0]["status"] == 200
    assert client.messages[1:] == [LAST]
    assert pages.read == 0
