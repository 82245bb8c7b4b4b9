"""Functions that run the service, or call it, in the test's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import httpx
from fastapi import FastAPI

from pycalc.main import create_app, open_state
from pycalc.routers.http.middleware import Application
from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, new_name, registration

Headers = dict[str, str]
# The settings that creating the application reads; all others are read by its lifespan.
_READ = ("cors_origins", "metrics_port")


def application(settings: Settings) -> Application:
    """Return an application that works with these settings.

    Building the routes is slow. Settings that differ only in values that the lifespan reads therefore get the same
    application.
    """
    return _application(*(getattr(settings, name) for name in _READ))


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document of the service with its default settings."""
    document: dict[str, Any] = application(Settings(_env_file=None)).openapi()
    return document


@cache
def _application(*values: object) -> Application:
    read = SimpleNamespace(**dict(zip(_READ, values, strict=True)))  # any other setting raises AttributeError
    return create_app(cast("Settings", read))


def client_of(app: FastAPI, state: Mapping[str, Any]) -> httpx.AsyncClient:
    """Return a client of an application; ``state`` is the result of its lifespan."""

    async def entry(scope: dict[str, object], receive: object, send: object) -> None:
        scope["state"] = state
        await app(scope, receive, send)  # type: ignore[arg-type]

    transport = httpx.ASGITransport(app=entry, raise_app_exceptions=False)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://pycalc.test")


def changed(settings: Settings, **changes: Any) -> Settings:
    """Return a validated copy of settings with some values changed."""
    return Settings(**{**settings.model_dump(exclude_unset=True), **changes})


@asynccontextmanager
async def in_process(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Run another instance of the service in this process, and yield a client of it."""
    async with open_state(settings) as state, client_of(application(settings), state) as client:
        yield client


async def bearer_of(client: httpx.AsyncClient, name: str) -> Headers:
    """Log in, and return the header field that authenticates the new session."""
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    return {"Authorization": f"Bearer {session['access_token']}"}


async def new_user(client: httpx.AsyncClient) -> tuple[str, Headers]:
    """Register a user; return the name, and the header field that authenticates a session."""
    name = new_name()
    assert (await client.post("/register", json=registration(name))).status_code == 201
    return name, await bearer_of(client, name)
