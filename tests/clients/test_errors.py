"""The exceptions of the Python client: one for each problem type of the service."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import httpx
import pycalc_client.errors
import pytest
from pycalc_client import ComputationTimeout, Factor, FieldError, ProblemError, QuotaExceeded, ResultTooLarge
from pycalc_client.errors import error_of, problem_error, retry_after_of

from pycalc.routers.http.problem_types import STATUS, TYPE_BASE

NOW = "Sun, 22 Nov 2026 12:00:00 GMT"


def subclasses(kind: type[ProblemError]) -> set[type[ProblemError]]:
    """Return all subclasses of an exception class."""
    return {found for child in kind.__subclasses__() for found in (child, *subclasses(child))}


def test_every_problem_type_of_the_service_has_an_exception() -> None:
    """Each problem type has its own subclass of ProblemError, and there are no other subclasses.

    The docstring of ``pycalc_client.errors`` shows all of them.
    """
    own = {"quota": "compute", "limit": 300, "used": 300.5, "resets_at": "2026-11-29T11:00:00.000Z"}
    classes = {slug: type(problem_error({"type": TYPE_BASE + slug, **own})) for slug in STATUS}
    assert {slug: kind.slug for slug, kind in classes.items()} == {slug: slug for slug in STATUS}
    assert subclasses(ProblemError) == {*classes.values()}
    assert pycalc_client.errors.__doc__ is not None
    for kind in classes.values():
        assert f"── {kind.__name__} " in pycalc_client.errors.__doc__


def test_an_unknown_type_is_a_problem_still() -> None:
    """A problem document of an unknown type becomes a plain ProblemError with all members of the document.

    A document of a known type that lacks a member of this type becomes a plain ProblemError, too.
    """
    unknown = problem_error({"type": "/docs/problems#later", "status": 418, "detail": "Later.", "tea": 1}, 2.0)
    assert type(unknown) is ProblemError
    assert (unknown.status, unknown.retry_after, unknown.members["tea"], str(unknown)) == (418, 2.0, 1, "Later.")
    assert type(problem_error({"type": TYPE_BASE + "quota-exceeded"})) is ProblemError


def test_problems_have_their_fields() -> None:
    """The members of a problem are typed attributes of its exception, which can be pickled."""
    ends = {"digits": "208987640249978734", "limit": 25_000_000, "leading": "26", "trailing": "75"}
    errors = [{"pointer": "/expression", "detail": "What?", "position": 3}]
    large = problem_error({"type": TYPE_BASE + "result-too-large", **ends, "errors": errors})
    assert isinstance(large, ResultTooLarge)
    assert (large.digits, large.limit, large.leading, large.trailing) == (208987640249978734, 25_000_000, "26", "75")
    assert large.errors == (FieldError("/expression", "What?", 3),)
    own = {"quota": "compute", "limit": 300, "used": 300.5, "resets_at": "2026-11-29T11:00:00.000Z"}
    quota = problem_error({"type": TYPE_BASE + "quota-exceeded", **own})
    assert isinstance(quota, QuotaExceeded)
    assert (quota.quota, quota.limit, quota.used) == ("compute", 300, 300.5)
    assert quota.resets_at == datetime(2026, 11, 29, 11, tzinfo=UTC)
    found = [{"prime": "9007199254740993", "exponent": 2}]
    timeout = problem_error({"type": TYPE_BASE + "computation-timeout", "found": found})
    assert isinstance(timeout, ComputationTimeout)
    assert timeout.factors == [Factor(9007199254740993, 2)]
    again = pickle.loads(pickle.dumps(large))  # noqa: S301  # our own bytes
    assert (type(again), again.digits) == (ResultTooLarge, large.digits)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{"])
def test_an_answer_without_a_problem_document_is_a_problem_error(body: bytes) -> None:
    """A response without a problem document, such as a proxy's page, becomes a ProblemError with the same status."""
    fields = {"content-type": "application/problem+json"}
    error = error_of(httpx.Response(502, headers=fields, content=body))
    assert isinstance(error, ProblemError)
    assert (type(error), error.status, error.title) == (ProblemError, 502, "Bad Gateway")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("", None), ("soon", None), ("-1", None), ("Sun, 22 Nov 2026 12:00:30 GMT", 30.0)],
)
def test_retry_after_does_not_need_a_right_clock(value: str, seconds: float | None) -> None:
    """Retry-After is read as seconds, or as a date compared with the response's own Date; other values give None."""
    assert retry_after_of(httpx.Headers({"date": NOW, "retry-after": value})) == seconds
