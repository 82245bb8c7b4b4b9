"""Contract tests for every cache backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis as Client

from pycalc.cache import open_cache
from pycalc.cache.base import Cache
from pycalc.observability.metrics import Metrics
from tests.conftest import require_program
from tests.contract.backends import CACHES, each
from tests.harness.fake_redis import FakeRedis, fake_redis
from tests.harness.redis import AnyRedis, Redis, redis
from tests.harness.results import digits, result
from tests.harness.waiting import found

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patience")]


@pytest.fixture(scope="module")
def small_redis() -> Iterator[Redis]:
    """Run a Redis that has room for about a megabyte of data and evicts the least recently used keys."""
    require_program("redis-server")
    with redis("--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru", "--maxmemory-samples", "64") as running:
        yield running


@pytest.fixture(scope="module")
def small_fake_redis() -> Iterator[FakeRedis]:
    """Run a fake Redis that has room for a megabyte of data."""
    with fake_redis(1_000_000) as running:
        yield running


@pytest.fixture(params=each(CACHES))
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    """Open an empty cache that has room for about a megabyte of data."""
    url = CACHES[request.param]
    if "{port}" in url:
        small = "small_fake_redis" if request.param.startswith("fake") else "small_redis"
        server: AnyRedis = request.getfixturevalue(small)
        with Client(port=server.port) as client:
            client.flushall()
        url = url.format(port=server.port)
    opened = await open_cache(url, Metrics())
    yield opened
    await opened.aclose()


async def test_what_was_put_in_comes_out(cache: Cache) -> None:
    """A stored result is returned unchanged; another key has no result."""
    kept = result()
    await cache.put("fibonacci:10", kept)
    assert await found(lambda: cache.get("fibonacci:10"), "the result") == kept
    assert await cache.get("fibonacci:11") is None


@pytest.mark.parametrize("size", [1, 4_096, 4_097, 65_537, 200_000])
async def test_results_of_every_size_come_out(cache: Cache, size: int) -> None:
    """Results of every size are returned unchanged, whether stored plain, compressed, or compressed in a thread."""
    kept = result(digits(size))
    await cache.put("pow:3:1", kept)
    assert await found(lambda: cache.get("pow:3:1"), "the result") == kept


async def test_the_last_one_put_in_counts(cache: Cache) -> None:
    """A key holds the result that was stored last."""
    first, second = result(b"1"), result(b"2")
    await cache.put("fibonacci:10", first)
    await cache.put("fibonacci:10", second)
    await cache.put("fibonacci:11", second)
    assert await found(lambda: cache.get("fibonacci:11"), "the last one") == second
    assert await cache.get("fibonacci:10") == second


async def test_the_cache_is_bounded_in_bytes(cache: Cache) -> None:
    """A cache with room for a megabyte keeps only a part of 12 MB of results; a result just stored is found."""
    for n in range(120):
        await cache.put(f"factorial:{n}", result(digits(100_000, seed=n)))
        if n % 10 == 9:
            await found(lambda n=n: cache.get(f"factorial:{n}"), "the last one")  # type: ignore[misc]

    async def part() -> list[int] | None:
        kept = [n for n in range(120) if await cache.get(f"factorial:{n}") is not None]
        return kept if 1 <= len(kept) <= 60 else None

    await found(part, "all results are stored, and only a part is kept")


async def test_a_ping_is_answered(cache: Cache) -> None:
    """An open cache answers a ping."""
    await cache.ping()


async def test_an_unknown_scheme_is_a_sentence() -> None:
    """The error for a URL with an unknown scheme names the setting, the scheme and the known ones."""
    with pytest.raises(ValueError, match=r"PYCALC_CACHE_URL.*'nowhere'.*memory"):
        await open_cache("nowhere://host", Metrics())


@pytest.mark.parametrize("option", ["ttl=1", "ttl=999999999999999", "max_value=1", "max_bytes=0"])
async def test_an_option_at_its_bound_is_taken(option: str) -> None:
    """A Redis URL is accepted if an option has the lowest or the highest allowed value."""
    await (await open_cache(f"redis://127.0.0.1:1/0?{option}", Metrics())).aclose()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("memory://?max_bytes=-1", "max_bytes must be a whole number from 0"),
        ("memory://?size=1", "an unknown option; known: max_bytes"),
        ("redis://127.0.0.1:1/?max_value=0", "max_value must be a whole number from 1"),
        ("redis://127.0.0.1:1/?ttl=0", "ttl must be a whole number from 1"),
        ("redis://127.0.0.1:1/?ttl=1000000000000000", "ttl must be a whole number from 1"),
        ("redis://127.0.0.1:1/?ttl=-1", "ttl must be a whole number from 1"),
        ("redis://127.0.0.1:1/?ttl=1&ttl=2", "'ttl' is given more than once"),
        ("redis://127.0.0.1:1/first", "the number of a database"),
        ("redis://127.0.0.1:1/?ssl_check_hostname=false", "rediss:// only"),
        ("rediss://127.0.0.1:1/?ssl_check_hostname=perhaps", "true or false"),
        ("redis://127.0.0.1:port/", "the port must be a number"),
        ("redis://:hush#@127.0.0.1:1/0", "written %40, %2F, %3F and %23"),
        ("redis://:1#hush@127.0.0.1:1/0", "written %40, %2F, %3F and %23"),
        ("redis://:1?hush@127.0.0.1:1/0", "written %40, %2F, %3F and %23"),
        ("redis://:1/hush@127.0.0.1:1/0", "written %40, %2F, %3F and %23"),
        ("redis://:1@hush@127.0.0.1:1/0", "written %40, %2F, %3F and %23"),
        ("redis://:hush\N{ACCOUNT OF}@127.0.0.1:1/0", "not a valid URL"),
        ("redis://:[hush]@127.0.0.1:1/0", "not a valid URL"),
        ("redis://ada:hush/0", "the port must be a number"),
        ("redis//:hush@127.0.0.1:1/0", "no cache for ''"),
        ("redis://ada:1/a?hush@127.0.0.1:1/0", "written %40, %2F, %3F and %23"),
        ("redis://ada:1/a?ttl=hush@127.0.0.1:1/0", "written %40, %2F, %3F and %23"),
    ],
)
async def test_a_bad_option_is_a_sentence(url: str, sentence: str) -> None:
    """The error for an invalid URL begins with the setting's name and does not contain the password."""
    with pytest.raises(ValueError, match=sentence) as refusal:
        await open_cache(url, Metrics())
    assert str(refusal.value).startswith("PYCALC_CACHE_URL: ")
    assert "hush" not in str(refusal.value)
