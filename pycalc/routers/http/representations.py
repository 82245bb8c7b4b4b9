"""Representations of results: JSON, or bare digits, which may be a range or compressed (ADR 10)."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from hashlib import sha256
from mmap import mmap

from fastapi import Response
from starlette.types import Message, Receive, Scope, Send

from pycalc.errors import FieldProblem, InvalidInput
from pycalc.models.results import Result
from pycalc.routers.http.compression import CODINGS, SHORTEST_COMPRESSED, digits_compressor
from pycalc.routers.http.connection import while_connected
from pycalc.routers.http.headers import NO_STORE, SECURITY_HEADERS, Header
from pycalc.routers.http.negotiation import RequestConditions, byte_range, preferred_coding
from pycalc.routers.http.sending import PART_BYTES, DeferredResponse
from pycalc.services.calculations.calculator import Answer, Measure
from pycalc.services.compute.loop_scheduler import LoopScheduler
from pycalc.services.limits.concurrency import UNCOUNTED_BYTES

TEXT = "text/plain"
JSON = "application/json"
_FORMS = {"json": JSON, "text": TEXT}
WHOLE = UNCOUNTED_BYTES  # responses up to this size go to the HTTP server in one piece
# The time that the loop scheduler counts for a slice: the event loop's own work, and the copy in the server's thread.
_SLICE_SECONDS = 0.0005

Piece = bytes | mmap | memoryview


def accept_of(form: str, *, summary: bool) -> str:
    """Return the Accept field that has the same meaning as the parameter ``format``.

    Raises InvalidInput for an unknown format, and for "text" with a ``summary``, which has no bare digits.
    """
    if form not in _FORMS:
        raise InvalidInput.of(FieldProblem("/format", "format must be json or text."))
    if summary and _FORMS[form] == TEXT:
        raise InvalidInput.of(FieldProblem("/format", "view=summary has no text form: leave format out, or view."))
    return _FORMS[form]


def etags_of(name: str, key: bytes) -> tuple[str, ...]:
    """Return the strong ETags of a result's bare digits: uncompressed, and in each of CODINGS.

    An ETag is an HMAC of the result's ``name`` with the secret ``key``, so that only recipients of the result know it.
    """
    tag = base64.urlsafe_b64encode(hmac.digest(key, name.encode(), sha256)[:18]).decode()
    return f'"{tag}"', *(f'"{tag}-{coding}"' for coding in CODINGS)


def measure_of(conditions: RequestConditions, etags: Sequence[str], *, unchanged: bool) -> Measure | None:
    """Return a function that computes how many bytes of a result are sent, or None if the whole result is sent.

    For a range beyond the end, the function raises RangeNotSatisfiable, so that nothing is recorded.
    """
    empty = unchanged or not conditions.content
    if not empty and not (etags and conditions.range):
        return None

    def measure(result: Result) -> int:
        if empty:
            return 0
        part = byte_range(conditions, etags[0], len(result.text))
        return len(result.text) if part is None else part[1] - part[0]

    return measure


def throttled(send: Send, scheduler: LoopScheduler) -> Send:
    """Return a ``send`` that leaves the event loop time for other work before each part except the last."""

    async def send_in_turn(message: Message) -> None:
        if message.get("more_body"):
            await scheduler.time_slice(_SLICE_SECONDS)
        await send(message)

    return send_in_turn


async def send_json(
    answer: Answer, conditions: RequestConditions, fields: Sequence[Header], send: Send, *, status: int = 200
) -> int:
    """Send a calculation as JSON, with ``fields`` as additional header fields, and return the status."""
    before, after = json_around(answer)
    headers = [(b"content-type", b"application/json"), NO_STORE, *fields]
    text = answer.result.text
    length = len(before) + len(text) + len(after)
    coding = preferred_coding(conditions.accept_encoding, CODINGS) if length > SHORTEST_COMPRESSED else None
    if length > SHORTEST_COMPRESSED:
        headers.append((b"vary", b"Accept, Accept-Encoding"))
    return await _send(status, headers, (before, text, after), coding, send, content=conditions.content)


def batch_response(
    pieces: Sequence[Piece], fields: Sequence[Header], scheduler: LoopScheduler, reservations: ExitStack
) -> Response:
    """Return a response with the JSON in ``pieces``, and with ``fields`` as additional header fields.

    ``reservations`` are released once the response has been sent or has failed, or the client has disconnected.
    """

    async def send_batch(_: Scope, receive: Receive, send: Send) -> None:
        headers: list[Header] = [(b"content-type", b"application/json"), NO_STORE, *fields]
        with reservations:
            await while_connected(receive, _send(200, headers, pieces, None, throttled(send, scheduler)))

    return DeferredResponse(send_batch)


def json_around(answer: Answer) -> tuple[bytes, bytes]:
    """Return the bytes before and after the result's text in the JSON of a calculation.

    Only ``id``, ``cached`` and ``elapsed_ms`` are encoded for each response. The rest is encoded once and cached with
    the result, because encoding a long result copies megabytes.
    """
    cached = b"true" if answer.cached else b"false"
    before = b'{"id":"%b",%b' % (answer.id.encode(), answer.result.head)
    return before, b'%b%b,"elapsed_ms":%.3f}' % (answer.result.tail, cached, answer.elapsed_us / 1000)


async def send_text(
    etags: Sequence[str],
    answer: Answer,
    conditions: RequestConditions,
    fields: Sequence[Header],
    send: Send,
    *,
    status: int = 200,
) -> int:
    """Send the bare digits, or a range of them, and return the status. ``fields`` are additional header fields.

    ``etags`` come from ``etags_of``, or are empty for a response without an ETag and ranges. A range is never
    compressed. Raises RangeNotSatisfiable for a range beyond the end.
    """
    text, digest = answer.result.text, answer.result.facts.sha256
    part = byte_range(conditions, etags[0] if etags else "", len(text))
    may_be_coded = part is None and len(text) > SHORTEST_COMPRESSED
    coding = preferred_coding(conditions.accept_encoding, CODINGS) if may_be_coded else None
    etag = etags[0 if coding is None else 1 + CODINGS.index(coding)] if etags else ""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *_facts(answer), *fields, *validators(etag)]
    if etags:
        headers.append((b"accept-ranges", b"bytes"))
    if coding is None and digest is not None:
        headers.append((b"repr-digest", b"sha-256=:%b:" % base64.b64encode(digest)))
    if part is None:
        return await _send(status, headers, (text,), coding, send, content=conditions.content)
    first, end = part
    headers.append((b"content-range", b"bytes %d-%d/%d" % (first, end - 1, len(text))))
    return await _send(206, headers, (memoryview(text)[first:end],), None, send)


def validators(etag: str) -> list[Header]:
    """Return header fields that let a client cache the digits for a year. If ``etag`` is "", they forbid caching."""
    if not etag:
        return [NO_STORE, (b"vary", b"Accept, Accept-Encoding")]
    return [
        (b"etag", etag.encode()),
        (b"cache-control", b"private, max-age=31536000, immutable"),
        (b"vary", b"Accept, Accept-Encoding, Authorization"),
    ]


def _facts(answer: Answer) -> list[Header]:
    """Return the header fields with the calculation's id and, for a rounded result, ``X-Exact: false``."""
    identity = (b"x-calculation-id", answer.id.encode())
    return [identity] if answer.result.facts.exact else [identity, (b"x-exact", b"false")]


async def send_not_modified(etag: str | None, answer: Answer, fields: Sequence[Header], send: Send) -> int:
    """Send 304, because the client's copy is current, and return the status. ``etag`` is None for JSON."""
    kept = [NO_STORE] if etag is None else validators(etag)
    return await _send(304, [*kept, *_facts(answer), *fields], (), None, send)


async def _send(
    status: int, headers: list[Header], pieces: Sequence[Piece], coding: str | None, send: Send, *, content: bool = True
) -> int:
    """Send pieces in order, or only the header fields of the response if ``content`` is false. Return the status."""
    length = sum(map(len, pieces))
    if coding is not None:
        headers = [*headers, (b"content-encoding", coding.encode())]
        if content and length <= WHOLE:
            pieces, coding = (b"".join(_compressed(pieces, coding)),), None
            length = len(pieces[0])
    if coding is None and status != 304:
        headers = [*headers, (b"content-length", b"%d" % length)]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *SECURITY_HEADERS]})
    whole = length <= WHOLE
    if content and not whole:
        for part in _slices(pieces) if coding is None else _compressed(pieces, coding):
            await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b"".join(pieces) if content and whole else b""})
    return status


def _slices(pieces: Sequence[Piece]) -> Iterator[bytes]:
    """Yield the bytes of the pieces in slices of at most PART_BYTES bytes. Short pieces are joined."""
    gathered: list[bytes | memoryview] = []
    size = 0
    for piece in pieces:
        for start in range(0, len(piece), PART_BYTES):
            part = piece[start : start + PART_BYTES]
            if size + len(part) > PART_BYTES:
                yield b"".join(gathered)
                gathered, size = [], 0
            gathered.append(part)
            size += len(part)
    if gathered:
        yield b"".join(gathered)


def _compressed(pieces: Sequence[Piece], coding: str) -> Iterator[bytes]:
    """Yield the compressed bytes of the pieces. Between two yields, this compresses for about 0.2 ms."""
    compressor = digits_compressor(coding)
    yield from filter(None, map(compressor.compress, _slices(pieces)))
    yield compressor.flush()
