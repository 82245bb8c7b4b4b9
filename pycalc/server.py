"""Serving the application with Granian inside this process (ADR 2)."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
import socket
import sys
from contextlib import suppress
from typing import cast

import uvloop
from fastapi import FastAPI
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server
from starlette.types import Receive, Scope, Send

from pycalc.errors import PycalcError
from pycalc.main import State, create_app
from pycalc.observability.logging import configure_logging
from pycalc.services.bootstrap import TOKEN_FILE
from pycalc.settings import Settings

_HEADER_READ_MS = 10_000
_DRAIN_SECONDS = 7.0
"""How long accepted requests may take to finish after SIGTERM."""


def serve(settings: Settings) -> int:
    """Run the service until SIGTERM or SIGINT; return the exit status."""
    configure_logging()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    logging.getLogger("_granian").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        uvloop.run(_serve(settings))
    except (PycalcError, OSError, ValueError) as error:
        print(f"pycalc: {error}", file=sys.stderr)  # noqa: T201  # for the person at the console
        return 1
    return 0


def _require_free_port(host: str, port: int) -> None:
    """Raise OSError when somebody listens there: Granian shares its port, so two services would take turns."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(f"can't listen on {host}:{port}: {error.strerror}") from error


async def _serve(settings: Settings) -> None:
    _require_free_port(settings.host, settings.port)
    app = create_app(settings)
    async with app.router.lifespan_context(app) as opened:
        state = cast("State", opened)
        _greet(settings, state)
        await _listen(app, state, settings)


def _greet(settings: Settings, state: State) -> None:
    """Say where the service is and how to become its first admin."""
    at = f"http://{settings.host}:{settings.port}"
    lines = [f"pycalc is at {at}", f"  documentation: {at}/docs", f"  metrics: {at}/metrics"]
    token = state["resources"].bootstrap_token
    file = settings.data_dir / TOKEN_FILE
    if token is not None:
        lines += [
            f"  there is no admin yet; this one-time token makes the first (also in {file}):",
            f"    curl {at}/register -H 'X-Bootstrap-Token: {token}' --json "
            '\'{"username":"admin","email":"admin@example.com","password":"...","role":"admin"}\'',
        ]
    elif file.exists():
        lines.append(f"  there is no admin yet; the one-time token for the first is in {file}")
    print("\n".join(lines), flush=True)  # noqa: T201  # for the person at the console


async def _listen(app: FastAPI, state: State, settings: Settings) -> None:
    """Accept requests until a signal comes, then let those that were accepted finish."""

    async def entry(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = state
        await app(scope, receive, send)

    server = Server(
        entry,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_READ_MS),
        websockets=False,
        backlog=1024,
        log_level=LogLevels.error,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gc.collect()
    gc.freeze()  # what start-up made stays: full collections need not walk it
    serving = loop.create_task(server.serve())
    stopped = loop.create_task(stop.wait())
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
        raise OSError("the server ended by itself")
    state["resources"].stopping.set()
    server.stop()  # type: ignore[no-untyped-call]
    with suppress(TimeoutError):
        await asyncio.wait_for(serving, _DRAIN_SECONDS)
