"""A faulty HTTP proxy that runs in its own threads, for clients that block."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

_TIMEOUT = 60.0


class Fault(NamedTuple):
    """A fault for the next request whose path begins with ``path``.

    With ``answer``, the proxy sends these bytes instead of forwarding the request. Otherwise it forwards the request,
    and cuts the connection after ``cut`` bytes of the answer's body. If ``cut`` is negative, the client does not get
    the answer's header either.
    """

    path: str
    answer: bytes = b""
    cut: int | None = None


class FaultyProxy:
    """A proxy to a port of 127.0.0.1. It applies the faults in ``faults``, and forwards all other requests."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.url = ""
        self.faults: list[Fault] = []
        # The method, path and header fields of each request; the fields' names are in lower case.
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._lock = threading.Lock()

    def receive(self, method: str, path: str, headers: dict[str, str]) -> Fault | None:
        """Record a request; remove and return the first fault for its path, or return None if there is none."""
        with self._lock:
            self.requests.append((method, path, headers))
            fault = next((fault for fault in self.faults if path.startswith(fault.path)), None)
            if fault is not None:
                self.faults.remove(fault)
            return fault

    def headers_of(self, path: str) -> list[dict[str, str]]:
        """Return the header fields of each request whose path begins with ``path``."""
        return [headers for _, requested, headers in self.requests if requested.startswith(path)]


def refusal(status: str, *fields: str, body: str = "") -> bytes:
    """Return a response as bytes, for example ``refusal("503 Service Unavailable", "Retry-After: 0")``."""
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}", "", body]).encode()


@contextmanager
def faulty_proxy(port: int) -> Iterator[FaultyProxy]:
    """Run a faulty proxy to a port of 127.0.0.1."""
    proxy = FaultyProxy(port)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            fault = proxy.receive(self.command, self.path, headers)
            if fault is not None and fault.answer:
                self.wfile.write(fault.answer)
                return
            with closing(HTTPConnection("127.0.0.1", proxy.target, timeout=_TIMEOUT)) as upstream:
                upstream.request(self.command, self.path, body, headers)
                self._answer(upstream, None if fault is None else fault.cut)

        def _answer(self, upstream: HTTPConnection, cut: int | None) -> None:
            response = upstream.getresponse()
            self.close_connection = cut is not None or response.getheader("content-length") is None
            if cut is not None and cut < 0:
                return
            self.send_response_only(response.status)
            for name, value in response.getheaders():
                if name != "transfer-encoding":
                    self.send_header(name, value)
            self.end_headers()
            left = cut
            while left != 0 and (data := response.read1(65536 if left is None else min(left, 65536))):
                self.wfile.write(data)
                left = None if left is None else left - len(data)

        do_GET = do_POST = do_DELETE = forward  # noqa: N815  # the names that the handler looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Suppress the server's log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        proxy.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
