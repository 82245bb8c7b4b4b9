"""The encoding of results as bytes: every result is decoded unchanged, and other bytes are refused."""

from __future__ import annotations

import json
import sys
import tracemalloc
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycalc.cache.codec import COMPRESSED_BYTES, FORMAT, TooLong, decode, encode
from pycalc.models.results import Facts, Result
from tests.harness.results import digits, result

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

NAME = b"pycalc:v1:fibonacci:10"
LONGEST = 10_000_000


def sealed(body: bytes, name: bytes = NAME) -> bytes:
    """Return a body with a valid digest, as an attacker who knows the code could make it."""
    return sha256(b"%d:%b\n" % (len(name), name) + body).digest()[:16] + body


def header_line(length: int, **changed: object) -> bytes:
    """Return the header line of an encoded text with this length."""
    facts = {"length": length, "stored": False, "digits": "5", "exact": True, "leading": "5", "trailing": "5"}
    return json.dumps({**facts, "sha256": None, "head": "", "tail": "", **changed}).encode() + b"\n"


@given(
    st.binary(max_size=300),
    st.builds(
        Facts,
        st.none(),
        st.text("0123456789", min_size=1),
        st.booleans(),
        st.text("-0123456789"),
        st.text("0123456789"),
        st.none() | st.binary(min_size=32, max_size=32),
    ),
    st.text(),
)
def test_what_was_written_is_read(text: bytes, facts: Facts, around: str) -> None:
    """Encoding and decoding a result returns an equal one."""
    written = Result(text, facts, around.encode(), around.encode())
    assert decode(NAME, encode(NAME, written), LONGEST) == written


def test_the_bytes_of_format_1_stay() -> None:
    """The bytes of format 1 stay the same, because other releases read them; any change needs another format number."""
    written = Result(b"55", Facts("55", "2", True, "55", "55", None), b"[", b"]")
    body = (
        b'{"length":2,"stored":true,"digits":"2","exact":true,"leading":"55","trailing":"55",'
        b'"sha256":null,"head":"[","tail":"]"}\n55'
    )
    assert (FORMAT, encode(NAME, written)) == (1, sealed(body, NAME))


@pytest.mark.parametrize("size", [0, 1, 1_000, COMPRESSED_BYTES, COMPRESSED_BYTES + 1, 2_089_877])
def test_texts_of_every_size(size: int) -> None:
    """An encoded result takes less than 1,000 bytes besides its text. A long text is compressed to at most 43 %.

    A short text is not compressed. A text as long as F(10^7) takes less than 900,000 bytes.
    """
    written = result(digits(size))
    stored = encode(NAME, written)
    assert decode(NAME, stored, LONGEST) == written
    assert len(stored) < 1_000 + size * (0.43 if size > COMPRESSED_BYTES else 1)
    assert stored.endswith(b"\n" + written.text) is (size <= COMPRESSED_BYTES)
    assert size < 2_000_000 or len(stored) < 900_000


@pytest.mark.parametrize("size", [20, COMPRESSED_BYTES + 1])
def test_no_damaged_byte_is_overlooked(size: int) -> None:
    """Changing a bit of any byte, or cutting the end, raises ValueError."""
    stored = encode(NAME, result(digits(size)))
    for place in range(len(stored)):
        damaged = bytearray(stored)
        damaged[place] ^= 1
        with pytest.raises(ValueError, match="digest"):
            decode(NAME, bytes(damaged), LONGEST)
        with pytest.raises(ValueError, match="digest"):
            decode(NAME, stored[:place], LONGEST)


def test_another_names_value_is_an_error() -> None:
    """A value that was stored under another key raises ValueError."""
    with pytest.raises(ValueError, match="digest"):
        decode(b"pycalc:v1:fibonacci:11", encode(NAME, result()), LONGEST)
    with pytest.raises(ValueError, match="digest"):
        decode(NAME[:-1], encode(NAME, result()), LONGEST)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"55",
        b"[]\n55",
        b"{}\n55",
        b"[" * 100_000 + b"\n55",
        b"\xff\n55",
        header_line(3) + b"55",
        header_line(1) + b"55",
        header_line(-1) + b"55",
        header_line(2, digits=5, sha256=5) + b"55",
        header_line(2, head=None) + b"55",
        header_line(2, stored=True) + b"\xff\xff",
        header_line("2") + b"55",  # type: ignore[arg-type]
        header_line(2.5) + b"55",  # type: ignore[arg-type]
        header_line(True) + b"55",
        header_line(5_000) + b"5" * 5_000,
        header_line(5_000) + zstd.compress(b"5" * 4_999),
        header_line(5_000) + zstd.compress(b"5" * 5_000)[:-1],
        header_line(LONGEST + 1) + zstd.compress(b"5" * (LONGEST + 1)),
    ],
    ids=range(20),
)
def test_what_is_no_result_is_an_error(body: bytes) -> None:
    """A malformed body with a valid digest raises ValueError, and no other exception."""
    with pytest.raises(ValueError, match=r".") as refusal:
        decode(NAME, sealed(body), LONGEST)
    assert "digest" not in str(refusal.value)


def test_a_text_that_is_longer_than_wanted_is_not_damaged() -> None:
    """A text that exceeds the reader's limit raises TooLong: it is not damaged, and other readers can use it."""
    stored = encode(NAME, result(digits(5_000)))
    assert decode(NAME, stored, 5_000).text == digits(5_000)
    with pytest.raises(TooLong):
        decode(NAME, stored, 4_999)


@pytest.mark.parametrize(
    ("window_log", "reason"),
    [(27, "the text is damaged"), (17, "the text does not have the recorded length")],
    ids=["large window", "small window"],
)
def test_a_decompression_bomb_uses_little_memory(window_log: int, reason: str) -> None:
    """A compressed body that expands beyond its declared length, or needs a large window, uses little memory."""
    bomb = zstd.compress(b"0" * 300_000_000, options={zstd.CompressionParameter.window_log: window_log})
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=reason):
            decode(NAME, sealed(header_line(5_000) + bomb), LONGEST)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(bomb) < 100_000
    assert peak < 1_000_000


def test_the_stored_text_is_the_text() -> None:
    """If the history stores the whole text of a result, the encoded result contains this text only once."""
    written = result(b"354224848179261915075")
    assert encode(NAME, written).count(b"354224848179261915075") == 1
    assert decode(NAME, encode(NAME, written), LONGEST).facts.stored == "354224848179261915075"
    longer = replace(written, facts=written.facts._replace(stored=None))
    assert decode(NAME, encode(NAME, longer), LONGEST).facts.stored is None
