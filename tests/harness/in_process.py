"""The service within the test's own process."""

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
# The settings that the application itself reads; all others are for its lifespan.
_READ = ("cors_origins", "metrics_port")


def application(settings: Settings) -> Application:
    """Return an application for resources that these settings open.

    Building its routes takes longer than a test, so settings that differ for the resources only share one.
    """
    return _application(*(getattr(settings, name) for name in _READ))


@cache
def _application(*values: object) -> Application:
    read = SimpleNamespace(**dict(zip(_READ, values, strict=True)))  # another setting would be an AttributeError
    return create_app(cast("Settings", read))


def client_of(app: FastAPI, state: Mapping[str, Any]) -> httpx.AsyncClient:
    """Return a client of an application whose lifespan has produced that state."""

    async def entry(scope: dict[str, object], receive: object, send: object) -> None:
        scope["state"] = state
        await app(scope, receive, send)  # type: ignore[arg-type]

    transport = httpx.ASGITransport(app=entry, raise_app_exceptions=False)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://pycalc.test")


def changed(settings: Settings, **changes: Any) -> Settings:
    """Return validated settings with changes."""
    return Settings(**{**settings.model_dump(exclude_unset=True), **changes})


@asynccontextmanager
async def in_process(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Run one more instance, and return a client of it."""
    async with open_state(settings) as state, client_of(application(settings), state) as client:
        yield client


async def bearer_of(client: httpx.AsyncClient, name: str) -> Headers:
    """Return the header field of a new session."""
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    return {"Authorization": f"Bearer {session['access_token']}"}


async def new_user(client: httpx.AsyncClient) -> tuple[str, Headers]:
    """Register a user; return the name, and the header field of a session."""
    name = new_name()
    assert (await client.post("/register", json=registration(name))).status_code == 201
    return name, await bearer_of(client, name)
