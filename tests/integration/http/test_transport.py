"""Strict-Transport-Security over HTTPS, and CORS for configured origins, on every response including errors."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from pycalc.resources.wiring import Resources
from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.servers import pycalc

pytestmark = pytest.mark.anyio

HSTS = "max-age=31536000; includeSubDomains"
PAGE, LOCAL, OTHER = "https://app.example", "http://localhost:5173", "https://evil.example"
# Requests for every kind of response: results, errors, pages, files and documents.
ANSWERS = [
    ("GET", "/fibonacci/10", 200),
    ("HEAD", "/fibonacci/10", 200),
    ("GET", "/fibonacci/x", 422),
    ("POST", "/fibonacci/10", 405),
    ("GET", "/me", 200),
    ("GET", "/nowhere", 404),
    ("GET", "/healthz", 200),
    ("GET", "/docs", 200),
    ("GET", "/web/console.css", 200),
    ("GET", "/openapi.json", 200),
    ("POST", "/register", 422),
    ("OPTIONS", "/fibonacci/10", 405),
]


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Return settings with the test's changes."""
    return settings.model_copy(update=getattr(request, "param", {}))


def having(**settings: Any) -> pytest.MarkDecorator:
    """Return a mark that gives a test these settings."""
    return pytest.mark.parametrize("settings", [settings], indirect=True)


@pytest.fixture
async def bearer(client: httpx.AsyncClient) -> dict[str, str]:
    """Register an account, log in, and return the Authorization header."""
    name = new_name()
    await client.post("/register", json=registration(name))
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    return {"Authorization": f"Bearer {session['access_token']}"}


async def preflight(client: httpx.AsyncClient, origin: str, method: str, fields: str) -> httpx.Response:
    """Send a preflight request as a browser does."""
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": fields}
    return await client.options("/batch", headers=asked)


class TestStrictTransport:
    """Strict-Transport-Security (RFC 6797): sent always over HTTPS, and never over HTTP."""

    async def test_every_answer_by_https_says_so(self, client: httpx.AsyncClient, bearer: dict[str, str]) -> None:
        """Over HTTPS, results, errors, pages and files have Strict-Transport-Security exactly once."""
        for method, path, status in ANSWERS:
            answer = await client.request(method, f"https://pycalc.test{path}", headers=bearer)
            assert answer.status_code == status, path
            assert answer.headers.get_list("Strict-Transport-Security") == [HSTS], path
        assert (await client.get("https://pycalc.test/me")).headers["Strict-Transport-Security"] == HSTS

    async def test_no_answer_by_http_does(self, client: httpx.AsyncClient, bearer: dict[str, str]) -> None:
        """Over HTTP, no response has Strict-Transport-Security (RFC 6797 §7.2).

        Without trusted proxies, the request's field ``X-Forwarded-Proto: https`` does not change this.
        """
        for method, path, status in ANSWERS:
            answer = await client.request(method, path, headers={**bearer, "X-Forwarded-Proto": "https"})
            assert answer.status_code == status, path
            assert "Strict-Transport-Security" not in answer.headers, path

    def test_a_trusted_proxy_tells_of_https(self) -> None:
        """On a real server, X-Forwarded-Proto counts if it comes from a trusted proxy that terminates TLS."""
        with pycalc(trusted_proxies="127.0.0.0/8") as own, httpx.Client(base_url=own.url) as http:
            told = [
                http.get(path, headers={"X-Forwarded-Proto": scheme} if scheme else {}).headers.get(
                    "Strict-Transport-Security"
                )
                for path in ("/healthz", "/fibonacci/10")
                for scheme in ("https", "http", "")
            ]
        assert told == [HSTS, None, None] * 2


@having(cors_origins=(PAGE, LOCAL))
class TestCrossOrigin:
    """CORS as in the Fetch standard, for the configured origins."""

    async def test_every_answer_may_be_read_by_the_page(
        self, client: httpx.AsyncClient, bearer: dict[str, str]
    ) -> None:
        """Every response, errors included, permits the configured origin and exposes the fields that clients need."""
        for method, path, status in ANSWERS:
            answer = await client.request(method, path, headers={**bearer, "Origin": PAGE})
            assert answer.status_code == status, path
            assert answer.headers["Access-Control-Allow-Origin"] == PAGE, path
            assert "Access-Control-Allow-Credentials" not in answer.headers
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "Origin" in answer.headers["Vary"]
            exposed = answer.headers["Access-Control-Expose-Headers"].lower().split(", ")
            needed = {"etag", "retry-after", "ratelimit", "ratelimit-policy", "content-range", "repr-digest"}
            needed |= {"allow", "link", "location", "www-authenticate", "x-request-id"}
            assert needed | {"x-calculation-id", "x-exact"} <= {*exposed}
        refused = await client.get("/fibonacci/10", headers={"Origin": PAGE})
        assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, PAGE)

    async def test_refused_calculations_share_no_header_fields(
        self, client: httpx.AsyncClient, resources: Resources
    ) -> None:
        """If the service is overloaded, a refusal permits its own request's origin only, and has ``Vary`` once."""
        slots = resources.calculator.slots
        for number in range(slots.total):
            slots.acquire(number)
        for origin in (PAGE, LOCAL, OTHER, None):
            answer = await client.get("/fibonacci/10", headers={"Origin": origin} if origin else {})
            assert answer.status_code == 503
            permitted = origin if origin in (PAGE, LOCAL) else None
            assert answer.headers.get("Access-Control-Allow-Origin") == permitted, origin
            assert answer.headers["Vary"] == "Origin", origin

    async def test_other_pages_may_not(self, client: httpx.AsyncClient, bearer: dict[str, str]) -> None:
        """An origin that is not configured, even a similar one, gets no permission to read the response.

        ``Vary: Origin`` keeps caches from sending it the response for a configured origin.
        """
        for origin in (OTHER, PAGE + ".evil.example", PAGE.upper(), "http://app.example", "null", None):
            headers = {**bearer, **({"Origin": origin} if origin else {})}
            answer = await client.get("/fibonacci/10", headers=headers)
            assert answer.status_code == 200
            assert "Access-Control-Allow-Origin" not in answer.headers, origin
            assert "Origin" in answer.headers["Vary"]

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def test_a_preflight_allows_what_the_service_knows(self, client: httpx.AsyncClient, method: str) -> None:
        """A preflight permits each method with Authorization and Content-Type, for ten minutes."""
        answer = await preflight(client, PAGE, method, "authorization, content-type")
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert method in answer.headers["Access-Control-Allow-Methods"]
        assert answer.headers["Access-Control-Max-Age"] == "600"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"

    @pytest.mark.parametrize(
        ("origin", "method", "fields"),
        [(OTHER, "GET", "authorization"), (PAGE, "TRACE", "authorization"), (PAGE, "GET", "x-invented")],
    )
    async def test_a_preflight_refuses_the_rest(
        self, client: httpx.AsyncClient, origin: str, method: str, fields: str
    ) -> None:
        """A preflight for an origin, method or header field that is not permitted gets a 403 problem."""
        answer = await preflight(client, origin, method, fields)
        assert answer.status_code == 403
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["type"] == "/docs/problems#forbidden"
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"

    async def test_a_preflight_by_https_is_strict(self, client: httpx.AsyncClient) -> None:
        """A preflight over HTTPS has Strict-Transport-Security like any response."""
        asked = {"Origin": PAGE, "Access-Control-Request-Method": "GET"}
        answer = await client.options("https://pycalc.test/fibonacci/10", headers=asked)
        assert answer.headers["Strict-Transport-Security"] == HSTS


async def test_without_the_setting_no_page_may_read_anything(client: httpx.AsyncClient, bearer: dict[str, str]) -> None:
    """Without configured origins no response has a CORS field, and a preflight gets 405."""
    for method, path, _ in ANSWERS:
        answer = await client.request(method, path, headers={**bearer, "Origin": PAGE})
        assert not [name for name in answer.headers if name.lower().startswith("access-control")], path
    assert (await preflight(client, PAGE, "POST", "authorization")).status_code == 405
