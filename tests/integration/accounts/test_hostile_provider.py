"""Forged ID tokens and broken identity providers: they open no session, and no request hangs."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from time import time
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from structlog.testing import capture_logs

from pycalc.errors import Unavailable
from pycalc.observability.metrics import Metrics
from pycalc.resources.wiring import Resources
from pycalc.services.accounts.oidc.provider import Provider, ProviderSettings
from pycalc.services.limits.rate_limits import FailedLogins
from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD
from tests.harness.hostile_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    HostileProvider,
    elliptic_key,
    hostile_provider,
)
from tests.harness.in_process import changed, new_user

pytestmark = pytest.mark.anyio

COOKIE = "__Host-pycalc-sign-in"
Forge = Callable[[HostileProvider, str], str]


@pytest.fixture
def provider() -> Iterator[HostileProvider]:
    """Run a provider that issues whatever a test wants."""
    with hostile_provider() as running:
        yield running


@pytest.fixture
def settings(settings: Settings, provider: HostileProvider) -> Settings:
    """Return settings that use this provider."""
    return changed(settings, **provider.settings)


async def finished(client: httpx.AsyncClient, provider: HostileProvider, forge: Forge) -> httpx.Response:
    """Sign in through the provider, whose ID token ``forge`` makes from the nonce; return the callback's answer."""
    begun = await client.get("/oidc/login")
    assert begun.status_code == 303, begun.text
    query = parse_qs(urlsplit(begun.headers["Location"]).query)
    cookie = begun.headers["Set-Cookie"].partition(";")[0].partition("=")[2]
    provider.token, provider.form = (lambda: forge(provider, query["nonce"][0])), {}
    parameters = {"state": query["state"][0], "code": "the code"}
    answer = await client.get("/oidc/callback", params=parameters, headers={"Cookie": f"{COOKIE}={cookie}"})
    if provider.form:
        verifier = provider.form["code_verifier"][0]
        challenge = base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        assert query["code_challenge"] == [challenge]
    return answer


async def test_a_good_token_opens_a_session(client: httpx.AsyncClient, provider: HostileProvider) -> None:
    """A valid token opens a session; over HTTPS the cookie is bound to this host and to HTTPS."""
    begun = await client.get("/oidc/login")
    assert begun.headers["Set-Cookie"].startswith(f"{COOKIE}=")
    assert "; Secure" in begun.headers["Set-Cookie"]
    assert "; Path=/;" in begun.headers["Set-Cookie"]
    answer = await finished(client, provider, lambda idp, nonce: idp.signed(idp.claims(nonce)))
    assert answer.status_code == 200, answer.text


async def test_redirects_that_no_browser_began_keep_nobody_out(
    client: httpx.AsyncClient, provider: HostileProvider
) -> None:
    """Callbacks without a sign-in of this browser get 401, and do not count as failed logins.

    Otherwise a foreign page could lock its visitors out by redirecting them to the callback.
    """
    name, _ = await new_user(client)
    for number in range(120):
        query = ("error=access_denied", "code=abc&state=abc", "")[number % 3]
        assert (await client.get(f"/oidc/callback?{query}")).status_code == 401
    assert (await client.post("/login", json={"username": name, "password": PASSWORD})).status_code == 200
    answer = await finished(client, provider, lambda idp, nonce: idp.signed(idp.claims(nonce)))
    assert answer.status_code == 200, answer.text


async def test_no_login_keeps_an_address_from_the_provider(
    client: httpx.AsyncClient, provider: HostileProvider
) -> None:
    """Failed logins with an IP address in the username do not stop sign-ins through the provider from that address."""
    address = "127.0.0.1"
    for _ in range(10):
        for name in (f"sign-in from {address}", address):
            await client.post("/login", json={"username": name, "password": "a wrong password"})
    answer = await finished(client, provider, lambda idp, nonce: idp.signed(idp.claims(nonce)))
    assert answer.status_code == 200, answer.text


async def test_refused_codes_count_as_failed_logins(
    client: httpx.AsyncClient, provider: HostileProvider, resources: Resources
) -> None:
    """Authorization codes that the provider refuses count as failed logins, because each costs the provider a request.

    If an account may have one failed login an hour, an address may have ten. After ten refused codes from an address,
    the next sign-in from there gets 429, and its code is not sent to the provider.
    """
    resources.login_limit = FailedLogins("1/hour", resources.metrics)
    provider.answers["/token"] = lambda: (400, b'{"error": "invalid_grant"}')
    assert [(await finished(client, provider, lambda *_: "")).status_code for _ in range(10)] == [401] * 10
    assert (await finished(client, provider, lambda *_: "")).status_code == 429
    assert provider.form == {}


HOSTILE: dict[str, Forge] = {
    "another audience": lambda idp, nonce: idp.signed(idp.claims(nonce, aud="another client")),
    "another audience beside": lambda idp, nonce: idp.signed(idp.claims(nonce, aud=[CLIENT_ID, "another client"])),
    "another authorized party": lambda idp, nonce: idp.signed(idp.claims(nonce, azp="another client")),
    "another issuer": lambda idp, nonce: idp.signed(idp.claims(nonce, iss="https://another.example")),
    "the issuer with a slash": lambda idp, nonce: idp.signed(idp.claims(nonce, iss=idp.issuer + "/")),
    "another sign-in's nonce": lambda idp, _: idp.signed(idp.claims("another nonce")),
    "a nonce of another type": lambda idp, nonce: idp.signed(idp.claims(nonce, nonce=[nonce])),
    "a lone surrogate as the nonce": lambda idp, _: idp.signed(idp.claims("\ud800")),
    "no nonce": lambda idp, nonce: idp.signed(idp.claims(nonce, nonce=None)),
    "no subject": lambda idp, nonce: idp.signed(idp.claims(nonce, sub=None)),
    "an empty subject": lambda idp, nonce: idp.signed(idp.claims(nonce, sub="")),
    "a long subject": lambda idp, nonce: idp.signed(idp.claims(nonce, sub="a" * 256)),
    "a NUL in the subject": lambda idp, nonce: idp.signed(idp.claims(nonce, sub="a\0b")),
    "a subject beyond ASCII": lambda idp, nonce: idp.signed(idp.claims(nonce, sub="é")),
    "no expiry": lambda idp, nonce: idp.signed(idp.claims(nonce, exp=None)),
    "expired": lambda idp, nonce: idp.signed(idp.claims(nonce, exp=int(time()) - 60)),
    "not yet valid": lambda idp, nonce: idp.signed(idp.claims(nonce, nbf=int(time()) + 300)),
    "issued in the future": lambda idp, nonce: idp.signed(idp.claims(nonce, iat=int(time()) + 300)),
    "issued long ago": lambda idp, nonce: idp.signed(idp.claims(nonce, iat=int(time()) - 3600)),
    "a text as the time of issue": lambda idp, nonce: idp.signed(idp.claims(nonce, iat=str(int(time())))),
    "no time of issue": lambda idp, nonce: idp.signed(idp.claims(nonce, iat=None)),
    "alg none": lambda idp, nonce: idp.unsigned(idp.claims(nonce)),
    "no signature": lambda idp, nonce: idp.unsigned(idp.claims(nonce), "RS256"),
    "a MAC of the public key": lambda idp, nonce: idp.confused(idp.claims(nonce)),
    "a MAC of the client's secret": lambda idp, nonce: idp.signed(idp.claims(nonce), CLIENT_SECRET, "HS256"),
    "another key": lambda idp, nonce: idp.signed(idp.claims(nonce), idp.other_key),
    "a key of another kind": lambda idp, nonce: idp.signed(idp.claims(nonce), elliptic_key(), "ES256"),
    "an unknown key": lambda idp, nonce: idp.signed(idp.claims(nonce), idp.other_key, kid="two"),
    "a key in the header": lambda idp, nonce: idp.signed(
        idp.claims(nonce), idp.other_key, kid="two", jwk=idp.public(idp.other_key, "two")
    ),
    "changed claims": lambda idp, nonce: ".".join(
        (
            (signed := idp.signed(idp.claims(nonce, sub="eve")).split("."))[0],
            idp.signed(idp.claims(nonce)).split(".")[1],
            signed[2],
        )
    ),
    "no token": lambda *_: "a.b.c",
    "a lone surrogate in the token": lambda *_: "\ud800.b.c",
    "a long token": lambda idp, nonce: idp.signed(idp.claims(nonce, padding="x" * 40_000)),
}


@pytest.mark.parametrize("forge", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_token_opens_no_session(
    client: httpx.AsyncClient, provider: HostileProvider, forge: Forge
) -> None:
    """A forged or invalid ID token gets 401, and the answer does not contain the token."""
    answer = await finished(client, provider, forge)
    assert (answer.status_code, answer.json()["type"]) == (401, "/docs/problems#unauthorized"), answer.text
    assert provider.token() not in answer.text


@pytest.mark.parametrize("kind", ["oct", "enc"])
async def test_a_key_for_other_uses_signs_nothing(
    client: httpx.AsyncClient, provider: HostileProvider, kind: str
) -> None:
    """A token signed with a symmetric key, or with an encryption key of the provider's key set, gets 401."""
    if kind == "oct":
        secret = base64.urlsafe_b64encode(CLIENT_SECRET.encode()).rstrip(b"=").decode()
        provider.keys.append({"kty": "oct", "k": secret, "kid": "two", "alg": "HS256"})
        answer = await finished(
            client, provider, lambda idp, nonce: idp.signed(idp.claims(nonce), CLIENT_SECRET, "HS256", kid="two")
        )
    else:
        provider.keys.append(provider.public(provider.other_key, "two", use="enc"))
        answer = await finished(
            client, provider, lambda idp, nonce: idp.signed(idp.claims(nonce), idp.other_key, kid="two")
        )
    assert answer.status_code == 401


async def test_an_unreadable_key_is_left_out(client: httpx.AsyncClient, provider: HostileProvider) -> None:
    """If one of the provider's keys has an invalid ``alg``, the other keys are still used."""
    provider.keys.insert(0, {**provider.keys[0], "kid": "two", "alg": [1]})
    assert (await finished(client, provider, lambda idp, nonce: idp.signed(idp.claims(nonce)))).status_code == 200


async def test_unknown_key_ids_cause_no_repeated_reads(client: httpx.AsyncClient, provider: HostileProvider) -> None:
    """Tokens with unknown key ids do not make the service read the provider's keys again within five seconds."""
    assert (await finished(client, provider, lambda idp, nonce: idp.signed(idp.claims(nonce)))).status_code == 200
    for _ in range(3):
        answer = await finished(
            client, provider, lambda idp, nonce: idp.signed(idp.claims(nonce), idp.other_key, kid="two")
        )
        assert answer.status_code == 401
    assert provider.requests.count("/keys") == 1  # the first read was less than five seconds ago
    assert provider.requests.count("/.well-known/openid-configuration") == 1


BROKEN: dict[str, Callable[[HostileProvider], object]] = {
    "another issuer's document": lambda idp: idp.discovery.update(issuer="https://another.example"),
    "an endpoint without TLS": lambda idp: idp.discovery.update(token_endpoint="http://another.example/token"),
    "no endpoint": lambda idp: idp.discovery.pop("jwks_uri"),
    "no JSON": lambda idp: idp.answers.update({"/.well-known/openid-configuration": lambda: (200, b"<html>")}),
    "a list": lambda idp: idp.answers.update({"/.well-known/openid-configuration": lambda: (200, b"[]")}),
    "a fault": lambda idp: idp.answers.update({"/.well-known/openid-configuration": lambda: (500, b"{}")}),
    "a redirect": lambda idp: idp.answers.update({"/.well-known/openid-configuration": lambda: (302, b"{}")}),
    "too long": lambda idp: idp.discovery.update(padding="x" * 300_000),
    "no keys": lambda idp: idp.answers.update({"/keys": lambda: (200, b"{}")}),
    "keys that are no list": lambda idp: idp.answers.update({"/keys": lambda: (200, b'{"keys": 1}')}),
    "a fault of the keys": lambda idp: idp.answers.update({"/keys": lambda: (500, b"oops")}),
}


@pytest.mark.parametrize("breaking", BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_provider_is_unavailable(
    client: httpx.AsyncClient, provider: HostileProvider, breaking: Callable[[HostileProvider], object]
) -> None:
    """If discovery or the keys can't be used, the answer is 503, and neither is requested again at once."""
    breaking(provider)
    for _ in range(3):
        answer = await client.get("/oidc/login")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert len(provider.requests) == len(set(provider.requests))


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/token", (500, b"{}")),
        ("/token", (200, b"{}")),
        ("/token", (400, b'{"error": "invalid_client"}')),
        ("/token", (401, b'{"error": "invalid_grant"}')),
    ],
)
async def test_a_broken_endpoint_is_unavailable(
    client: httpx.AsyncClient, provider: HostileProvider, path: str, answer: tuple[int, bytes]
) -> None:
    """If the answer of the provider's token endpoint can't be used, the service answers 503."""
    provider.answers[path] = lambda: answer
    assert (await finished(client, provider, lambda idp, nonce: idp.signed(idp.claims(nonce)))).status_code == 503


async def test_a_refused_code_is_unauthorized(client: httpx.AsyncClient, provider: HostileProvider) -> None:
    """If the provider refuses the authorization code, the sign-in gets 401."""
    refusal = json.dumps({"error": "invalid_grant"}).encode()
    provider.answers["/token"] = lambda: (400, refusal)
    assert (await finished(client, provider, lambda *_: "")).status_code == 401


async def test_compressed_answers_are_not_read(provider: HostileProvider) -> None:
    """The service asks for uncompressed answers, and does not decompress any others.

    A few kilobytes may decompress to gigabytes.
    """
    document = gzip.compress(json.dumps(provider.discovery).encode())
    provider.answers["/.well-known/openid-configuration"] = lambda: (200, document)
    provider.coding = "gzip"
    settings = ProviderSettings(provider.issuer, CLIENT_ID, CLIENT_SECRET, "https://calc.example/oidc/callback")
    client = Provider(settings, Metrics())
    try:
        with pytest.raises(Unavailable):
            await client.authorization_url({})
    finally:
        await client.aclose()
    assert provider.accepted == "identity"


async def test_a_silent_provider_is_given_up(provider: HostileProvider) -> None:
    """A request to a silent provider ends after its time limit; the next caller fails without another request."""
    released = threading.Event()

    def silent() -> tuple[int, bytes]:
        released.wait(60)
        return 200, b"{}"

    provider.answers["/.well-known/openid-configuration"] = silent
    metrics = Metrics()
    settings = ProviderSettings(provider.issuer, CLIENT_ID, CLIENT_SECRET, "https://calc.example/oidc/callback")
    client = Provider(settings, metrics, timeout=0.1, clock=lambda: 1_000.0)
    try:
        for _ in range(2):
            with pytest.raises(Unavailable):
                await client.authorization_url({})
    finally:
        released.set()
        await client.aclose()
    assert len(provider.requests) == 1
    assert b"pycalc_identity_provider_failures_total 1.0" in metrics.render()


async def test_keys_that_cannot_be_read_are_not_read_by_each_sign_in(provider: HostileProvider) -> None:
    """If the provider's keys can't be read, the service tries again only after five seconds, despite new sign-ins.

    Meanwhile it uses the keys that it read before. A token with an unknown key id does not make it try earlier.
    """
    good = provider.answers["/keys"]
    provider.answers["/keys"] = lambda: (500, b"oops")
    settings = ProviderSettings(provider.issuer, CLIENT_ID, CLIENT_SECRET, "https://calc.example/oidc/callback")
    now = [1_000.0]
    client = Provider(settings, Metrics(), clock=lambda: now[0])

    async def reads_after(*key_ids: str) -> tuple[list[bool], int]:
        """Look up keys concurrently; return which look-ups raised Unavailable, and the number of reads so far."""
        answers = await asyncio.gather(*map(client.key, key_ids), return_exceptions=True)
        return [isinstance(answer, Unavailable) for answer in answers], provider.requests.count("/keys")

    try:
        assert await reads_after("one", "one", "two") == ([True] * 3, 1)
        now[0] += 4.0
        assert await reads_after("one") == ([True], 1)
        now[0] += 1.0
        assert await reads_after("one") == ([True], 2)
        provider.answers["/keys"] = good
        now[0] += 5.0
        assert await reads_after("one", "one") == ([False, False], 3)
        provider.answers["/keys"] = lambda: (500, b"oops")
        now[0] += 5.0
        assert await reads_after("two", "two", "one") == ([True, True, False], 4)
    finally:
        await client.aclose()


async def test_keys_and_endpoints_are_read_again_after_an_hour(provider: HostileProvider) -> None:
    """The provider's keys and endpoints are read again after an hour.

    An unknown key id makes the service read them earlier, but at least five seconds after the last read.
    """
    settings = ProviderSettings(provider.issuer, CLIENT_ID, CLIENT_SECRET, "https://calc.example/oidc/callback")
    now = [-10_000.0]  # a monotonic clock may be negative
    client = Provider(settings, Metrics(), clock=lambda: now[0])

    async def reads_at(moment: float, key_id: str) -> tuple[bool, int, int]:
        """Look up a key when the clock shows ``moment``, and return whether it exists.

        Also return how often the provider's keys and its discovery document have been read.
        """
        now[0] = moment
        known = await client.key(key_id) is not None
        paths = provider.requests
        return known, paths.count("/keys"), paths.count("/.well-known/openid-configuration")

    try:
        assert await reads_at(-10_000.0, "one") == (True, 1, 1)
        assert await reads_at(-6_401.0, "one") == (True, 1, 1)
        assert await reads_at(-6_400.0, "one") == (True, 2, 2)
        assert await reads_at(-6_396.0, "two") == (False, 2, 2)
        assert await reads_at(-6_395.0, "two") == (False, 3, 3)
        assert await reads_at(-6_395.0, "one") == (True, 3, 3)
    finally:
        await client.aclose()


@pytest.mark.parametrize(("query", "separator"), [("", "?"), ("?policy=strict", "&")])
async def test_the_sign_in_page_keeps_its_own_query(provider: HostileProvider, query: str, separator: str) -> None:
    """The parameters of a sign-in are appended to the query of the provider's authorization endpoint."""
    provider.discovery["authorization_endpoint"] += query
    settings = ProviderSettings(provider.issuer, "a client", CLIENT_SECRET, "https://calc.example/oidc/callback")
    client = Provider(settings, Metrics())
    try:
        url = await client.authorization_url({"state": "a&b"})
    finally:
        await client.aclose()
    assert url == (
        f"{provider.issuer}/authorize{query}{separator}response_type=code&client_id=a+client"
        "&redirect_uri=https%3A%2F%2Fcalc.example%2Foidc%2Fcallback&state=a%26b"
    )


async def test_a_browser_is_led_back_to_the_console(
    client: httpx.AsyncClient, provider: HostileProvider, resources: Resources
) -> None:
    """After a failed sign-in, a browser is redirected to the console with the reason: refused, or too many failures."""
    resources.login_limit = FailedLogins("1/hour", resources.metrics)
    client.headers["Accept"] = "text/html,*/*;q=0.8"
    with capture_logs() as logs:
        answers = [await client.get("/oidc/callback?state=a&code=b")]
        answers += [await finished(client, provider, lambda *_: "a.b.c") for _ in range(11)]
    assert {answer.status_code for answer in answers} == {303}
    assert [answer.headers["Location"] for answer in answers] == ["/?error=sign-in-refused"] * 11 + [
        "/?error=sign-in-limited"
    ]
    refusals = [entry["status"] for entry in logs if entry["event"] == "request refused"]
    assert refusals == [401] * 11 + [429]


async def test_settings_must_be_whole(settings: Settings) -> None:
    """An incomplete or unsafe configuration of the provider is refused at the start."""
    for name in ("oidc_client_id", "oidc_client_secret", "oidc_redirect_url"):
        with pytest.raises(ValueError, match="PYCALC_OIDC_ISSUER needs"):
            changed(settings, **{name: ""})
        with pytest.raises(ValueError, match="need PYCALC_OIDC_ISSUER, its URL"):
            Settings.model_validate({name: "https://calc.example/oidc/callback"})
    for wrong in (
        {"oidc_issuer": "http://idp.example"},
        {"oidc_issuer": "https://idp.example?tenant=1"},
        {"oidc_issuer": "https://user@idp.example"},
        {"oidc_redirect_url": "http://calc.example/oidc/callback"},
        {"oidc_redirect_url": "https://calc.example/"},
        {"oidc_role_claim": "groups"},
        {"oidc_factor_claim": "=mfa"},
        {"admin_totp": "required"},
    ):
        with pytest.raises(ValueError, match=r"URL|CLAIM"):
            changed(settings, **wrong)
    with pytest.raises(ValueError, match="leaves no way in"):
        Settings(password_login=False, _env_file=None)


async def test_malformed_redirects_are_refused(client: httpx.AsyncClient) -> None:
    """Repeated and overlong parameters of a redirect get 422."""
    for path in ("/oidc/login?a=1&a=2", "/oidc/callback?state=" + "a" * 201):
        assert (await client.get(path)).status_code == 422
