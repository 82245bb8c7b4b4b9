"""Credentials in requests: which forms are read, and that a key leaves the query before anybody sees it."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from pycalc.observability.requests import REQUEST, RequestContext
from pycalc.routers.http.credentials import take_query_key, token_of

KEY = b"pck_" + b"a" * 43


def scope_of(query: bytes = b"", authorization: bytes | None = None) -> dict[str, Any]:
    """Return the scope of a request, from whose query the key is taken."""
    headers = [] if authorization is None else [(b"authorization", authorization)]
    scope: dict[str, Any] = {"query_string": query, "headers": headers, REQUEST: RequestContext()}
    take_query_key(scope, scope[REQUEST])
    return scope


def basic(text: bytes) -> bytes:
    """Return the value of an Authorization field."""
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
    """Only an API key is read from HTTP Basic, with any user name; an account's password and a token are not."""
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
    """However its name is written, and whatever stands around it."""
    scope = scope_of(query)
    assert (token_of(scope), scope["query_string"]) == (KEY, left)


@pytest.mark.parametrize("query", [b"", b"mod=7", b"monkey=1&keys=2&Key=3", b"mod=%37", b"a=key"])
def test_another_query_stays_as_it_is(query: bytes) -> None:
    """Only a parameter called key is taken."""
    scope = scope_of(query)
    assert (token_of(scope), scope["query_string"]) == (None, query)


@pytest.mark.parametrize("second", [KEY, b"", b"other"])
def test_a_repeated_key_is_no_credential(second: bytes) -> None:
    """Its values are gone, and its names stay, so that it is refused like every repeated parameter."""
    scope = scope_of(b"key=" + KEY + b"&mod=7&key=" + second)
    assert (token_of(scope), scope["query_string"]) == (b"", b"mod=7&key=&key=")


def test_only_a_key_is_read_from_the_query() -> None:
    """An access token in a URL is refused, and yet it is taken out of the query."""
    scope = scope_of(b"key=eyJhbGciOiJIUzI1NiJ9.e30.AAAA")
    assert (token_of(scope), scope["query_string"]) == (b"", b"")


def test_a_context_does_not_show_its_key() -> None:
    """Not even where a context is printed."""
    scope = scope_of(b"key=" + KEY)
    assert KEY.decode() not in repr(scope)
