"""The JSON of requests: repeated names are refused, at a bounded cost for any body."""

from __future__ import annotations

from typing import Any

import pytest

from pycalc.errors import InvalidInput
from pycalc.models.json_text import read_json


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"a": 1, "a": 2}', "a"),
        (b'{"b": 1, "x": {"a": 1, "b": 2, "a": 3}}', "a"),
        (b'{"x": [0, {"a/b": 1, "a/b": 2}]}', "a/b"),
        (b'{"x": {"a": 1, "a": 2}, "x": 3}', "a"),
        (b'{"x": {"a": 1}, "x": 3}', "x"),
        (b'{"\\u0061": 1, "a": 2}', "a"),
    ],
)
def test_a_repeated_name_is_refused(body: bytes, name: str) -> None:
    """A body with a repeated name, in whatever object, is refused, and the message contains the name."""
    with pytest.raises(InvalidInput) as refusal:
        read_json(body)
    (problem,) = refusal.value.problems
    assert problem.detail.startswith(f"The member {name} is given more than once:")


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
