"""Every backend of each kind: a new one is a line here, and keeps all the promises of its kind's contract tests."""

from __future__ import annotations

CACHES: dict[str, str] = {
    "memory": "memory://?max_bytes=1000000",
    "redis": "redis://127.0.0.1:{port}/0?max_bytes=1000000",
    "redis alone": "redis://127.0.0.1:{port}/0?max_bytes=0",
}
"""Each of about a megabyte, at the port of a Redis that holds no more and evicts."""
STREAMS: dict[str, str] = {"memory": "memory://"}
DATABASES = ("sqlite", "postgresql")
