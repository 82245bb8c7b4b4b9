"""Hostile HTTP/1.1 on raw sockets: no 5xx, and no byte of one request is taken for another request.

Each row sends some bytes and then, on the same connection, a valid request (AFTER). The row lists the statuses of all
answers on the connection. If the framing is doubtful, the server answers 400 and closes the connection, so that AFTER
is not read. SMUGGLED is a request inside another's body. If it were taken for a request, its answer would be a 404 with
its path.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from http.client import HTTPResponse
from io import BytesIO
from typing import cast

import httpx
import pytest

from tests.harness.metrics import metric
from tests.harness.raw import exchange
from tests.harness.servers import Server

_SECONDS = 20.0
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: pycalc\r\n\r\n"
AFTER = b"GET /healthz HTTP/1.1\r\nHost: pycalc\r\nConnection: close\r\n\r\n"
GET = b"GET /healthz HTTP/1.1\r\n"
POST = b"POST /login HTTP/1.1\r\nHost: pycalc\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
HOST = b"Host: pycalc\r\n"
SIZE = b"%d" % len(SMUGGLED)
CHUNK = b"%x\r\n" % len(SMUGGLED)
KIB = 1024

HOSTS = {
    "no Host": (GET + b"\r\n", (400, 200)),
    "no Host, a calculation": (b"GET /fibonacci/10 HTTP/1.1\r\n\r\n", (400, 200)),
    "no Host, HTTP/1.0": (b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", (200, 200)),
    "no Host, HEAD": (b"HEAD /healthz HTTP/1.1\r\n\r\n", (400, 200)),
    "no Host, a body": (
        b"POST /login HTTP/1.1\r\nContent-Length: " + SIZE + b"\r\n\r\n" + SMUGGLED,
        (400, 200),
    ),
    "two Hosts": (GET + HOST + b"Host: evil.example\r\n\r\n", (400, 200)),
    "the same Host twice": (GET + HOST + HOST + b"\r\n", (400, 200)),
    "two Hosts, an absolute target": (
        b"GET http://evil.example/healthz HTTP/1.1\r\n" + HOST + b"Host: evil.example\r\n\r\n",
        (400, 200),
    ),
    "an absolute target without Host": (
        b"GET http://pycalc/healthz HTTP/1.1\r\n\r\n",
        (200, 200),
    ),  # Granian takes the host from the target
    "an empty Host": (GET + b"Host:\r\n\r\n", (400, 200)),  # RFC 9110 §4.2.1
}
LENGTHS = {
    # RFC 9112 §6.3: the chunked coding overrides the length, and the connection is closed after the answer.
    "a length and chunks": (
        POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK + SMUGGLED + b"\r\n0\r\n\r\n",
        (422,),
    ),
    "chunks and a length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: " + SIZE + b"\r\n\r\n0\r\n\r\n" + SMUGGLED,
        (422,),
    ),
    "two different lengths": (POST + b"Content-Length: 0\r\nContent-Length: " + SIZE + b"\r\n\r\n" + SMUGGLED, (400,)),
    "a list of lengths": (POST + b"Content-Length: 0, " + SIZE + b"\r\n\r\n" + SMUGGLED, (400,)),
    "the same length twice": (POST + (b"Content-Length: " + SIZE + b"\r\n") * 2 + b"\r\n" + SMUGGLED, (422, 200)),
    "a length with a plus": (POST + b"Content-Length: +" + SIZE + b"\r\n\r\n" + SMUGGLED, (400,)),
    "a length with 5,000 zeros": (
        POST + b"Content-Length: " + b"0" * 5_000 + SIZE + b"\r\n\r\n" + SMUGGLED,
        (422, 200),
    ),
    "a length in hexadecimal": (POST + b"Content-Length: 0x2\r\n\r\n" + SMUGGLED, (400,)),
    "a length beyond 64 bits": (POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n" + SMUGGLED, (400,)),
    "a length with a space before the colon": (POST + b"Content-Length : " + SIZE + b"\r\n\r\n" + SMUGGLED, (400,)),
    "a length of a GET": (GET + HOST + b"Content-Length: " + SIZE + b"\r\n\r\n" + SMUGGLED, (200, 200)),
    "a body of a calculation": (
        b"GET /fibonacci/10 HTTP/1.1\r\n" + HOST + b"Content-Length: " + SIZE + b"\r\n\r\n" + SMUGGLED,
        (401, 200),
    ),
    "a body in chunks of a GET": (
        GET + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK + SMUGGLED + b"\r\n0\r\n\r\n",
        (200, 200),
    ),
}
CODINGS = {
    "an unknown coding": (POST + b"Transfer-Encoding: cow\r\n\r\n" + SMUGGLED, (400,)),
    "identity": (POST + b"Transfer-Encoding: identity\r\n\r\n" + SMUGGLED, (400,)),
    "chunked, not last": (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n" + SMUGGLED, (400,)),
    "a tab before chunked": (POST + b"Transfer-Encoding:\tchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", (422, 200)),
    "chunked in quotes": (POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n' + SMUGGLED, (400,)),
    "a vertical tab before chunked": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLED, (400,)),
    "a space before the colon": (POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, (400,)),
    "HTTP/1.0 with chunks": (
        POST.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        (400,),
    ),
}
CHUNKS = {
    "a negative size": (CHUNKED + b"-1\r\n" + SMUGGLED + b"\r\n0\r\n\r\n", (400,)),
    "a size with a plus": (CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n" + SMUGGLED, (400,)),
    "a size with 0x": (CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n" + SMUGGLED, (400,)),
    "a size with an underscore": (CHUNKED + b"0_2\r\n{}\r\n0\r\n\r\n" + SMUGGLED, (400,)),
    "an empty size": (CHUNKED + b"\r\n" + SMUGGLED, (400,)),
    "a size beyond 64 bits": (CHUNKED + b"1" + b"0" * 16 + b"\r\n" + SMUGGLED, (400,)),
    "a chunk longer than its size": (CHUNKED + b"2\r\n{}" + SMUGGLED + b"\r\n0\r\n\r\n", (400,)),
    "a size ended by a bare LF": (CHUNKED + b"2\n{}\r\n0\r\n\r\n" + SMUGGLED, (400,)),
    "a size ended by a bare CR": (CHUNKED + b"2\r{}\r\n0\r\n\r\n" + SMUGGLED, (400,)),
    "a chunk ended by a bare LF": (CHUNKED + b"2\r\n{}\n0\r\n\r\n" + SMUGGLED, (400,)),
    "a last chunk ended by a bare LF": (CHUNKED + b"2\r\n{}\r\n0\n\r\n" + SMUGGLED, (400,)),
    # The server takes the following lines for trailers.
    "a body ended by a bare LF": (CHUNKED + b"2\r\n{}\r\n0\r\n\n" + SMUGGLED, (422, 200)),
    "a size of spaces": (CHUNKED + b"  \r\n" + SMUGGLED, (400,)),
    "a size after a space": (CHUNKED + b" 2\r\n{}\r\n0\r\n\r\n" + SMUGGLED, (400,)),
    "an extension": (CHUNKED + b"2;a=b\r\n{}\r\n0\r\n\r\n", (422, 200)),
    "an extension with a bare LF": (CHUNKED + b"2;a\nb\r\n{}\r\n0\r\n\r\n" + SMUGGLED, (400,)),
    "an extension of 64 KiB": (CHUNKED + b"2;" + b"a" * 64 * KIB + b"\r\n{}\r\n0\r\n\r\n" + SMUGGLED, (400,)),
    "a trailer that would be a length": (
        CHUNKED + b"2\r\n{}\r\n0\r\nContent-Length: " + SIZE + b"\r\n\r\n",
        (422, 200),
    ),
    "a trailer of 256 KiB": (CHUNKED + b"2\r\n{}\r\n0\r\nX: " + b"a" * 256 * KIB + b"\r\n\r\n" + SMUGGLED, (400,)),
}
LINES = {
    "an obs-fold": (GET + HOST + b"X: a\r\n b\r\n\r\n", (400,)),
    "an obs-fold of a length": (POST + b"Content-Length:\r\n " + SIZE + b"\r\n\r\n" + SMUGGLED, (400,)),
    # Allowed by RFC 9112 §2.2.
    "lines ended by a bare LF": ((GET + HOST + b"\r\n").replace(b"\r\n", b"\n"), (200, 200)),
    "a head ended by a bare LF": (POST + b"Content-Length: " + SIZE + b"\r\n\n" + SMUGGLED, (422, 200)),
    "a bare CR before the end of the head": (GET + HOST + b"X: a\r\r\n\r\n", (400,)),
    "a line ended by a bare CR": (GET + b"Host: pycalc\rX: a\r\n\r\n", (400,)),
    "a bare CR in a value": (GET + HOST + b"X: a\rContent-Length: 5\r\n\r\n", (400,)),
    "a NUL in a value": (GET + HOST + b"X: a\x00b\r\n\r\n", (400,)),
    "a line without a colon": (GET + HOST + b"nonsense\r\n\r\n", (400,)),
    "a name with a space": (GET + HOST + b"X Y: a\r\n\r\n", (400,)),
    "an empty name": (GET + HOST + b": a\r\n\r\n", (400,)),
    "a space before the first field": (GET + b" " + HOST + b"\r\n", (400,)),
    "no version": (b"GET /healthz\r\n" + HOST + b"\r\n", (400,)),
    "another version": (b"GET /healthz HTTP/3.7\r\n" + HOST + b"\r\n", (400,)),
    "a lower-case version": (b"GET /healthz http/1.1\r\n" + HOST + b"\r\n", (400,)),
    "a tab between the parts": (b"GET\t/healthz\tHTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    "a space in the target": (b"GET /health z HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    "a method with a bracket": (b"G(T /healthz HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    "empty lines before the request": (b"\r\n\r\n" + GET + HOST + b"\r\n", (200, 200)),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), (400,)),
    "a header of 1 MiB": (GET + HOST + b"X: " + b"a" * KIB * KIB + b"\r\n\r\n", (431,)),
    "33 KiB in a field": (GET + HOST + b"Accept: " + b";q=1" * (33 * KIB // 4) + b"\r\n\r\n", (431, 200)),
    "33 KiB in many fields": (GET + HOST + (b"Cookie: " + b"a=b;" * 200 + b"\r\n") * 42 + b"\r\n", (431, 200)),
    "33 KiB in a field, a body": (
        POST + b"X: " + b"a" * 33 * KIB + b"\r\nContent-Length: " + SIZE + b"\r\n\r\n" + SMUGGLED,
        (431, 200),
    ),
    "31 KiB in a field": (GET + HOST + b"X: " + b"a" * 31 * KIB + b"\r\n\r\n", (200, 200)),
    "10,000 header fields": (GET + HOST + b"".join(b"X%d: a\r\n" % n for n in range(10_000)) + b"\r\n", (431,)),
    "a target of 70,000 bytes": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", (414,)),
}
TARGETS = {
    "an asterisk": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", (404, 200)),
    "CONNECT": (b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"\r\n", (404, 200)),
    "two slashes": (b"GET //evil.example/fibonacci/100 HTTP/1.1\r\n" + HOST + b"\r\n", (404, 200)),
    "a target without a slash": (b"GET healthz HTTP/1.1\r\n" + HOST + b"\r\n", (404, 200)),
    "another scheme": (b"GET ftp://pycalc/healthz HTTP/1.1\r\n" + HOST + b"\r\n", (200, 200)),
    "an expectation": (POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}", (422, 200)),
    "another expectation": (POST + b"Expect: cake\r\nContent-Length: 2\r\n\r\n{}", (422, 200)),
    "an upgrade": (GET + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", (200, 200)),
    "a WebSocket": (
        GET + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        (200, 200),
    ),
    "HTTP/2 with prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), ()),
}  # fmt: skip
ROWS = {**HOSTS, **LENGTHS, **CODINGS, **CHUNKS, **LINES, **TARGETS}


class _Stream(BytesIO):
    """All bytes received on a connection, in the form of a socket for the standard library's response parser."""

    def makefile(self, _: str) -> BytesIO:
        """Return the stream."""
        return self

    def close(self) -> None:
        """Keep the stream open for the next response."""


def received(port: int, request: bytes) -> bytes:
    """Send bytes on a new connection, and return everything until the server closes it."""
    parts = []
    with socket.create_connection(("127.0.0.1", port), _SECONDS) as connection:
        with suppress(ConnectionError):  # the server may close the connection before it has read everything
            connection.sendall(request)
        with suppress(ConnectionError):
            while part := connection.recv(65_536):
                parts.append(part)
    return b"".join(parts)


def statuses(answers: bytes, first_method: str) -> tuple[int, ...]:
    """Return the statuses of all responses in order; raise for bytes that are not a response."""
    stream, found, method = _Stream(answers), [], first_method
    while stream.tell() < len(answers):
        response = HTTPResponse(cast("socket.socket", stream), method=method)
        response.begin()
        response.read()
        found.append(response.status)
        method = "GET"
    return tuple(found)


@pytest.mark.parametrize(("request_bytes", "expected"), ROWS.values(), ids=ROWS.keys())
def test_a_hostile_request_desynchronises_nothing(
    server: Server, request_bytes: bytes, expected: tuple[int, ...]
) -> None:
    """A hostile request and the valid one after it get only the expected responses; a smuggled request gets none."""
    answers = received(server.port, request_bytes + AFTER)
    assert b"/smuggled" not in answers
    method = "HEAD" if request_bytes.startswith(b"HEAD") else "GET"
    assert statuses(answers, method) == expected
    assert exchange(server.port, "GET", "/healthz").status == 200


def test_a_request_with_too_long_header_fields_is_counted(server: Server) -> None:
    """A request whose header fields have more than 32 KiB is counted as 431, without a route."""
    with httpx.Client(base_url=server.url) as client:

        def refused() -> float:
            return metric(client, "http_requests_total", route="(none)", method="GET", status="431")

        before = refused()
        assert exchange(server.port, "GET", "/healthz", {"X": b"a" * 33 * KIB}).status == 431
        assert refused() == before + 1
