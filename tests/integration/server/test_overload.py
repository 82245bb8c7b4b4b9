"""Overload: requests beyond a limit are refused at once, before any work for them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from starlette.types import Message, Scope

from pycalc.models.auth import Principal, Role
from pycalc.models.history import HistoryRow
from pycalc.models.idempotency import KeyRow
from pycalc.resources.wiring import Resources
from pycalc.routers.http.middleware import Application
from pycalc.services.calculations.planning import DEFAULT_OPTIONS
from pycalc.services.limits.concurrency import ConcurrencyLimit, Slot
from tests.harness.accounts import PASSWORD, new_name, new_person, registration
from tests.harness.metrics import metric
from tests.harness.servers import Server
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio


async def logged_in(client: httpx.AsyncClient) -> dict[str, str]:
    """Register an account, log in, and return the header of the session."""
    name = new_name()
    await client.post("/register", json=registration(name))
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    return {"Authorization": f"Bearer {session['access_token']}"}


@pytest.fixture
async def headers(client: httpx.AsyncClient) -> dict[str, str]:
    """Return the Authorization header of the test's own account."""
    return await logged_in(client)


async def refused(client: httpx.AsyncClient, reason: str) -> str:
    """Return the value of the metric for requests refused for this reason."""
    lines = (await client.get("/metrics")).text.splitlines()
    sample = f'pycalc_requests_refused_total{{reason="{reason}"}} '
    return next(line.removeprefix(sample) for line in lines if line.startswith(sample))


def full(limit: ConcurrencyLimit) -> list[Slot]:
    """Take and return all free slots, each for a different user."""
    return [limit.acquire(number) for number in range(limit.total - limit.taken)]


async def test_over_the_bound_a_calculation_is_refused_whoever_asks(
    client: httpx.AsyncClient, resources: Resources, headers: dict[str, str]
) -> None:
    """If all slots are taken, requests with and without a token get 503 with Retry-After, and are counted.

    After a release, calculations succeed.
    """
    held = full(resources.calculator.slots)
    for given in (headers, {}):
        answer = await client.get("/fibonacci/10", headers=given)
        assert (answer.status_code, answer.json()["type"]) == (503, "/docs/problems#overloaded")
        assert answer.headers["Retry-After"] == "1"
    assert await refused(client, "overload") == "2.0"
    held[0].release()
    assert (await client.get("/fibonacci/10", headers=headers)).json()["result"] == 55


async def test_a_head_is_refused_without_content(
    client: httpx.AsyncClient, resources: Resources, headers: dict[str, str]
) -> None:
    """A refused HEAD has the status and header fields of the GET and no body, and is counted once."""
    held = full(resources.calculator.slots)
    answer = await client.head("/fibonacci/10", headers=headers)
    assert (answer.status_code, answer.headers["Retry-After"], answer.content) == (503, "1", b"")
    assert await refused(client, "overload") == "1.0"
    assert len(held) == resources.calculator.slots.taken


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_request_that_the_servers_thread_admitted_is_not_checked_again(
    app: Application, resources: Resources, headers: dict[str, str], method: str
) -> None:
    """A request that the HTTP server's thread has admitted takes one slot, and releases it at its end."""
    statuses = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        return {}

    async def send(message: Message) -> None:
        statuses.append(message.get("status"))

    fields = {"Host": "pycalc.test", **headers}
    scope: Scope = {
        "type": "http",
        "method": method,
        "path": "/fibonacci/10",
        "query_string": b"",
        "http_version": "1.1",
        "headers": [(name.lower().encode(), value.encode()) for name, value in fields.items()],
        "state": {"resources": resources},
    }
    assert app.refusal(scope) is None
    assert resources.calculator.slots.taken == 1
    await app(scope, receive, send)
    assert statuses[0] == 200
    assert resources.calculator.slots.taken == 0


async def test_one_user_leaves_slots_to_others(
    client: httpx.AsyncClient, resources: Resources, headers: dict[str, str]
) -> None:
    """A user who has taken half of the slots is refused, while another user is answered."""
    # The service must know the token, so that its user can be counted.
    await client.get("/fibonacci/1", headers=headers)
    greedy = resources.authenticator.token_cache.user_of(headers["Authorization"].removeprefix("Bearer ").encode())
    assert greedy is not None
    slots = resources.calculator.slots
    while slots.try_acquire(greedy) is not None:
        pass
    assert slots.taken == slots.total // 2
    assert (await client.get("/fibonacci/10", headers=headers)).status_code == 503
    assert (await client.get("/fibonacci/10", headers=await logged_in(client))).status_code == 200


async def test_one_address_without_an_account_leaves_slots_to_users(
    client: httpx.AsyncClient, resources: Resources, headers: dict[str, str]
) -> None:
    """Requests with unknown tokens share their address's slots; when these are taken, a user is still answered."""
    await client.get("/fibonacci/1", headers=headers)
    slots = resources.calculator.slots
    while slots.try_acquire("127.0.0.1") is not None:
        pass
    for token in ("one", "another"):
        assert (await client.get("/fibonacci/10", headers={"Authorization": f"Bearer {token}"})).status_code == 503
    assert (await client.get("/fibonacci/10", headers=headers)).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/me", "/secure-history"])
async def test_what_is_no_calculation_goes_on(
    client: httpx.AsyncClient, resources: Resources, headers: dict[str, str], path: str
) -> None:
    """If all slots are taken, health, metrics, accounts and history are still served."""
    held = full(resources.calculator.slots)
    assert (await client.get(path, headers=headers)).status_code == 200
    assert len(held) == resources.calculator.slots.taken


async def test_every_calculation_releases_its_slot(
    client: httpx.AsyncClient, resources: Resources, headers: dict[str, str]
) -> None:
    """A calculation releases its slot, whether it is answered, undefined, too large, or part of a batch."""
    for path in ("/fibonacci/10", "/pow/0/-1", "/factorial/100000000", "/fibonacci/20000", "/nowhere"):
        await client.get(path, headers=headers)
    await client.post("/batch", headers=headers, json={"operations": [{"operation": "factorial", "input": {"n": 5}}]})
    assert resources.calculator.slots.taken == 0


async def test_requests_that_wait_for_a_worker_hold_no_slot(
    client: httpx.AsyncClient, resources: Resources, headers: dict[str, str]
) -> None:
    """Calculations that wait for a worker hold no slot, because slots limit the work on the event loop."""
    asking = [asyncio.create_task(client.get("/fibonacci/3000000", headers=headers)) for _ in range(20)]
    value = resources.metrics.registry.get_sample_value
    await until(lambda: value("pycalc_compute_running") == 1, "it is being computed")
    assert resources.calculator.slots.taken == 0
    assert [answer.status_code for answer in await asyncio.gather(*asking)] == [200] * 20


async def test_batches_are_bounded_together(
    client: httpx.AsyncClient, resources: Resources, headers: dict[str, str]
) -> None:
    """If other batches hold all slots, a further batch gets a counted 503 with Retry-After before its body is read."""
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b"{"

    slots = resources.batches.slots
    others = slots.acquire(b"others", slots.total - 3)
    slow = {"operations": [{"operation": "fibonacci", "input": {"n": n}} for n in (10_000_000, 1, 2)]}
    quick = {"operations": [{"operation": "fibonacci", "input": {"n": n}} for n in range(3)]}
    first = asyncio.create_task(client.post("/batch", headers=headers, json=slow))
    await until(lambda: slots.taken == slots.total, "the first one runs")
    second = await client.post("/batch", headers={**headers, "Content-Type": "application/json"}, content=body())
    assert (second.status_code, second.json()["type"]) == (503, "/docs/problems#overloaded")
    assert (second.headers["Retry-After"], read) == ("1", 0)
    assert await refused(client, "batches") == "1.0"
    others.release()
    assert (await client.post("/batch", headers=headers, json=quick)).status_code == 200
    assert (await first).status_code == 200
    assert slots.taken == 0


async def test_one_users_batches_leave_room_for_others(
    client: httpx.AsyncClient, resources: Resources, headers: dict[str, str]
) -> None:
    """A user who holds half of the slots for batches is refused, while another user is answered."""
    await client.get("/fibonacci/1", headers=headers)
    greedy = resources.authenticator.token_cache.user_of(headers["Authorization"].removeprefix("Bearer ").encode())
    slots = resources.batches.slots
    slots.acquire(greedy, slots.total // 2)
    quick = {"operations": [{"operation": "fibonacci", "input": {"n": 5}}]}
    assert (await client.post("/batch", headers=headers, json=quick)).status_code == 503
    assert (await client.post("/batch", headers=await logged_in(client), json=quick)).status_code == 200


async def test_bodies_that_come_slowly_take_no_slot_of_a_batch(client: httpx.AsyncClient, resources: Resources) -> None:
    """While many users send bodies slowly, another user's batch is answered.

    One user may send 16 bodies at once.
    """
    go_on = asyncio.Event()

    async def slow_body() -> AsyncIterator[bytes]:
        yield b'{"operations": ['
        await go_on.wait()
        yield b"]}"

    async def send(headers: dict[str, str]) -> httpx.Response:
        fields = {**headers, "Content-Type": "application/json"}
        return await client.post("/batch", headers=fields, content=slow_body())

    async def keep_sending(headers: dict[str, str]) -> int:
        while True:
            answer = await send(headers)
            # On a busy machine, the database may refuse the look-up of a token, and a body may exceed its time.
            database_busy = answer.status_code == 503 and "database" in answer.json()["detail"]
            if answer.status_code != 408 and not database_busy:
                return answer.status_code
            await asyncio.sleep(0)

    # These leave 32 of the 128 slots free, so that only the limit of one user can refuse a further body.
    users = [await logged_in(client) for _ in range(6)]
    sending = [asyncio.create_task(keep_sending(user)) for user in users for _ in range(16)]
    await until(lambda: resources.long_bodies.taken == 6 * 16, "all bodies are being read")
    one_more = await send(users[0])
    assert one_more.status_code == 503
    assert one_more.json()["detail"] == "Too many long bodies are being received; retry in 1 s."
    quick = {"operations": [{"operation": "fibonacci", "input": {"n": 5}}]}
    assert (await client.post("/batch", headers=await logged_in(client), json=quick)).status_code == 200
    go_on.set()
    await until(lambda: all(task.done() for task in sending), "all bodies are answered")
    assert set(await asyncio.gather(*sending)) == {422}
    assert resources.long_bodies.taken == 0


async def test_one_address_leaves_lookups_of_credentials_to_others(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    """An address that has half of the slots for looking up credentials is refused; another address gets a slot."""
    while resources.lookups.try_acquire("127.0.0.1") is not None:
        pass
    invented = {"Authorization": f"Bearer pck_{'x' * 43}"}
    assert (await client.get("/me", headers=invented)).status_code == 503
    assert (await client.post("/token/refresh", json={"refresh_token": "pcr_x"})).status_code == 503
    assert resources.lookups.taken == resources.lookups.total // 2
    assert resources.lookups.try_acquire("192.0.2.1") is not None


@pytest.mark.parametrize(("address", "status"), [("127.0.0.1", 503), ("192.0.2.1", 201)])
async def test_one_address_leaves_password_hashing_to_others(
    client: httpx.AsyncClient, resources: Resources, address: str, status: int
) -> None:
    """An address that has half of the slots for password hashes can't register or log in; another address can."""
    slots = resources.password_slots
    while slots.try_acquire(address) is not None:
        pass
    name = new_name()
    assert (await client.post("/register", json=registration(name))).status_code == status
    credentials = {"username": name, "password": PASSWORD}
    assert (await client.post("/login", json=credentials)).status_code == (503 if status == 503 else 200)
    assert slots.taken == slots.total // 2


def test_slots_taken_by_the_http_servers_thread_are_given_back(server: Server) -> None:
    """After many concurrent calculations over real connections, valid and invalid ones, no slot is held."""
    with httpx.Client(base_url=server.url) as client, ThreadPoolExecutor(8) as threads:
        given = new_person(client).headers
        paths = ["/fibonacci/10", "/fibonacci/x", "/fibonacci/300000", "/pow/2/0.5?precision=9000", "/fibonacci/1/2"]
        asked = [(path, headers) for path in paths * 20 for headers in (given, {})]
        list(threads.map(lambda each: client.get(each[0], headers=each[1]).status_code, asked))
        assert metric(client, "pycalc_calculations_under_way") == 0


async def test_requests_that_waited_for_one_result_continue_a_few_at_a_time(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If sixty requests wait for one result, at most eight of them continue in each loop iteration."""
    calculator = resources.calculator
    caller = Principal(b"a" * 16, "ada", Role.USER, bytes(16), 2e9)
    plan = await calculator.plan(caller, ("fibonacci", ("3000000",), DEFAULT_OPTIONS))
    turns, going_on = 0, Counter[int]()

    async def record(_: Sequence[HistoryRow], key: KeyRow | None) -> None:
        going_on[turns] += 1

    monkeypatch.setattr(calculator.recorder, "record", record)
    asking = [asyncio.create_task(calculator.calculate(caller, plan, 0.0)) for _ in range(60)]
    while not all(task.done() for task in asking):
        turns += 1
        await asyncio.sleep(0)
    assert going_on.total() == 60
    assert max(going_on.values()) <= 8
