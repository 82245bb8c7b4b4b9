"""Responses of exports, which are sent page by page. An incomplete response lacks the last chunk."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Annotated, Any

from pydantic import Field
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from structlog import get_logger

from pycalc.errors import PycalcError
from pycalc.models.formats import Moment
from pycalc.observability.metrics import Metrics
from pycalc.observability.requests import context_of
from pycalc.routers.http.compression import CODINGS, TextStream
from pycalc.routers.http.connection import while_connected
from pycalc.routers.http.deps import resources_of
from pycalc.routers.http.negotiation import conditions_of, preferred_coding
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
) -> ExportResponse:
    """Return the response that sends the pages of an export as a file called ``name``.

    Read the first page now, so that an error response can still be sent if this fails.
    """
    fields = {
        "Content-Type": f"{media_type}{layout.parameters}",
        "Content-Disposition": f'attachment; filename="{name}.{layout.extension}"',
        **VARY,
    }
    coding = preferred_coding(conditions_of(scope).accept_encoding, CODINGS)
    return ExportResponse(await anext(pages), pages, fields, resources_of(scope).metrics, coding)


class ExportResponse(Response):
    """A response that sends the pages of an export as one chunked body.

    After an error, or if the client reads too slowly, the last chunk is not sent, so that the client notices.
    """

    def __init__(
        self,
        first: bytes,
        rest: AsyncGenerator[bytes, None],
        headers: Mapping[str, str],
        metrics: Metrics,
        coding: str | None = None,
    ) -> None:
        """Send ``first``, then ``rest``. ``coding`` is the member of CODINGS that compresses the body, or None."""
        super().__init__(headers=headers if coding is None else {**headers, "Content-Encoding": coding})
        self._compressed = None if coding is None else TextStream(coding)
        del self.headers["content-length"]
        self._first = first
        self._rest = rest
        self._cut = metrics.exports_cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await while_connected(receive, self._send(send, content=context_of(scope).content_wanted))

    async def _send(self, send: Send, *, content: bool) -> None:
        last = b""
        async with aclosing(self._rest):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            page = self._first
            try:
                while content:
                    if page:
                        body = page if self._compressed is None else await self._compressed.page(page)
                        await send({"type": "http.response.body", "body": body, "more_body": True})
                    page = await anext(self._rest)
            except StopAsyncIteration:
                last = b"" if self._compressed is None else self._compressed.end()
            except PycalcError as error:
                self._cut.labels(error.code).inc()
                _log.warning("export ended before it was complete", reason=error.code)
                return
            await send({"type": "http.response.body", "body": last})
