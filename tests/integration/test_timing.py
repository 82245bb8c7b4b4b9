"""What the time of an answer tells about accounts, on the real server, over HTTP: nothing.

The measure is the area under the ROC curve (Mann-Whitney): how often a random time of one kind is longer than a random
one of the other. Even for two kinds that are the same, 300 against 300 give 0.5 with a standard deviation of 0.024, and
0.55 is two of them: such a measurement fails once in some twenty-five times by chance. So one that fails is continued,
and all of its times count: with 600 against 600, 0.55 is three standard deviations, and a real difference stays.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

import httpx
import pytest

from tests.services.accounts import PASSWORD, new_name, registration
from tests.services.servers import pycalc

pytestmark = pytest.mark.serial

SAMPLES = 300
LARGEST = 0.55
MEASUREMENTS = 2

Request = Callable[[], httpx.Response]


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """Return a client of a service whose hashes take a few milliseconds, where a difference would show the more."""
    with (
        pycalc(bcrypt_rounds="6", login_limit="", register_limit="") as server,
        httpx.Client(base_url=server.url) as opened,
    ):
        yield opened


def area(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the area under the curve of the two, or of the other order of them, whichever is larger."""
    ranked = sorted([(value, True) for value in first] + [(value, False) for value in second])
    ranks = sum(rank for rank, (_, of_first) in enumerate(ranked, 1) if of_first)
    below = (ranks - len(first) * (len(first) + 1) / 2) / (len(first) * len(second))
    return max(below, 1 - below)


def measure(kinds: tuple[Request, Request], statuses: tuple[int, int], times: tuple[list[float], list[float]]) -> None:
    """Add the times of so many requests of two kinds, in random order."""
    for _ in range(SAMPLES):
        for kind in random.sample((0, 1), 2):
            began = perf_counter()
            answer = kinds[kind]()
            times[kind].append(perf_counter() - began)
            assert answer.status_code == statuses[kind], answer.text


def assert_alike(kinds: tuple[Request, Request], statuses: tuple[int, int]) -> None:
    """Check that the times of two kinds of requests do not tell them apart."""
    times: tuple[list[float], list[float]] = ([], [])
    areas: list[float] = []
    while len(areas) < MEASUREMENTS and (not areas or areas[-1] > LARGEST):
        measure(kinds, statuses, times)
        areas.append(area(*times))
    assert areas[-1] <= LARGEST, areas


def test_the_measure_measures() -> None:
    """Times that lie among each other give one half, and times that never overlap give one."""
    assert area([1, 4], [2, 3]) == 0.5
    assert area([1, 2, 3], [4, 5, 6]) == area([4, 5, 6], [1, 2, 3]) == 1


def test_a_refused_login_does_not_tell_whether_there_is_such_a_user(client: httpx.Client) -> None:
    """A wrong password of an account, and of a name that nobody has."""
    known, unknown = new_name(), new_name()
    assert client.post("/register", json=registration(known)).status_code == 201

    def wrong(name: str) -> httpx.Response:
        return client.post("/login", json={"username": name, "password": "a wrong password"})

    assert wrong(known).json() == wrong(unknown).json()
    assert_alike((lambda: wrong(known), lambda: wrong(unknown)), (401, 401))


def test_a_registration_takes_as_long_whether_the_name_is_taken(client: httpx.Client) -> None:
    """The contract tells by 409 that something is taken; the time adds nothing, though only a success is durable."""
    taken = new_name()
    assert client.post("/register", json=registration(taken)).status_code == 201

    def refused() -> httpx.Response:
        body = registration(taken, email=f"{new_name()}@example.com")
        return client.post("/register", json=body)

    assert_alike((refused, lambda: client.post("/register", json=registration(new_name()))), (409, 201))


def test_a_conflict_does_not_tell_what_is_taken(client: httpx.Client) -> None:
    """Neither its words nor its time say whether it is the name or the address."""
    taken = new_name()
    assert client.post("/register", json=registration(taken)).status_code == 201

    def by_name() -> httpx.Response:
        return client.post("/register", json=registration(taken, email=f"{new_name()}@example.com"))

    def by_address() -> httpx.Response:
        return client.post("/register", json=registration(new_name(), email=f"{taken}@example.com", password=PASSWORD))

    assert by_name().json() == by_address().json()
    assert_alike((by_name, by_address), (409, 409))
