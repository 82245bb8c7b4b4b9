"""JSON that comes in: UTF-8, and each name once in an object, so that no two readers see different values."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pycalc.errors import FieldProblem, InvalidInput

_SHOWN = 64
"""Characters of a client's name that a sentence repeats."""
_Place = tuple[str | int, "_Place | None"]
_MOST_OBJECTS = 1_024
_NUMBERS_PER_OBJECT = 4
_LONGEST_INTEGER = 4_000


def read_json(body: bytes, number: Callable[[str], Any] | None = None, most_objects: int = _MOST_OBJECTS) -> Any:
    """Return the document that a body holds; raises InvalidInput, with a pointer to a member that is named twice.

    ``number`` is given the literal of each number, where numbers are not to become ``int`` and ``float``. More
    objects, or four times as many numbers, are refused unread: each costs the event loop a call.
    """
    repeated: list[tuple[dict[str, Any], str]] = []
    objects = numbers = 0

    def literal(text: str) -> Any:
        nonlocal numbers
        numbers += 1
        if numbers > _NUMBERS_PER_OBJECT * most_objects:
            raise _too_many()
        return _number(text) if number is None else number(text)

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal objects
        objects += 1
        if objects > most_objects:
            raise _too_many()
        found = dict(pairs)
        if len(found) != len(pairs):
            repeated.append((found, _first_repeated(pairs)))
        return found

    try:
        document = json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=members,
            parse_int=literal,
            parse_float=literal,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError):
        detail = "The body is not valid JSON: send one JSON object, encoded in UTF-8."
        raise InvalidInput(detail, (FieldProblem("", detail),)) from None
    if repeated:
        raise InvalidInput.of(_named_twice(document, *repeated[-1]))  # no later one can have replaced the last
    return document


def _too_many() -> InvalidInput:
    return InvalidInput.of(FieldProblem("", "The body holds more objects or numbers than any request needs."))


def _number(text: str) -> int | float | str:
    """Return a number's value; one of more digits than Python reads stays the text, which no number's range has."""
    if text.lstrip("-").isdigit():
        return int(text) if len(text) <= _LONGEST_INTEGER else text
    return float(text)


def shown(name: str) -> str:
    """Return a name that a client made up as a sentence repeats it: no more than says which one is meant."""
    readable = _readable(name)
    return readable if len(readable) <= _SHOWN else f"{readable[:_SHOWN]}..."


def pointer_step(name: str) -> str:
    """Return a member's step in a JSON pointer (RFC 6901); half a surrogate pair, which UTF-8 lacks, is U+FFFD."""
    return "/" + _readable(name).replace("~", "~0").replace("/", "~1")


def _readable(name: str) -> str:
    return name.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity are not JSON (RFC 8259 section 6)


def _first_repeated(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            break
        seen.add(name)
    return name


def _named_twice(document: Any, owner: dict[str, Any], name: str) -> FieldProblem:
    pointer = _path_to(document, owner) + pointer_step(name)
    return FieldProblem(pointer, f"{shown(name)} is given more than once: send each member of an object once.")


def _path_to(document: Any, wanted: dict[str, Any]) -> str:
    """Return the pointer to an object within a document.

    A place is the last step and the place before it: whole pointers for all that is looked at would not fit in memory.
    """
    waiting: list[tuple[_Place | None, Any]] = [(None, document)]
    while waiting:
        place, value = waiting.pop()
        if value is wanted:
            return _pointer(place)
        children = value.items() if isinstance(value, dict) else enumerate(value)
        waiting += [((step, place), child) for step, child in children if isinstance(child, dict | list)]
    return ""


def _pointer(place: _Place | None) -> str:
    steps = []
    while place is not None:
        step, place = place
        steps.append(pointer_step(str(step)))
    return "".join(reversed(steps))
