"""Documents that do not change while the process runs: pages, their files, the OpenAPI document."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from hashlib import sha256
from threading import Lock

from fastapi import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pycalc.errors import PreconditionFailed
from pycalc.routers.http.compression import CODINGS, SHORTEST_COMPRESSED, compress_well
from pycalc.routers.http.deps import resources_of
from pycalc.routers.http.negotiation import conditions_of, is_current, matching, preferred_coding
from pycalc.routers.http.sending import PART_BYTES


class Document:
    """A document that is read and compressed once, at its first request. Each of its forms has a strong ETag.

    By default, browsers must revalidate their copy at every use (``no-cache``). ``headers`` may change this. The number
    of requests from an address is limited (PYCALC_PAGE_LIMIT).
    """

    def __init__(self, read: Callable[[], bytes], media_type: str, headers: Mapping[str, str] | None = None) -> None:
        """Serve the bytes that ``read`` returns. It is called once, in a thread."""
        self._read = read
        self._media_type = media_type
        self._headers = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding", **(headers or {})}
        self._forms: dict[str | None, tuple[str, bytes]] = {}  # ETag and content by coding
        self._making = Lock()

    async def respond(self, request: Request) -> Response:
        """Return the response to a GET: the document in the preferred coding, or 304 if the client's copy is current.

        Raises RateLimited if the address has sent too many requests. Raises PreconditionFailed for an If-Match that
        names no current ETag.
        """
        resources = resources_of(request.scope)
        await resources.page_limit.admit(resources.addresses.of(request.scope))
        if not self._forms:
            await asyncio.to_thread(self._make)
        conditions, tags = conditions_of(request.scope), [tag for tag, _ in self._forms.values()]
        if conditions.if_match and not is_current(conditions.if_match, tags):
            raise PreconditionFailed("If-Match names no current ETag: send no If-Match.")
        matched = matching(conditions.if_none_match, tags)
        if matched is not None:
            return Response(status_code=304, headers={**self._headers, "ETag": matched})
        coding = preferred_coding(conditions.accept_encoding, CODINGS) if len(tags) > 1 else None
        tag, content = self._forms[coding]
        headers = {**self._headers, "ETag": tag} | ({} if coding is None else {"Content-Encoding": coding})
        return _WholeResponse(content, 200, headers, self._media_type)

    def _make(self) -> None:
        with self._making:
            if self._forms:  # made by another thread
                return
            content = self._read()
            name = base64.urlsafe_b64encode(sha256(content).digest()[:18]).decode()
            forms: dict[str | None, tuple[str, bytes]] = {None: (f'"{name}"', content)}
            if len(content) > SHORTEST_COMPRESSED:
                forms |= {coding: (f'"{name}-{coding}"', compress_well(content, coding)) for coding in CODINGS}
            self._forms = forms


class _WholeResponse(Response):
    """A response whose content all requests share, so that it does not count towards the limit on response memory."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for start in range(0, len(self.body), PART_BYTES):
            part = self.body[start : start + PART_BYTES]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
