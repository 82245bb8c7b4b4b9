"""/readyz: what is needed to answer correctly makes it 503, what can be done without degrades."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest

from pycalc.errors import Unavailable
from pycalc.resources import Resources
from tests.services.accounts import PASSWORD, new_name, registration

pytestmark = pytest.mark.anyio


def failing(sentence: str) -> Callable[[], Awaitable[None]]:
    """Return a ping that fails."""

    async def ping() -> None:
        raise Unavailable(sentence)

    return ping


@pytest.mark.parametrize(
    ("component", "status"),
    [("stream", 200), ("relay", 200), ("consumer", 200), ("cache", 200), ("recorder", 503), ("database", 503)],
)
async def test_a_component_that_is_not_well_is_named(
    client: httpx.AsyncClient, resources: Resources, component: str, status: int
) -> None:
    """With its sentence; the word is degraded, and the status says whether requests had better go elsewhere."""
    resources.pings[component] = failing("It is away.")
    answer = await client.get("/readyz")
    assert answer.status_code == status
    body = answer.json()
    assert body["status"] == "degraded"
    assert {name: check["detail"] for name, check in body["checks"].items() if not check["ok"]} == {
        component: "It is away."
    }


async def test_a_stream_that_is_away_harms_no_request(client: httpx.AsyncClient, resources: Resources) -> None:
    """Accounts and calculations go on while /readyz says degraded."""
    resources.pings["stream"] = failing("It is away.")
    name = new_name()
    assert (await client.post("/register", json=registration(name))).status_code == 201
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    assert (await client.get("/fibonacci/10", headers=headers)).json()["result"] == 55
