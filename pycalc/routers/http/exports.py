"""Responses of exports, which are sent page by page. An incomplete response lacks the last chunk."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any

from pydantic import Field
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from structlog import get_logger

from pycalc.errors import PycalcError
from pycalc.models.formats import Moment
from pycalc.observability.requests import context_of
from pycalc.routers.http.compression import CODINGS, TextStream
from pycalc.routers.http.connection import while_connected
from pycalc.routers.http.deps import resources_of
from pycalc.routers.http.headers import Header
from pycalc.routers.http.negotiation import conditions_of, preferred_coding
from pycalc.routers.http.sending import DeferredResponse
from pycalc.services.history.exports import ExportFormat

# Query parameters of lists that are sent as a page or as an export.
Cursor = Annotated[
    str | None,
    Field(max_length=64, description="`next_cursor` of the page before, or the id of the item before the first"),
]
Since = Annotated[Moment | None, Field(description="from this moment on (RFC 3339)")]
Until = Annotated[Moment | None, Field(description="before this moment (RFC 3339)")]
VARY = {"Vary": "Accept, Accept-Encoding"}  # for a list that is sent as a page or as an export

_log = get_logger(__name__)


async def export_response(
    scope: Scope, pages: AsyncGenerator[bytes, None], media_type: str, layout: ExportFormat[Any], name: str
) -> Response:
    """Return the response that sends the pages of an export as a file called ``name``.

    Read the first page now, so that an error response can still be sent if this fails.
    """
    first = await anext(pages)
    coding = preferred_coding(conditions_of(scope).accept_encoding, CODINGS)
    fields = {
        "Content-Type": f"{media_type}{layout.parameters}",
        "Content-Disposition": f'attachment; filename="{name}.{layout.extension}"',
        **VARY,
        **({} if coding is None else {"Content-Encoding": coding}),
    }
    headers = [(key.lower().encode(), value.encode()) for key, value in fields.items()]
    return DeferredResponse(partial(send_export, first, pages, headers, coding))


async def send_export(
    first: bytes,
    rest: AsyncGenerator[bytes, None],
    headers: Sequence[Header],
    coding: str | None,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Send the pages of an export, ``first`` and ``rest``, as one chunked body, compressed with ``coding`` if any.

    After an error, or if the client reads too slowly, the last chunk is not sent, so that the client notices.
    """
    stream = None if coding is None else TextStream(coding)

    async def send_pages() -> None:
        page, last = first, b""
        async with aclosing(rest):
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            try:
                while context_of(scope).content_wanted:
                    if page:
                        body = page if stream is None else await stream.page(page)
                        await send({"type": "http.response.body", "body": body, "more_body": True})
                    page = await anext(rest)
            except StopAsyncIteration:
                last = b"" if stream is None else stream.end()
            except PycalcError as error:
                resources_of(scope).metrics.exports_cut.labels(error.code).inc()
                _log.warning("export ended before it was complete", reason=error.code)
                return
            await send({"type": "http.response.body", "body": last})

    await while_connected(receive, send_pages())
