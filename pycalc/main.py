"""The application: ``create_app(settings)``, and ``pycalc.main:app`` for any ASGI server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypedDict

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware import Middleware

from pycalc import __version__
from pycalc.resources import Resources, open_resources
from pycalc.routers import auth, events, history, math, system, users
from pycalc.routers.middleware import EdgeMiddleware
from pycalc.routers.problems import document_problems, install_problems
from pycalc.settings import Settings

MAX_BODY_BYTES = 1024 * 1024

_DESCRIPTION = """Fibonacci numbers, factorials and powers of any size, right to the last digit.

Register, log in, press **Authorize**, calculate. Every calculation that was answered is in the history.
Errors are RFC 9457 problems. Integers beyond ±(2^53 - 1) are strings, so that no JSON reader rounds them."""


class State(TypedDict):
    """What the lifespan leaves for the requests."""

    resources: Resources


def create_app(settings: Settings) -> FastAPI:
    """Return the application; its lifespan opens and closes what the settings name."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with open_resources(settings) as resources:
            yield {"resources": resources}

    app = FastAPI(
        title="pycalc",
        version=__version__,
        summary="Exact arithmetic over HTTP",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        max_body_size=MAX_BODY_BYTES,
        middleware=[Middleware(EdgeMiddleware)],
        license_info={"name": "MIT", "identifier": "MIT"},
    )
    app.router.routes.extend(math.router.routes)  # first, and not nested: the hot path is matched first
    for router in (auth.router, users.router, history.router, events.router, system.router):
        app.include_router(router)
    app.mount("/web", system.assets, name="web")
    install_problems(app)
    _document(app)
    return app


def _document(app: FastAPI) -> None:
    """Complete the OpenAPI document with what the framework can't know."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                license_info=app.license_info,
                routes=app.routes,
            )
            document_problems(app.openapi_schema)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def __getattr__(name: str) -> Any:
    """Make ``app`` when an ASGI server asks for it: importing this module reads no settings."""
    if name == "app":
        return create_app(Settings())
    raise AttributeError(name)
