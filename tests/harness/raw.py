"""A client that sends raw bytes as HTTP/1.1, for requests that no well-behaved client would send."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPResponse
from typing import Any

_SECONDS = 20.0
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """A response of the server."""

    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        """Return the body parsed as JSON."""
        return json.loads(self.body)


def exchange(
    port: int,
    method: str,
    target: str | bytes,
    headers: Mapping[str, str | bytes] | None = None,
    body: bytes = b"",
    *,
    chunked: bool = False,
) -> Reply:
    """Send a request with exactly this target, and return the response; raises if the connection ends without one.

    Text in the target and the header is encoded as UTF-8; bytes are sent as they are.
    """
    fields: dict[str, str | bytes] = {"Host": "127.0.0.1", "Connection": "close", **(headers or {})}
    if chunked:
        fields["Transfer-Encoding"] = "chunked"
    elif body or method in ("POST", "PUT", "PATCH"):
        fields["Content-Length"] = str(len(body))
    head = b"%b %b HTTP/1.1\r\n" % (method.encode(), _raw(target))
    head += b"".join(b"%b: %b\r\n" % (name.encode(), _raw(value)) for name, value in fields.items()) + b"\r\n"
    with socket.create_connection(("127.0.0.1", port), _SECONDS) as connection:
        with suppress(ConnectionError):  # a server may answer, and stop reading, before the whole body was sent
            for part in (head, *(_chunks(body) if chunked else (body,))):
                connection.sendall(part)
        response = HTTPResponse(connection, method=method)
        response.begin()
        return Reply(response.status, response.headers, response.read())


def _raw(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _chunks(body: bytes) -> Iterable[bytes]:
    for start in range(0, len(body), _CHUNK):
        part = body[start : start + _CHUNK]
        yield b"%x\r\n%b\r\n" % (len(part), part)
    yield b"0\r\n\r\n"
