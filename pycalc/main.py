"""The application: ``create_app(settings)`` for ``pycalc serve``, and ``pycalc.main:app`` for any ASGI server."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypedDict

from pydantic_core import to_json
from structlog import get_logger

from pycalc import __version__
from pycalc.mcp.router import router as mcp_router
from pycalc.observability.logging import configure_logging
from pycalc.resources.wiring import Resources, open_resources
from pycalc.routers import admin, auth, batch, calculations, evaluate, events, history, keys, oidc, system, usage, users
from pycalc.routers.http.connection import BODY_SECONDS
from pycalc.routers.http.documents import Document
from pycalc.routers.http.middleware import Application
from pycalc.routers.http.openapi import SERVERS, TAGS, operation_id
from pycalc.routers.http.problems import install_problems
from pycalc.routers.math import CalculationRoute
from pycalc.routers.math import router as math_router
from pycalc.settings import Settings, read_settings, unknown_settings

_DESCRIPTION = """Fibonacci numbers, factorials and powers of any size, right to the last digit.

Register, log in, press **Authorize**, calculate. Every calculation that was answered is in the history.
Errors are RFC 9457 problems. Integers beyond ±(2^53 - 1) are strings, so that no JSON reader rounds them."""


class LifespanState(TypedDict):
    """The state that the application's lifespan adds to each request."""

    resources: Resources


@asynccontextmanager
async def open_state(settings: Settings) -> AsyncIterator[LifespanState]:
    """Open the resources that the settings name, and close them at the end. Raises the errors of ``open_resources``."""
    async with open_resources(settings) as resources:
        yield {"resources": resources}


def create_app(settings: Settings, *, body_seconds: float = BODY_SECONDS) -> Application:
    """Return the application, whose lifespan opens and closes the resources that the settings name.

    A request's body may take ``body_seconds``, and one second more for every BODY_BYTES_A_SECOND bytes received.
    """
    app = Application(
        [route for route in math_router.routes if isinstance(route, CalculationRoute)],
        settings.cors_origins,
        body_seconds,
        title="pycalc",
        version=__version__,
        summary="Exact arithmetic over HTTP",
        description=_DESCRIPTION,
        lifespan=lambda _: open_state(settings),
        openapi_url=None,  # the document has its own route below, with an ETag
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        servers=SERVERS,
        openapi_tags=TAGS,
        generate_unique_id_function=operation_id,
        # The request middleware records metrics and traces itself.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        license_info={"name": "MIT", "identifier": "MIT"},
    )
    app.include_router(mcp_router)  # first, because /mcp is requested often, and FastAPI tries all routes before it
    for part in (batch, calculations, evaluate, auth, oidc, keys, users, history, usage, events, admin, system):
        app.include_router(part.router)
    if settings.metrics_port is None:
        app.include_router(system.metrics_router)
    install_problems(app)

    document = Document(lambda: to_json(app.openapi()), "application/json")
    app.add_route("/openapi.json", document.respond, include_in_schema=False)
    return app


def collect_garbage_rarely() -> None:
    """Exclude the objects that exist now from garbage collection, and start a collection at 10,000 new ones (ADR 7)."""
    gc.freeze()
    gc.set_threshold(10_000)


def __getattr__(name: str) -> Any:
    """Create ``app`` at the first access, so that an import reads no settings. Raises ValueError for a bad setting."""
    if name == "app":
        settings = read_settings()
        configure_logging(form=settings.log_format)
        for sentence in unknown_settings():
            get_logger(__name__).warning("unknown setting", detail=sentence)
        globals()["app"] = create_app(settings)  # later accesses find it there
        collect_garbage_rarely()
        return globals()["app"]
    raise AttributeError(name)
