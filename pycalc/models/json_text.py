"""Strict reading of JSON, and writing of JSON texts.

Input must be UTF-8, with each name at most once in an object, so that all readers see the same values.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from pycalc.errors import FieldProblem, InvalidInput

LARGEST_JSON_INTEGER = 2**53 - 1
_SHORT_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,15})")  # with at most as many digits as LARGEST_JSON_INTEGER
_LONGEST_SHOWN = 64  # the most characters of a name in a request that a message repeats
quoted: Callable[[str], str] = json.JSONEncoder().encode  # returns a text as a JSON string with quotes and escapes


def json_number(value: int) -> int | str:
    """Return an integer for a JSON document, as a string if it is beyond ±(2^53 - 1)."""
    return value if abs(value) <= LARGEST_JSON_INTEGER else str(value)


def json_literal(text: str) -> str:
    """Return the text of a result as JSON: a boolean, a list, an object, a small integer, or else a string.

    Integers beyond ±(2^53 - 1) become strings, because not every reader keeps such JSON numbers exact (RFC 7493 §2.2).
    """
    if text in ("true", "false") or text.startswith(("[", "{")):
        return text
    if _SHORT_INTEGER.fullmatch(text) and abs(int(text)) <= LARGEST_JSON_INTEGER:
        return text
    return quoted(text)


def _number(text: str) -> int | float | str:
    """Return a number's value, or ``text`` itself for an integer of over 4,000 characters, too long for any field."""
    if text.lstrip("-").isdigit():
        return int(text) if len(text) <= 4_000 else text
    return float(text)


def read_json(body: bytes, number: Callable[[str], Any] = _number, most_objects: int = 1_024) -> Any:
    """Return the document in a body. ``number`` converts the text of each number.

    Raises InvalidInput for text that is not JSON or nested too deeply, and for a repeated member. Raises it for more
    than ``most_objects`` objects, and for over 4 · ``most_objects`` numbers or ``[`` (in strings too), because reading
    them would block the event loop.
    """
    most_parts = 4 * most_objects
    if body.count(b"[") > most_parts:
        raise _too_many()
    objects = numbers = 0

    def literal(text: str) -> Any:
        nonlocal numbers
        numbers += 1
        if numbers > most_parts:
            raise _too_many()
        return number(text)

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal objects
        objects += 1
        if objects > most_objects:
            raise _too_many()
        found = dict(pairs)
        if len(found) != len(pairs):
            name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
            detail = f"The member {shown(name)} is given more than once: send each member of an object once."
            raise InvalidInput.of(FieldProblem("", detail))
        return found

    try:
        return json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=members,
            parse_int=literal,
            parse_float=literal,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError):
        problem = FieldProblem("", "The body is not valid JSON: send one JSON object, encoded in UTF-8.")
        raise InvalidInput.of(problem) from None


def number_literal(number: str) -> str:
    """Return the text of a JSON number. ``5.0`` becomes ``5``, because some languages write integers with ``.0``."""
    whole, _, fraction = number.partition(".")
    return number if fraction.strip("0") else whole


def _too_many() -> InvalidInput:
    return InvalidInput.of(FieldProblem("", "The body holds more objects, numbers or '[' than any request needs."))


def shown(name: str) -> str:
    """Return a name that a client sent, for a message: cut after 64 characters, with lone surrogates replaced."""
    readable = _readable(name)
    return readable if len(readable) <= _LONGEST_SHOWN else f"{readable[:_LONGEST_SHOWN]}..."


def pointer_step(name: str) -> str:
    """Return the step of a JSON pointer (RFC 6901) to a member. Lone surrogates, which UTF-8 lacks, become U+FFFD."""
    return "/" + _readable(name).replace("~", "~0").replace("/", "~1")


def _readable(name: str) -> str:
    return name.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity are not JSON (RFC 8259 section 6)
