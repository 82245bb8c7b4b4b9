"""More than the service can do: refused at once, before anything is done for it (ADR 18)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import httpx
import pytest

from pycalc.models.auth import Principal, Role
from pycalc.models.history import HistoryRow
from pycalc.resources import Resources
from pycalc.services.math import MOST_AT_ONCE
from pycalc.services.planning import DEFAULT_OPTIONS
from tests.services.accounts import PASSWORD, new_name, registration
from tests.services.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def headers(client: httpx.AsyncClient) -> dict[str, str]:
    """Register an account and return the header that says who is calling."""
    name = new_name()
    await client.post("/register", json=registration(name))
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    return {"Authorization": f"Bearer {session['access_token']}"}


async def refused(client: httpx.AsyncClient, reason: str) -> str:
    """Return how many requests were refused for that reason, as Prometheus is told."""
    lines = (await client.get("/metrics")).text.splitlines()
    sample = f'pycalc_requests_refused_total{{reason="{reason}"}} '
    return next(line.removeprefix(sample) for line in lines if line.startswith(sample))


async def test_over_the_bound_a_calculation_is_refused_whoever_asks(
    client: httpx.AsyncClient, resources: Resources, headers: dict[str, str]
) -> None:
    """503 overloaded with Retry-After, counted, without looking at the token; then calculations go on."""
    resources.calculator.under_way = MOST_AT_ONCE
    for given in (headers, {}):
        answer = await client.get("/fibonacci/10", headers=given)
        assert (answer.status_code, answer.json()["type"]) == (503, "/docs/problems#overloaded")
        assert answer.headers["Retry-After"] == "1"
    assert await refused(client, "overload") == "2.0"
    resources.calculator.under_way = MOST_AT_ONCE - 1
    assert (await client.get("/fibonacci/10", headers=headers)).json()["result"] == 55


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/me", "/secure-history"])
async def test_what_is_no_calculation_goes_on(
    client: httpx.AsyncClient, resources: Resources, headers: dict[str, str], path: str
) -> None:
    """Health, metrics, accounts and the history are not refused."""
    resources.calculator.under_way = MOST_AT_ONCE
    assert (await client.get(path, headers=headers)).status_code == 200


async def test_whatever_becomes_of_a_calculation_it_is_counted_out(
    client: httpx.AsyncClient, resources: Resources, headers: dict[str, str]
) -> None:
    """Answered, refused by its domain, too large, or one of a batch: nothing is under way afterwards."""
    for path in ("/fibonacci/10", "/pow/0/-1", "/factorial/100000000", "/fibonacci/20000", "/nowhere"):
        await client.get(path, headers=headers)
    await client.post("/batch", headers=headers, json={"operations": [{"operation": "factorial", "input": {"n": 5}}]})
    assert resources.calculator.under_way == 0


async def test_who_waits_for_a_worker_keeps_nobody_out(
    client: httpx.AsyncClient, resources: Resources, headers: dict[str, str]
) -> None:
    """However many want the same long result: they are not counted among those that the event loop has to do with."""
    asking = [asyncio.create_task(client.get("/fibonacci/3000000", headers=headers)) for _ in range(20)]
    value = resources.metrics.registry.get_sample_value
    await until(lambda: value("pycalc_compute_running") == 1, "it is being computed")
    assert resources.calculator.under_way == 0
    assert [answer.status_code for answer in await asyncio.gather(*asking)] == [200] * 20


async def test_batches_are_bounded_together(
    client: httpx.AsyncClient, resources: Resources, headers: dict[str, str]
) -> None:
    """While eight of a thousand are under way another is over the bound of 8,000: refused, counted; later taken."""

    def batch(*numbers: int) -> dict[str, object]:
        return {"operations": [{"operation": "fibonacci", "input": {"n": n}} for n in numbers]}

    full = batch(3_000_000, *[1] * 999)
    eight = [asyncio.create_task(client.post("/batch", headers=headers, json=full)) for _ in range(8)]
    await until(lambda: resources.calculator._batched == 8_000, "eight are under way")
    refused_one = await client.post("/batch", headers=headers, json=batch(1))
    assert (refused_one.status_code, refused_one.json()["type"]) == (503, "/docs/problems#overloaded")
    assert await refused(client, "batches") == "1.0"
    assert [(await answer).status_code for answer in eight] == [200] * 8
    assert (await client.post("/batch", headers=headers, json=full)).status_code == 200


async def test_many_who_waited_for_one_result_go_on_a_few_at_a_time(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty who ask for the same long computation don't hold the event loop together when it is there."""
    calculator = resources.calculator
    caller = Principal(b"a" * 16, "ada", Role.USER, bytes(16), 2e9)
    plan = await calculator.plan(caller, ("fibonacci", ("3000000",), DEFAULT_OPTIONS))
    turns, going_on = 0, Counter[int]()

    async def record(_: Sequence[HistoryRow]) -> None:
        going_on[turns] += 1

    monkeypatch.setattr(calculator._recorder, "record", record)
    asking = [asyncio.create_task(calculator.calculate(caller, plan)) for _ in range(60)]
    while not all(task.done() for task in asking):
        turns += 1
        await asyncio.sleep(0)
    assert going_on.total() == 60
    assert max(going_on.values()) <= 8
