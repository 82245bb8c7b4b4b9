"""Rate limits over HTTP on failed logins, registrations and calculations, and the header fields that show them."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import bcrypt
import httpx
import pytest

from pycalc.observability.metrics import Metrics
from pycalc.resources.wiring import Resources
from pycalc.services.limits.calculation_rate import calculation_limits
from pycalc.services.limits.rate_limits import AddressRateLimit, FailedLogins
from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.servers import pycalc

pytestmark = pytest.mark.anyio

LIMITS: dict[str, Any] = {
    "login_limit": "10/minute",
    "register_limit": "",
    "rate_limit": "",
    "trusted_proxies": (),
}


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Return settings without limits of registrations and calculations, and with the test's own changes."""
    return settings.model_copy(update={**LIMITS, **getattr(request, "param", {})})


def limited(**settings: object) -> pytest.MarkDecorator:
    """Return a mark that sets limits for a test."""
    return pytest.mark.parametrize("settings", [settings], indirect=True)


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return a function that returns how many passwords were checked."""
    checked: list[bytes] = []
    check = bcrypt.checkpw

    def counting(password: bytes, hashed: bytes) -> bool:
        checked.append(hashed)
        return check(password, hashed)

    monkeypatch.setattr("bcrypt.checkpw", counting)
    return lambda: len(checked)


@pytest.fixture
def frozen_clock(resources: Resources, settings: Settings) -> None:
    """Replace the rate limits by ones whose clock stands still."""
    metrics, clock = resources.metrics, lambda: 1_000.0
    if settings.login_limit:
        resources.login_limit = FailedLogins(settings.login_limit, metrics, clock=clock)
    if settings.register_limit:
        limit = AddressRateLimit("register", "registrations", settings.register_limit, metrics, clock=clock)
        resources.registration_limit = limit
    resources.calculation_limit_of = calculation_limits(metrics, clock=clock)


async def register(client: httpx.AsyncClient, **headers: str) -> tuple[int, str]:
    """Register a new account; return the status and the name."""
    name = new_name()
    return (await client.post("/register", json=registration(name), headers=headers)).status_code, name


async def log_in(
    client: httpx.AsyncClient, name: str, password: str = PASSWORD, forwarded: str | None = None
) -> httpx.Response:
    """Try to log in, and return the answer."""
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return await client.post("/login", json={"username": name, "password": password}, headers=headers)


async def bearer(client: httpx.AsyncClient) -> dict[str, str]:
    """Register an account, log in, and return the header of the session."""
    _, name = await register(client)
    return {"Authorization": f"Bearer {(await log_in(client, name)).json()['access_token']}"}


def assert_refused(answer: httpx.Response) -> int:
    """Assert that an answer is a 429 with the problem ``rate-limited``; return its ``Retry-After`` in seconds."""
    assert answer.status_code == 429
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"].endswith("rate-limited")
    seconds = int(answer.headers["Retry-After"])
    assert seconds > 0
    return seconds


@pytest.mark.usefixtures("frozen_clock")
async def test_the_eleventh_failed_login_costs_no_hash(client: httpx.AsyncClient, hashes: Callable[[], int]) -> None:
    """With a limit of ten failed logins, ten of 50 wrong passwords are hashed, whether or not the account exists."""
    _, name = await register(client)
    refusals = []
    for username in (name, new_name()):
        before = hashes()
        answers = [await log_in(client, username, "a wrong password") for _ in range(50)]
        assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 40
        assert hashes() - before == 10
        assert assert_refused(answers[10]) == 60
        refusals.append(answers[10].json())
    assert refusals[0] == refusals[1]
    counted = re.search(
        r'pycalc_rate_limited_total\{limit="login-account"\} (\S+)', (await client.get("/metrics")).text
    )
    assert counted
    assert float(counted[1]) == 80


async def test_the_owners_session_goes_on_while_logins_are_refused(
    client: httpx.AsyncClient, hashes: Callable[[], int]
) -> None:
    """While an account's logins are refused after wrong passwords, its open session still calculates and refreshes."""
    _, name = await register(client)
    session = (await log_in(client, name)).json()
    for _ in range(12):
        await log_in(client, name, "a wrong password")
    before = hashes()
    assert_refused(await log_in(client, name))
    assert_refused(await log_in(client, name.upper()))
    assert hashes() == before
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    assert (await client.get("/fibonacci/10", headers=headers)).status_code == 200
    refreshed = await client.post("/token/refresh", json={"refresh_token": session["refresh_token"]})
    assert refreshed.status_code == 200
    _, other = await register(client)
    assert (await log_in(client, other)).status_code == 200


async def change_password(
    client: httpx.AsyncClient, headers: dict[str, str], current: str, new: str = "a quite different password"
) -> httpx.Response:
    """Try to change the password, and return the answer."""
    return await client.put("/me/password", headers=headers, json={"current_password": current, "new_password": new})


@pytest.mark.usefixtures("frozen_clock")
async def test_a_stolen_session_does_not_guess_the_password(
    client: httpx.AsyncClient, hashes: Callable[[], int]
) -> None:
    """After ten password changes with a wrong current password, changes and logins with the right one are refused.

    The session still works, and another account is not affected.
    """
    _, name = await register(client)
    headers = {"Authorization": f"Bearer {(await log_in(client, name)).json()['access_token']}"}
    other = await bearer(client)
    before = hashes()
    answers = [await change_password(client, headers, "a wrong password") for _ in range(100)]
    assert [answer.status_code for answer in answers] == [403] * 10 + [429] * 90
    assert assert_refused(answers[10]) == 60
    assert_refused(await change_password(client, headers, PASSWORD))
    assert_refused(await log_in(client, name))
    assert hashes() - before == 10
    assert (await client.get("/fibonacci/10", headers=headers)).status_code == 200
    assert (await change_password(client, other, PASSWORD)).status_code == 204


@limited(trusted_proxies=("127.0.0.1",))
async def test_guesses_cost_thirty_hashes_an_hour(
    client: httpx.AsyncClient, resources: Resources, hashes: Callable[[], int]
) -> None:
    """If an account may have ten failed logins a minute, at most thirty guesses are hashed in any hour.

    This holds for guesses from many addresses, too. The owner's session still works.
    """
    clock = [1000.0]
    resources.login_limit = FailedLogins("10/minute", Metrics(), clock=lambda: clock[0])
    _, name = await register(client)
    session = (await log_in(client, name)).json()
    before = hashes()
    spent: list[int] = []
    logins = 0
    statuses: Counter[int] = Counter()
    for number in range(1_000):
        forged = f"10.{number >> 8}.{number & 255}.1"
        answer = await log_in(client, name, f"guess {number}", forged)
        statuses[answer.status_code] += 1
        spent.append(hashes() - before - logins)
        clock[0] += 18
        if number % 9 == 0:
            logins += (await log_in(client, name)).status_code == 200
        if number % 100 == 0:
            headers = {"Authorization": f"Bearer {session['access_token']}"}
            assert (await client.get("/fibonacci/10", headers=headers)).status_code == 200
            refresh = {"refresh_token": session["refresh_token"]}
            session = (await client.post("/token/refresh", json=refresh)).raise_for_status().json()
    assert statuses == {401: spent[-1], 429: 1_000 - spent[-1]}
    assert spent[0] == 1
    assert logins > 0
    assert max(later - earlier for earlier, later in zip(spent, spent[200:], strict=False)) <= 30


@limited(login_limit="3/minute")
async def test_what_is_no_guess_does_not_count(client: httpx.AsyncClient) -> None:
    """A password change by API key or to an invalid password is no failed login; a success resets the count."""
    headers = await bearer(client)
    key = (await client.post("/me/keys", headers=headers, json={"name": "program"})).json()["key"]
    for _ in range(5):
        assert (await change_password(client, headers, PASSWORD, "password")).status_code == 422
        assert (await change_password(client, {"Authorization": f"Bearer {key}"}, "x")).status_code == 403
    for current, new in ((PASSWORD, PASSWORD + "!"), (PASSWORD + "!", PASSWORD), (PASSWORD, PASSWORD + "?")):
        assert (await change_password(client, headers, "a wrong password")).status_code == 403
        assert (await change_password(client, headers, current, new)).status_code == 204


@limited(login_limit="4/minute")
async def test_a_success_gives_the_tries_back(client: httpx.AsyncClient) -> None:
    """A successful login resets the count of failed ones."""
    _, name = await register(client)
    for _ in range(5):
        assert (await log_in(client, name, "a wrong password")).status_code == 401
        assert (await log_in(client, name)).status_code == 200


@limited(login_limit="1/minute", trusted_proxies=("127.0.0.1",))
async def test_an_address_may_fail_ten_times_as_often(client: httpx.AsyncClient) -> None:
    """An address may have ten times as many failed logins as an account.

    They count for the address that a trusted proxy adds, not for addresses that the client invents.
    """
    for number in range(10):
        forged = f"192.0.2.{number}, 198.51.100.7"
        assert (await log_in(client, new_name(), "a wrong password", forged)).status_code == 401
    assert_refused(await log_in(client, new_name(), "a wrong password", "198.51.100.7"))
    assert (await log_in(client, new_name(), "a wrong password", "203.0.113.9")).status_code == 401


@limited(trusted_proxies=("127.0.0.1",))
async def test_an_address_does_not_shut_the_door_for_others(client: httpx.AsyncClient) -> None:
    """Of many simultaneous logins from one address, at least eight succeed; another address can still log in.

    Eight is the number of logins that an address may have in progress at once.
    """
    names = [(await register(client))[1] for _ in range(60)]
    tries = [log_in(client, name, forwarded="198.51.100.7") for name in names]
    *answers, other = await asyncio.gather(*tries, log_in(client, names[0], forwarded="203.0.113.9"))
    assert other.status_code == 200
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}
    assert statuses[200] >= 8
    assert_refused(next(answer for answer in answers if answer.status_code == 429))


@limited(login_limit="1/minute")
async def test_a_forwarded_address_of_nobody_trusted_is_ignored(client: httpx.AsyncClient) -> None:
    """X-Forwarded-For from an untrusted client is ignored, also if it is malformed."""
    for number in range(10):
        forged = f"198.51.100.{number}" if number % 2 else "\x7f, garbage"
        assert (await log_in(client, new_name(), "a wrong password", forged)).status_code == 401
    assert_refused(await log_in(client, new_name(), "a wrong password", "203.0.113.9"))


@limited(login_limit="", register_limit="3/hour")
@pytest.mark.usefixtures("frozen_clock")
async def test_registrations_are_limited_by_address(client: httpx.AsyncClient) -> None:
    """With a limit of three registrations an hour, an address's fourth is refused and creates no account."""
    assert [(await register(client))[0] for _ in range(3)] == [201] * 3
    name = new_name()
    refusal = await client.post("/register", json=registration(name))
    assert assert_refused(refusal) == 3600
    assert (await log_in(client, name)).status_code == 401


@limited(login_limit="", rate_limit="3/minute", compute_quota="", digits_quota="")
@pytest.mark.usefixtures("frozen_clock")
async def test_calculations_show_the_remaining_quota(client: httpx.AsyncClient) -> None:
    """Results in JSON and plain text, and refusals with 429, show the remaining calculations in ``RateLimit``."""
    headers = await bearer(client)
    told = []
    for path, accept in (("/fibonacci/10", "*/*"), ("/pow/2/10", "text/plain"), ("/factorial/5", "*/*")):
        answer = await client.get(path, headers={**headers, "Accept": accept})
        assert answer.status_code == 200
        assert answer.headers["RateLimit-Policy"] == '"minute";q=3;w=60'
        told.append(answer.headers["RateLimit"])
    assert [text.partition(";t=")[0] for text in told] == [f'"minute";r={remaining}' for remaining in (2, 1, 0)]
    assert [text.partition(";t=")[2] for text in told] == ["60"] * 3
    refusal = await client.get("/fibonacci/10", headers=headers)
    seconds = assert_refused(refusal)
    assert refusal.headers["RateLimit"] == f'"minute";r=0;t={seconds}'
    assert refusal.headers["RateLimit-Policy"] == '"minute";q=3;w=60'
    assert (await client.get("/fibonacci/10", headers=await bearer(client))).status_code == 200
    assert (await client.get("/me", headers=headers)).status_code == 200


@limited(login_limit="", rate_limit="9/minute")
async def test_errors_show_the_remaining_quota_too(client: httpx.AsyncClient) -> None:
    """Invalid and undefined calculations count, and their 422 has a field ``RateLimit``; a 401 does not have one."""
    headers = await bearer(client)
    for path, remaining in (("/fibonacci/x", 8), ("/pow/0/-1", 7), ("/fibonacci/10?view=x", 6)):
        answer = await client.get(path, headers=headers)
        assert answer.status_code == 422
        assert answer.headers["RateLimit-Policy"] == '"minute";q=9;w=60'
        assert answer.headers["RateLimit"].startswith(f'"minute";r={remaining};t=')
    assert "RateLimit" not in (await client.get("/fibonacci/x")).headers


@limited(login_limit="", rate_limit="10/minute")
async def test_a_batch_counts_its_operations(client: httpx.AsyncClient) -> None:
    """A batch that exceeds the rate limit is refused and not counted, so a smaller batch may still be accepted."""
    headers = await bearer(client)

    async def batch(size: int) -> httpx.Response:
        operations = [{"operation": "fibonacci", "input": {"n": n}} for n in range(size)]
        return await client.post("/batch", json={"operations": operations}, headers=headers)

    first = await batch(7)
    assert first.status_code == 200
    assert first.headers["RateLimit"].startswith('"minute";r=3;')
    refused = await batch(4)
    assert_refused(refused)
    assert refused.headers["RateLimit"].startswith('"minute";r=3;')
    assert (await batch(3)).headers["RateLimit"].startswith('"minute";r=0;')


@limited(login_limit="", rate_limit="5/day; 3/minute", compute_quota="", digits_quota="")
@pytest.mark.usefixtures("frozen_clock")
async def test_all_windows_are_shown(client: httpx.AsyncClient) -> None:
    """The ``RateLimit`` fields of results and refusals list every window of the rate limit, the shortest first."""
    headers = await bearer(client)
    policy = '"minute";q=3;w=60, "day";q=5;w=86400'
    for left in (2, 1, 0):
        answer = await client.get("/fibonacci/10", headers=headers)
        assert (answer.status_code, answer.headers["RateLimit-Policy"]) == (200, policy)
        assert answer.headers["RateLimit"] == f'"minute";r={left};t=60, "day";r={left + 2};t=86400'
    refusal = await client.get("/fibonacci/10", headers=headers)
    assert assert_refused(refusal) == 60
    assert refusal.headers["RateLimit-Policy"] == policy
    assert refusal.headers["RateLimit"] == '"minute";r=0;t=60, "day";r=2;t=86400'


@limited(compute_quota="", digits_quota="")
async def test_without_a_limit_there_are_no_rate_limit_fields(client: httpx.AsyncClient, resources: Resources) -> None:
    """Without a rate limit and quotas, answers have no ``RateLimit`` fields."""
    assert resources.calculation_limit_of("") is None
    answer = await client.get("/fibonacci/10", headers=await bearer(client))
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.lower().startswith("ratelimit")]


async def test_the_refusals_are_documented(client: httpx.AsyncClient) -> None:
    """The OpenAPI document lists 429 for registrations, logins, password changes and calculations."""
    paths = (await client.get("/openapi.json")).json()["paths"]
    for path, method in (
        ("/register", "post"),
        ("/login", "post"),
        ("/me/password", "put"),
        ("/batch", "post"),
        ("/fibonacci/{n}", "get"),
        ("/factorial/{n}", "get"),
        ("/pow/{x}/{y}", "get"),
    ):
        assert "rate-limited" in paths[path][method]["responses"]["429"]["description"], path


@pytest.mark.parametrize("server", ["serve", "uvicorn"])
def test_servers_tell_the_address(server: str) -> None:
    """With Granian and with Uvicorn, a limit by address counts the address that a trusted proxy forwards."""
    with (
        pycalc(server, register_limit="1/hour", trusted_proxies="127.0.0.0/8") as own,
        httpx.Client(base_url=own.url) as client,
    ):
        statuses = [
            client.post(
                "/register",
                json=registration(new_name()),
                headers={"X-Forwarded-For": forwarded} if forwarded else {},
            ).status_code
            for forwarded in ("198.51.100.7", "198.51.100.7", "203.0.113.9", "", "")
        ]
    assert statuses == [201, 429, 201, 201, 429]
