"""Serving the application inside this process, from the first signal on for a few seconds more (ADR 2)."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from time import monotonic
from typing import cast

import uvloop
from starlette.types import Message, Receive, Scope, Send

from pycalc.errors import PycalcError
from pycalc.main import State, create_app
from pycalc.observability.logging import configure_logging
from pycalc.observability.metrics import Metrics
from pycalc.routers.http.middleware import Application
from pycalc.server.connections import ConnectionGuard
from pycalc.server.granian_worker import HttpServer, bind, max_connections, refuse_connections
from pycalc.server.metrics_port import Exposition, metrics_served
from pycalc.server.signals import block, watch
from pycalc.server.supervisor_channel import Line
from pycalc.services.accounts.bootstrap import TOKEN_FILE
from pycalc.services.limits.client_address import address
from pycalc.settings import Settings

_QUIET_SECONDS = 0.2
_LAME_DUCK_SECONDS = 1.0
"""After the signal answers say ``Connection: close`` until nothing is asked for so long, for no longer than this."""
_COMPUTING_SECONDS = 5.0
"""From the signal on: what is still being computed then is refused."""
_DRAIN_SECONDS = 6.5
"""From the signal on: connections that are still busy then are dropped."""


def serve(settings: Settings, inherited: int | None = None) -> int:
    """Run the service until SIGTERM or SIGINT; return the exit status.

    ``inherited`` is the descriptor of a listening socket shared with other processes, whose supervisor holds the other
    end of standard input.
    """
    configure_logging(form=settings.log_format)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    logging.getLogger("_granian").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    block()
    try:
        uvloop.run(_serve(settings, inherited))
    except (PycalcError, OSError, ValueError) as error:
        print(f"pycalc: {error}", file=sys.stderr)  # noqa: T201  # for the person at the console
        return 1
    return 0


def _abandoned() -> None:
    """Stop, as at a signal: the supervisor is gone."""
    os.kill(os.getpid(), signal.SIGTERM)


def _share(metrics: Metrics, supervisor: Line) -> None:
    """Tell the supervisor this process's metrics, and clients those of all."""

    async def own() -> bytes:
        return metrics.render()

    supervisor.tell, metrics.of_all = own, supervisor.ask


async def _serve(settings: Settings, inherited: int | None) -> None:
    stop = asyncio.Event()
    watch(stop)
    supervisor = None if inherited is None else await Line.open(socket.socket(fileno=os.dup(0)), _abandoned)
    with bind(settings.host, settings.port) if inherited is None else socket.socket(fileno=inherited) as listener:
        app = create_app(settings)
        async with app.router.lifespan_context(app) as opened:
            state = cast("State", opened)
            if stop.is_set():
                return
            metrics = state["resources"].metrics
            if supervisor is not None:
                _share(metrics, supervisor)
                await listen(listener, app, state, stop, shared=True)
                return
            async with own_metrics_port(settings, metrics.exposition):
                print_banner(settings, state["resources"].bootstrap_token)
                await listen(listener, app, state, stop, shared=False)


def own_metrics_port(settings: Settings, exposition: Exposition) -> AbstractAsyncContextManager[None]:
    """Return the context in which the metrics have a port of their own, where the settings want one."""
    if settings.metrics_port is None:
        return nullcontext()
    return metrics_served(settings.host, settings.metrics_port, exposition, "PYCALC_METRICS_PORT")


def print_banner(settings: Settings, token: str | None) -> None:
    """Say where the service is and how to become its first admin; ``token`` is the bootstrap token if it is new."""
    at = f"http://{address(settings.host, settings.port)}"
    metrics = settings.port if settings.metrics_port is None else settings.metrics_port
    lines = [
        f"pycalc is at {at}",
        f"  documentation: {at}/docs",
        f"  metrics: http://{address(settings.host, metrics)}/metrics",
    ]
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


async def listen(listener: socket.socket, app: Application, state: State, stop: asyncio.Event, *, shared: bool) -> None:
    """Accept requests until a signal comes, then let those that were accepted finish."""
    draining = asyncio.Event()

    async def entry(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, _closing(send) if draining.is_set() else send)

    def refusal(scope: Scope) -> tuple[Message, Message] | None:
        refused = app.refusal(scope)
        return refused if refused is None or not draining.is_set() else (_last(refused[0]), refused[1])

    server = HttpServer(listener, entry, refusal, dict(state))
    gc.collect()
    gc.freeze()  # what start-up made stays: full collections need not walk it
    resources = state["resources"]
    guard = ConnectionGuard(listener, max_connections(), resources.addresses, resources.pace, resources.metrics)
    guarding = asyncio.ensure_future(guard.watch())
    serving = asyncio.ensure_future(server.serve())
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    guarding.cancel()
    if serving.done():
        serving.result()
        raise OSError("the server ended by itself")
    began = monotonic()
    resources.stopping.set()
    asyncio.get_running_loop().call_later(_COMPUTING_SECONDS, resources.computer.abandon)
    if not shared:
        refuse_connections(listener)
    draining.set()  # who is told to connect anew must not come here again
    await _until_quiet(lambda: server.arrived)
    server.stop()
    with suppress(TimeoutError):
        await asyncio.wait_for(serving, began + _DRAIN_SECONDS - monotonic())


async def _until_quiet(count: Callable[[], int]) -> None:
    """Return when nothing has arrived for _QUIET_SECONDS, or _LAME_DUCK_SECONDS are over.

    Meanwhile each answer ends its connection, so that few clients find theirs closed when they ask again.
    """
    latest = monotonic() + _LAME_DUCK_SECONDS
    before = -1
    while count() != before and monotonic() < latest:
        before = count()
        await asyncio.sleep(_QUIET_SECONDS)


def _closing(send: Send) -> Send:
    """Return a ``send`` whose answer is the connection's last."""

    async def send_and_close(message: Message) -> None:
        await send(_last(message))

    return send_and_close


def _last(message: Message) -> Message:
    """Return an answer's message; its beginning says that the connection ends with it (RFC 9112 §9.6)."""
    if message["type"] != "http.response.start":
        return message
    return {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
