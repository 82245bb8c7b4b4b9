"""What the keys in Redis are called: in a namespace, those of results by the version that made them (ADR 20)."""

from __future__ import annotations

from hashlib import sha256

from pycalc.cache.codec import FORMAT


class Names:
    """The names of one namespace and version."""

    def __init__(self, namespace: str, version: str) -> None:
        self._namespace = namespace
        self._version = f"{version}.{FORMAT}"
        self.revocations = f"{namespace}:revocations"

    def label(self, key: str) -> bytes:
        """Return what a stored result is bound to by its digest; the key in full, however long."""
        return f"{self._namespace}:{self._version}:{key}".encode()

    def result(self, label: bytes) -> bytes:
        """Return the Redis key of a result."""
        return f"{self._namespace}:result:{self._version}:{sha256(label).hexdigest()[:40]}".encode()

    def lease(self, label: bytes) -> bytes:
        """Return the Redis key that says who makes a result."""
        return f"{self._namespace}:lease:{self._version}:{sha256(label).hexdigest()[:40]}".encode()

    def counters(self, limit: str) -> str:
        """Return the prefix of a limit's counters."""
        return f"{self._namespace}:limit:{limit}:"
