"""A server that accepts connections and sends senseless answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf

SENSELESS: dict[str, bytes] = {
    "silence": b"",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "noise": bytes(range(256)) * 16,
    "null": b"$-1\r\n",
    "a number": b":5\r\n",
    "a status": b"+OK\r\n",
    "a string": b"$3\r\nabc\r\n",
    "a list": b"*2\r\n$3\r\nabc\r\n:5\r\n",
    "an error": b"-ERR unknown command\r\n",
    "an endless string": b"$999999999\r\nabc",
    "a deep list": b"*1\r\n" * 10_000,
    "more than was asked": b"+OK\r\n+OK\r\n+OK\r\n",
}


@contextmanager
def garbage(answer: bytes, greeting: bytes = b"", greeted: float = inf) -> Iterator[int]:
    """Run a server that answers everything with ``answer``; yield its port.

    On each of the first ``greeted`` connections, the first answer is ``greeting``.
    """
    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(connection: socket.socket, number: int) -> None:
            with suppress(OSError), connection:
                reply = (greeting if number <= greeted else b"") or answer
                while connection.recv(65536):
                    connection.sendall(reply)
                    reply = answer

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connections.append(listener.accept()[0])
                    arguments = (connections[-1], len(connections))
                    threading.Thread(target=serve, args=arguments, daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            accepting.join()
