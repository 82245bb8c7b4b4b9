"""The JSON of requests: repeated names are refused, at a bounded cost for any body."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from pycalc.errors import InvalidInput
from pycalc.models.json_text import read_json


def pointer_of(body: bytes) -> str:
    """Assert that reading a body finds exactly one problem, and return the problem's JSON pointer."""
    with pytest.raises(InvalidInput) as refusal:
        read_json(body)
    (problem,) = refusal.value.problems
    return problem.pointer


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"a": 1, "a": 2}', "/a"),
        (b'{"x": {"a": 1, "a": 2}}', "/x/a"),
        (b'{"x": [0, {"a/b": 1, "a/b": 2}]}', "/x/1/a~1b"),
        (b'{"x": {"a": 1, "a": 2}, "x": 3}', "/x"),
        (b'{"x": {"a": 1, "a": 2}, "y": {"b": 1, "b": 2}}', "/y/b"),
        (b'{"\\u0061": 1, "a": 2}', "/a"),
    ],
)
def test_a_repeated_name_is_pointed_to(body: bytes, pointer: str) -> None:
    """A body with a repeated name is refused with the JSON pointer (RFC 6901) of a repeated member."""
    assert pointer_of(body) == pointer


def test_the_search_for_a_repeated_name_takes_no_more_memory_than_the_body() -> None:
    """Searching for a repeated name does not copy a long name for each value below it."""
    name, values = b"x" * 400_000, b"{}," * 1_000 + b"null," * 100_000 + b"null"
    body = b'{"r": {"a": 1, "a": 1}, "' + name + b'": [' + values + b"]}"
    tracemalloc.start()
    assert pointer_of(body) == "/r/a"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * len(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * 2_000 + b"{}]",
        b"[" + b"0," * 20_000 + b"0]",
        b"[" + b"[]," * 5_000 + b"[]]",
        b'{"expression": "' + b"[" * 5_000 + b'"}',
    ],
    ids=["objects", "numbers", "lists", "brackets in a string"],
)
def test_what_no_request_needs_is_refused_before_it_is_read(body: bytes) -> None:
    """A body with too many objects, numbers or ``[`` is refused before all of it is parsed.

    Parsing it would hold the event loop.
    """
    read: list[str] = []
    with pytest.raises(InvalidInput, match=r"more objects, numbers or '\[' than"):
        read_json(body, read.append)
    assert len(read) <= 4 * 1_024


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-12", -12),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("9" * 5_000, "9" * 5_000),
        ("-" + "9" * 5_000, "-" + "9" * 5_000),
    ],
    ids=["12", "-12", "1.5", "1e3", "long", "long, negative"],
)
def test_a_number_of_any_length_is_valid_json(text: str, value: Any) -> None:
    """A number becomes an ``int`` or ``float``, or stays a text if it is too long for Python's ``int``."""
    assert read_json(f'{{"n": {text}}}'.encode()) == {"n": value}
