"""Two instances on one Redis and one PostgreSQL: one cache, one limit, one computation; Redis going away under load."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from itertools import count
from time import monotonic, perf_counter
from typing import Any, NamedTuple, TypeVar

import gmpy2
import httpx
import pytest
from redis import Redis as Client

from tests.services.accounts import PASSWORD, Person, new_name, new_person
from tests.services.metrics import computed, metric
from tests.services.postgres import Postgres
from tests.services.redis import Redis
from tests.services.servers import Server, log_in, pycalc
from tests.services.waiting import until, wait_until

pytestmark = pytest.mark.serial

T = TypeVar("T")

TEXT = {"Accept": "text/plain"}
PRIME = 40_000_000_003
LONG = f"/factorial/{PRIME // 2}?mod={PRIME}"
"""Some seconds of work. By Wilson's theorem ((p - 1)/2)! is 1 or -1 modulo a prime p of the form 4k + 3."""


class Fleet(NamedTuple):
    """Clients of two instances, a person whom both know, and their namespace in a Redis."""

    here: httpx.Client
    there: httpx.Client
    person: Person
    redis: Redis
    namespace: str

    def get(self, client: httpx.Client, path: str, **headers: str) -> httpx.Response:
        """Ask one of them as the person."""
        return client.get(path, headers={**self.person.headers, **headers})

    def stored(self) -> int:
        """Return how many results are in Redis."""
        with Client(port=self.redis.port) as client:
            return sum(1 for _ in client.scan_iter(f"{self.namespace}:result:*", count=1_000))


@pytest.fixture(scope="module")
def fleet(postgres_server: Postgres, migrated: str, redis_server: Redis) -> Iterator[Fleet]:
    """Run two instances on one database and one Redis."""
    namespace = new_name()
    shared: dict[str, Any] = {
        "database_url": postgres_server.new_database(migrated),
        "cache_url": f"{redis_server.url}?namespace={namespace}",
        "compute_workers": "1",
    }
    with ExitStack() as stack:
        servers = [stack.enter_context(pycalc(**shared)) for _ in range(2)]
        here, there = (stack.enter_context(httpx.Client(base_url=each.url, timeout=60)) for each in servers)
        yield Fleet(here, there, new_person(here), redis_server, namespace)


def made_here(fleet: Fleet, path: str, **headers: str) -> httpx.Response:
    """Return the answer of one instance, as soon as the other one may find the result in Redis, or Redis is late."""
    clients = (fleet.here, fleet.there)
    before, late = fleet.stored(), _disturbances(clients)
    answer = fleet.get(fleet.here, path, **headers)
    wait_until(lambda: fleet.stored() > before or _disturbances(clients) > late, "the result is in Redis")
    return answer


def test_what_one_computes_the_other_has(fleet: Fleet) -> None:
    """As if it had computed it before, recorded as cached; the bare digits have the same tag on both."""
    numbers = count(20_000)

    def asked() -> tuple[int, dict[str, Any], dict[str, Any], float]:
        n = next(numbers)
        first = made_here(fleet, f"/factorial/{n}").json()
        before = computed(fleet.there)
        second = fleet.get(fleet.there, f"/factorial/{n}").json()
        return n, first, second, computed(fleet.there) - before

    n, first, second, computations = _undisturbed((fleet.here, fleet.there), asked)
    assert (first["cached"], second["cached"], computations) == (False, True, 0)
    assert second["result"] == first["result"] == gmpy2.fac(n).digits()
    tags = {fleet.get(client, f"/factorial/{n}", **TEXT).headers["ETag"] for client in (fleet.here, fleet.there)}
    assert len(tags) == 1


def test_a_conditional_request_costs_no_computation(fleet: Fleet) -> None:
    """On an instance that has never seen the result, with the tag of another one; it is recorded in full."""
    numbers = count(21_000)

    def asked() -> tuple[int, httpx.Response, float]:
        n = next(numbers)
        tag = made_here(fleet, f"/factorial/{n}", **TEXT).headers["ETag"]
        before = computed(fleet.there)
        answer = fleet.get(fleet.there, f"/factorial/{n}", **TEXT, **{"If-None-Match": tag})
        return n, answer, computed(fleet.there) - before

    n, answer, computations = _undisturbed((fleet.here, fleet.there), asked)
    assert (answer.status_code, answer.content, computations) == (304, b"", 0)
    newest = fleet.get(fleet.there, "/secure-history?limit=1").json()["items"][0]
    assert (newest["operation"], newest["input"], newest["cached"]) == ("factorial", {"n": n}, True)
    assert newest["sha256"] is not None


def test_what_both_are_asked_for_at_once_is_computed_once(fleet: Fleet) -> None:
    """F(10^7), 2,089,877 digits, and its neighbours: each is computed by one instance and sent whole by both.

    What was handed over is recorded as cached.

    Where Redis is late, because this machine is busy, both may compute: that is what a circuit breaker does.
    """
    clients = (fleet.here, fleet.there)

    def asked(n: int) -> tuple[float, float]:
        before = [(computed(client), metric(client, "pycalc_cache_circuit_opened_total")) for client in clients]
        with ThreadPoolExecutor(2) as threads:
            answers = list(threads.map(lambda client: fleet.get(client, f"/fibonacci/{n}", **TEXT), clients))
        assert {answer.content for answer in answers} == {gmpy2.fib(n).digits().encode()}
        after = [(computed(client), metric(client, "pycalc_cache_circuit_opened_total")) for client in clients]
        changes = [(later[0] - earlier[0], later[1] - earlier[1]) for earlier, later in zip(before, after, strict=True)]
        return sum(change[0] for change in changes), sum(change[1] for change in changes)

    before = _handed(clients)
    undisturbed = [computations for computations, opened in map(asked, range(10**7, 10**7 + 5)) if not opened]
    assert undisturbed
    assert set(undisturbed) == {1}
    handed = _handed(clients) - before
    newest = fleet.get(fleet.here, "/secure-history?limit=10").json()["items"]
    assert handed >= 1
    assert sum(item["cached"] for item in newest) >= handed


def _handed(clients: tuple[httpx.Client, ...]) -> float:
    return sum(metric(client, "pycalc_flights_shared_total", outcome="handed") for client in clients)


def test_when_the_leader_is_killed_the_other_one_computes(
    postgres_server: Postgres, migrated: str, redis_server: Redis
) -> None:
    """SIGKILL in the middle of a computation: who waits for it makes it anew when the lease is over."""
    namespace = new_name()
    shared: dict[str, Any] = {
        "database_url": postgres_server.new_database(migrated),
        "cache_url": f"{redis_server.url}?namespace={namespace}",
        "compute_workers": "1",
    }
    with ExitStack() as stack:
        servers = [stack.enter_context(pycalc(**shared)) for _ in range(2)]
        here, there = (stack.enter_context(httpx.Client(base_url=each.url, timeout=60)) for each in servers)
        fleet = Fleet(here, there, new_person(here), redis_server, namespace)
        threads = stack.enter_context(ThreadPoolExecutor(2))
        leading = threads.submit(fleet.get, here, LONG)
        wait_until(lambda: metric(here, "pycalc_flights_shared_total", outcome="led") == 1, "the one computes")
        waiting = threads.submit(fleet.get, there, LONG)
        assert fleet.get(there, "/fibonacci/10").status_code == 200
        servers[0].process.kill()
        with pytest.raises(httpx.TransportError):
            leading.result()
        answer = waiting.result()
        assert answer.status_code == 200, answer.text
        assert int(answer.json()["result"]) in {1, PRIME - 1}
        assert metric(there, "pycalc_flights_shared_total", outcome="led") == 1


def _log_out(client: httpx.Client, session: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    assert client.post("/logout", headers=headers).status_code == 204


def _use_a_refresh_token_again(client: httpx.Client, session: dict[str, str]) -> None:
    token = {"refresh_token": session["refresh_token"]}
    for _ in range(2):
        token = {"refresh_token": client.post("/token/refresh", json=token).json()["refresh_token"]}
    assert client.post("/token/refresh", json={"refresh_token": session["refresh_token"]}).status_code == 401


@pytest.mark.parametrize("end", [_log_out, _use_a_refresh_token_again])
def test_the_end_of_a_session_is_seen_on_the_other_one_within_100_ms(
    fleet: Fleet, end: Callable[[httpx.Client, dict[str, str]], None]
) -> None:
    """Nine times of ten, and the time of the request that sees it; where Redis was late is not judged."""
    clients = (fleet.here, fleet.there)
    seconds, requests = [], []
    for _ in range(24):
        login = {"username": fleet.person.name, "password": PASSWORD}
        session = fleet.here.post("/login", json=login).json()
        headers = {"Authorization": f"Bearer {session['access_token']}"}
        late = _disturbances(clients)
        began = monotonic()
        assert fleet.there.get("/me", headers=headers).status_code == 200
        asked = monotonic()
        end(fleet.here, session)
        ended = monotonic()
        while fleet.there.get("/me", headers=headers).status_code != 401:
            assert monotonic() - ended < 2
        seen = monotonic()
        if _disturbances(clients) == late:
            requests.append(asked - began)
            seconds.append(seen - ended)
    assert len(seconds) >= 10
    assert _ninetieth(seconds) < 0.1 + _ninetieth(requests)


def _ninetieth(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=10)[8]


def test_without_redis_the_end_of_a_session_is_seen_within_2_s(
    postgres_server: Postgres, migrated: str, own_redis: Redis
) -> None:
    """The hint is lost with Redis; the database is read all the same."""
    shared: dict[str, Any] = {"database_url": postgres_server.new_database(migrated), "cache_url": own_redis.url}
    with ExitStack() as stack:
        servers = [stack.enter_context(pycalc(**shared)) for _ in range(2)]
        here, there = (stack.enter_context(httpx.Client(base_url=each.url, timeout=60)) for each in servers)
        person = new_person(here)
        own_redis.kill()
        assert there.get("/me", headers=person.headers).status_code == 200
        assert here.post("/logout", headers=person.headers).status_code == 204
        refused = "the other one refuses the token"
        wait_until(lambda: there.get("/me", headers=person.headers).status_code == 401, refused, 2)


def test_both_are_ready(fleet: Fleet) -> None:
    """The shared cache is among the dependencies."""
    for client in (fleet.here, fleet.there):
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]["cache"]["ok"]) == (200, True)
        assert metric(client, "pycalc_cache_circuit") == 0


LIMITS = {"rate_limit": "6/hour", "login_limit": "4/minute", "register_limit": "20/hour"}


@pytest.fixture(scope="module")
def narrow(
    postgres_server: Postgres, migrated: str, redis_server: Redis
) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Run two instances with narrow limits."""
    shared: dict[str, Any] = {
        **LIMITS,
        "database_url": postgres_server.new_database(migrated),
        "cache_url": f"{redis_server.url}?namespace={new_name()}",
    }
    with ExitStack() as stack:
        servers = [stack.enter_context(pycalc(**shared)) for _ in range(2)]
        here, there = (stack.enter_context(httpx.Client(base_url=each.url, timeout=30)) for each in servers)
        yield here, there


class TestLimits:
    """What is used up on one instance is used up on both."""

    def test_calculations_and_logins_add_up(self, narrow: tuple[httpx.Client, httpx.Client]) -> None:
        """Six calculations and four wrong passwords, in turn on one and the other."""
        here, _ = narrow

        def used_up() -> tuple[list[int], list[str], list[int]]:
            person = new_person(here)
            answers = [client.get("/fibonacci/10", headers=person.headers) for client in narrow * 4]
            wrong = {"username": person.name, "password": "a wrong password"}
            logins = [client.post("/login", json=wrong).status_code for client in narrow * 3]
            left = [answer.headers["RateLimit"].partition(";t=")[0] for answer in answers]
            return [answer.status_code for answer in answers], left, logins

        statuses, left, logins = _undisturbed(narrow, used_up)
        assert statuses == [200] * 6 + [429] * 2
        assert left == [f'"default";r={number}' for number in (5, 4, 3, 2, 1, 0, 0, 0)]
        assert logins == [401] * 4 + [429] * 2

    def test_registrations_add_up(self, narrow: tuple[httpx.Client, httpx.Client]) -> None:
        """Twenty from this address; more only as far as Redis was late."""

        def register(client: httpx.Client) -> int:
            account = {"username": new_name(), "email": f"{new_name()}@example.com", "password": PASSWORD}
            return client.post("/register", json=account).status_code

        late = _fallbacks(narrow)
        statuses = [register(client) for client in narrow * 20]
        assert set(statuses) == {201, 429}
        assert statuses.count(201) <= 20 + _fallbacks(narrow) - late
        assert [register(client) for client in narrow] == [429, 429] or _fallbacks(narrow) > late


def _fallbacks(clients: tuple[httpx.Client, ...]) -> float:
    return sum(metric(client, "pycalc_rate_limit_fallbacks_total") for client in clients)


def _disturbances(clients: tuple[httpx.Client, ...]) -> float:
    names = ("pycalc_rate_limit_fallbacks_total", "pycalc_cache_errors_total", "pycalc_cache_circuit_opened_total")
    return sum(metric(client, name) for client in clients for name in names)


def _undisturbed(clients: tuple[httpx.Client, ...], scenario: Callable[[], T]) -> T:
    """Return what a scenario returns when Redis was never late in it; this machine may be busy."""
    for _ in range(10):
        before = _disturbances(clients)
        returned = scenario()
        if _disturbances(clients) == before:
            return returned
    raise AssertionError("Redis was late each time")


@pytest.mark.anyio
@pytest.mark.parametrize("signals", ["STOP and CONT", "KILL and a new start"])
async def test_redis_goes_away_under_load(own_redis: Redis, signals: str) -> None:
    """Every answer is 200, the 99th percentile grows by 25 ms at most and the median by 5.

    Four clients ask all the time, before the signal, at that moment and after it, a service with Redis and one without
    in turn: the second one is what the first is compared with, and how far two halves of its own times are apart is
    what this machine adds. The breaker's state stands in /metrics and /readyz; in the end it is closed.
    """
    go, come = {
        "STOP and CONT": (own_redis.pause, own_redis.resume),
        "KILL and a new start": (own_redis.kill, own_redis.start),
    }[signals]
    settings: dict[str, Any] = {"rate_limit": "1000000/minute", "compute_workers": "1"}
    with (
        pycalc(cache_url=own_redis.url, **settings) as server,
        pycalc(cache_url="memory://", **settings) as control,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        used = partial(wait_until, lambda: metric(client, "pycalc_cache_circuit") == 0, "Redis is used", 60)
        async with _load((server, control)) as load:
            await load.following(200)
            await asyncio.to_thread(used)
            await asyncio.to_thread(go)
            times = await load.following(1_000)
            await asyncio.to_thread(_require_degraded, client)
            await asyncio.to_thread(come)
            await load.following(200)
        await asyncio.to_thread(used)
        assert (await asyncio.to_thread(client.get, "/readyz")).json()["status"] == "ok"
    for percentile, most in ((99, 0.025), (50, 0.005)):
        with_redis, without = (_percentile(each, percentile) for each in times)
        halves = [_percentile(times[1][half::2], percentile) for half in range(2)]
        assert with_redis - without <= most + abs(halves[0] - halves[1]), percentile


def _percentile(seconds: list[float], percentile: int) -> float:
    return statistics.quantiles(seconds, n=100)[percentile - 1]


def _require_degraded(client: httpx.Client) -> None:
    answer = client.get("/readyz")
    told = answer.json()
    assert (answer.status_code, told["status"], told["checks"]["cache"]["ok"]) == (200, "degraded", False)
    assert "circuit is" in told["checks"]["cache"]["detail"]
    assert told["checks"]["database"]["ok"] is True
    assert metric(client, "pycalc_cache_circuit") > 0
    assert metric(client, "pycalc_cache_circuit_opened_total") > 0


class _Load:
    """Clients that ask several servers in turn, for one new number after the other."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._tokens = {server.url: log_in(server) for server in servers}
        self._numbers = count(30_000)
        self._seconds: dict[str, list[float]] = {url: [] for url in self._tokens}

    async def following(self, requests: int) -> list[list[float]]:
        """Return the seconds of the next so many requests to each server, those under way among them."""
        begun = len(min(self._seconds.values(), key=len))
        enough = begun + requests
        await until(lambda: all(len(each) >= enough for each in self._seconds.values()), "they are answered", 120)
        return [each[begun:enough] for each in self._seconds.values()]

    async def ask(self, client: httpx.AsyncClient) -> None:
        """Ask for ever; fails when an answer is not 200."""
        for number in self._numbers:
            for url, token in self._tokens.items():
                began = perf_counter()
                answer = await client.get(f"{url}/fibonacci/{number}", headers={"Authorization": f"Bearer {token}"})
                self._seconds[url].append(perf_counter() - began)
                assert answer.status_code == 200, answer.text


@asynccontextmanager
async def _load(servers: Sequence[Server]) -> AsyncIterator[_Load]:
    """Let four clients ask all the time."""
    load = _Load(servers)
    async with httpx.AsyncClient(timeout=30) as client, asyncio.TaskGroup() as group:
        asking = [group.create_task(load.ask(client)) for _ in range(4)]
        yield load
        for task in asking:
            task.cancel()
