"""Long results that are found in Redis: bounded in bytes like those that are computed here."""

from __future__ import annotations

import asyncio
from time import time

import pytest

from pycalc.errors import Overloaded
from pycalc.models.auth import Principal, Role
from pycalc.resources import Resources
from pycalc.routers.batch import _pieces
from pycalc.routers.representations import BatchResponse
from pycalc.services import long_results
from pycalc.services.math import Answer
from pycalc.services.planning import DEFAULT_OPTIONS
from pycalc.settings import Settings
from tests.services.accounts import new_name
from tests.services.redis import AnyRedis
from tests.services.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patience")]

DIGITS = 1_253_926
"""Those of F(6·10^6) and of the next one."""
BATCH = [("fibonacci", (str(n),), DEFAULT_OPTIONS) for n in (6_000_000, 6_000_001)]


@pytest.fixture
def namespace() -> str:
    """Return a name of the test's own."""
    return new_name()


@pytest.fixture
def settings(settings: Settings, redis_server: AnyRedis, namespace: str) -> Settings:
    """Settings of a service that keeps no results in its process."""
    return settings.model_copy(update={"cache_url": f"{redis_server.url}?namespace={namespace}&max_bytes=0"})


def person(number: int) -> Principal:
    """Return somebody who may calculate."""
    return Principal(bytes([number]) * 16, "ada", Role.USER, bytes(16), time() + 900)


async def ask(resources: Resources, caller: Principal, number: int) -> Answer:
    """Ask for one of the two."""
    return await resources.calculator.calculate(caller, await resources.calculator.plan(caller, BATCH[number]))


@pytest.fixture
async def stored(resources: Resources, redis_server: AnyRedis, namespace: str) -> Resources:
    """Return a service with both results in its Redis, and nothing in its memory."""
    for number in range(2):
        assert (await ask(resources, person(0), number)).cached is False
    await until(lambda: len(redis_server.results(namespace)) == 2, "both are stored")
    await until(lambda: alive(resources) == 0, "nothing is in memory")
    return resources


def alive(resources: Resources) -> float | None:
    """Return how many bytes of long results are told."""
    return resources.metrics.registry.get_sample_value("pycalc_results_long_bytes")


async def test_what_is_found_counts_until_it_is_let_go(stored: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a user's share the next one is 503 overloaded, for that user, until the first one is let go of."""
    monkeypatch.setattr(long_results, "_MAX_BYTES", 4_000_000)
    found = await ask(stored, person(1), 0)
    assert (found.cached, alive(stored)) == (True, DIGITS)
    with pytest.raises(Overloaded) as refusal:
        await ask(stored, person(1), 1)
    assert refusal.value.retry_after == 5
    assert stored.metrics.registry.get_sample_value("pycalc_compute_refused_total") == 1
    assert (await ask(stored, person(2), 1)).cached is True
    del found
    assert (await ask(stored, person(1), 1)).cached is True
    await until(lambda: alive(stored) == 0, "the thread that read it has let go of it too")


async def test_what_is_on_its_way_counts(stored: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for at the same moment by one user, only as many are fetched as there is room for."""
    monkeypatch.setattr(long_results, "_MAX_BYTES", 4_000_000)
    answers = await asyncio.gather(*(ask(stored, person(1), number) for number in range(2)), return_exceptions=True)
    assert [isinstance(answer, Answer) for answer in answers] == [True, False]
    assert isinstance(answers[1], Overloaded)


async def test_what_is_computed_is_not_refused_for_being_expected(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that Redis does not have, asked for at once: both are admitted, and none is refused once it has a worker."""
    monkeypatch.setattr(long_results, "_MAX_BYTES", 4 * (DIGITS + 1_000))
    answers = await asyncio.gather(*(ask(resources, person(1), number) for number in range(2)))
    assert [answer.cached for answer in answers] == [False, False]
    assert alive(resources) == 2 * DIGITS


async def test_a_batch_counts_until_it_is_sent(stored: Resources) -> None:
    """Both results are alive as long as the response is."""
    answers = await stored.calculator.calculate_all(person(1), BATCH)
    assert [isinstance(answer, Answer) and answer.cached for answer in answers] == [True, True]
    response = BatchResponse(answers, _pieces, {}, stored.computer.turns)
    del answers
    assert alive(stored) == 2 * DIGITS
    del response
    await until(lambda: alive(stored) == 0, "they are let go of")
