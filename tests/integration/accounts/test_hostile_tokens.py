"""Forged tokens over HTTP: each gets 401 with WWW-Authenticate and a problem, for calculations and for accounts.

The attacker in these tests knows the signing keys, so many of the tokens are signed correctly and only their contents
are wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from time import time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from pycalc.models.ids import IdSource, id_of_text
from pycalc.resources.wiring import Resources
from pycalc.services.accounts.access_tokens import TokenSigner
from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.forging import decoded, encoded, resigned, signed
from tests.harness.servers import pycalc

pytestmark = pytest.mark.anyio

NEW, OLD, FOREIGN = "new-key-" * 4, "old-key-" * 4, "foreign-" * 4
PUBLIC_KEY = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
"""
PATHS = ("/fibonacci/10", "/me")
UUID = "019aab12-7c00-7123-8456-426614174000"


@dataclass(frozen=True, slots=True)
class Loot:
    """The attacker's own valid tokens, and the claims of another user's access token."""

    token: str
    refresh_token: str
    others: dict[str, object]

    def with_header(self, **members: object) -> str:
        """Return the attacker's token with a changed header, signed with the right key."""
        return resigned(self.token, NEW, members)

    def claiming(self, **claims: object) -> str:
        """Return the attacker's token with changed claims, signed with the right key."""
        return resigned(self.token, NEW, None, claims)

    def without(self, name: str) -> str:
        """Return the attacker's token without a claim or header member, signed with the right key."""
        return resigned(self.token, NEW, without=name)

    def unsigned(self, algorithm: str, signature: str = "") -> str:
        """Return the attacker's token with this algorithm and signature."""
        return resigned(self.token, NEW, {"alg": algorithm}).rpartition(".")[0] + "." + signature

    @property
    def parts(self) -> tuple[str, str, str]:
        """Return the header, claims and signature of the attacker's token, as they are encoded."""
        header, claims, signature = self.token.split(".")
        return header, claims, signature

    @property
    def claims(self) -> dict[str, object]:
        """Return the claims of the attacker's token."""
        return decoded(self.parts[1])

    def with_texts(self, header: str | None = None, claims: str | None = None) -> str:
        """Return the attacker's token with this text as its header or claims, signed with the right key."""
        head, body = (json.dumps(decoded(part)) for part in self.parts[:2])
        return signed(header or head, claims or body, NEW)


Forgery = Callable[[Loot], str | bytes]

ALGORITHMS: dict[str, Forgery] = {
    "alg none": lambda loot: loot.unsigned("none"),
    "alg None": lambda loot: loot.unsigned("None"),
    "alg NONE": lambda loot: loot.unsigned("NONE"),
    "alg nOnE with our signature": lambda loot: loot.unsigned("nOnE", loot.parts[2]),
    "alg none, no last dot": lambda loot: loot.unsigned("none")[:-1],
    "alg empty": lambda loot: loot.with_header(alg=""),
    "alg null": lambda loot: loot.with_header(alg=None),
    "alg a list": lambda loot: loot.with_header(alg=["HS256", "none"]),
    "alg in lowercase": lambda loot: loot.with_header(alg="hs256"),
    "no alg": lambda loot: loot.without("alg"),
    "HS384 with the right key": lambda loot: resigned(loot.token, NEW, {"alg": "HS384"}, digest="sha384"),
    "HS512 with the right key": lambda loot: resigned(loot.token, NEW, {"alg": "HS512"}, digest="sha512"),
    "HS512 named, HS256 made": lambda loot: loot.with_header(alg="HS512"),
    "RS256 named, HS256 made with the right key": lambda loot: loot.with_header(alg="RS256"),
    "RS256 with a signature of its length": lambda loot: loot.unsigned("RS256", encoded(bytes(range(256)))),
    "ES256 with a signature of zeros": lambda loot: loot.unsigned("ES256", encoded(bytes(64))),
    "EdDSA": lambda loot: loot.unsigned("EdDSA", encoded(bytes(64))),
    "a public key used as the secret": lambda loot: resigned(loot.token, PUBLIC_KEY),
}
KEYS: dict[str, Forgery] = {
    "re-signed with another key": lambda loot: resigned(loot.token, FOREIGN),
    "re-signed with the empty key": lambda loot: resigned(loot.token, b""),
    "re-signed with the key's id": lambda loot: resigned(loot.token, str(decoded(loot.parts[0])["kid"])),
    "signed with the older key under the newer one's id": lambda loot: resigned(loot.token, OLD),
    "an unknown kid": lambda loot: loot.with_header(kid="0" * 16),
    "kid a path": lambda loot: resigned(loot.token, b"", {"kid": "../../../../dev/null"}),
    "kid a query": lambda loot: loot.with_header(kid="x' UNION SELECT 'key"),
    "kid a number": lambda loot: loot.with_header(kid=0),
    "kid null": lambda loot: loot.with_header(kid=None),
    "kid a list": lambda loot: loot.with_header(kid=[decoded(loot.parts[0])["kid"]]),
    "kid an object": lambda loot: loot.with_header(kid={"id": 1}),
    "no kid": lambda loot: loot.without("kid"),
    "jku": lambda loot: loot.with_header(jku="https://evil.example/keys.json"),
    "x5u": lambda loot: loot.with_header(x5u="https://evil.example/chain.pem"),
    "x5c": lambda loot: loot.with_header(x5c=["MIIB"]),
    "a key embedded": lambda loot: resigned(
        loot.token, FOREIGN, {"jwk": {"kty": "oct", "k": encoded(FOREIGN.encode())}}
    ),
    "a key embedded, the right one": lambda loot: loot.with_header(jwk={"kty": "oct", "k": encoded(NEW.encode())}),
    "crit": lambda loot: loot.with_header(crit=["exp2"], exp2=1),
    "crit empty": lambda loot: loot.with_header(crit=[]),
    "crit that the library knows": lambda loot: loot.with_header(crit=["b64"], b64=True),
    "zip": lambda loot: loot.with_header(zip="DEF"),
    "typ JWT": lambda loot: loot.with_header(typ="JWT"),
    "typ of a refresh token": lambda loot: loot.with_header(typ="rt+jwt"),
    "typ a list": lambda loot: loot.with_header(typ=["at+jwt"]),
    "no typ": lambda loot: loot.without("typ"),
    "kid twice, the last one unknown": lambda loot: loot.with_texts(
        header=json.dumps(decoded(loot.parts[0]))[:-1] + ',"kid":"0"}'
    ),
}
CLAIMS: dict[str, Forgery] = {
    **{
        f"no {name}": lambda loot, name=name: loot.without(name)  # type: ignore[misc]
        for name in ("iss", "aud", "sub", "iat", "nbf", "exp", "jti", "sid", "ver")
    },
    "expired": lambda loot: loot.claiming(exp=int(time()) - 1),
    "valid from next hour": lambda loot: loot.claiming(nbf=int(time()) + 3600),
    "issued tomorrow": lambda loot: loot.claiming(iat=int(time()) + 86_400),
    "exp a text": lambda loot: loot.claiming(exp=str(int(time()) + 600)),
    "exp a word": lambda loot: loot.claiming(exp="never"),
    "exp beyond all floats": lambda loot: loot.claiming(exp=10**400),
    "exp infinite": lambda loot: loot.claiming(exp=float("inf")),
    "exp not a number": lambda loot: loot.claiming(exp=float("nan")),
    "exp null": lambda loot: loot.claiming(exp=None),
    "exp true": lambda loot: loot.claiming(exp=True),
    "exp twice, the last one past": lambda loot: loot.with_texts(
        claims=json.dumps(loot.claims)[:-1] + ',"exp":' + str(int(time()) - 1) + "}"
    ),
    "another iss": lambda loot: loot.claiming(iss="https://evil.example"),
    "iss a list": lambda loot: loot.claiming(iss=["pycalc"]),
    "another aud": lambda loot: loot.claiming(aud="another"),
    "aud for us among others": lambda loot: loot.claiming(aud=["pycalc", "another"]),
    "aud null": lambda loot: loot.claiming(aud=None),
    "ver 2": lambda loot: loot.claiming(ver=2),
    "ver a text": lambda loot: loot.claiming(ver="1"),
    "ver true": lambda loot: loot.claiming(ver=True),
    "sub no UUID": lambda loot: loot.claiming(sub="root"),
    "sub a number": lambda loot: loot.claiming(sub=1),
    "sub unknown": lambda loot: loot.claiming(sub=UUID),
    "sub with a NUL": lambda loot: loot.claiming(sub=UUID[:-1] + "\0"),
    "sub of another user": lambda loot: loot.claiming(sub=loot.others["sub"]),
    "sid of another user": lambda loot: loot.claiming(sid=loot.others["sid"]),
    "sid unknown": lambda loot: loot.claiming(sid=UUID),
    "sid no UUID": lambda loot: loot.claiming(sid="*"),
    "sid a list": lambda loot: loot.claiming(sid=[loot.claims["sid"]]),
    "sid an object": lambda loot: loot.claiming(sid={"$ne": None}),
    "role admin, not signed": lambda loot: (
        f"{loot.parts[0]}.{encoded(json.dumps({**loot.claims, 'role': 'admin'}).encode())}.{loot.parts[2]}"
    ),
    "claims an array": lambda loot: loot.with_texts(claims="[]"),
    "claims a number": lambda loot: loot.with_texts(claims="1"),
    "claims empty": lambda loot: loot.with_texts(claims="{}"),
    "claims no JSON": lambda loot: loot.with_texts(claims="{"),
    "claims not UTF-8": lambda loot: signed(json.dumps(decoded(loot.parts[0])), b"\xff", NEW),
}
TEXTS: dict[str, Forgery] = {
    "header nested deep": lambda loot: encoded(b"[" * 1_400) + ".e30." + "A" * 43,
    "header an array": lambda loot: loot.with_texts(header="[]"),
    "header a number": lambda loot: loot.with_texts(header="1"),
    "no signature": lambda loot: ".".join(loot.parts[:2]) + ".",
    "no signature, no last dot": lambda loot: ".".join(loot.parts[:2]),
    "cut in the signature": lambda loot: loot.token[:-1],
    "cut in the claims": lambda loot: loot.token[: len(loot.parts[0]) + 20],
    "cut in the header": lambda loot: loot.token[:10],
    "cut at the front": lambda loot: loot.token[1:],
    "a bit of the signature flipped": lambda loot: loot.token[:-43] + chr(ord(loot.token[-43]) ^ 1) + loot.token[-42:],
    "a bit of the claims flipped": lambda loot: loot.token.replace(".e", ".f", 1),
    "a padded signature": lambda loot: loot.token + "=",
    "the last character written otherwise": lambda loot: loot.token[:-1] + chr(ord(loot.token[-1]) + 1),
    "another token's signature": lambda loot: loot.unsigned("HS256", loot.parts[2]),
    "three empty parts": lambda loot: "..",
    "four parts": lambda loot: loot.token + ".x",
    "five parts, as if encrypted": lambda loot: encoded(b'{"alg":"dir","enc":"A256GCM"}') + "..a.b.c",
    "the JSON serialization": lambda loot: json.dumps({"payload": loot.parts[1], "signature": loot.parts[2]}),
    "not ASCII": lambda loot: b"\xc3\xa9.\xc3\xa9.\xc3\xa9",
    "not UTF-8": lambda loot: b"\xff\xfe\xfd",
    "huge": lambda loot: loot.token + "A" * 30_000,
    "huge claims, signed": lambda loot: loot.claiming(note="x" * 4_000),
    "two tokens": lambda loot: f"{loot.token} {loot.token}",
    "in quotes": lambda loot: f'"{loot.token}"',
    "the refresh token": lambda loot: loot.refresh_token,
    "an API key that nobody has": lambda loot: "pck_" + "A" * 43,
    "an API key's prefix before a token": lambda loot: "pck_" + loot.token,
    "Bearer twice": lambda loot: f"Bearer {loot.token}",
    "the word null": lambda loot: "null",
}
TOKENS = {**ALGORITHMS, **KEYS, **CLAIMS, **TEXTS}
SCHEMES: dict[str, Forgery] = {
    "empty": lambda loot: "",
    "a scheme alone": lambda loot: "Bearer",
    "a token alone": lambda loot: loot.token,
    "Basic": lambda loot: "Basic YWRhOmNvcnJlY3QgaG9yc2UgYmF0dGVyeSBzdGFwbGU=",
    "Basic with a token": lambda loot: f"Basic {loot.token}",
    "Token": lambda loot: f"Token {loot.token}",
    "Digest": lambda loot: 'Digest username="ada", response=""',
    "a colon": lambda loot: f"Bearer: {loot.token}",
    "no space": lambda loot: f"Bearer{loot.token}",
}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """Run a service with two signing keys; yield a client of it."""
    with pycalc(secret_keys=f"{NEW},{OLD}") as server, httpx.Client(base_url=server.url) as opened:
        yield opened


def session_of(client: httpx.Client) -> dict[str, str]:
    """Register an account, log in, and return the tokens of the session."""
    name = new_name()
    assert client.post("/register", json=registration(name)).status_code == 201
    session: dict[str, str] = client.post("/login", json={"username": name, "password": PASSWORD}).json()
    return session


@pytest.fixture(scope="module")
def loot(client: httpx.Client) -> Loot:
    """Return an attacker's tokens, and the claims of another user's access token."""
    own, other = session_of(client), session_of(client)
    return Loot(own["access_token"], own["refresh_token"], decoded(other["access_token"].split(".")[1]))


def assert_refused(answer: httpx.Response, path: str, reason: str = "") -> None:
    """Assert that an answer is the documented 401 and nothing else; WWW-Authenticate ends with ``reason``."""
    assert answer.status_code == 401, (path, answer.text)
    assert answer.headers["WWW-Authenticate"] == f'Bearer realm="pycalc"{reason}'
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json().keys() == {"type", "title", "status", "detail", "instance"}
    assert (answer.json()["type"], answer.json()["instance"]) == ("/docs/problems#unauthorized", path)


def assert_accepted(client: httpx.Client, token: str) -> None:
    """Assert that a token is accepted."""
    for path in PATHS:
        answer = client.get(path, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.text


def test_at_least_sixty_forged_tokens_are_tested() -> None:
    """At least sixty forged tokens are tested."""
    assert len(TOKENS) >= 60


@pytest.mark.parametrize("forgery", TOKENS.values(), ids=TOKENS.keys())
def test_a_hostile_token_is_unauthorized(client: httpx.Client, loot: Loot, forgery: Forgery) -> None:
    """A forged token gets 401 for calculations and accounts, while the original token still works."""
    token = forgery(loot)
    value = b"Bearer " + (token.encode() if isinstance(token, str) else token)
    for path in PATHS:
        answer = client.get(path, headers={b"Authorization": value})
        assert_refused(answer, path, ', error="invalid_token"')
    assert_accepted(client, loot.token)


@pytest.mark.parametrize("forgery", SCHEMES.values(), ids=SCHEMES.keys())
def test_another_scheme_is_unauthorized(client: httpx.Client, loot: Loot, forgery: Forgery) -> None:
    """An Authorization field gets 401 if it is neither ``Bearer`` with a token nor ``Basic`` with an API key."""
    value = forgery(loot)
    for path in PATHS:
        assert_refused(client.get(path, headers={"Authorization": str(value)}), path)


def test_what_is_not_hostile_is_accepted(client: httpx.Client, loot: Loot) -> None:
    """Correctly signed tokens are accepted: unchanged, with an additional claim, and signed with the older key."""
    user_id, session_id = (id_of_text(str(loot.claims[name])) for name in ("sub", "sid"))
    older = TokenSigner([OLD], IdSource(), 900).issue(user_id, session_id)
    for token in (loot.token, resigned(loot.token, NEW), loot.with_texts(), loot.claiming(note="x"), older):
        assert_accepted(client, token)


def test_a_role_in_a_token_grants_nothing(client: httpx.Client, loot: Loot) -> None:
    """A role in a correctly signed token is ignored, because the stored role counts."""
    headers = {"Authorization": f"Bearer {loot.claiming(role='admin', is_admin=True, scope='admin')}"}
    assert client.get("/me", headers=headers).json()["role"] == "user"
    assert client.get("/secure-history", headers=headers).json()["role"] == "user"
    assert client.get("/users", headers=headers).status_code == 403
    assert client.delete("/users/anybody", headers=headers).status_code == 403


@pytest.mark.parametrize("position", [10, -1])
async def test_a_nul_in_a_token_is_unauthorized(app: FastAPI, resources: Resources, position: int) -> None:
    """A token with a NUL character gets 401 like any other bad token."""
    sent: list[dict[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(dict(message))

    token = resources.authenticator.sessions.signer.issue(bytes(16), bytes(16)).encode()
    headers = [(b"authorization", b"Bearer " + token[:position] + b"\0" + token[position:])]
    state = app.state.lifespan
    scope = {"type": "http", "method": "GET", "path": PATHS[0], "query_string": b"", "headers": headers, "state": state}
    await app(scope, None, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 401
