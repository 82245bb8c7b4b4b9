"""Readiness: /readyz is 503 unavailable if a required component fails, and 200 degraded if an optional one does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from pycalc.errors import Unavailable
from pycalc.resources.wiring import Resources
from tests.harness.accounts import PASSWORD, new_name, registration

pytestmark = pytest.mark.anyio


def failing(sentence: str) -> Callable[[], Awaitable[None]]:
    """Return a ping that fails with this message."""

    async def ping() -> None:
        raise Unavailable(sentence)

    return ping


@pytest.mark.parametrize(
    ("component", "status"),
    [
        ("stream", 200),
        ("clock", 200),
        ("relay", 200),
        ("consumer", 200),
        ("cache", 200),
        ("recorder", 503),
        ("database", 503),
    ],
)
async def test_a_component_that_is_not_well_is_named(
    client: httpx.AsyncClient, resources: Resources, component: str, status: int
) -> None:
    """A failing component is listed. The service is unavailable only without the recorder or the database."""
    resources.pings[component] = failing("It is away.")
    answer = await client.get("/readyz")
    assert answer.status_code == status
    body = answer.json()
    assert body["status"] == ("degraded" if status == 200 else "unavailable")
    assert {name: check["detail"] for name, check in body["checks"].items() if not check["ok"]} == {
        component: "It is away."
    }


async def test_the_worst_component_decides(client: httpx.AsyncClient, resources: Resources) -> None:
    """If an optional and a required component fail, the service is unavailable."""
    resources.pings |= {"cache": failing("It is away."), "database": failing("It is away.")}
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")


async def test_a_stream_that_is_away_harms_no_request(client: httpx.AsyncClient, resources: Resources) -> None:
    """If the stream's health check fails, /readyz says degraded, and registration, login and calculations work."""
    resources.pings["stream"] = failing("It is away.")
    assert (await client.get("/readyz")).json()["status"] == "degraded"
    name = new_name()
    assert (await client.post("/register", json=registration(name))).status_code == 201
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    assert (await client.get("/fibonacci/10", headers=headers)).json()["result"] == 55


async def test_a_thousand_requests_make_one_probe(resources: Resources) -> None:
    """A probe's result is reused for a time, so that a thousand requests cause one probe of each dependency."""
    probes = 0

    async def ping() -> None:
        nonlocal probes
        probes += 1

    resources.pings = {"database": ping}
    resources.health.clock = lambda: 0.0  # however slow the machine is
    answers = await asyncio.gather(*(resources.health.get() for _ in range(1_000)))
    assert all(answer["checks"].keys() == {"database"} for answer in answers)
    assert probes == 1
