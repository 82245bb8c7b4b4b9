"""Names of keys in Redis: each has a namespace, and those of results have the arithmetic's version (ADR 20)."""

from __future__ import annotations

from hashlib import sha256

from pycalc.cache.codec import FORMAT


class Names:
    """The names of one namespace and version."""

    def __init__(self, namespace: str, version: str) -> None:
        self._namespace = namespace
        self._version = f"{version}.{FORMAT}"
        self._results = f"{namespace}:result:{self._version}:".encode()
        self._leases = f"{namespace}:lease:{self._version}:".encode()
        self.revocations = f"{namespace}:revocations"

    def label(self, key: str) -> bytes:
        """Return the label that a stored result's digest covers: namespace, version and the full key."""
        return f"{self._namespace}:{self._version}:{key}".encode()

    def result(self, label: bytes) -> bytes:
        """Return the Redis key of a result."""
        return self._results + sha256(label).hexdigest()[:40].encode()

    def lease(self, result: bytes) -> bytes:
        """Return the Redis key of the lease on the result of a Redis key."""
        return self._leases + result.removeprefix(self._results)

    def counters(self, limit: str) -> str:
        """Return the prefix of a limit's counters."""
        return f"{self._namespace}:limit:{limit}:"
