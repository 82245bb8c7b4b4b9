"""Serving of the application in this process until a signal, followed by a drain of some seconds (ADR 2, 18)."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Awaitable
from contextlib import suppress
from time import monotonic
from typing import cast

import uvloop
from starlette.types import Message, Receive, Scope, Send

from pycalc.main import LifespanState, collect_garbage_rarely, create_app
from pycalc.routers.http.headers import with_headers
from pycalc.routers.http.middleware import Application
from pycalc.server.connections import ClientSockets, ConnectionGuard
from pycalc.server.granian_worker import HttpServer, bind, max_connections, open_port, refuse_connections
from pycalc.server.metrics_port import metrics_served
from pycalc.server.signals import block, watch
from pycalc.server.supervisor_channel import SupervisorChannel
from pycalc.services.accounts.bootstrap import TOKEN_FILE
from pycalc.settings import Settings
from pycalc.urls import authority

_CLOSE = (b"connection", b"close")  # the connection ends after the response (RFC 9112 §9.6)
# After the signal, responses say ``Connection: close``. The server stops when no request has arrived for
# _QUIET_SECONDS, and after _LAME_DUCK_SECONDS at the latest.
_QUIET_SECONDS = 0.2
_LAME_DUCK_SECONDS = 1.0
_COMPUTING_SECONDS = 5.0  # from the signal until running computations are stopped
_CONNECTION_DRAIN_SECONDS = 6.5  # from the signal until open connections are dropped


def serve(settings: Settings, inherited: int | None = None) -> None:
    """Run the service until SIGTERM or SIGINT. Raises PycalcError, OSError or ValueError if it fails.

    ``inherited`` is the descriptor of a bound socket that a supervisor shares between processes. Standard input is
    then this process's end of the supervisor channel.
    """
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    logging.getLogger("_granian").setLevel(logging.ERROR)
    block()
    uvloop.run(_serve(settings, inherited))


async def _serve(settings: Settings, inherited: int | None) -> None:
    async def own_metrics() -> bytes:
        return metrics.render()

    stop = asyncio.Event()
    watch(stop)
    supervisor = None
    if inherited is not None:
        end = socket.socket(fileno=os.dup(0))
        supervisor = await SupervisorChannel.open(end, gone=lambda: os.kill(os.getpid(), signal.SIGTERM))
    with bind(settings.host, settings.port) if inherited is None else socket.socket(fileno=inherited) as listener:
        app = create_app(settings)
        async with app.router.lifespan_context(app) as opened:
            state = cast("LifespanState", opened)
            if stop.is_set():
                return
            metrics = state["resources"].metrics
            if supervisor is not None:
                supervisor.respond, metrics.of_all = own_metrics, supervisor.request
                await listen(listener, app, state, stop, shared=True)
                return
            async with metrics_served(settings.host, settings.metrics_port, metrics.exposition):
                open_port(listener)  # the worker listens only after the banner, with a longer backlog
                print_banner(settings, state["resources"].bootstrap_token)
                await listen(listener, app, state, stop, shared=False)


def print_banner(settings: Settings, token: str | None) -> None:
    """Print the service's addresses and, if there is a bootstrap token, how to register the first admin with it.

    ``token``, which was just created, is printed only at a terminal, because any other output may end in a log.
    Otherwise the path of the token's file is printed, if the file exists.
    """
    at = f"http://{authority(settings.host, settings.port)}"
    metrics = settings.port if settings.metrics_port is None else settings.metrics_port
    lines = [
        f"pycalc is at {at}",
        f"  documentation: {at}/docs",
        f"  metrics: http://{authority(settings.host, metrics)}/metrics",
    ]
    file = settings.data_dir / TOKEN_FILE
    if token is not None and sys.stdout.isatty():
        lines += [
            f"  there is no admin yet; this one-time token makes the first (also in {file}):",
            f"    curl {at}/register -H 'X-Bootstrap-Token: {token}' --json "
            '\'{"username":"admin","email":"admin@example.com","password":"...","role":"admin"}\'',
        ]
    elif file.exists():
        lines.append(f"  there is no admin yet; the one-time token for the first is in {file}")
    print("\n".join(lines), flush=True)  # noqa: T201  # for the person at the console


async def listen(
    listener: socket.socket, app: Application, state: LifespanState, stop: asyncio.Event, *, shared: bool
) -> None:
    """Serve requests until ``stop`` is set, then finish the accepted ones: computations for 5 s, the rest for 6.5 s.

    The supervisor stops new connections to a ``shared`` listener. Raises OSError if the server ends by itself.
    """
    draining = asyncio.Event()

    def entry(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return app(scope, receive, with_headers((_CLOSE,), send) if draining.is_set() else send)

    def refusal(scope: Scope) -> tuple[Message, Message] | None:
        refused = app.refusal(scope)
        if refused is None or not draining.is_set():
            return refused
        start, body = refused
        return {**start, "headers": [*start["headers"], _CLOSE]}, body

    server = HttpServer(listener, entry, refusal, dict(state))
    collect_garbage_rarely()
    gc.enable()
    resources = state["resources"]
    total = max_connections()
    sockets = ClientSockets(listener)
    guard = ConnectionGuard(sockets, total, resources.addresses, resources.reading_speed, resources.metrics)
    guarding = asyncio.ensure_future(guard.watch())
    serving = asyncio.ensure_future(server.serve())
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    guarding.cancel()
    if serving.done():
        serving.result()
        raise OSError("the HTTP server stopped without a signal")
    began = monotonic()
    resources.feed.end()
    asyncio.get_running_loop().call_later(_COMPUTING_SECONDS, resources.computer.abandon)
    if not shared:
        refuse_connections(listener)
    draining.set()  # after new connections are refused: a client told to reconnect must not reach this process again
    latest = monotonic() + _LAME_DUCK_SECONDS
    before = -1
    while server.arrived != before and monotonic() < latest:
        before = server.arrived
        await asyncio.sleep(_QUIET_SECONDS)
    server.stop()
    with suppress(TimeoutError):
        await asyncio.wait_for(serving, began + _CONNECTION_DRAIN_SECONDS - monotonic())
