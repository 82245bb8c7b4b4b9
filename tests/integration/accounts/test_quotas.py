"""Quotas over HTTP: refusals, and the figures in ``GET /usage``."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from pycalc.models.ids import id_of_text
from pycalc.models.limits import UserLimit, UserLimits
from pycalc.observability.metrics import Metrics
from pycalc.resources.wiring import Resources
from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.callers import caller
from tests.harness.in_process import changed, in_process
from tests.harness.waiting import found

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Return settings with the test's quotas."""
    return changed(settings, **getattr(request, "param", {}))


def limited(**settings: str) -> pytest.MarkDecorator:
    """Return a mark that sets quotas for a test."""
    return pytest.mark.parametrize("settings", [settings], indirect=True)


async def bearer(client: httpx.AsyncClient) -> dict[str, str]:
    """Register an account, log in, and return the header of the session."""
    name = new_name()
    assert (await client.post("/register", json=registration(name))).status_code == 201
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    return {"Authorization": f"Bearer {session['access_token']}"}


def refused(metrics: Metrics, quota: str) -> float:
    """Return the number of refusals that the metrics count for a quota."""
    return metrics.registry.get_sample_value("pycalc_rate_limited_total", {"limit": quota}) or 0.0


@limited(digits_quota="10kB/day")
async def test_the_bytes_of_answers_are_metered(client: httpx.AsyncClient, resources: Resources) -> None:
    """Every byte of a result uses the quota, also from the cache; a result above the remaining quota gets 429."""
    ada, bob = await bearer(client), await bearer(client)
    for _ in range(2):
        assert (await client.get("/pow/10/3999", headers=ada)).status_code == 200
    answer = await client.get("/pow/10/2999", headers={**ada, "Accept": "text/plain"})
    body = answer.json()
    assert (answer.status_code, answer.headers["Content-Type"]) == (429, "application/problem+json")
    assert body["type"].endswith("#quota-exceeded")
    assert (body["quota"], body["limit"], body["used"]) == ("digits", 10_000, 8_000)
    assert body["resets_at"].endswith("T00:00:00.000Z")
    reset = int(answer.headers["Retry-After"])
    assert 0 < reset <= 86_400
    assert answer.headers["RateLimit-Policy"].endswith('"digits";q=10000;w=86400;qu="content-bytes"')
    assert answer.headers["RateLimit"].endswith(f't=86400, "digits";r=2000;t={reset}')
    assert refused(resources.metrics, "digits") == 1
    assert (await client.get("/pow/10/999", headers=ada)).status_code == 200
    assert (await client.get("/pow/10/2999", headers=bob)).status_code == 200
    history = (await client.get("/secure-history", headers=ada)).json()["items"]
    assert [item["digits"] for item in history] == [1_000, 4_000, 4_000]


@limited(digits_quota="1kB/day")
async def test_exports_are_metered(client: httpx.AsyncClient) -> None:
    """The bytes of an export use the quota. An export that exceeds it is completed, and the next export is refused."""
    ada = await bearer(client)
    for number in range(4):
        assert (await client.get(f"/fibonacci/{number}", headers=ada)).status_code == 200
    export = {**ada, "Accept": "application/x-ndjson", "Accept-Encoding": "identity"}
    whole = await client.get("/secure-history", headers=export)
    assert (whole.status_code, whole.text.count("\n")) == (200, 4)
    (_, digits) = (await client.get("/usage", headers=ada)).json()["quotas"]
    assert digits["used"] == 4 + len(whole.content) > 1_000
    refused = await client.get("/secure-history", headers=export)
    assert (refused.status_code, refused.json()["quota"]) == (429, "digits")
    assert len((await client.get("/secure-history", headers=ada)).json()["items"]) == 4


@limited(digits_quota="10kB/day")
async def test_an_answer_that_the_client_holds_is_free(client: httpx.AsyncClient) -> None:
    """A 304 sends no digits, so it uses nothing of the quota."""
    ada = {**await bearer(client), "Accept": "text/plain"}
    first = await client.get("/pow/10/8999", headers=ada)
    again = await client.get("/pow/10/8999", headers={**ada, "If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code) == (200, 304)
    assert (await client.get("/pow/10/8999", headers=ada)).status_code == 429
    assert (await client.get("/pow/10/999", headers=ada)).status_code == 200  # the 304 has left these 1,000 digits


@limited(digits_quota="10kB/day")
async def test_only_what_is_sent_is_charged(client: httpx.AsyncClient) -> None:
    """HEAD requests, unsatisfiable ranges and summaries use no quota; a range uses it only for its own digits."""
    ada = {**await bearer(client), "Accept": "text/plain"}
    path = "/pow/10/8999"

    async def used() -> float:
        (_, digits) = (await client.get("/usage", headers={**ada, "Accept": "*/*"})).json()["quotas"]
        return float(digits["used"])

    assert (await client.head(path, headers=ada)).status_code == 200
    assert (await client.get(path, headers={**ada, "Range": "bytes=9000-"})).status_code == 416
    assert await used() == 0
    assert (await client.get(path, headers={**ada, "Range": "bytes=10-109"})).status_code == 206
    assert await used() == 100
    assert (await client.get(f"{path}?view=summary", headers={**ada, "Accept": "*/*"})).status_code == 200
    assert await used() == 100
    identity = (await client.get(path, headers=ada)).headers["X-Calculation-Id"]
    assert await used() == 9_100
    again = await client.get(f"/calculations/{identity}/digits", headers={**ada, "Range": "bytes=0-899"})
    assert (again.status_code, await used()) == (206, 10_000)


@limited(digits_quota="10kB/day")
async def test_items_of_a_batch_are_refused_one_by_one(client: httpx.AsyncClient) -> None:
    """Items of a batch that exceed the quota get 429 as their result; the other items are answered."""
    ada = await bearer(client)
    operations = [{"operation": "pow", "input": {"x": 10, "y": size - 1}} for size in (6_000, 6_000, 3_000)]
    results = (await client.post("/batch", json={"operations": operations}, headers=ada)).json()["results"]
    assert [result.get("status", result.get("digits")) for result in results] == [6_000, 429, 3_000]
    assert results[1]["quota"] == "digits"


async def id_of(client: httpx.AsyncClient, headers: dict[str, str]) -> bytes:
    """Return the caller's id."""
    return id_of_text((await client.get("/me", headers=headers)).json()["id"])


@limited(compute_quota="60s/day")
async def test_seconds_of_computing_are_metered(client: httpx.AsyncClient, resources: Resources) -> None:
    """Computing in the server process or a worker uses the quota; with none left, only cached results are sent."""
    ada = await bearer(client)
    used = [0.0]
    for path in ("/fibonacci/10", "/factorial/30000"):
        assert (await client.get(path, headers=ada)).status_code == 200
        (compute, _) = (await client.get("/usage", headers=ada)).json()["quotas"]
        assert compute["remaining"] == pytest.approx(60 - compute["used"], abs=1e-6)
        used.append(compute["used"])
    assert 0.0 < used[1] < used[2] < 60.0
    resources.computer.quota.charge(caller(await id_of(client, ada), UserLimits(compute=UserLimit(60, 86_400))), 60.0)
    for path in ("/fibonacci/11", "/factorial/30001", f"/gcd/{'1' * 5_000}/3"):
        answer = await client.get(path, headers=ada)
        body = answer.json()
        assert (answer.status_code, body["quota"], body["limit"]) == (429, "compute", 60), path
        assert body["used"] == pytest.approx(60 + used[2], abs=1e-5)
    assert refused(resources.metrics, "compute") == 3
    assert (await client.get("/factorial/30000", headers=ada)).json()["cached"] is True


@limited(compute_quota="60s/hour")
async def test_a_full_quota_is_nobody_else_s(client: httpx.AsyncClient, resources: Resources) -> None:
    """If two users want the same result and one has no quota left, only that user is refused."""
    ada, bob = await bearer(client), await bearer(client)
    resources.computer.quota.charge(caller(await id_of(client, ada), UserLimits(compute=UserLimit(60, 3_600))), 60.0)
    answers = await asyncio.gather(*(client.get("/factorial/30000", headers=each) for each in (ada, bob)))
    assert [answer.status_code for answer in answers] == [429, 200]


async def test_usage_shows_the_quotas(client: httpx.AsyncClient) -> None:
    """``GET /usage`` shows the default quotas, the caller's use of them, and when they reset.

    The header fields of this answer and of a calculation list the quotas after the windows of the rate limit.
    """
    ada = await bearer(client)
    calculation = await client.get("/fibonacci/100", headers=ada)
    answer = await client.get("/usage", headers=ada)
    compute, digits = answer.json()["quotas"]
    left = [['"minute"', "r=5999"], ['"day"', "r=99999"], ['"compute"', "r=299"], ['"digits"', "r=4999999979"]]
    for each in (calculation, answer):
        assert each.headers["RateLimit-Policy"] == (
            '"minute";q=6000;w=60, "day";q=100000;w=86400, "compute";q=300;w=3600;qu="seconds", '
            '"digits";q=5000000000;w=86400;qu="content-bytes"'
        )
        assert [part.split(";")[:2] for part in each.headers["RateLimit"].split(", ")] == left
    assert (compute["name"], compute["limit"], compute["window"]) == ("compute", 300, 3_600)
    assert 0 < compute["used"] < 1
    assert (digits["name"], digits["limit"], digits["window"]) == ("digits", 5_000_000_000, 86_400)
    assert '"used":21,"remaining":4999999979,' in answer.text  # Bytes are whole numbers.
    assert digits["resets_at"].endswith("T00:00:00.000Z")


@limited(compute_quota="", digits_quota="")
async def test_without_quotas_there_are_none_to_show(client: httpx.AsyncClient) -> None:
    """If the settings for quotas are empty, ``GET /usage`` shows no quotas."""
    ada = await bearer(client)
    assert (await client.get("/pow/10/9999", headers=ada)).status_code == 200
    assert (await client.get("/usage", headers=ada)).json()["quotas"] == []


@limited(digits_quota="10kB/day")
async def test_a_restart_forgets_no_use(settings: Settings) -> None:
    """After a restart, what a user has used of a quota is read from the database soon after the first calculation."""
    async with in_process(settings) as client:
        ada = await bearer(client)
        assert (await client.get("/pow/10/8999", headers=ada)).status_code == 200
    async with in_process(settings) as client:
        assert (await client.get("/pow/10/99", headers=ada)).status_code == 200

        async def used_before() -> float | None:
            (_, digits) = (await client.get("/usage", headers=ada)).json()["quotas"]
            used: float = digits["used"]
            return used if used > 100 else None

        assert await found(used_before, "the earlier use is known") == 9_100
        assert (await client.get("/pow/10/999", headers=ada)).status_code == 429
