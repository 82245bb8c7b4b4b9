"""Granian's embedded server on a listening socket of ours (ADR 2)."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import struct
from contextlib import suppress

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.embed import Server
from starlette.types import ASGIApp

_HEADER_READ_MS = 10_000
_STALLED_MS = 10_000
"""How long a client may take nothing of what was sent before the kernel ends its connection."""
_BACKLOG = 1_024
_CONNECTIONS = 8_192
"""Connections at once, as far as there are descriptors; more wait in the backlog."""

_SO_ATTACH_FILTER = 26
_NO_SYN = ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
"""A packet filter: the TCP header's flags; SYN without ACK is dropped, all else passes."""


def bind(host: str, port: int) -> socket.socket:
    """Return a socket to listen on, whose options its connections inherit; raises OSError when somebody is there."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_MS)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(f"can't listen on {host}:{port}: {error.strerror}") from error
    return listener


def refuse_connections(listener: socket.socket) -> None:
    """Let nobody connect any more, by whatever process; those who have are served."""
    filters = b"".join(struct.pack("HBBI", *instruction) for instruction in _NO_SYN)
    program = ctypes.create_string_buffer(filters)
    with suppress(OSError):
        option = struct.pack("HP", len(_NO_SYN), ctypes.addressof(program))
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)


class HttpServer(Server):
    """Serves an ASGI application on a bound socket, which stays its owner's."""

    def __init__(self, listener: socket.socket, application: ASGIApp) -> None:
        super().__init__(
            application,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=_HEADER_READ_MS),
            websockets=False,
            backlog=_BACKLOG,
            backpressure=min(_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2),
            log_level=LogLevels.error,
        )
        self._descriptor = os.dup(listener.fileno())

    def _init_shared_socket(self) -> None:
        holder = SocketHolder(self._descriptor, False, _BACKLOG)  # type: ignore[call-arg]
        self._shd = holder  # type: ignore[assignment]
