"""JSON that comes in: UTF-8, and each name once in an object, so that no two readers see different values."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pycalc.errors import FieldProblem, InvalidInput

_SHOWN = 64
"""Characters of a client's name that a sentence repeats."""


def read_json(body: bytes, number: Callable[[str], Any] | None = None) -> Any:
    """Return the document that a body holds; raises InvalidInput, with a pointer to a member that is named twice.

    ``number`` is given the literal of each number, where numbers are not to become ``int`` and ``float``.
    """
    repeated: list[tuple[dict[str, Any], str]] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            repeated.append((found, _first_repeated(pairs)))
        return found

    try:
        document = json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=members,
            parse_int=number,
            parse_float=number,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError):
        detail = "The body is not valid JSON: send one JSON object, encoded in UTF-8."
        raise InvalidInput(detail, (FieldProblem("", detail),)) from None
    if repeated:
        raise InvalidInput.of(*(_named_twice(document, found, name) for found, name in repeated[:1]))
    return document


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
    """Return the pointer to an object within a document; "" where a later member of the same name replaced it."""
    waiting = [("", document)]
    while waiting:
        path, value = waiting.pop()
        if value is wanted:
            return path
        if isinstance(value, dict):
            waiting += [(path + pointer_step(name), child) for name, child in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{path}/{index}", child) for index, child in enumerate(value)]
    return ""
