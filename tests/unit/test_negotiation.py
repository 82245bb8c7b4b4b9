"""Header fields that select a representation, as RFC 9110 specifies them."""

from __future__ import annotations

import pytest

from pycalc.errors import RangeNotSatisfiable
from pycalc.observability.requests import REQUEST, RequestContext
from pycalc.routers.http.negotiation import (
    RequestConditions,
    byte_range,
    conditions_of,
    is_current,
    matching,
    preferred,
    preferred_coding,
    preferred_language,
)

MEDIA = ("application/json", "text/plain")
CODINGS = ("zstd", "gzip")
ETAG = '"abc"'
TAGS = ('"abc"', '"abc-zstd"', '"abc-gzip"')


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ("text/plain", "text/plain"),
        ("TEXT/Plain", "text/plain"),
        ("text/plain; charset=utf-8", "text/plain"),
        ("application/json", "application/json"),
        ("text/plain, application/json", "application/json"),
        ("text/plain;q=0.5, application/json;q=0.4", "text/plain"),
        ("text/plain;q=0.4, application/json;q=0.5", "application/json"),
        ("text/plain;q=0.001", "text/plain"),
        ("text/plain;q=0", None),
        ("text/plain;q=inf", None),
        ("text/plain;q=1e0", None),
        ("text/plain;q=2", "text/plain"),
        ("text/plain;q=0.1234", "text/plain"),
        ("text/plain;q=0.33333, application/json;q=0.3333", "text/plain"),
        ("text/plain;q=1.5, application/json", "application/json"),
        ("text/plain;q=.5, application/json;q=.25", "text/plain"),
        ("text/plain;q=1.000, application/json;q=0.999", "text/plain"),
        ("text/plain, application/json;q=1", "application/json"),
        ("text/plain;charset=utf-8, application/json;q=1", "application/json"),
        ("text/plain;q=0.000, application/json;q=0", None),
        ("text/plain ; Q=0.9 , application/json ; q=0.1", "text/plain"),
        ("text/plain;charset=utf-8;q=0.3, application/json;q=0.2", "text/plain"),
        ("*/*", "application/json"),
        ("text/*", "text/plain"),
        ("TEXT/*;q=0.2", "text/plain"),
        ("image/*", None),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
        ("text/plain;q=0.5, */*", "application/json"),
        ("text/plain;q=0.5, */*;q=0.1", "text/plain"),
        ("application/json;q=0.1, */*", "text/plain"),
        ("application/json;q=0, */*;q=0.1", "text/plain"),
        ("text/plain;q=0.1, text/*, application/json;q=0.5", "application/json"),
        ("text/*, text/plain;q=0, application/json;q=0.1", "application/json"),
        ("text/*;q=0, */*;q=0.5", "application/json"),
        ("text/plain;q=, application/json;q=0.1", "application/json"),
        ("text/plain;q=high, application/json;q=0.1", "application/json"),
        ("application/json;q=0.1, text/plain;q=high, text/*;q=0.2", "text/plain"),
        ("application/json;q=high, */*", "application/json"),
        ("text/plain;q=nan", None),
        ("text/plain;q=-1", None),
        (",, ;q=1, text/plain,", "text/plain"),
        (";", None),
        ("text/plainer", None),
    ],
)
def test_the_media_type_with_the_highest_weight(header: str, expected: str | None) -> None:
    """In Accept, the weight of a media type is that of its most specific range (RFC 9110 §12.5.1).

    A weight above 1 counts as 1. A range whose weight is no number is ignored.
    """
    assert preferred(header, MEDIA) == expected


@pytest.mark.parametrize(("before", "expected"), [(99, "text/plain"), (100, None), (60_000, None)])
def test_members_after_the_first_hundred_are_ignored(before: int, expected: str | None) -> None:
    """Only the first hundred members of a list are read, so that a hostile client can't use up processor time."""
    assert preferred("a," * before + "text/plain", MEDIA) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("zstd;q=0, gzip", "gzip"),
        ("zstd;q=0, gzip;q=0", None),
        ("*", None),
        ("br", None),
        ("GZIP", "gzip"),
        ("gzip, identity", "gzip"),
        ("gzip;q=0.5, identity", None),
        ("gzip;q=0.5, identity;q=0.4", "gzip"),
        ("gzip;q=0.5, *;q=0", "gzip"),
        ("gzip;q=0.2, *;q=0.5", None),
        ("identity;q=0, *", "zstd"),
        ("identity;q=0.5, *;q=0.6, zstd;q=0", "gzip"),
        ("zstd;q=0, *", None),
        ("zstd;q=high, gzip;q=0.5", "gzip"),
        ("gzip;q=9, zstd;q=0.9999", "gzip"),
    ],
)
def test_the_coding_that_is_named_with_the_highest_weight(header: str, expected: str | None) -> None:
    """In Accept-Encoding, a named coding needs at least ``identity``'s weight, and one that ``*`` covers needs more."""
    assert preferred_coding(header, CODINGS) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT, en;q=0.5", "de"),
        ("DE-at", "de"),
        ("en-GB, de;q=0.9", "en"),
        ("de;q=0.8, en;q=0.9", "en"),
        ("fr, de;q=0.5, en;q=0.4", "de"),
        ("fr-FR, *;q=0.1", "en"),
        ("de;q=0, fr", "en"),
        ("de;q=high, fr", "en"),
        ("de;q=2, fr", "de"),
    ],
)
def test_the_language_with_the_highest_weight_that_is_offered(header: str, expected: str) -> None:
    """Of Accept-Language, only primary subtags count; if none of these is offered, the first offered one is sent."""
    assert preferred_language(header, ("en", "de")) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-499", (0, 500)),
        ("bytes=500-999", (500, 1000)),
        ("bytes=9500-", (9500, 10_000)),
        ("bytes=0-", (0, 10_000)),
        ("bytes=-500", (9500, 10_000)),
        ("bytes=-1", (9999, 10_000)),
        ("bytes=-10000", (0, 10_000)),
        ("bytes=-10001", (0, 10_000)),
        ("bytes=-999999999999", (0, 10_000)),
        ("bytes=9999-", (9999, 10_000)),
        ("bytes=9000-99999", (9000, 10_000)),
        ("", None),
        ("bytes", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=0-0,-1", None),
        ("bytes=500-600,601-999", None),
        ("bytes=a-b", None),
        ("bytes=0x0-0x10", None),
        ("bytes=--5", None),
        ("bytes=1.5-3", None),
        ("items=0-5", None),
        ("bytes=" + "9" * 25 + "-", None),
        ("bytes=\N{SUPERSCRIPT TWO}-3", None),
    ],
)
def test_one_range_of_ten_thousand_bytes(field: str, expected: tuple[int, int] | None) -> None:
    """A single range is parsed as in RFC 9110 §14.1.2; several ranges, other units and invalid ranges are ignored."""
    assert byte_range(RequestConditions(range=field), ETAG, 10_000) == expected


@pytest.mark.parametrize("field", ["bytes=10000-", "bytes=10000-10001", "bytes=99999-", "bytes=-0"])
def test_a_range_beyond_the_end_is_none_of_the_text(field: str) -> None:
    """A range that begins at or after the end, and a suffix of 0 bytes, can't be satisfied (RFC 9110 §14.1.2)."""
    with pytest.raises(RangeNotSatisfiable, match="has 10,000 bytes"):
        byte_range(RequestConditions(range=field), ETAG, 10_000)


@pytest.mark.parametrize(
    ("if_range", "expected"),
    [
        ('"abc"', (0, 5)),
        ('"other"', None),
        ('W/"abc"', None),
        ('"abc-gzip"', None),
        ("Sun, 22 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_a_range_counts_if_the_copy_is_the_same(if_range: str, expected: tuple[int, int] | None) -> None:
    """Unless If-Range matches the ETag strongly, a range is ignored, even one beyond the end (RFC 9110 §13.1.5)."""
    assert byte_range(RequestConditions(range="bytes=0-4", if_range=if_range), ETAG, 10_000) == expected
    if expected is None:
        assert byte_range(RequestConditions(range="bytes=10000-", if_range=if_range), ETAG, 10_000) is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ('"abc"', '"abc"'),
        ('W/"abc"', '"abc"'),
        ('"abc-gzip"', '"abc-gzip"'),
        ('"x", "abc-zstd"', '"abc-zstd"'),
        ('"x",W/"abc-gzip"', '"abc-gzip"'),
        ("*", '"abc"'),
        ('"x"', None),
        ("abc", None),
        ('"ABC"', None),
    ],
)
def test_a_copy_is_good_when_its_tag_is_named(header: str, expected: str | None) -> None:
    """If-None-Match compares weakly with the ETags of all codings; ``*`` matches any (RFC 9110 §13.1.2)."""
    assert matching(header, TAGS) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("*", True),
        ('"abc"', True),
        ('"x", "abc-gzip"', True),
        ('W/"abc"', False),
        ('"x"', False),
        ("abc", False),
    ],
)
def test_if_match_compares_strongly(header: str, *, expected: bool) -> None:
    """If-Match compares strongly, so weak ETags never match; ``*`` matches any (RFC 9110 §13.1.1)."""
    assert is_current(header, TAGS) is expected


def test_a_field_that_comes_twice_is_one_list() -> None:
    """The values of a repeated header field are joined in order (RFC 9110 §5.3); unknown fields are ignored."""
    headers = [(b"accept", b"text/html"), (b"x", b"y"), (b"accept", b"text/plain"), (b"if-none-match", b'"\xe9"')]
    assert conditions_of({"headers": headers, REQUEST: RequestContext()}) == RequestConditions(
        accept="text/html, text/plain", if_none_match='"\N{LATIN SMALL LETTER E WITH ACUTE}"'
    )
    assert conditions_of({"headers": [], REQUEST: RequestContext()}) == RequestConditions()
