"""Every backend of each kind: a new one is a line here, and keeps all the promises of its kind's contract tests."""

from __future__ import annotations

CACHES: dict[str, str] = {"memory": "memory://?max_bytes=1000000"}
STREAMS: dict[str, str] = {"memory": "memory://"}
DATABASES = ("sqlite", "postgresql")
