"""The service itself: console, documentation pages, health, metrics."""

from __future__ import annotations

import re
from asyncio import to_thread
from collections.abc import Mapping
from functools import cache, partial
from hashlib import sha256
from mimetypes import guess_type
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from pycalc import __version__
from pycalc.errors import NotFound
from pycalc.models.service import Index, Liveness, Readiness
from pycalc.observability.metrics import CONTENT_TYPE
from pycalc.routers.http.compression import compressed
from pycalc.routers.http.deps import ResourcesDep
from pycalc.routers.http.documents import Document
from pycalc.routers.http.headers import PAGE_POLICY
from pycalc.routers.http.negotiation import conditions_of, preferred_language, prefers_html
from pycalc.routers.http.openapi import headers
from pycalc.routers.http.problem_types import responses
from pycalc.services.operations import CALCULATIONS

WEB = Path(__file__).resolve().parent.parent / "web"
_LANGUAGES = ("en", "de")  # of the console's texts; the first one is the default

router = APIRouter(tags=["service"])
metrics_router = APIRouter(tags=["service"])  # included unless the metrics have a port of their own


class _WebPage:
    """A page, as one document for each language of the console's texts."""

    def __init__(self, name: str, styles: str = "", vary: str = "Accept-Encoding, Accept-Language") -> None:
        headers = {"Vary": vary, "Content-Security-Policy": PAGE_POLICY.format(styles=styles)}
        self._documents = {
            language: Document(partial(self._read, name, language), "text/html", headers) for language in _LANGUAGES
        }

    @staticmethod
    def _read(name: str, language: str) -> bytes:
        page = (WEB / name).read_bytes()
        for part in ("header", "subnav"):  # the same on every page
            page = page.replace(f"<!-- {part} -->".encode(), (WEB / f"{part}.html").read_bytes().strip())
        # The page names the script of its language, which the browser then loads without waiting for another script.
        page = page.replace(b"/strings/en.js", f"/strings/{language}.js".encode())
        return page.replace(b'"/web/', f'"/web/{_assets()[0]}/'.encode())

    async def respond(self, request: Request) -> Response:
        language = preferred_language(conditions_of(request.scope).accept_language, _LANGUAGES)
        return await self._documents[language].respond(request)


@cache
def _assets() -> tuple[str, Mapping[str, Document]]:
    """Return the digest of this release, and the pages' files by path. Only these are served, so no path leaves WEB.

    The files' URLs contain the digest, so that browsers may keep the files for ever.
    """
    files = [file for file in sorted(WEB.rglob("*")) if file.is_file()]
    digest = sha256(b"".join(sha256(file.read_bytes()).digest() for file in files)).hexdigest()[:16]
    return digest, {
        file.relative_to(WEB).as_posix(): Document(file.read_bytes, guess_type(file)[0] or "application/octet-stream")
        for file in files
        if not file.name.endswith(".d.ts")  # types are for those who write the pages
    }


_UNAVAILABLE = {
    "status": "unavailable",
    "checks": {"database": {"ok": False, "latency_ms": 2000.8, "detail": "There was no answer in 2 seconds."}},
}
_METRICS = """\
# HELP pycalc_calculations_total Calculations by operation and outcome
# TYPE pycalc_calculations_total counter
pycalc_calculations_total{operation="fibonacci",outcome="computed"} 4.0
"""
_CONSOLE = _WebPage("index.html", vary="Accept, Accept-Encoding, Accept-Language")
_CONSOLE_PAGES = frozenset({"batch", "history", "usage", "developers", "account", "admin"})
for _path, _page in {
    "/docs": _WebPage("docs.html", styles=" 'unsafe-inline'"),
    "/redoc": _WebPage("redoc.html", styles=" 'unsafe-inline'"),
    "/docs/problems": _WebPage("problems.html"),
    "/guide": _WebPage("guide.html"),
}.items():
    router.add_api_route(_path, _page.respond, include_in_schema=False)


@router.get("/web/{path:path}", include_in_schema=False)
async def asset(request: Request, path: str) -> Response:
    """Return a file of the pages. Raises NotFound if there is no such file, and the errors of ``Document.respond``."""
    digest, files = _assets() if _assets.cache_info().currsize else await to_thread(_assets)
    # During an upgrade, a page of another release may ask for files under the digest of that release.
    document = files.get(re.sub("^[0-9a-f]{16}/", "", path))
    if document is None:
        raise NotFound("There is no such file.")
    response = await document.respond(request)
    if path.startswith(f"{digest}/"):
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response


@router.get(
    "/",
    operation_id="getIndex",
    response_model=Index,
    responses={
        200: {
            "content": {"text/html": {"schema": {"type": "string"}, "example": '<!doctype html>\n<html lang="en">...'}},
            "headers": headers("ETag", "Vary"),
        },
        304: {"description": "The client's copy of the console is current.", "headers": headers("ETag", "Vary")},
        **responses("precondition-failed", "rate-limited"),
    },
)
async def index(request: Request, resources: ResourcesDep) -> Response:
    """Return the console to a browser, and a table of contents to a program."""
    if prefers_html(request.scope):
        return await _CONSOLE.respond(request)
    provider = None if resources.provider_sign_in is None else "/oidc/login"
    links = {
        "name": "pycalc",
        "version": __version__,
        "operations": list(CALCULATIONS),
        "docs": "/docs",
        "openapi": "/openapi.json",
        "health": "/health",
        "sign_in": {"password": resources.passwords_allowed, "provider": provider},
    }
    return JSONResponse(links, headers={"Vary": "Accept, Accept-Encoding, Accept-Language"})


@router.get("/console/{page}", include_in_schema=False)
async def console_page(request: Request, page: str) -> Response:
    """Return the console, which shows the page with this address. Its status is 404 if there is no such page."""
    known = page in _CONSOLE_PAGES
    if not known and not prefers_html(request.scope):
        raise NotFound("There is no such page.")
    response = await _CONSOLE.respond(request)
    if not known and response.status_code == 200:
        response.status_code = 404
    return response


@router.get("/health", include_in_schema=False)  # Google's front end keeps /healthz for itself
@router.get("/healthz", operation_id="getHealth")
async def healthz() -> Liveness:
    """Report that the process is alive, without checking any dependency."""
    return {"status": "ok"}


@router.get("/ready", include_in_schema=False)
@router.get(
    "/readyz",
    operation_id="getReadiness",
    response_model=Readiness,
    responses={
        503: {
            "model": Readiness,
            "description": "A necessary dependency does not answer; the body says which.",
            "content": {"application/json": {"example": _UNAVAILABLE}},
        }
    },
)
async def readyz(resources: ResourcesDep) -> JSONResponse:
    """Report the state and latency of every dependency. The status is 503 if a required dependency fails."""
    readiness = await resources.health.get()
    return JSONResponse(readiness, 503 if readiness["status"] == "unavailable" else 200)


@metrics_router.get(
    "/metrics",
    operation_id="getMetrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": _METRICS}}}},
)
async def metrics(request: Request, resources: ResourcesDep) -> Response:
    """Return the metrics in Prometheus' text format, summed over the server processes on this port."""
    exposition = await resources.metrics.exposition()
    body, fields = await compressed(exposition, conditions_of(request.scope).accept_encoding)
    return Response(body, headers=fields, media_type=CONTENT_TYPE)
