"""The connections of clients, as the kernel reports them. Granian does not tell when a client has read a response."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from structlog import get_logger

_log = get_logger(__name__)
_BYTES_ACKED, _NOT_SENT = 120, 144  # offsets of a uint64 and a uint32 in the kernel's ``struct tcp_info``


class ClientConnection(NamedTuple):
    """One client's connection."""

    descriptor: int
    peer: tuple[str, int]
    acknowledged: int  # bytes that the client has received since it connected
    stalled: bool  # bytes wait in the kernel to be sent, usually because the client has no room for them


class ClientSockets:
    """The connections that this process has accepted on a listening socket."""

    def __init__(
        self,
        listener: socket.socket,
        most_descriptors: int,
        descriptors: Path = Path("/proc/self/fd"),
        info_bytes: int = 148,
    ) -> None:
        """Prepare the search for connections among this process's descriptors, which the folder ``descriptors`` lists.

        If the folder can't be listed, the search tries all numbers below ``most_descriptors``. If the kernel returns
        fewer than ``info_bytes`` bytes of TCP_INFO, it is unknown how much clients have received.
        """
        self._family = listener.family
        self._port = listener.getsockname()[1]
        self._most_descriptors = most_descriptors
        self._descriptors = descriptors
        self._info_bytes = info_bytes
        self._warned = False

    def connections(self) -> Iterator[ClientConnection]:
        """Yield the connections in the order of their descriptors. Usually, older ones have lower descriptors."""
        descriptors: Iterable[int]
        try:
            descriptors = sorted(map(int, os.listdir(self._descriptors)))
        except OSError:  # listing the folder needs a descriptor, and all may be in use
            descriptors = range(self._most_descriptors)
        for descriptor in descriptors:
            try:
                with self._borrowed(descriptor) as connection:
                    if not self._is_ours(connection):
                        continue
                    peer = connection.getpeername()[:2]
                    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, self._info_bytes)
            except OSError:  # not a socket, not connected, or closed meanwhile
                continue
            acknowledged = not_sent = 0
            if len(info) >= self._info_bytes:
                (acknowledged,) = struct.unpack_from("=Q", info, _BYTES_ACKED)
                (not_sent,) = struct.unpack_from("=I", info, _NOT_SENT)
            elif not self._warned:
                self._warned = True
                _log.warning("the kernel does not report what clients have read: slow readers stay connected")
            yield ClientConnection(descriptor, peer, acknowledged, not_sent > 0)

    def shut_down(self, connection: ClientConnection) -> bool:
        """Shut a connection down, so that the HTTP server closes it. Return False if it is closed already."""
        with suppress(OSError), self._borrowed(connection.descriptor) as still:
            if self._is_ours(still) and still.getpeername()[:2] == connection.peer:
                still.shutdown(socket.SHUT_RDWR)
                return True
        return False

    @contextmanager
    def _borrowed(self, descriptor: int) -> Iterator[socket.socket]:
        """Return a context with a socket object for a descriptor; raises OSError if the descriptor is not a socket.

        The descriptor is not duplicated, because its number may meanwhile belong to SQLite's file. Closing a duplicate
        of that descriptor would release SQLite's locks.
        """
        borrowed = socket.socket(self._family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=descriptor)
        try:
            yield borrowed
        finally:
            borrowed.detach()

    def _is_ours(self, connection: socket.socket) -> bool:
        name = connection.getsockname()
        return isinstance(name, tuple) and name[1] == self._port  # a Unix socket's name is a string
