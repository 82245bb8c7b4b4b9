"""What every cache promises."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pycalc.cache import open_cache
from pycalc.cache.base import Cache
from pycalc.models.results import Facts, Result
from pycalc.observability.metrics import Metrics
from tests.contract.backends import CACHES

pytestmark = pytest.mark.anyio


def result(text: bytes = b"55") -> Result:
    """Return a result with this text."""
    facts = Facts(text.decode()[:1_000], str(len(text)), True, "55", "55", bytes(32))
    return Result(text, facts, b'"result":', b',"cached":')


@pytest.fixture(params=CACHES)
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    """Open an empty cache of about a megabyte."""
    opened = await open_cache(CACHES[request.param], Metrics())
    yield opened
    await opened.aclose()


async def test_what_was_put_in_comes_out(cache: Cache) -> None:
    """A result comes back equal in every part; another key has nothing."""
    kept = result()
    await cache.put("fibonacci:10", kept)
    assert await cache.get("fibonacci:10") == kept
    assert await cache.get("fibonacci:11") is None


async def test_the_last_one_put_in_counts(cache: Cache) -> None:
    """A key has one value."""
    await cache.put("fibonacci:10", result(b"1"))
    await cache.put("fibonacci:10", result(b"2"))
    kept = await cache.get("fibonacci:10")
    assert kept is not None
    assert kept.text == b"2"


async def test_the_cache_is_bounded_in_bytes(cache: Cache) -> None:
    """Of thirty results of 100 kB no more than ten fit into a megabyte; the one asked for last is among them."""
    for n in range(30):
        await cache.put(f"factorial:{n}", result(b"9" * 100_000))
    kept = [n for n in range(30) if await cache.get(f"factorial:{n}") is not None]
    assert 1 <= len(kept) <= 10
    assert 29 in kept


async def test_a_ping_is_answered(cache: Cache) -> None:
    """An open cache answers."""
    await cache.ping()


async def test_an_unknown_scheme_is_a_sentence() -> None:
    """The refusal names the setting and what there is."""
    with pytest.raises(ValueError, match=r"PYCALC_CACHE_URL.*'nowhere'.*memory"):
        await open_cache("nowhere://host", Metrics())
