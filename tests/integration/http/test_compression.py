"""Compression of long responses: metrics, OpenAPI document, exports, pages, static files."""

from __future__ import annotations

import gzip
import re
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from pycalc.routers.http.compression import TextStream
from pycalc.settings import Settings
from tests.harness.accounts import new_session
from tests.harness.in_process import changed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.anyio

CODINGS = [("gzip", gzip.decompress), ("zstd", zstd.decompress)]
UNCHANGING = ["/openapi.json", "/web/vendor/swagger-ui.css", "/web/console/app.js", "/docs/problems", "/"]
Codec = Callable[[bytes], bytes]


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Return settings with the test's limit on pages."""
    return changed(settings, page_limit=getattr(request, "param", ""))


@asynccontextmanager
async def raw(client: httpx.AsyncClient, path: str, **headers: str) -> AsyncIterator[tuple[httpx.Response, bytes]]:
    """Send a GET; yield the response and its body before decoding."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.stream("GET", path, headers=fields) as answer:
        yield answer, b"".join([part async for part in answer.aiter_raw()])


@pytest.mark.parametrize(("coding", "decompress"), CODINGS)
@pytest.mark.parametrize("path", UNCHANGING)
async def test_a_document_is_compressed(client: httpx.AsyncClient, path: str, coding: str, decompress: Codec) -> None:
    """A page, file or OpenAPI document is compressed to less than half its size; each coding has its own ETag.

    If the client accepts no coding, the response is sent plain.
    """
    async with raw(client, path, Accept="text/html", Accept_Encoding="identity") as (whole, plain):
        assert "Content-Encoding" not in whole.headers
        assert whole.headers["Content-Length"] == str(len(plain))
    async with raw(client, path, Accept="text/html", Accept_Encoding=coding) as (answer, body):
        assert (answer.status_code, answer.headers["Content-Encoding"]) == (200, coding)
        assert answer.headers["Content-Length"] == str(len(body))
        assert "Accept-Encoding" in answer.headers["Vary"]
        assert answer.headers["ETag"] == f'{whole.headers["ETag"][:-1]}-{coding}"'
    assert decompress(body) == plain
    assert len(body) < 0.5 * len(plain)


@pytest.mark.parametrize("path", UNCHANGING)
@pytest.mark.parametrize("coding", ["identity", "gzip", "zstd"])
async def test_a_good_copy_of_a_document_is_not_sent_again(client: httpx.AsyncClient, path: str, coding: str) -> None:
    """If-None-Match with the ETag of a coding gets 304 with the same ETag; another ETag gets the document."""
    headers = {"Accept": "text/html", "Accept-Encoding": coding}
    tag = (await client.get(path, headers=headers)).headers["ETag"]
    held = await client.get(path, headers={**headers, "If-None-Match": tag})
    assert (held.status_code, held.content, held.headers["ETag"]) == (304, b"", tag)
    assert held.headers["Cache-Control"] == "no-cache"
    assert (await client.get(path, headers={**headers, "If-None-Match": '"another"'})).status_code == 200
    assert (await client.get(path, headers={**headers, "If-Match": '"another"'})).status_code == 412


async def test_browsers_keep_the_files_of_pages(client: httpx.AsyncClient) -> None:
    """Browsers may keep a page's files for a year, because the addresses of the files contain the release.

    At an address without the release or with another one, a file must be revalidated at each use.
    """
    named: set[str] = set()
    for page in ("/", "/docs", "/redoc", "/guide", "/docs/problems"):
        answer = await client.get(page, headers={"Accept": "text/html"})
        assert answer.headers["Cache-Control"] == "no-cache"
        named |= set(re.findall(r'"(/web/[^"]+)"', answer.text))
    assert len(named) == 13
    for path in named:
        answer = await client.get(path)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
        release, _, file = path.removeprefix("/web/").partition("/")
        for other in (f"/web/{file}", f"/web/{release[::-1]}/{file}"):
            same = await client.get(other)
            assert (same.content, same.headers["Cache-Control"]) == (answer.content, "no-cache"), other


@pytest.mark.parametrize("settings", ["3/minute"], indirect=True)
async def test_an_address_gets_so_many_pages(client: httpx.AsyncClient) -> None:
    """Requests of one IP address for pages, files and documents share one limit; API requests do not count."""
    for path in ("/docs", "/web/console/app.js", "/openapi.json"):
        assert (await client.get(path)).status_code == 200
    for path in ("/docs", "/web/console/app.js", "/openapi.json"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["type"]) == (429, "/docs/problems#rate-limited")
        assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert (await client.get("/", headers={"Accept": "text/html"})).status_code == 429
    assert (await client.get("/", headers={"Accept": "application/json"})).status_code == 200
    assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("path", UNCHANGING)
async def test_head_of_a_document_is_that_of_get(client: httpx.AsyncClient, path: str) -> None:
    """HEAD of a document has the length, type and ETag of GET, without content."""
    got = await client.get(path, headers={"Accept": "text/html"})
    told = await client.head(path, headers={"Accept": "text/html"})
    assert (told.status_code, told.content) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag"):
        assert told.headers[name] == got.headers[name]


@pytest.mark.parametrize(("coding", "decompress"), CODINGS)
async def test_the_metrics_are_compressed(client: httpx.AsyncClient, coding: str, decompress: Codec) -> None:
    """Metrics are compressed with an accepted coding, and plain if none is accepted."""
    async with raw(client, "/metrics", Accept_Encoding=coding) as (answer, body):
        assert answer.headers["Content-Encoding"] == coding
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert b"# TYPE http_requests_total counter" in decompress(body)
    async with raw(client, "/metrics", Accept_Encoding="identity") as (answer, plain):
        assert "Content-Encoding" not in answer.headers
    assert len(body) < 0.5 * len(plain)


@pytest.mark.parametrize(("coding", "decompress"), CODINGS)
@pytest.mark.parametrize("media_type", ["text/csv", "application/x-ndjson"])
async def test_an_export_is_compressed(
    client: httpx.AsyncClient, media_type: str, coding: str, decompress: Codec
) -> None:
    """An export of several pages is one compressed stream, which decompresses to the plain export."""
    await new_session(client)
    batch = [{"operation": "fibonacci", "input": {"n": n}} for n in range(450)]
    assert (await client.post("/batch", json={"operations": batch})).status_code == 200
    async with raw(client, "/secure-history", Accept=media_type, Accept_Encoding="identity") as (whole, plain):
        assert "Content-Encoding" not in whole.headers
    async with raw(client, "/secure-history", Accept=media_type, Accept_Encoding=coding) as (answer, body):
        assert answer.headers["Content-Encoding"] == coding
        assert answer.headers["Vary"] == "Accept, Accept-Encoding"
    assert decompress(body) == plain
    assert plain.count(b"\n") >= 450
    assert len(body) < 0.5 * len(plain)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("length", [100, 100_000])
async def test_a_page_can_be_read_before_the_next_one_comes(coding: str, length: int) -> None:
    """Each page of a compressed export can be read before the next page is sent."""
    stream = TextStream(coding)
    decompressor = zlib.decompressobj(wbits=31) if coding == "gzip" else zstd.ZstdDecompressor()
    for number in range(3):
        page = b"%d," % number * length
        assert decompressor.decompress(await stream.page(page)) == page
    assert decompressor.decompress(stream.end()) == b""
    assert decompressor.eof


@pytest.mark.parametrize(
    "path",
    [
        "/web/",
        "/web",
        "/web/../settings.py",
        "/web/%2e%2e/settings.py",
        "/web/console",
        "/web//etc/passwd",
        "/web/vendor/preact.d.ts",
    ],
)
async def test_there_are_no_files_but_those_of_the_pages(client: httpx.AsyncClient, path: str) -> None:
    """Below /web, only the files that pages use are served: no folder, no type declarations, no file elsewhere."""
    assert (await client.get(path)).status_code == 404
