"""Exit with 0 if the service in this container is alive, else with 1. Imports are few, because this runs often."""

from __future__ import annotations

import os
import socket
import sys

SECONDS = 2.0
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

port = int(os.environ.get("PYCALC_PORT") or os.environ.get("PORT") or 8080)
try:
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        connection.sendall(REQUEST)
        answer = connection.recv(64)
except OSError as error:
    sys.exit(str(error))
sys.exit(0 if answer.startswith(b"HTTP/1.1 200 ") else f"not healthy: {answer!r}")
