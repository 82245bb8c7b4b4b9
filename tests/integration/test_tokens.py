"""Who is calling: over HTTP every bad token is a 401 with WWW-Authenticate, and a revoked one at once."""

from __future__ import annotations

import httpx
import pytest

from tests.services.accounts import PASSWORD, new_name, registration

pytestmark = pytest.mark.anyio

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
    """Register an account and return its token."""
    name = new_name()
    await client.post("/register", json=registration(name))
    session: dict[str, str] = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    return session["access_token"]


async def refusal(
    client: httpx.AsyncClient, method: str, path: str, authorization: str | bytes | None
) -> httpx.Response:
    """Return the answer to a request with this header."""
    value = authorization.encode() if isinstance(authorization, str) else authorization
    headers = {} if value is None else {b"Authorization": value}
    return await client.request(method, path, headers=headers)


def assert_unauthorized(answer: httpx.Response) -> None:
    """Check that an answer is the documented 401."""
    assert answer.status_code == 401, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="pycalc"'
    assert answer.json()["type"] == "/docs/problems#unauthorized"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_without_a_token_nothing_is_told(client: httpx.AsyncClient, method: str, path: str) -> None:
    """401 on every protected path, before anything else is looked at."""
    assert_unauthorized(await refusal(client, method, path, None))


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer garbage",
        "Bearer a.b.c",
        "Basic YWRhOnNlY3JldA==",
        b"Bearer \xff\xfe",
        "bearer x",
    ],
)
async def test_garbage_is_unauthorized(client: httpx.AsyncClient, authorization: str | bytes) -> None:
    """Whatever the header says, it is 401 on the short way (calculations) and on the framework's."""
    for path in ("/fibonacci/10", "/me"):
        assert_unauthorized(await refusal(client, "GET", path, authorization))


async def test_the_schemes_letter_case_does_not_count(client: httpx.AsyncClient, token: str) -> None:
    """RFC 9110 §11.1: authentication schemes are case-insensitive."""
    assert (await refusal(client, "GET", "/me", f"bEaReR {token}")).status_code == 200
