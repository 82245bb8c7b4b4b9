"""A drill that measures over HTTP whether response times reveal anything about accounts.

The measure is the area under the ROC curve (Mann-Whitney): how often a random time of one kind is longer than a random
time of the other. If both kinds are the same, 300 times of each give 0.5 with a standard deviation of 0.024. The bound
0.55 is two deviations away, so one measurement in about 25 exceeds it by chance. If the bound is exceeded, 300 more
times of each are added and all are judged together. For these 600, 0.55 is three standard deviations away, and a real
difference remains.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from time import perf_counter

import httpx

from drills.support.finding import Finding, faults
from tests.harness.accounts import new_name, registration
from tests.harness.servers import pycalc

_SAMPLES = 300
_LARGEST = 0.55
_MEASUREMENTS = 2

Request = Callable[[], httpx.Response]


def timing() -> Finding:
    """Compare the response times of two kinds of failed logins, and of two kinds of failed registrations."""
    with (
        # A cheap password hash hides less of a difference.
        pycalc(bcrypt_rounds="6", login_limit="", register_limit="") as server,
        httpx.Client(base_url=server.url) as client,
    ):
        taken = new_name()
        client.post("/register", json=registration(taken)).raise_for_status()

        def log_in(name: str) -> httpx.Response:
            return client.post("/login", json={"username": name, "password": "a wrong password"})

        def register(name: str, address: str) -> httpx.Response:
            return client.post("/register", json=registration(name, email=f"{address}@example.com"))

        nobody = new_name()
        wrong_password, no_user = (lambda: log_in(taken)), (lambda: log_in(nobody))
        name_taken, address_taken = (lambda: register(taken, new_name())), (lambda: register(new_name(), taken))
        areas = {
            "a login of a known and of an unknown user": _compared((wrong_password, no_user), (401, 401)),
            "the name taken, or the address": _compared((name_taken, address_taken), (409, 409)),
        }
    return Finding(
        "timing",
        f"{_SAMPLES} requests of two kinds in random order: how often one kind takes longer than the other",
        areas,
        faults(distinguishable=", ".join(kinds for kinds, found in areas.items() if found > _LARGEST)),
    )


def area(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the area under the ROC curve of two samples, or one minus it, whichever is larger."""
    ranked = sorted([(value, True) for value in first] + [(value, False) for value in second])
    ranks = sum(rank for rank, (_, of_first) in enumerate(ranked, 1) if of_first)
    below = (ranks - len(first) * (len(first) + 1) / 2) / (len(first) * len(second))
    return max(below, 1 - below)


def _compared(kinds: tuple[Request, Request], statuses: tuple[int, int]) -> float:
    """Return the ``area`` for the times of two kinds of requests; raises RuntimeError for unexpected statuses."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_MEASUREMENTS):
        _measure(kinds, statuses, times)
        if area(*times) <= _LARGEST:
            break
    return area(*times)


def _measure(kinds: tuple[Request, Request], statuses: tuple[int, int], times: tuple[list[float], list[float]]) -> None:
    """Add the times of _SAMPLES requests of each kind, sent in random order."""
    for _ in range(_SAMPLES):
        for kind in random.sample((0, 1), 2):
            began = perf_counter()
            answer = kinds[kind]()
            times[kind].append(perf_counter() - began)
            if answer.status_code != statuses[kind]:
                raise RuntimeError(f"expected {statuses[kind]}, got {answer.status_code}: {answer.text}")
