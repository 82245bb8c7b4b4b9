"""The service itself: console, docs pages, health, metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.staticfiles import StaticFiles

from pycalc import __version__
from pycalc.models.service import DependencyState, Index, Liveness, Readiness
from pycalc.observability.metrics import CONTENT_TYPE
from pycalc.resources import Health
from pycalc.routers.deps import ResourcesDep
from pycalc.routers.headers import PAGE_POLICY
from pycalc.services.operations import OPERATIONS

WEB = Path(__file__).resolve().parent.parent / "web"

router = APIRouter(tags=["service"])
metrics_router = APIRouter(tags=["service"])
"""The metrics, where they have no port of their own."""


class _Assets(StaticFiles):
    """The pages' files; a browser asks whether its copy is good, so that no page mixes two versions."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        """Return a file, or that it has not changed."""
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


assets = _Assets(directory=WEB)


@router.get("/", operation_id="getIndex", response_model=Index)
async def index(request: Request) -> Response:
    """Return the console to a browser, and a table of contents to a program."""
    if "text/html" in request.headers.get("accept", ""):
        return _page("index.html")
    links = {
        "name": "pycalc",
        "version": __version__,
        "operations": list(OPERATIONS),
        "docs": "/docs",
        "openapi": "/openapi.json",
        "health": "/health",
    }
    return JSONResponse(links, headers={"Vary": "Accept"})


@router.get("/docs", include_in_schema=False)
async def docs() -> Response:
    """Return the interactive documentation."""
    return _page("docs.html", styles=" 'unsafe-inline'")


@router.get("/redoc", include_in_schema=False)
async def redoc() -> Response:
    """Return the reference documentation."""
    return _page("redoc.html", styles=" 'unsafe-inline'")


@router.get("/docs/problems", include_in_schema=False)
async def problems() -> Response:
    """Return what the problem types mean."""
    return _page("problems.html")


@router.get("/health", include_in_schema=False)  # Google's front end keeps /healthz for itself
@router.get("/healthz", operation_id="getHealth")
async def healthz() -> Liveness:
    """Say that the process is alive; touches nothing else."""
    return {"status": "ok"}


@router.get("/ready", include_in_schema=False)
@router.get(
    "/readyz",
    operation_id="getReadiness",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "A dependency does not answer; the body says which."}},
)
async def readyz(resources: ResourcesDep) -> JSONResponse:
    """Say whether every dependency answers, and how fast; the service is ready without those that it can do without."""
    checks = await resources.check()
    body = {
        "status": "ok" if all(check.ok for check in checks) else "degraded",
        "checks": {check.name: _told(check) for check in checks},
    }
    return JSONResponse(body, 503 if any(check.fatal for check in checks) else 200)


@metrics_router.get(
    "/metrics",
    operation_id="getMetrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(resources: ResourcesDep) -> Response:
    """Return the metrics in Prometheus' text format, summed over the service's processes."""
    return Response(await resources.metrics.exposition(), media_type=CONTENT_TYPE)


def _told(check: Health) -> DependencyState:
    told: DependencyState = {"ok": check.ok, "latency_ms": check.latency_ms}
    return told if check.detail is None else {**told, "detail": check.detail}


def _page(name: str, styles: str = "") -> FileResponse:
    policy = PAGE_POLICY.format(styles=styles)
    headers = {"Cache-Control": "no-cache", "Vary": "Accept", "Content-Security-Policy": policy}
    return FileResponse(WEB / name, headers=headers)
