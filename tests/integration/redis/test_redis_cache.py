"""The cache in Redis: sharing between instances, detection of damage, and the limited cost of a failing Redis."""

from __future__ import annotations

import asyncio
import gc
import secrets
import threading
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Client

from pycalc.cache import codec
from pycalc.cache.base import LOCAL_TIER
from pycalc.cache.breaker import CircuitState
from pycalc.cache.redis import cache as redis_cache
from pycalc.cache.redis.cache import RedisCache
from pycalc.cache.redis.client import Times
from pycalc.errors import CacheUnavailable
from pycalc.models.results import Result
from tests.harness.caches import opened
from tests.harness.certificates import self_signed
from tests.harness.counting import spend_one
from tests.harness.garbage import SENSELESS, garbage
from tests.harness.proxy import proxy
from tests.harness.redis import AnyRedis, Redis, redis
from tests.harness.results import digits, result
from tests.harness.servers import free_port
from tests.harness.waiting import found, until

pytestmark = pytest.mark.anyio

# The deadline for work that must end by itself.
SECONDS = 15.0


@pytest.mark.programs
@pytest.mark.usefixtures("patience")
class TestRefusals:
    """A Redis that answers PING but refuses other commands."""

    @pytest.mark.parametrize(
        ("rights", "words"),
        [
            ("~* +ping", "no permissions to run the 'get' command"),
            ("~* +@all -set", "no permissions to run the 'set' command"),
            ("~* +@all -eval -evalsha", "no permissions to run the 'evalsha' command"),
            ("~other:* +@all", "no permissions to access"),
        ],
    )
    async def test_a_user_without_rights_fails_the_ping(self, real_redis: Redis, rights: str, words: str) -> None:
        """If the Redis user lacks a right, the cache's ``ping`` fails with Redis's message; otherwise it succeeds."""
        name = f"user-{secrets.token_hex(4)}"
        url = f"redis://{name}:secret@127.0.0.1:{real_redis.port}/0"
        with Client(port=real_redis.port) as admin:
            admin.execute_command("ACL", "SETUSER", name, "on", ">secret", *rights.split())
            async with opened(url) as here:
                with pytest.raises(CacheUnavailable, match=f"^Redis refuses a command: .*{words}"):
                    await here.cache.ping()
                admin.execute_command("ACL", "SETUSER", name, "~*", "+@all")
                await here.cache.ping()

    async def test_a_cluster_without_slots_fails_the_ping(self) -> None:
        """If Redis is a cluster without slots, the cache's ``ping`` fails."""
        with redis("--cluster-enabled", "yes") as cluster:
            async with opened(cluster.url) as here:
                with pytest.raises(CacheUnavailable, match=r"^Redis refuses a command: .*[Hh]ash slot not served"):
                    await here.cache.ping()

    async def test_a_full_redis_passes_the_ping(self) -> None:
        """If Redis has no memory for new results, the cache's ``ping`` succeeds."""
        with redis("--maxmemory", "1", "--maxmemory-policy", "noeviction") as full:
            async with opened(full.url) as here:
                await here.cache.ping()


@pytest.mark.usefixtures("patience")
class TestSharing:
    """Several instances that share one Redis."""

    async def test_what_one_makes_the_other_finds(self, redis_url: str) -> None:
        """A result of one instance is found by the other, which keeps it in its local tier for the next look-up."""
        kept = result(digits(100_000))
        async with opened(redis_url) as here, opened(redis_url) as there:
            await here.cache.put("fibonacci:1", kept)
            assert await found(lambda: there.cache.get("fibonacci:1"), "the result") == kept
            assert await there.cache.get("fibonacci:1", LOCAL_TIER) == kept
            assert there.metric("pycalc_cache_shared_hits_total") == 1

    async def test_versions_and_namespaces_are_apart(self, redis_url: str) -> None:
        """Results of another version of the arithmetic, or in another namespace, are not found."""
        async with (
            opened(redis_url, "1") as first,
            opened(redis_url, "2") as second,
            opened(redis_url + "x", "1") as elsewhere,
            opened(redis_url, "1") as third,
        ):
            await first.cache.put("fibonacci:1", result())
            assert await found(lambda: third.cache.get("fibonacci:1"), "the result")
            assert await second.cache.get("fibonacci:1") is None
            assert await elsewhere.cache.get("fibonacci:1") is None

    async def test_quick_results_are_not_stored(self, redis_url: str) -> None:
        """A result that takes less than a tenth of a millisecond is not stored in Redis."""
        async with opened(redis_url) as here, opened(redis_url) as there:
            await here.cache.put("fibonacci:1", result(), 0.00005)
            await here.cache.put("fibonacci:2", result(), 0.0002)
            assert await found(lambda: there.cache.get("fibonacci:2", 0.0002), "the result")
            assert await there.cache.get("fibonacci:1") is None
            assert await here.cache.get("fibonacci:1", LOCAL_TIER) == result()

    async def test_quick_results_are_not_looked_up(self, redis_server: AnyRedis, redis_url: str) -> None:
        """Results that take less than a tenth of a millisecond are not looked up in Redis, longer ones are."""
        async with (
            proxy(redis_server.port) as between,
            opened(redis_url.replace(str(redis_server.port), str(between.port))) as there,
        ):
            for cost in (LOCAL_TIER, 0.00005, 0.0002):
                assert await there.cache.get("fibonacci:1", cost) is None
            assert b"".join(between.received).count(b"GET") == 1

    async def test_results_expire(self, redis_server: AnyRedis, redis_url: str) -> None:
        """Each key has the time to live that the URL states."""
        async with opened(f"{redis_url}&ttl=100") as here:
            await here.cache.put("fibonacci:1", result())
            with Client(port=redis_server.port) as client:
                (key,) = await keys(client, redis_url)
                assert 90_000 < client.pttl(key) <= 100_000

    async def test_what_is_too_long_is_not_stored(self, redis_server: AnyRedis, redis_url: str) -> None:
        """The limit ``max_value`` applies to the encoded size: 20,000 digits fit into 10,000 bytes, 23,000 do not."""
        async with opened(f"{redis_url}&max_value=10000") as here:
            assert here.cache.is_storable(20_000)
            assert not here.cache.is_storable(30_000)
            for n in (30_000, 23_000, 20_000):
                await here.cache.put(f"pow:{n}:1", result(digits(n)))
            with Client(port=redis_server.port) as client:
                (key,) = await keys(client, redis_url)
                assert 8_300 < client.strlen(key) <= 10_000
            assert here.metric("pycalc_cache_dropped_total", reason="size") == 2

    async def test_what_can_t_be_stored_stops_nothing(self, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """If storing a result fails unexpectedly, the result is dropped and counted, and the next one is stored."""

        def failing(name: bytes, kept: Result) -> bytes:
            if kept.text == b"5":
                raise MemoryError
            return codec.encode(name, kept)

        monkeypatch.setattr(redis_cache, "encode", failing)
        async with opened(redis_url) as here, opened(redis_url) as there:
            await here.cache.put("pow:1:1", result(b"5"))
            await here.cache.put("pow:2:1", result(b"6"))
            assert await found(lambda: there.cache.get("pow:2:1"), "the next result") == result(b"6")
            assert here.metric("pycalc_cache_dropped_total", reason="failed") == 1

    async def test_one_round_trip_for_each_miss(self, redis_server: AnyRedis, redis_url: str) -> None:
        """A cache miss sends one command to Redis; 200 concurrent misses use at most 32 connections."""
        async with opened(redis_url) as here:
            with Client(port=redis_server.port) as client:
                before: Any = client.info("stats")
                assert await asyncio.gather(*(here.cache.get(f"pow:{n}:1") for n in range(200))) == [None] * 200
                after: Any = client.info("stats")
        assert after["total_commands_processed"] - before["total_commands_processed"] == 200 + 1
        assert after["total_connections_received"] - before["total_connections_received"] < 32

    @pytest.mark.parametrize(("size", "inline"), [(10_000, True), (200_000, False)])
    async def test_long_results_don_t_hold_the_event_loop(
        self, redis_url: str, monkeypatch: pytest.MonkeyPatch, size: int, inline: bool
    ) -> None:
        """Results of 200,000 digits are encoded and decoded in another thread, those of 10,000 on the event loop."""
        on_loop: list[bool] = []

        def noting(work: Callable[..., Any]) -> Callable[..., Any]:
            def noted(*arguments: object) -> object:
                on_loop.append(threading.current_thread() is threading.main_thread())
                return work(*arguments)

            return noted

        monkeypatch.setattr(redis_cache, "encode", noting(codec.encode))
        monkeypatch.setattr(redis_cache, "decode", noting(codec.decode))
        async with opened(redis_url) as here, opened(redis_url) as there:
            await here.cache.put("pow:3:1", result(digits(size)))
            await found(lambda: there.cache.get("pow:3:1"), "the result")
        assert on_loop == [inline, inline]

    @pytest.mark.programs
    async def test_over_tls(self, tmp_path: Path) -> None:
        """Over TLS the certificate is checked against the given authority and, by default, the host's name."""
        certificate = tmp_path / "certificate.pem"
        identity = self_signed(certificate, tmp_path / "identity.pem")
        port = free_port()
        files = ("--tls-cert-file", identity, "--tls-key-file", identity, "--tls-ca-cert-file", certificate)
        with redis("--tls-port", str(port), "--tls-auth-clients", "no", *map(str, files), "--requirepass", "pass@word"):
            url = f"rediss://:pass%40word@127.0.0.1:{port}/0"
            async with opened(f"{url}?ssl_ca_certs={certificate}") as trusting:
                await trusting.cache.ping()
            misnamed = f"{url.replace('127.0.0.1', 'localhost')}?ssl_ca_certs={certificate}"
            async with opened(f"{misnamed}&ssl_check_hostname=false") as lenient:
                await lenient.cache.ping()
            for refused in (url, misnamed):
                async with opened(refused) as suspicious:
                    await suspicious.refused()


async def keys(client: Any, url: str) -> list[bytes]:
    """Return the keys of a namespace's results, once there is at least one."""
    namespace = url.partition("namespace=")[2].partition("&")[0]
    found_keys: list[bytes] = []

    def stored() -> bool:
        found_keys[:] = client.keys(f"{namespace}:result:*")
        return bool(found_keys)

    await until(stored, "something is stored")
    return found_keys


@pytest.mark.usefixtures("patience")
class TestDamage:
    """Damaged and foreign values in Redis."""

    @pytest.mark.parametrize(
        "damage",
        [
            lambda value: value[:-1] + bytes([value[-1] ^ 1]),
            lambda value: value[:40],
            lambda value: b"",
            lambda value: b"354224848179261915075",
            lambda value: bytes(1_000_000),
        ],
        ids=["a bit", "cut off", "empty", "foreign", "long"],
    )
    async def test_a_damaged_value_is_none_and_is_overwritten(
        self, redis_server: AnyRedis, redis_url: str, damage: Callable[[bytes], bytes]
    ) -> None:
        """A damaged value is counted and treated as a miss, and the next result replaces it."""
        kept = result(digits(50_000))
        async with opened(redis_url) as here, opened(f"{redis_url}&max_bytes=0") as there:
            await here.cache.put("fibonacci:1", kept)
            with Client(port=redis_server.port) as client:
                (key,) = await keys(client, redis_url)
                value: Any = client.get(key)
                client.set(key, damage(value))
                assert await there.cache.get("fibonacci:1") is None
                assert there.metric("pycalc_cache_damaged_total") == 1
                await here.cache.put("fibonacci:1", kept)
                assert await found(lambda: there.cache.get("fibonacci:1"), "the result") == kept

    async def test_what_is_too_long_here_is_left_to_others(self, redis_server: AnyRedis, redis_url: str) -> None:
        """A value above this instance's max_value is left in Redis, because other instances may accept it."""
        kept = result(digits(50_000))
        async with (
            opened(f"{redis_url}&max_bytes=0") as here,
            opened(f"{redis_url}&max_value=10000") as there,
        ):
            await here.cache.put("fibonacci:1", kept)
            await found(lambda: here.cache.get("fibonacci:1"), "the result")
            await there.refused("fibonacci:1")
            with pytest.raises(CacheUnavailable):
                await there.cache.claim("fibonacci:1").take()
            await there.cache.ping()
            assert await here.cache.get("fibonacci:1") == kept
            assert there.metric("pycalc_cache_damaged_total") == 0
            assert there.metric("pycalc_cache_circuit_opened_total") == 0

    async def test_another_keys_value_is_none(self, redis_server: AnyRedis, redis_url: str) -> None:
        """A value that is valid for another key is treated as damaged."""
        async with opened(redis_url) as here, opened(f"{redis_url}&max_bytes=0") as there:
            await here.cache.put("fibonacci:1", result(b"1"))
            with Client(port=redis_server.port) as client:
                (first,) = await keys(client, redis_url)
                await here.cache.put("fibonacci:2", result(b"2"))
                await found(lambda: there.cache.get("fibonacci:2"), "the other result")
                (second,) = {*await keys(client, redis_url)} - {first}
                value: Any = client.get(first)
                client.set(second, value)
                assert await there.cache.get("fibonacci:2") is None
                assert await there.cache.get("fibonacci:1") == result(b"1")

    async def test_a_value_of_another_kind_is_refused(self, redis_server: AnyRedis, redis_url: str) -> None:
        """If Redis has a list in place of a value, the look-up fails, but the circuit stays closed."""
        async with opened(redis_url) as here, opened(f"{redis_url}&max_bytes=0") as there:
            await here.cache.put("fibonacci:1", result())
            with Client(port=redis_server.port) as client:
                (key,) = await keys(client, redis_url)
                client.delete(key)
                client.lpush(key, "5")
            with pytest.raises(CacheUnavailable):
                await there.cache.get("fibonacci:1")
            await there.cache.ping()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow a quarter of a second for each reply, because these tests do not judge time limits."""
    monkeypatch.setattr(RedisCache, "of_url", partial(RedisCache.of_url, times=Times(answer=0.25)))


STEPS: dict[str, Callable[[RedisCache], Awaitable[object]]] = {
    "look up": lambda cache: cache.get("fibonacci:1"),
    "claim": lambda cache: cache.claim("fibonacci:1").take(),
    "spend": lambda cache: spend_one(cache.counters("calculations"), "ada", 1, 10),
}
# The expected results of replies that a real Redis might send too; a damaged value counts as a miss.
MEANT: dict[tuple[str, str], object] = {
    ("null", "look up"): None,
    **{
        (answer, step): meant
        for answer in ("a status", "a string", "more than was asked")
        for step, meant in (("look up", None), ("claim", False))
    },
}


class TestOutages:
    """A Redis that fails in several ways."""

    async def test_hanging(self, own_real_redis: Redis) -> None:
        """If Redis hangs, look-ups fail at once after three timeouts, until Redis replies again.

        The timeouts of concurrent look-ups count as one.
        """
        async with opened(own_real_redis.url) as there:
            for _ in range(3):
                await there.healed()
                own_real_redis.pause()
                await asyncio.gather(*(there.refused(f"pow:{n}:1") for n in range(20)))
                assert there.metric("pycalc_cache_circuit") == 0
                for _ in range(2):
                    await there.refused()
                for _ in range(100):
                    there.refused_at_once()
                assert there.metric("pycalc_cache_circuit") > 0
                own_real_redis.resume()

    @pytest.mark.usefixtures("unhurried")
    async def test_hanging_for_a_moment(self, own_redis: AnyRedis) -> None:
        """A late reply is not taken for the reply to a later command; a single late reply leaves the circuit closed."""
        async with opened(own_redis.url) as there:
            await there.cache.put("fibonacci:1", result(b"1"))
            await there.cache.put("fibonacci:2", result(b"2"))
            await until(lambda: own_keys(own_redis) == 2, "both are stored")
            own_redis.pause()
            there.cache._local._entries.clear()
            await there.refused("fibonacci:1")
            own_redis.resume()
            await there.healed()
            assert await there.cache.get("fibonacci:2") == result(b"2")
            assert await there.cache.get("fibonacci:1") == result(b"1")
            assert there.metric("pycalc_cache_circuit_opened_total") == 0

    async def test_killed(self, own_redis: AnyRedis) -> None:
        """After Redis is killed, look-ups fail at once; after each restart it is used again."""
        async with opened(own_redis.url) as there:
            for _ in range(3):
                own_redis.kill()
                await there.refused()
                assert there.metric("pycalc_cache_circuit") == 2
                for _ in range(100):
                    there.refused_at_once()
                await there.cache.put("fibonacci:1", result())
                own_redis.start()
                await there.healed()
            assert there.metric("pycalc_cache_dropped_total", reason="circuit") == 3

    async def test_refused_from_the_start(self, own_redis: AnyRedis) -> None:
        """The cache can be opened without Redis, and uses it as soon as it is there."""
        own_redis.stop()
        async with opened(own_redis.url) as there:
            there.refused_at_once()
            own_redis.start()
            await there.healed()

    async def test_silent_from_the_start(self) -> None:
        """If the server is silent, opening the cache takes only a limited time."""
        with garbage(b"") as port:
            async with asyncio.timeout(SECONDS), opened(f"redis://:password@127.0.0.1:{port}/0") as there:
                there.refused_at_once()

    @pytest.mark.usefixtures("unhurried")
    async def test_full(self, own_redis: AnyRedis) -> None:
        """If Redis is full, new results are dropped, stored ones are found, and the circuit stays closed."""
        async with opened(own_redis.url) as here, opened(f"{own_redis.url}?max_bytes=0") as there:
            await here.cache.put("fibonacci:1", result())
            await until(lambda: own_keys(own_redis) == 1, "it is stored")
            with Client(port=own_redis.port) as client:
                client.config_set("maxmemory", "1")
                await here.cache.put("fibonacci:2", result())
                await until(lambda: here.metric("pycalc_cache_dropped_total", reason="refused") == 1, "it is refused")
                assert await there.cache.get("fibonacci:1") == result()
                assert await there.cache.get("fibonacci:2") is None
                client.config_set("maxmemory", "0")
            await here.cache.put("fibonacci:2", result())
            assert await found(lambda: there.cache.get("fibonacci:2"), "the result") == result()
            assert here.metric("pycalc_cache_circuit_opened_total") == 0

    @pytest.mark.programs
    @pytest.mark.usefixtures("unhurried")
    @pytest.mark.parametrize(("serving", "refusing"), [("yes", "counting"), ("no", "asking")])
    async def test_demoted(self, own_real_redis: Redis, serving: str, refusing: str) -> None:
        """If the primary becomes a replica, the circuit opens, and new connections are made."""
        async with opened(own_real_redis.url) as there:
            counters = there.cache.counters("calculations")
            assert (await spend_one(counters, "ada", 1, 10)).allowed
            with Client(port=own_real_redis.port) as client:
                before: Any = client.info("stats")
                client.config_set("replica-serve-stale-data", serving)
                client.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))
                with pytest.raises(CacheUnavailable):
                    await (spend_one(counters, "ada", 1, 10) if refusing == "counting" else there.cache.get("key"))
                assert there.metric("pycalc_cache_circuit_opened_total") == 1
                client.execute_command("REPLICAOF", "NO", "ONE")
                await there.healed()
                assert (await spend_one(counters, "ada", 1, 10)).allowed
                after: Any = client.info("stats")
        assert after["total_connections_received"] - before["total_connections_received"] >= 2

    @pytest.mark.programs
    @pytest.mark.usefixtures("unhurried")
    async def test_the_wrong_password(self) -> None:
        """With a wrong password, look-ups fail at once; with the right one, Redis is used."""
        with redis("--requirepass", "right") as server:
            for password, right in (("wrong@", False), ("", False), (":right@", True)):
                async with opened(server.url.replace("//", f"//{password}")) as there:
                    if right:
                        await there.cache.ping()
                    else:
                        there.refused_at_once()
                        with pytest.raises(CacheUnavailable, match="open"):
                            await there.cache.ping()

    @pytest.mark.parametrize("answer", SENSELESS.values(), ids=SENSELESS)
    async def test_nonsense(self, answer: bytes) -> None:
        """A server that answers PING with anything but PONG is not used."""
        with garbage(answer) as port:
            async with opened(f"redis://127.0.0.1:{port}/0") as there:
                there.refused_at_once()
                assert there.cache.client.breaker.state is not CircuitState.CLOSED

    @pytest.mark.usefixtures("unhurried")
    @pytest.mark.parametrize("step", STEPS)
    @pytest.mark.parametrize("answer", SENSELESS)
    async def test_unexpected_replies_after_a_good_start(self, answer: str, step: str) -> None:
        """A reply that no real Redis sends to a command raises CacheUnavailable.

        A reply that a real Redis might send is used: for example, a damaged value counts as a miss.
        """
        with garbage(SENSELESS[answer], greeting=b"+PONG\r\n") as port:
            async with opened(f"redis://127.0.0.1:{port}/0") as there:
                await until(lambda: there.cache.client.breaker.state is CircuitState.CLOSED, "the circuit is closed")

                async def ask() -> object:
                    return await STEPS[step](there.cache)

                asking = asyncio.get_running_loop().create_task(ask(), context=Context())  # as a separate request
                async with asyncio.timeout(SECONDS):
                    if (answer, step) in MEANT:
                        assert await asking == MEANT[answer, step]
                    else:
                        with pytest.raises(CacheUnavailable):
                            await asking

    @pytest.mark.parametrize("answer", SENSELESS.values(), ids=SENSELESS)
    async def test_unexpected_replies_in_the_background(self, answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
        """Unexpected replies to stores, notifications and subscriptions raise nothing in any task."""
        with garbage(answer, greeting=b"+PONG\r\n") as port:
            async with opened(f"redis://127.0.0.1:{port}/0") as there:
                there.cache.revocations.listen(lambda: None)
                there.cache.revocations.publish()
                await there.cache.put("fibonacci:1", result())
                await there.cache.put("fibonacci:2", result(digits(100_000)))
                await until(lambda: there.cache._bytes == 0, "nothing waits to be stored")
        gc.collect()
        assert [record for record in caplog.records if record.name == "asyncio"] == []


def own_keys(server: AnyRedis) -> int:
    """Return the number of a server's keys."""
    with Client(port=server.port) as client:
        size: Any = client.dbsize()
        return int(size)
