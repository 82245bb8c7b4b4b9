"""Two instances on one Redis and one PostgreSQL: they share cache, limits and computations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count, islice
from typing import Any, NamedTuple, TypeVar

import gmpy2
import httpx
import pytest

from tests.harness.accounts import PASSWORD, Person, new_name, new_person
from tests.harness.metrics import computed, metric
from tests.harness.postgres import Postgres
from tests.harness.redis import Redis
from tests.harness.servers import Server, pycalc
from tests.harness.waiting import wait_until

T = TypeVar("T")

TEXT = {"Accept": "text/plain"}
PRIME = 10_000_000_019
# A calculation that takes some seconds. By Wilson's theorem, ((p - 1)/2)! is 1 or -1 modulo a prime p = 4k + 3.
LONG = f"/factorial/{PRIME // 2}?mod={PRIME}"


class Pair(NamedTuple):
    """Two instances on one database, and a client of each."""

    servers: list[Server]
    here: httpx.Client
    there: httpx.Client


@contextmanager
def pair(postgres_server: Postgres, migrated: str, cache_url: str, **settings: str) -> Iterator[Pair]:
    """Run two instances on a new database."""
    database_url = postgres_server.new_database(migrated)
    shared: dict[str, Any] = {"database_url": database_url, "cache_url": cache_url, "compute_workers": "1", **settings}
    with ExitStack() as stack:
        servers = [stack.enter_context(pycalc(**shared)) for _ in range(2)]
        here, there = (stack.enter_context(httpx.Client(base_url=each.url, timeout=60)) for each in servers)
        yield Pair(servers, here, there)


class Fleet(NamedTuple):
    """Clients of two instances, a user whom both know, and the namespace in Redis."""

    here: httpx.Client
    there: httpx.Client
    person: Person
    redis: Redis
    namespace: str

    def get(self, client: httpx.Client, path: str, **headers: str) -> httpx.Response:
        """Send a GET to an instance as the user."""
        return client.get(path, headers={**self.person.headers, **headers})

    def stored(self) -> int:
        """Return how many results are in Redis."""
        return len(self.redis.results(self.namespace))


@pytest.fixture(scope="module")
def fleet(postgres_server: Postgres, migrated: str, real_redis: Redis) -> Iterator[Fleet]:
    """Run two instances on one database and one Redis."""
    namespace = new_name()
    with pair(postgres_server, migrated, f"{real_redis.url}?namespace={namespace}") as (_, here, there):
        yield Fleet(here, there, new_person(here), real_redis, namespace)


def made_here(fleet: Fleet, path: str, **headers: str) -> httpx.Response:
    """Get a result from the first instance; return the response once the result is in Redis or Redis was too slow."""
    clients = (fleet.here, fleet.there)
    before, late = fleet.stored(), _disturbances(clients)
    answer = fleet.get(fleet.here, path, **headers)
    wait_until(lambda: fleet.stored() > before or _disturbances(clients) > late, "the result is in Redis")
    return answer


def test_what_one_computes_the_other_has(fleet: Fleet) -> None:
    """A result of one instance is a cache hit on the other, recorded as cached, with the same ETag."""
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
    """A conditional request with the other instance's ETag gets 304 without computing.

    Its history item has the result's SHA-256.
    """
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


def test_concurrent_requests_on_both_are_computed_once(fleet: Fleet) -> None:
    """If both instances are asked for the same result at once, one of them computes it, and both send it.

    The instance that receives the result from the other records it as cached. Rounds in which Redis was too slow are
    ignored, because then both may compute.
    """
    clients = (fleet.here, fleet.there)

    def asked(n: int) -> tuple[float, float]:
        before = [(computed(client), _given_up(client)) for client in clients]
        with ThreadPoolExecutor(2) as threads:
            answers = list(threads.map(lambda client: fleet.get(client, f"/fibonacci/{n}", **TEXT), clients))
        assert {answer.content for answer in answers} == {gmpy2.fib(n).digits().encode()}
        after = [(computed(client), _given_up(client)) for client in clients]
        changes = [(later[0] - earlier[0], later[1] - earlier[1]) for earlier, later in zip(before, after, strict=True)]
        return sum(change[0] for change in changes), sum(change[1] for change in changes)

    before = _handed(clients)
    undisturbed = (computations for computations, alone in map(asked, range(10**7, 10**7 + 20)) if not alone)
    assert list(islice(undisturbed, 3)) == [1, 1, 1]
    handed = _handed(clients) - before
    newest = fleet.get(fleet.here, "/secure-history?limit=50").json()["items"]
    assert handed >= 1
    assert sum(item["cached"] for item in newest) >= handed


def _given_up(client: httpx.Client) -> float:
    """Return how often an instance stopped waiting for Redis or for the other instance."""
    given_up = sum(
        metric(client, "pycalc_single_flight_total", outcome=outcome) for outcome in ("timed_out", "no_coordination")
    )
    return given_up + metric(client, "pycalc_cache_circuit_opened_total")


def _handed(clients: tuple[httpx.Client, ...]) -> float:
    return sum(metric(client, "pycalc_single_flight_total", outcome="shared") for client in clients)


def test_when_the_leader_is_killed_the_other_one_computes(
    postgres_server: Postgres, migrated: str, real_redis: Redis
) -> None:
    """If the computing instance is killed, the waiting instance computes the result once the lease has expired."""
    namespace = new_name()
    with (
        pair(postgres_server, migrated, f"{real_redis.url}?namespace={namespace}") as (servers, here, there),
        ThreadPoolExecutor(2) as threads,
    ):
        fleet = Fleet(here, there, new_person(here), real_redis, namespace)
        leading = threads.submit(fleet.get, here, LONG)
        wait_until(lambda: metric(here, "pycalc_single_flight_total", outcome="leader") == 1, "one instance computes")
        waiting = threads.submit(fleet.get, there, LONG)
        assert fleet.get(there, "/fibonacci/10").status_code == 200
        servers[0].process.kill()
        with pytest.raises(httpx.TransportError):
            leading.result()
        answer = waiting.result()
        assert answer.status_code == 200, answer.text
        assert int(answer.json()["result"]) in {1, PRIME - 1}
        assert metric(there, "pycalc_single_flight_total", outcome="leader") == 1


def test_without_redis_the_end_of_a_session_is_seen_all_the_same(
    postgres_server: Postgres, migrated: str, own_real_redis: Redis
) -> None:
    """Without Redis, an instance learns from the database that a session was ended on the other instance."""
    with pair(postgres_server, migrated, own_real_redis.url) as (_, here, there):
        person = new_person(here)
        own_real_redis.kill()
        assert there.get("/me", headers=person.headers).status_code == 200
        assert here.post("/logout", headers=person.headers).status_code == 204
        wait_until(lambda: there.get("/me", headers=person.headers).status_code == 401, "the token is refused")


def test_both_are_ready(fleet: Fleet) -> None:
    """The answer of /readyz on each instance says that the shared cache works."""
    for client in (fleet.here, fleet.there):
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]["cache"]["ok"]) == (200, True)
        assert metric(client, "pycalc_cache_circuit") == 0


LIMITS = {"rate_limit": "6/hour", "login_limit": "4/minute", "register_limit": "20/hour"}


@pytest.fixture(scope="module")
def narrow(postgres_server: Postgres, migrated: str, real_redis: Redis) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Run two instances with low limits; yield a client of each."""
    cache_url = f"{real_redis.url}?namespace={new_name()}"
    with pair(postgres_server, migrated, cache_url, **LIMITS) as (_, here, there):
        yield here, there


class TestLimits:
    """Rate limits that two instances share."""

    def test_calculations_and_logins_add_up(self, narrow: tuple[httpx.Client, httpx.Client]) -> None:
        """Both instances together allow six calculations and four failed logins."""
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
        assert left == [f'"hour";r={number}' for number in (5, 4, 3, 2, 1, 0, 0, 0)]
        assert logins == [401] * 4 + [429] * 2

    def test_registrations_add_up(self, narrow: tuple[httpx.Client, httpx.Client]) -> None:
        """Both instances together admit at most twenty registrations, plus one each time Redis was too slow."""

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
    """Repeat a scenario until Redis was never too slow during it; return its result."""
    for _ in range(10):
        before = _disturbances(clients)
        returned = scenario()
        if _disturbances(clients) == before:
            return returned
    raise AssertionError("Redis was too slow in each of ten tries")
