"""Authentication over HTTP: a missing, malformed or revoked token gets 401 with WWW-Authenticate."""

from __future__ import annotations

import httpx
import pytest

from tests.harness.accounts import PASSWORD, new_name, registration

pytestmark = pytest.mark.anyio

NOTHING_SENT = 'Bearer realm="pycalc"'
BAD_TOKEN = NOTHING_SENT + ', error="invalid_token"'
PROTECTED = [
    ("GET", "/me"),
    ("GET", "/secure-history"),
    ("GET", "/events"),
    ("GET", "/fibonacci/10"),
    ("GET", "/factorial/-1"),
    ("GET", "/pow/2/0.5?precision=0"),
    ("DELETE", "/users/ada"),
]


@pytest.fixture
async def token(client: httpx.AsyncClient) -> str:
    """Register an account, log in, and return the access token."""
    name = new_name()
    await client.post("/register", json=registration(name))
    session: dict[str, str] = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    return session["access_token"]


async def refusal(
    client: httpx.AsyncClient, method: str, path: str, authorization: str | bytes | None
) -> httpx.Response:
    """Send a request with this Authorization field, or without one if it is None; return the answer."""
    value = authorization.encode() if isinstance(authorization, str) else authorization
    headers = {} if value is None else {b"Authorization": value}
    return await client.request(method, path, headers=headers)


def assert_unauthorized(answer: httpx.Response, challenge: str = NOTHING_SENT) -> None:
    """Assert that an answer is the documented 401 with this challenge."""
    assert answer.status_code == 401, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"] == challenge
    assert answer.json()["type"] == "/docs/problems#unauthorized"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_without_a_token_every_protected_path_is_401(client: httpx.AsyncClient, method: str, path: str) -> None:
    """Without a token, a request to a protected path gets 401, even if an operand is invalid."""
    assert_unauthorized(await refusal(client, method, path, None))


@pytest.mark.parametrize(
    ("authorization", "challenge"),
    [
        ("", NOTHING_SENT),
        ("Bearer", NOTHING_SENT),
        ("Bearer ", NOTHING_SENT),
        ("Basic YWRhOnNlY3JldA==", NOTHING_SENT),
        ("Bearer garbage", BAD_TOKEN),
        ("Bearer a.b.c", BAD_TOKEN),
        ("Bearer pck_garbage", BAD_TOKEN),
        (b"Bearer \xff\xfe", BAD_TOKEN),
        ("bearer x", BAD_TOKEN),
    ],
)
async def test_garbage_is_unauthorized(client: httpx.AsyncClient, authorization: str | bytes, challenge: str) -> None:
    """A malformed Authorization field gets 401; the challenge has ``error`` only for a bad token (RFC 6750 §3)."""
    for path in ("/fibonacci/10", "/me"):
        assert_unauthorized(await refusal(client, "GET", path, authorization), challenge)


async def test_a_token_of_an_ended_session_is_a_bad_token(client: httpx.AsyncClient, token: str) -> None:
    """A token of an ended session gets 401 with the challenge for an invalid token."""
    assert (await client.post("/logout", headers={"Authorization": f"Bearer {token}"})).status_code == 204
    for path in ("/fibonacci/10", "/me"):
        assert_unauthorized(await refusal(client, "GET", path, f"Bearer {token}"), BAD_TOKEN)


async def test_the_schemes_letter_case_does_not_count(client: httpx.AsyncClient, token: str) -> None:
    """The authentication scheme is case-insensitive (RFC 9110 §11.1)."""
    assert (await refusal(client, "GET", "/me", f"bEaReR {token}")).status_code == 200
