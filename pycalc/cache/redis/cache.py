"""A cache in Redis, one for several processes, with one in this process in front of it (ADR 20)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from math import inf
from typing import Any

from redis.exceptions import OutOfMemoryError
from structlog import get_logger

from pycalc.cache.base import CounterStore, Leases, RevocationNotifications
from pycalc.cache.codec import DIGITS_RATIO, TooLong, decode
from pycalc.cache.memory import DEFAULT_MAX_BYTES, MemoryCache
from pycalc.cache.redis.client import DEFAULT_TIMES, RedisClient, Times
from pycalc.cache.redis.counters import RedisCounters
from pycalc.cache.redis.leases import RedisLeases
from pycalc.cache.redis.names import Names
from pycalc.cache.redis.notifications import RedisRevocationNotifications
from pycalc.cache.redis.writer import INLINE_BYTES, Writer
from pycalc.errors import CacheUnavailable
from pycalc.models.results import Result
from pycalc.observability.metrics import Metrics
from pycalc.urls import split_url, url_options, whole_option

_OPTIONS = {"max_bytes", "max_value", "namespace", "ssl_ca_certs", "ssl_check_hostname", "ttl"}
_MAX_VALUE = 1024 * 1024
_TTL_SECONDS = 24 * 3600
# Host and port at the end of a URL's authority. Other text there may belong to the password: no message shows it.
_HOST_AND_PORT = r"(\[[^\]]*\]|[^:]*)(:\d*)?"
_WORTH_SECONDS = 0.0001
"""Cheaper results are neither looked up in Redis nor stored there: computing them is faster than asking."""
_PROBE_SECONDS = 1

_log = get_logger(__name__)


class RedisCache:
    """A Cache that is Shared, with a local tier in this process in front of Redis."""

    def __init__(
        self, client: RedisClient, near: MemoryCache, names: Names, metrics: Metrics, *, max_value: int, ttl: int
    ) -> None:
        """``max_value`` bounds a result in bytes, as it is stored; ``ttl`` is in seconds."""
        self._client = client
        self._near = near
        self._names = names
        self._longest = int(max_value / DIGITS_RATIO)
        self._writer = Writer(client, metrics, ttl_ms=ttl * 1000, max_value=max_value)
        self._revocations = RedisRevocationNotifications(client, names.revocations)
        self._leases = RedisLeases(client, self._writer, names, self._accept)
        self._hits = metrics.cache_shared_hits
        self._damaged = metrics.cache_damaged

    @classmethod
    async def of_url(
        cls, url: str, metrics: Metrics, version: Callable[[], str], times: Times = DEFAULT_TIMES
    ) -> RedisCache:
        """Open what ``redis://[user:password@]host:port/db?options`` describes; raises ValueError."""
        options = url_options(url, _OPTIONS)
        near = MemoryCache(whole_option(options, "max_bytes", DEFAULT_MAX_BYTES), metrics)
        max_value, ttl = (
            whole_option(options, "max_value", _MAX_VALUE, 1),
            whole_option(options, "ttl", _TTL_SECONDS, 1),
        )
        client = RedisClient(_server(url), metrics, times, **_tls(url, options))
        names = Names(options.get("namespace", "pycalc"), version())
        await client.breaker.begin()
        return cls(client, near, names, metrics, max_value=max_value, ttl=ttl)

    @property
    def revocations(self) -> RevocationNotifications:
        return self._revocations

    @property
    def leases(self) -> Leases:
        return self._leases

    def counters(self, name: str) -> CounterStore:
        return RedisCounters(self._client, self._names.counters(name))

    async def get(self, key: str, cost: float = inf) -> Result | None:
        result = await self._near.get(key)
        if result is not None or cost < _WORTH_SECONDS:
            return result
        name = self._names.result(self._names.label(key))
        return await self._accept(key, await self._client.ask(self._client.redis.get, name))

    async def put(self, key: str, result: Result, cost: float = inf) -> None:
        await self._near.put(key, result)
        if cost >= _WORTH_SECONDS:
            label = self._names.label(key)
            self._writer.put(self._names.result(label), label, result)

    async def ping(self) -> None:
        """Check that Redis reads, stores and runs scripts; raises CacheUnavailable if not.

        A server may answer PING and refuse all else: to a user without rights, or as a cluster without slots. One
        that is full refuses to store, but its values are found, so it counts as well.
        """
        name, redis = self._names.result(b"probe"), self._client.redis
        for answer in await asyncio.gather(
            self._client.ask(redis.get, name),
            self._client.ask(redis.set, name, b"", ex=_PROBE_SECONDS),
            self.counters("probe").spend("probe", _PROBE_SECONDS, 0, 1),
            return_exceptions=True,
        ):
            if isinstance(answer, BaseException) and not isinstance(answer.__cause__, OutOfMemoryError):
                raise answer

    async def aclose(self) -> None:
        await self._revocations.aclose()
        self._leases.close()
        await self._writer.aclose()
        await self._client.aclose()
        await self._near.aclose()

    async def _accept(self, key: str, stored: Any) -> Result | None:
        """Return the result in an answer to GET, None for a damaged value, which will be overwritten.

        Raises CacheUnavailable for a result that is too long for this process, but may be good for others.
        """
        if stored is None:
            return None
        if not isinstance(stored, bytes):
            raise self._client.unexpected_reply("a value is no string")
        label = self._names.label(key)
        try:
            if len(stored) > INLINE_BYTES:
                result = await asyncio.to_thread(decode, label, stored, self._longest)
            else:
                result = decode(label, stored, self._longest)
        except TooLong as error:
            raise CacheUnavailable("The cached result is longer than max_value lets it be.") from error
        except ValueError as error:
            self._damaged.inc()
            _log.warning("a cached value is damaged", reason=str(error))
            return None
        self._hits.inc()
        await self._near.put(key, result)
        return result


def _server(url: str) -> str:
    """Return the part of a URL that the driver reads; raises ValueError where the driver would guess."""
    parts = split_url(url)
    if not re.fullmatch(_HOST_AND_PORT, parts.netloc.rpartition("@")[2]):
        raise ValueError("the port must be a number, and special characters of a password percent-encoded")
    if not re.fullmatch(r"(/\d*)?", parts.path):
        raise ValueError("the path must be the number of a database, such as /0")
    return parts._replace(query="", fragment="").geturl()


def _tls(url: str, options: dict[str, str]) -> dict[str, object]:
    """Return the driver's options for certificates; raises ValueError where the URL uses none."""
    chosen: dict[str, object] = {name: value for name, value in options.items() if name.startswith("ssl_")}
    if chosen and split_url(url).scheme != "rediss":
        raise ValueError(f"{', '.join(chosen)} is for rediss:// only")
    if "ssl_check_hostname" in chosen:
        if chosen["ssl_check_hostname"] not in ("true", "false"):
            raise ValueError("ssl_check_hostname must be true or false")
        chosen["ssl_check_hostname"] = chosen["ssl_check_hostname"] == "true"
    return chosen
