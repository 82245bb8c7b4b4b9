"""Credentials in requests: which forms are read; a key in the query is removed before any other code sees it."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from pycalc.observability.requests import REQUEST, RequestContext
from pycalc.routers.http.credentials import take_query_key, token_of

KEY = b"pck_" + b"a" * 43


def scope_of(query: bytes = b"", authorization: bytes | None = None) -> dict[str, Any]:
    """Return a request's ASGI scope, after the API key was moved from its query to its context."""
    headers = [] if authorization is None else [(b"authorization", authorization)]
    scope: dict[str, Any] = {"query_string": query, "headers": headers, REQUEST: RequestContext()}
    take_query_key(scope, scope[REQUEST])
    return scope


def basic(text: bytes) -> bytes:
    """Return the value of an Authorization field with HTTP Basic, for ``user:password``."""
    return b"Basic " + b64encode(text)


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (None, None),
        (b"Bearer abc", b"abc"),
        (b"bearer  abc ", b"abc"),
        (b"Digest abc", b""),
        (basic(b"ada:" + KEY), KEY),
        (basic(b":" + KEY), KEY),
        (b"basic" + basic(b"ada:" + KEY)[5:], KEY),
        (basic(b"ada:correct horse battery staple"), b""),
        (basic(b"ada:eyJhbGciOiJIUzI1NiJ9.e30.AAAA"), b""),
        (basic(KEY), b""),
        (basic(KEY + b":"), b""),
        (b"Basic", b""),
        (b"Basic !!!", b""),
        (b"Basic \xff", b""),
    ],
)
def test_a_key_may_be_the_password_of_basic(authorization: bytes | None, expected: bytes | None) -> None:
    """HTTP Basic may carry an API key as its password, with any user name, but no account's password and no token."""
    assert token_of(scope_of(authorization=authorization)) == expected


@pytest.mark.parametrize(
    ("query", "left"),
    [
        (b"key=" + KEY, b""),
        (b"mod=7&key=" + KEY + b"&format=text", b"mod=7&format=text"),
        (b"%6bey=" + KEY, b""),
        (b"%6B%65%79=%70ck_" + KEY[4:], b""),
    ],
)
def test_a_key_leaves_the_query(query: bytes, left: bytes) -> None:
    """An API key in the query is accepted and removed, even if it is percent-encoded; other parameters stay."""
    scope = scope_of(query)
    assert (token_of(scope), scope["query_string"]) == (KEY, left)


@pytest.mark.parametrize("query", [b"", b"mod=7", b"monkey=1&keys=2&Key=3", b"mod=%37", b"a=key"])
def test_another_query_stays_as_it_is(query: bytes) -> None:
    """A query without a parameter that is called exactly ``key`` has no credential, and stays unchanged."""
    scope = scope_of(query)
    assert (token_of(scope), scope["query_string"]) == (None, query)


@pytest.mark.parametrize("second", [KEY, b"", b"other"])
def test_a_repeated_key_is_no_credential(second: bytes) -> None:
    """If the query repeats ``key``, no value is accepted, and all its values are removed.

    The names stay in the query, so that routes refuse the repeated parameter.
    """
    scope = scope_of(b"key=" + KEY + b"&mod=7&key=" + second)
    assert (token_of(scope), scope["query_string"]) == (b"", b"mod=7&key=&key=")


def test_only_a_key_is_read_from_the_query() -> None:
    """An access token in the query parameter ``key`` is removed, but is not accepted."""
    scope = scope_of(b"key=eyJhbGciOiJIUzI1NiJ9.e30.AAAA")
    assert (token_of(scope), scope["query_string"]) == (b"", b"")


@pytest.mark.parametrize(("parameters", "left"), [(64, 64), (65, 65), (66, 65), (20_000, 65)])
def test_a_query_of_too_many_parameters_is_cut(parameters: int, left: int) -> None:
    """If a query has an API key and more than 65 other parameters, it is cut to 65 of these.

    Routes allow 64 parameters, so they still refuse the query.
    """
    scope = scope_of(b"&".join([b"key=" + KEY, *[b"%61=1"] * parameters]))
    assert (token_of(scope), scope["query_string"]) == (KEY, b"&".join([b"%61=1"] * left))


def test_a_key_behind_too_many_parameters_is_no_credential() -> None:
    """An API key that follows 66 other parameters is not accepted, because a query is cut after 66 parameters."""
    scope = scope_of(b"&".join([*[b"%61=1"] * 66, b"key=" + KEY]))
    assert (token_of(scope), scope["query_string"]) == (None, b"&".join([b"%61=1"] * 66))


def test_a_context_does_not_show_its_key() -> None:
    """The printed form of a request's context does not contain its key."""
    scope = scope_of(b"key=" + KEY)
    assert KEY.decode() not in repr(scope)
