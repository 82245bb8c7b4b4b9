"""Connections from one address to a real server: they leave some connections to other addresses."""

from __future__ import annotations

import http.client
import socket
import sys
from contextlib import ExitStack, closing, suppress

import httpx

from tests.harness.metrics import metric
from tests.harness.servers import pycalc
from tests.harness.waiting import wait_until

# The server's limit of file descriptors. The server accepts half as many connections.
_DESCRIPTORS = 400
_CONNECTIONS = 200
_LIMITED = (
    "import os, resource, sys;"
    f"resource.setrlimit(resource.RLIMIT_NOFILE, ({_DESCRIPTORS}, {_DESCRIPTORS}));"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def test_an_address_without_an_account_does_not_take_every_connection() -> None:
    """While one address tries to hold all connections with unfinished requests, another address is answered."""
    with pycalc(prefix=(sys.executable, "-c", _LIMITED)) as server, ExitStack() as stack:
        for _ in range(_CONNECTIONS + 20):
            half = stack.enter_context(socket.socket())
            half.settimeout(1)
            with suppress(OSError):
                half.connect(("127.0.0.1", server.port))
                half.sendall(b"GET /healthz HTTP/1.1\r\n")
        other = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60, source_address=("127.0.0.2", 0))
        with closing(other):
            other.request("GET", "/healthz")
            response = other.getresponse()
            assert (response.status, response.read()) == (200, b'{"status":"ok"}')
        with httpx.Client(base_url=server.url, timeout=60) as client:
            wait_until(lambda: metric(client, "pycalc_connections_cut_total", reason="address") > 0, "some are ended")
