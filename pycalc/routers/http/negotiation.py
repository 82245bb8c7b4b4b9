"""Content negotiation, ranges and preconditions: the Accept fields, Range, If-Match and others (RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pycalc.errors import RangeNotSatisfiable
from pycalc.observability.requests import context_of

if TYPE_CHECKING:  # the relay and the consumer import this module, but no web framework
    from starlette.types import Scope

_MOST_MEMBERS = 100  # read from an Accept field; thousands would block the event loop
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")
_RANGE = re.compile(r"bytes=(?:(\d{1,19})-(\d{0,19})|-(\d{1,19}))")


class RequestConditions(NamedTuple):
    """The unparsed header fields, "" if absent, by which a request chooses a representation or sets a precondition."""

    accept: str = ""
    accept_encoding: str = ""
    accept_language: str = ""
    range: str = ""
    if_match: str = ""
    if_range: str = ""
    if_none_match: str = ""
    content: bool = True  # whether the response's content is wanted; false for HEAD


_NONE = RequestConditions()
_FIELDS = {field.replace("_", "-").encode(): field for field in RequestConditions._fields if field != "content"}


def conditions_of(scope: Scope) -> RequestConditions:
    """Return the conditions of a request. Repeated fields are joined to one list (RFC 9110 §5.3)."""
    found: dict[str, Any] = {}
    for name, value in scope["headers"]:
        if name in _FIELDS:
            field, text = _FIELDS[name], value.decode("latin-1")
            found[field] = f"{found[field]}, {text}" if field in found else text
    content = context_of(scope).content_wanted
    return RequestConditions(**found, content=content) if found or not content else _NONE


def preferred(header: str, offered: Sequence[str]) -> str | None:
    """Return the media type in ``offered`` with the highest weight in an Accept field, the first of equals.

    The most specific member counts (RFC 9110 §12.5.1): ``text/plain`` before ``text/*`` before ``*/*``. Return None if
    no type is acceptable; callers then send a default instead of a 406, as §12.4.1 allows.
    """
    weights = _weights(header)

    def quality(candidate: str) -> float:
        ranges = (candidate, candidate[: candidate.index("/")] + "/*", "*/*")
        return next((weights[name] for name in ranges if name in weights), 0.0)

    best = max(offered, key=quality)  # the first among equals
    return best if quality(best) else None


def preferred_coding(header: str, offered: Sequence[str]) -> str | None:
    """Return the content coding in ``offered`` with the highest weight in an Accept-Encoding, or None for no coding.

    A coding that only ``*`` covers must have a higher weight than "identity" (RFC 9110 §12.5.3). Hence a client that
    accepts anything gets uncompressed bytes.
    """
    if not header:
        return None
    weights = _weights(header)
    other = weights.get("*", 0.0)
    identity = weights.get("identity", other)

    def quality(candidate: str) -> float:
        weight = weights.get(candidate, other)
        return weight if weight > identity or (weight == identity and candidate in weights) else 0.0

    best = max(offered, key=quality)
    return best if quality(best) else None


def preferred_language(header: str, offered: Sequence[str]) -> str:
    """Return the language in ``offered`` with the highest weight in an Accept-Language, or else ``offered[0]``.

    A language range such as ``de-AT`` selects ``de``.
    """
    weights = _weights(header)
    asked = [name for name in sorted(weights, key=weights.__getitem__, reverse=True) if weights[name]]
    return next((primary for name in asked if (primary := name.partition("-")[0]) in offered), offered[0])


def _weights(header: str) -> Mapping[str, float]:
    """Return a mapping from the members of an Accept field, in lower case, to their weights (RFC 9110 §12.4.2)."""
    weights = {}
    for member in header.split(",", _MOST_MEMBERS)[:_MOST_MEMBERS]:
        name, *parameters = member.split(";")
        weight: float | None = 1.0
        for parameter in reversed(parameters):  # the first "q" counts
            key, _, value = parameter.strip().partition("=")
            if key.strip().lower() == "q":
                # The RFC forbids numbers above 1 and more than three decimals, but their meaning is clear. It has no
                # rule for other texts: their member is ignored, because 0 would refuse what the client names, and 1
                # would prefer it to all others.
                weight = min(1.0, float(value)) if _NUMBER.fullmatch(value.strip()) else None
        if weight is not None:
            weights[name.strip().lower()] = weight
    return weights


def matching(header: str, etags: Sequence[str]) -> str | None:
    """Return the first of ``etags`` that an If-None-Match names by weak comparison, or None (RFC 9110 §13.1.2)."""
    if header == "*":  # names all
        return next(iter(etags), None)
    named = {tag.strip().removeprefix("W/") for tag in header.split(",")} if header else set()
    return next((etag for etag in etags if etag in named), None)


def is_current(header: str, etags: Sequence[str]) -> bool:
    """Return whether an If-Match is ``*`` or contains one of the tags, by strong comparison (RFC 9110 §13.1.1)."""
    return header == "*" or not {tag.strip() for tag in header.split(",")}.isdisjoint(etags)


def byte_range(conditions: RequestConditions, etag: str, length: int) -> tuple[int, int] | None:
    """Return the start and the end of the requested range, the end excluded, or None for the whole representation.

    Several ranges, malformed ones, other units, and an If-Range other than ``etag`` mean the whole (RFC 9110 §14.2).
    Raises RangeNotSatisfiable for a range that begins beyond the end.
    """
    found = _RANGE.fullmatch(conditions.range.replace(" ", ""))
    if found is None or (conditions.if_range and conditions.if_range != etag):
        return None
    first_text, last_text, suffix_text = found.groups()
    if suffix_text:
        first, end = max(0, length - int(suffix_text)), length
    else:
        first, end = int(first_text), min(length, int(last_text) + 1) if last_text else length
        if last_text and int(last_text) < first:
            return None
    if first >= length:
        detail = f"The range begins beyond the end of the result, which has {length:,} bytes: request an earlier range."
        raise RangeNotSatisfiable(detail, length)
    return first, end


def prefers_html(scope: Scope) -> bool:
    """Return whether the client is a browser rather than a program, by its ``Accept`` field."""
    return preferred(conditions_of(scope).accept, ("application/json", "text/html")) == "text/html"
