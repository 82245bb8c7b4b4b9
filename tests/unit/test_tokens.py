"""Access tokens: which ones are accepted, and that all others are refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from time import time
from typing import Any

import pytest

from pycalc.errors import Unauthorized
from pycalc.models.ids import IdSource, text_of_id
from pycalc.services.accounts.access_tokens import TokenSigner
from tests.harness.stores import USER_ID

SESSION_ID = IdSource().next()
OLD, NEW, FOREIGN = "old" * 12, "new" * 12, "foreign" * 6


def signer(*keys: str, lifetime: int = 3600) -> TokenSigner:
    """Return a signer with these keys, the newest first."""
    return TokenSigner(keys, IdSource(), lifetime)


def encoded(part: bytes) -> str:
    """Encode bytes as base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def decoded(part: str) -> dict[str, Any]:
    """Return the JSON object that a part of a token encodes."""
    value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=="))
    return value


def forged(key: str = NEW, header: dict[str, Any] | None = None, digest: str = "sha256", **claims: Any) -> str:
    """Return a token signed with ``key`` and with these claims changed; None removes a claim."""
    ours = signer(NEW).issue(USER_ID, SESSION_ID).split(".")
    head = {**decoded(ours[0]), **(header or {})}
    body = {name: value for name, value in {**decoded(ours[1]), **claims}.items() if value is not None}
    signed = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(body).encode())}"
    return f"{signed}.{encoded(hmac.digest(key.encode(), signed.encode(), digest))}"


def test_a_token_is_valid_and_says_whose_it_is() -> None:
    """A token states its user, its session and the configured lifetime, in the form of RFC 9068."""
    now = time()
    tokens = signer(NEW, lifetime=600)
    token = tokens.issue(USER_ID, SESSION_ID)
    claims = tokens.verify(token)
    assert (claims.user_id, claims.session_id) == (USER_ID, SESSION_ID)
    assert now + 599 <= claims.expires_at <= time() + 600
    head, body, _ = token.split(".")
    assert (decoded(head)["alg"], decoded(head)["typ"]) == ("HS256", "at+jwt")
    assert decoded(body)["sub"] == text_of_id(USER_ID)
    assert decoded(body)["ver"] == 1
    assert NEW not in token


def test_two_tokens_differ() -> None:
    """Two tokens for the same session differ, because each has its own id."""
    tokens = signer(NEW)
    assert tokens.issue(USER_ID, SESSION_ID) != tokens.issue(USER_ID, SESSION_ID)


def test_an_older_key_still_verifies_and_the_newest_signs() -> None:
    """After a rotation the new first key signs, and tokens of the older key stay valid."""
    before, between, after = signer(OLD), signer(NEW, OLD), signer(NEW)
    assert between.verify(before.issue(USER_ID, SESSION_ID)).user_id == USER_ID
    assert after.verify(between.issue(USER_ID, SESSION_ID)).user_id == USER_ID
    with pytest.raises(Unauthorized):
        after.verify(before.issue(USER_ID, SESSION_ID))


def test_keys_are_replaced_while_it_runs() -> None:
    """After a replacement the new first key signs, and tokens of removed keys are refused."""
    tokens = signer(OLD)
    before = tokens.issue(USER_ID, SESSION_ID)
    tokens.replace_keys([NEW, OLD])
    assert tokens.verify(before).user_id == USER_ID
    after = tokens.issue(USER_ID, SESSION_ID)
    assert decoded(after.split(".")[0])["kid"] != decoded(before.split(".")[0])["kid"]
    tokens.replace_keys([NEW])
    assert tokens.verify(after).user_id == USER_ID
    with pytest.raises(Unauthorized):
        tokens.verify(before)


def test_without_a_key_there_is_no_signer() -> None:
    """A signer needs a key; replacing its keys by none is refused and leaves them in force."""
    with pytest.raises(ValueError, match="key"):
        signer()
    tokens = signer(NEW)
    with pytest.raises(ValueError, match="key"):
        tokens.replace_keys([])
    assert tokens.verify(forged()).user_id == USER_ID


def test_the_forging_helper_makes_valid_tokens() -> None:
    """``forged`` makes a valid token if nothing is changed, so in the other tests the changes cause the refusals."""
    assert signer(NEW).verify(forged()).user_id == USER_ID


def test_another_instances_clock_may_be_seconds_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token from an instance whose clock is five seconds ahead of ours is accepted, but not from further ahead."""
    now = int(time())
    monkeypatch.setattr("pycalc.services.accounts.access_tokens.time", lambda: now)
    assert signer(NEW).verify(forged(iat=now + 5, nbf=now + 5)).user_id == USER_ID
    for further in (forged(iat=now + 6), forged(nbf=now + 6)):
        with pytest.raises(Unauthorized):
            signer(NEW).verify(further)


GOOD = forged()
BAD = {
    "empty": "",
    "one part": "token",
    "three empty parts": "..",
    "four parts": GOOD + ".x",
    "not base64": "!.!.!",
    "not ASCII": "é.é.é",
    "too long": GOOD + "A" * 3_000,
    "signed with another key": forged(FOREIGN),
    "signed with the key's hash as key": forged(hashlib.sha256(NEW.encode()).hexdigest()),
    "another kid": forged(FOREIGN, {"kid": "0" * 16}),
    "no kid": forged(header={"kid": None}),
    "a kid that is no text": forged(header={"kid": ["a"]}),
    "alg none": forged(header={"alg": "none"}),
    "alg none, no signature": forged(header={"alg": "none"}).rpartition(".")[0] + ".",
    "HS512": forged(header={"alg": "HS512"}, digest="sha512"),
    "an id token": forged(header={"typ": "JWT"}),
    "no typ": forged(header={"typ": None}),
    "critical extension": forged(header={"crit": ["exp2"], "exp2": 1}),
    "critical extension that the library knows": forged(header={"crit": ["b64"], "b64": True}),
    "a key's address": forged(header={"jku": "https://evil.example/keys"}),
    "a header nested 1,400 deep": encoded(b"[" * 1_400) + ".e30." + "A" * 43,
    "a padded signature": GOOD + "=",
    "a signature written otherwise": GOOD[:-1] + chr(ord(GOOD[-1]) + 1),
    "a line feed at the end": GOOD + "\n",
    "no signature": GOOD.rpartition(".")[0] + ".",
    "cut signature": GOOD[:-4],
    "another user's signature": ".".join(
        [*signer(NEW).issue(bytes(16), SESSION_ID).split(".")[:2], GOOD.rpartition(".")[2]]
    ),
    "expired": forged(exp=int(time()) - 1),
    "not yet": forged(nbf=int(time()) + 100_000),
    "expired this second": forged(exp=int(time())),
    "issued tomorrow": forged(iat=int(time()) + 86_400),
    "for others": forged(aud="somebody"),
    "by others": forged(iss="somebody"),
    "no expiry": forged(exp=None),
    "no subject": forged(sub=None),
    "no token id": forged(jti=None),
    "no session": forged(sid=None),
    "a session that is no id": forged(sid="all"),
    "no issue time": forged(iat=None),
    "a subject that is no id": forged(sub="ada"),
    "a numeric subject": forged(sub=7),
    "an expiry that is no number": forged(exp="soon"),
    "an infinite expiry": forged(exp=float("inf")),
    "no number as expiry": forged(exp=float("nan")),
    "a number's text as expiry": forged(exp=str(int(time()) + 600)),
    "an expiry beyond all floats": forged(exp=10**400),
    "a fraction as expiry": forged(exp=time() + 600),
    "for us and others": forged(aud=["pycalc", "others"]),
    "a list of sessions": forged(sid=[text_of_id(SESSION_ID)]),
    "a numeric session": forged(sid=7),
    "no version": forged(ver=None),
    "another version": forged(ver=2),
    "true as version": forged(ver=True),
    "a version's text": forged(ver="1"),
}  # fmt: skip


@pytest.mark.parametrize("token", BAD.values(), ids=BAD.keys())
def test_anything_else_is_unauthorized(token: str) -> None:
    """Malformed, foreign, changed or outdated tokens raise Unauthorized, and never another error."""
    with pytest.raises(Unauthorized):
        signer(NEW, OLD).verify(token)
