"""The application: ``create_app(settings)``, and ``pycalc.main:app`` for any ASGI server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypedDict

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.types import Message, Receive, Scope, Send

from pycalc import __version__
from pycalc.resources import Resources, open_resources
from pycalc.routers import auth, batch, events, history, keys, math, system, users
from pycalc.routers.middleware import Edge
from pycalc.routers.problems import document_problems, install_problems
from pycalc.settings import Settings

MAX_BODY_BYTES = 1024 * 1024

_DESCRIPTION = """Fibonacci numbers, factorials and powers of any size, right to the last digit.

Register, log in, press **Authorize**, calculate. Every calculation that was answered is in the history.
Errors are RFC 9457 problems. Integers beyond ±(2^53 - 1) are strings, so that no JSON reader rounds them."""


class State(TypedDict):
    """What the lifespan leaves for the requests."""

    resources: Resources


class Application(FastAPI):
    """FastAPI behind the service's own edge."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        calculations = [route for route in math.router.routes if isinstance(route, math.CalculationRoute)]
        self.router.routes.extend(calculations)  # what the OpenAPI document is made from
        self._edge = Edge(super().__call__, calculations, MAX_BODY_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass requests through the edge."""
        await (self._edge if scope["type"] == "http" else super().__call__)(scope, receive, send)

    def refusal(self, scope: Scope, waiting: int) -> tuple[Message, Message] | None:
        """Return the answer to a request that there is no room for, None when there is; see Edge."""
        return self._edge.refusal(scope, waiting)


def create_app(settings: Settings) -> Application:
    """Return the application; its lifespan opens and closes what the settings name."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with open_resources(settings) as resources:
            yield {"resources": resources}

    app = Application(
        title="pycalc",
        version=__version__,
        summary="Exact arithmetic over HTTP",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        max_body_size=MAX_BODY_BYTES,
        license_info={"name": "MIT", "identifier": "MIT"},
    )
    for router in (batch.router, auth.router, keys.router, users.router, history.router, events.router, system.router):
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
