"""Sign-in through an identity provider: required claims, usernames for new accounts, and limits of an ID token."""

from __future__ import annotations

from time import time
from typing import Any

import jwt
import pytest

from pycalc.errors import Unauthorized
from pycalc.services.accounts.oidc import id_tokens
from pycalc.services.accounts.oidc.id_tokens import Identity, Requirement, key_id_of, signing_keys, verify
from pycalc.services.accounts.oidc.sign_in import Attempt, ProviderSignIn, names_of
from tests.harness.hostile_provider import elliptic_key


@pytest.mark.parametrize(
    ("claim", "claims", "met"),
    [
        ("acr", {"acr": "mfa"}, True),
        ("acr", {"acr": "mfa2"}, False),
        ("acr", {"acr": "xmfax"}, False),
        ("acr", {"acr": ["pwd", "mfa"]}, True),
        ("acr", {"acr": ["pwd", "mfa2"]}, False),
        ("acr", {"acr": []}, False),
        ("acr", {"acr": {"mfa": True}}, False),
        ("acr", {"acr": None}, False),
        ("acr", {}, False),
        ("realm.roles", {"realm": {"roles": ["mfa"]}}, True),
        ("realm.roles", {"realm.roles": "mfa"}, True),
        ("realm.roles", {"realm.roles": "pwd", "realm": {"roles": ["mfa"]}}, False),
        ("realm.roles", {"realm": ["roles"]}, False),
        ("realm.roles", {"realm": "roles"}, False),
        ("realm.roles", {"roles": ["mfa"]}, False),
    ],
)
def test_a_required_claim_is_the_value_or_a_list_with_it(claim: str, claims: dict[str, Any], met: bool) -> None:
    """A required claim is met by the whole value or by a list that contains it, not by a longer text.

    ``realm.roles`` means the claim of this name or, if there is none, the member ``roles`` of the claim ``realm``.
    """
    assert Requirement(claim, "mfa").met_by(claims) is met


# The SHA-256 of "https://idp.example\nsubject-1" begins with these digits, according to sha256sum.
ENDINGS = ["66a0237d", "c05a3a48", "dc2293bf"]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("ada", ["ada"]),
        ("Ada.Love_lace-1@example.com", ["Ada.Love_lace-1"]),
        ("a" * 32, ["a" * 32]),
        ("a" * 33, []),
        ("._-ada", ["ada"]),
        ("a d ä a", ["ada"]),
        ("ab", []),
        ("", []),
    ],
)
def test_names_to_try_for_a_new_account(wanted: str, names: list[str]) -> None:
    """The preferred name comes first if it can be a username; the others end in digits that depend on the subject.

    No name has more than 32 characters. A name that is too short is replaced by "user".
    """
    base = {"a" * 32: "a" * 23, "a" * 33: "a" * 23}.get(wanted, names[0] if names else "user")
    tried = names_of(Identity("https://idp.example", "subject-1", wanted, "", {}))
    assert tried == [*names, *(f"{base}-{ending}" for ending in ENDINGS)]


KEY = elliptic_key()
PUBLIC = {**jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "one"}


def identity(**changes: object) -> Identity:
    """Return the identity in a token of the provider with these changes of its claims."""
    now = int(time())
    claims = {"iss": "https://idp.example", "aud": "pycalc", "sub": "ada", "iat": now, "exp": now + 300, "nonce": "n"}
    token = jwt.encode({**claims, **changes}, KEY, "ES256", {"kid": "one"})
    return verify(token, signing_keys({"keys": [PUBLIC]})[0], "https://idp.example", "pycalc", "n")


@pytest.mark.parametrize(("length", "accepted"), [(0, False), (1, True), (255, True), (256, False)])
def test_a_subject_has_1_to_255_characters(length: int, accepted: bool) -> None:
    """A subject is not empty, and has at most the 255 characters that the standard allows."""
    if accepted:
        assert identity(sub="s" * length).subject == "s" * length
    else:
        with pytest.raises(Unauthorized):
            identity(sub="s" * length)


@pytest.mark.parametrize(
    ("claims", "name", "email"),
    [
        ({}, "", ""),
        ({"preferred_username": "ada", "email": "ada@example.com"}, "ada", "ada@example.com"),
        ({"preferred_username": 7, "email": 7}, "", ""),
        ({"email": "a" * 254}, "", "a" * 254),
        ({"email": "a" * 255}, "", ""),
        ({"email": "a\nb"}, "", ""),
    ],
)
def test_a_name_or_address_that_cannot_be_used_is_left_out(claims: dict[str, Any], name: str, email: str) -> None:
    """A name or address of the wrong type, and an address that is too long or not printable, counts as missing."""
    found = identity(**claims)
    assert (found.name, found.email) == (name, email)


@pytest.mark.parametrize(("later", "accepted"), [(600.0, True), (600.5, False)])
def test_a_token_is_ten_minutes_old_at_most(monkeypatch: pytest.MonkeyPatch, later: float, accepted: bool) -> None:
    """A token that was issued more than ten minutes ago is refused, even if it has not expired."""
    issued = int(time())
    monkeypatch.setattr(id_tokens, "time", lambda: issued + later)
    if accepted:
        assert identity(iat=issued).subject == "ada"
    else:
        with pytest.raises(Unauthorized, match="issued long ago"):
            identity(iat=issued)


def test_only_public_signature_keys_are_read() -> None:
    """Only valid public signature keys are read from a key set; other entries are skipped.

    A document that is not a key set raises ValueError.
    """
    others = [{"kty": "oct", "k": "AAAA"}, {**PUBLIC, "use": "enc"}, {"kty": "EC"}, "key", None]
    assert [key.key_id for key in signing_keys({"keys": [*others, PUBLIC, {**PUBLIC, "use": "sig"}]})] == ["one"] * 2
    documents: list[dict[str, Any]] = [{}, {"keys": {}}, {"keys": None}]
    for document in documents:
        with pytest.raises(ValueError, match="key set"):
            signing_keys(document)


def test_the_key_id_of_a_token_is_read_unless_the_token_is_too_long() -> None:
    """A token's key id is returned, or None if it has none; a token of more than 32,768 characters is refused."""

    def token(header: dict[str, object], length: int = 0) -> str:
        made = jwt.encode({}, KEY, "ES256", header)
        return made + "A" * (length - len(made))

    assert key_id_of(token({"kid": "one"}, 32_768)) == "one"
    assert key_id_of(token({})) is None
    with pytest.raises(Unauthorized, match="not a signed token"):
        key_id_of(token({"kid": "one"}, 32_769))


def test_a_sign_in_is_resumed_only_in_the_browser_that_began_it() -> None:
    """A sign-in is resumed with the secret that the browser got at its beginning.

    It is refused with another secret, with an empty one and without any.
    """
    begun = Attempt("one secret")
    assert ProviderSignIn.resume("one secret", begun.state).nonce == begun.nonce
    for secret, state in (("another secret", begun.state), ("", Attempt("").state), (None, Attempt("").state)):
        with pytest.raises(Unauthorized):
            ProviderSignIn.resume(secret, state)
