"""Limits of a single API key: they apply in addition to those of its owner, and to no other key."""

from __future__ import annotations

import httpx
import pytest

from tests.harness.accounts import history_of, new_session

pytestmark = pytest.mark.anyio

Headers = dict[str, str]


async def key_with(client: httpx.AsyncClient, **limits: str) -> Headers:
    """Make a key with limits, and return the header that carries it."""
    answer = await client.post("/me/keys", json={"name": "narrow", "limits": limits})
    assert answer.status_code == 201, answer.text
    stated = {"rate_limit": None, "compute": None, "digits": None, **limits}
    assert answer.json()["limits"] == stated
    assert (await client.get(answer.headers["Location"])).json()["limits"] == stated
    return {"Authorization": f"Bearer {answer.json()['key']}"}


@pytest.fixture(autouse=True)
async def session(client: httpx.AsyncClient) -> None:
    """Register an account, and authenticate all requests of the client with its session."""
    await new_session(client)


async def test_a_key_has_its_own_rate_limit(client: httpx.AsyncClient) -> None:
    """Above its rate limit a key is refused, while its owner and the owner's other keys are not."""
    key, other = await key_with(client, rate_limit="2/minute; 10/day"), await key_with(client, rate_limit="2/minute")
    answer = await client.get("/fibonacci/10", headers=key)
    names = [part.partition(";")[0].strip() for part in answer.headers["RateLimit"].split(",")]
    assert names == ['"key-minute"', '"key-day"', '"minute"', '"day"', '"compute"', '"digits"']
    assert answer.headers["RateLimit-Policy"].startswith('"key-minute";q=2;w=60, "key-day";q=10;w=86400, ')
    calculation = {"operation": "fibonacci", "input": {"n": 10}}
    assert (await client.post("/calculations", json=calculation, headers=key)).status_code == 201
    before = (await client.get("/usage")).headers["RateLimit"]
    for refused in (
        await client.get("/fibonacci/10", headers=key),
        await client.post("/calculations", json=calculation, headers=key),
        await client.post("/batch", json={"operations": [calculation]}, headers=key),
    ):
        assert (refused.status_code, refused.json()["type"]) == (429, "/docs/problems#rate-limited")
        assert refused.headers["RateLimit"].startswith('"key-minute";r=0;t=')
    after = (await client.get("/usage")).headers["RateLimit"]
    assert [part.partition(";t=")[0] for part in after.split(",")] == [
        part.partition(";t=")[0] for part in before.split(",")
    ]
    assert (await client.get("/fibonacci/10", headers=other)).status_code == 200
    assert (await client.get("/fibonacci/10")).status_code == 200


async def test_a_batch_beyond_a_keys_limit_is_refused_as_a_whole(client: httpx.AsyncClient) -> None:
    """A batch that exceeds the key's rate limit is refused; nothing of it is counted or recorded."""
    key = await key_with(client, rate_limit="2/minute")
    calculation = {"operation": "fibonacci", "input": {"n": 10}}
    refused = await client.post("/batch", json={"operations": [calculation] * 3}, headers=key)
    assert refused.status_code == 429
    assert await history_of(client) == []
    assert (await client.post("/batch", json={"operations": [calculation] * 2}, headers=key)).status_code == 200


async def test_a_key_has_its_own_quota_of_bytes(client: httpx.AsyncClient) -> None:
    """A result above a key's byte quota gets 429 with the quota's name; the key's bytes also count for its owner."""
    key = await key_with(client, digits="5kB/day")
    assert (await client.get("/pow/10/3999", headers=key)).status_code == 200
    refused = await client.get("/pow/10/3998", headers=key)
    body = refused.json()
    assert (refused.status_code, body["quota"], body["limit"], body["used"]) == (429, "key-digits", 5_000, 4_000)
    assert "with this API key" in body["detail"]
    assert (await client.get("/pow/10/3998")).status_code == 200
    states = {each["name"]: each["used"] for each in (await client.get("/usage", headers=key)).json()["quotas"]}
    assert (states["digits"], states["key-digits"]) == (7_999, 4_000)
    own = [each["name"] for each in (await client.get("/usage")).json()["quotas"]]
    assert own == ["compute", "digits"]


async def test_a_key_has_its_own_quota_of_seconds(client: httpx.AsyncClient) -> None:
    """A computation with an estimate above the key's quota of computing time is refused before it begins."""
    key = await key_with(client, compute="1s/day")
    refused = await client.get("/factorial/3000000", headers=key)
    assert (refused.status_code, refused.json()["quota"]) == (429, "key-compute")
    assert (await client.get("/fibonacci/1000", headers=key)).status_code == 200
