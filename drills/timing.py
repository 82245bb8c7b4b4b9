"""How long an answer takes tells nothing about accounts: a statistical comparison over HTTP.

The measure is the area under the ROC curve (Mann-Whitney): how often a random time of one kind is longer than a random
one of the other. Even for two kinds that are the same, 300 against 300 give 0.5 with a standard deviation of 0.024, and
0.55 is two of them: such a measurement fails once in some twenty-five times by chance. So one that fails is continued,
and all of its times count: with 600 against 600, 0.55 is three standard deviations, and a real difference stays.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from time import perf_counter

import httpx

from drills.finding import Finding, faults
from tests.services.accounts import new_name, registration
from tests.services.servers import pycalc

_SAMPLES = 300
_LARGEST = 0.55
_MEASUREMENTS = 2

Request = Callable[[], httpx.Response]


def area(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the area under the curve of the two, or of the other order of them, whichever is larger."""
    ranked = sorted([(value, True) for value in first] + [(value, False) for value in second])
    ranks = sum(rank for rank, (_, of_first) in enumerate(ranked, 1) if of_first)
    below = (ranks - len(first) * (len(first) + 1) / 2) / (len(first) * len(second))
    return max(below, 1 - below)


def timing() -> Finding:
    """Compare refused logins and registrations, where hashes take a few milliseconds: a difference shows the more."""
    with (
        pycalc(bcrypt_rounds="6", login_limit="", register_limit="") as server,
        httpx.Client(base_url=server.url) as client,
    ):
        areas = {name: _compared(*kinds) for name, kinds in _kinds(client).items()}
    return Finding(
        "timing",
        f"{_SAMPLES} answers of each kind, more where they seem to differ",
        areas,
        faults(told_apart=", ".join(name for name, found in areas.items() if found > _LARGEST)),
    )


def _kinds(client: httpx.Client) -> dict[str, tuple[Request, Request, tuple[int, int]]]:
    """Return pairs of requests whose answers must take as long, and the statuses of these."""
    taken = new_name()
    client.post("/register", json=registration(taken)).raise_for_status()

    def log_in(name: str) -> httpx.Response:
        return client.post("/login", json={"username": name, "password": "a wrong password"})

    def register(name: str, owner: str) -> httpx.Response:
        return client.post("/register", json=registration(name, email=f"{owner}@example.com"))

    return {
        "a login as somebody and as nobody": (lambda: log_in(taken), lambda: log_in("nobody"), (401, 401)),
        "a registration that is refused and one that is not": (
            lambda: register(taken, new_name()),
            lambda: register(name := new_name(), name),
            (409, 201),
        ),
        "a name and an address that are taken": (
            lambda: register(taken, new_name()),
            lambda: register(new_name(), taken),
            (409, 409),
        ),
    }


def _compared(first: Request, second: Request, statuses: tuple[int, int]) -> float:
    """Return the area for two kinds of requests, measured again where it is too large."""
    times: tuple[list[float], list[float]] = ([], [])
    found = 1.0
    for _ in range(_MEASUREMENTS):
        if found > _LARGEST:
            _measure((first, second), statuses, times)
            found = area(*times)
    return found


def _measure(kinds: tuple[Request, Request], statuses: tuple[int, int], times: tuple[list[float], list[float]]) -> None:
    """Add the times of so many requests of two kinds, in random order."""
    for _ in range(_SAMPLES):
        for kind in random.sample((0, 1), 2):
            began = perf_counter()
            answer = kinds[kind]()
            times[kind].append(perf_counter() - began)
            if answer.status_code != statuses[kind]:
                raise RuntimeError(answer.text)
