"""Requests and answers, as the modules of the client pass them to each other."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypedDict, TypeVar

import httpx

from pycalc_client.errors import UnexpectedAnswer
from pycalc_client.numbers import Integer, Rational, literal

LONGEST_HELD = 1024 * 1024  # bytes of an answer; the digits of a longer one are downloaded when they are used
View = Literal["full", "summary"]
T = TypeVar("T")

BEGINNING = 64  # bytes that are read of a longer answer, enough for the id
_ID = re.compile(rb'\{"id":"([0-9a-f-]{36})"')
_KEY = re.compile(r"[!-~]+")
_MOST_ITEMS = 1_000  # the most items of one batch request
_MOST_BYTES = 900_000  # the most bytes of one batch's items; the service accepts 1 MiB in all


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the service."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    json: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None
    longest: int | None = None  # bytes; of a longer answer only the beginning is read; None: no limit
    read_timeout: float | None = None  # seconds without a byte; None: the client's timeout
    anonymous: bool = False  # sent without credentials

    @property
    def repeatable(self) -> bool:
        """Return whether sending the request twice has the same effect as sending it once."""
        return self.method != "POST" or self.idempotency_key is not None


class Answer(NamedTuple):
    """A successful answer; if ``whole`` is false, ``content`` is only the beginning of the body."""

    headers: httpx.Headers
    content: bytes
    whole: bool

    def read(self, convert: Callable[[Any], T]) -> T:
        """Return the content's JSON, converted by ``convert``.

        Raises UnexpectedAnswer if the content is no JSON, or if ``convert`` can't convert it.
        """
        try:
            parsed = json.loads(self.content)
        except ValueError:
            raise UnexpectedAnswer("The answer is no JSON: does the URL lead to a pycalc service?") from None
        try:
            return convert(parsed)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UnexpectedAnswer("The answer has another form: does the URL lead to a pycalc service?") from None

    def id(self) -> str:
        """Return the calculation's id, read from the beginning of the content; raises UnexpectedAnswer."""
        found = _ID.match(self.content)
        if found is None:
            raise UnexpectedAnswer("The answer is no calculation: does the URL lead to a pycalc service?")
        return found[1].decode()


class BatchItem(TypedDict):
    """One calculation of a batch; options such as ``mod`` and ``precision`` are members of ``input``."""

    operation: str
    input: Mapping[str, Rational]


class BaseOption(TypedDict, total=False):
    """The option ``base`` of operations that return an integer."""

    base: int | None


class IntegerOptions(BaseOption, total=False):
    """The options of operations that can return a residue or a summary without computing the whole result."""

    mod: Integer | None
    view: View | None


class PowOptions(IntegerOptions, total=False):
    """The options of pow."""

    precision: int | None


def require_url(text: str) -> None:
    """Raise ValueError unless the text is an HTTP URL with a host; httpx would raise only at the first request."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("base_url must be like http://127.0.0.1:8080: scheme, host, and the port if it is another.")


def require_key(text: str) -> None:
    """Raise ValueError unless the API key is visible ASCII characters; httpx's own error would show the key."""
    if not _KEY.fullmatch(text):
        raise ValueError("api_key must be ASCII characters without a space: perhaps it ends in a line break.")


def new_key() -> str:
    """Return an Idempotency-Key for a new request."""
    return secrets.token_hex(16)


def calculation_body(operation: str, operands: Mapping[str, Rational], **options: Integer | None) -> dict[str, object]:
    """Return the body of POST /calculations."""
    given = {name: literal(value) for name, value in options.items() if value is not None}
    return {"operation": operation, "input": {name: literal(value) for name, value in operands.items()}, **given}


def batch_parts(items: Iterable[BatchItem]) -> Iterator[list[dict[str, object]]]:
    """Yield lists of items, one list for each batch request.

    An item that exceeds the size limit of a request is alone in its list.
    """
    part: list[dict[str, object]] = []
    size = 0
    for item in items:
        body = calculation_body(item["operation"], item["input"])
        length = len(json.dumps(body))
        if part and (len(part) == _MOST_ITEMS or size + length > _MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(body)
        size += length
    if part:
        yield part


def moment(value: datetime | str | None) -> str | None:
    """Return a datetime as RFC 3339 text, and a text or None unchanged; raises ValueError for a naive datetime."""
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError("The moment has no time zone: use an aware datetime, such as datetime.now(UTC).")
        return value.isoformat()
    return value


def params_of(**given: object) -> dict[str, str]:
    """Return the query parameters that are not None, with their values as texts."""
    return {name: str(value) for name, value in given.items() if value is not None}
