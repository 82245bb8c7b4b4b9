"""Granian's HTTP worker, which reads and writes in threads of its own, on a socket that this service binds.

Granian's own server can't set socket options, and can't refuse a request in the worker's thread (ADR 2).
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import os
import resource
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from granian import _granian
from granian.http import HTTP1Settings
from starlette.types import ASGIApp, Message, Scope
from structlog import get_logger

from pycalc.machine import memory
from pycalc.urls import authority

_HEADER_READ_MS = 10_000
_BUFFER_BYTES = 128 * 1024  # the largest request head; the worker buffers about as much of a response
_BACKLOG = 1_024
# The most open connections, with enough descriptors and with much or little memory. Further ones wait in the backlog.
_CONNECTIONS, _FEW_CONNECTIONS = 8_192, 2_048
_CONNECTION_BYTES = 1024 * 1024  # twice what the buffers of a hostile connection take, because other parts need memory

_SO_ATTACH_FILTER = 26
# Socket options of every connection that are useful but not required: name, number, value.
_TUNING = (
    ("TCP_NODELAY", socket.TCP_NODELAY, 1),
    # The kernel closes a connection whose client acknowledges nothing for so many milliseconds.
    ("TCP_USER_TIMEOUT", socket.TCP_USER_TIMEOUT, 8_000),
    # The kernel buffers so many bytes of a response in addition to the bytes in flight.
    ("TCP_NOTSENT_LOWAT", socket.TCP_NOTSENT_LOWAT, 128 * 1024),
)
# A packet filter (BPF): load the TCP flags, drop SYN without ACK, pass everything else.
_NO_SYN = ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))

# Begin a request as soon as the event loop has it, instead of in the loop's next iteration.
_EAGERLY: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}

# A function that returns the complete response to a request that it refuses, and None for other requests.
Refusal = Callable[[Scope], tuple[Message, Message] | None]

_native: Any = _granian
_log = get_logger(__name__)


def bind(host: str, port: int) -> socket.socket:
    """Return a bound socket, whose options its connections inherit. Raises OSError if the address can't be bound."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for name, option, value in _TUNING:
        try:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
        except OSError as error:  # some kernels, such as gVisor's, lack the option; serve without it
            _log.warning("the kernel does not support a socket option", option=name, error=error.strerror)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(f"can't listen on {authority(host, port)}: {error.strerror}") from error
    return listener


def open_port(listener: socket.socket) -> None:
    """Accept connections to a bound socket. Raises OSError if another service has begun to listen on its address."""
    try:
        listener.listen()
    except OSError as error:  # the other service bound the address too, before either was listening
        raise OSError(f"can't listen on {authority(*listener.getsockname()[:2])}: {error.strerror}") from error


def max_connections() -> int:
    """Return the largest number of connections of this process. Further connections wait in the backlog."""
    most = min(_CONNECTIONS, max(_FEW_CONNECTIONS, memory() // _CONNECTION_BYTES))
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return most if descriptors == resource.RLIM_INFINITY else min(most, descriptors // 2)


def refuse_connections(listener: socket.socket) -> None:
    """Drop new connection attempts to a socket, in all processes that share it, if the kernel has socket filters."""
    filters = b"".join(struct.pack("HBBI", *instruction) for instruction in _NO_SYN)
    program = ctypes.create_string_buffer(filters)
    with suppress(OSError):
        option = struct.pack("HP", len(_NO_SYN), ctypes.addressof(program))
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)


class HttpServer:
    """An HTTP server for an ASGI application on a bound socket, which the caller closes.

    ``refusal`` is called for each request in the worker's thread. ``state`` is put into each request's scope.
    """

    def __init__(
        self, listener: socket.socket, application: ASGIApp, refusal: Refusal, state: dict[str, object]
    ) -> None:
        self._application = application
        self._refusal = refusal
        self._state = state
        self._descriptor = os.dup(listener.fileno())
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._signal = _native.WorkerSignal()
        self.arrived = 0  # number of requests read; only the worker's thread changes it, so there is no lock

    async def serve(self) -> None:
        """Serve until ``stop`` is called, and then, without a time limit, until all accepted requests are answered."""
        ended = asyncio.Event()
        self._signal.add_cb(lambda: self._loop.call_soon_threadsafe(ended.set))
        worker = _native.ASGIWorker(
            1,
            (None, _native.SocketHolder(self._descriptor, False, _BACKLOG)),
            None,
            backpressure=max_connections(),
            http1_opts=HTTP1Settings(header_read_timeout=_HEADER_READ_MS, max_buffer_size=_BUFFER_BYTES),
        )
        scheduler = _native.CallbackScheduler(self._loop, None, None, None, None)
        scheduler._schedule_fn = self._hand_over  # noqa: SLF001  # the worker's only hook
        worker.serve_async(scheduler, self._loop, self._signal)
        await ended.wait()

    def stop(self) -> None:
        """Stop accepting connections, and close idle connections."""
        self._signal.set()

    def _hand_over(self, request: Any) -> None:
        """Refuse a request, or pass it to the event loop. This runs in the worker's thread and must not raise."""
        self.arrived += 1
        scope = request.scope
        scope["state"] = self._state
        try:
            refused = self._refusal(scope)
        except Exception:  # the application gets the request, and handles the error when it recurs
            refused = None
        if refused is not None:
            for message in refused:
                request.proto.send(message)
            request.done()
            return
        try:
            self._loop.call_soon_threadsafe(self._begin, request, context=self._context)
        except RuntimeError:  # the loop has ended
            request.done()

    def _begin(self, request: Any) -> None:
        request.taskref(asyncio.Task(self._answer(request), loop=self._loop, **_EAGERLY))

    async def _answer(self, request: Any) -> None:
        try:
            await self._application(request.scope, request.proto.receive, request.proto.send)
        except BaseException as error:
            request.err(error)
        else:
            request.done()
