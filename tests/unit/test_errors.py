"""The service's exceptions: each can be pickled, and has an HTTP status and documentation."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from pycalc import errors
from pycalc.errors import FieldProblem, LimitState, PycalcError
from pycalc.routers.http.problem_types import MEANING, STATUS

ARGUMENTS: dict[str, Any] = {
    "detail": "A sentence.",
    "problems": (FieldProblem("/n", "not a number"),),
    "digits": 10**30,
    "limit": 1_000_000,
    "leading": "1",
    "trailing": "2",
    "retry_after": 7,
    "limits": (LimitState(600, 60, 0, 7, "minute"),),
    "quota": LimitState(300, 3_600, 0, 60, "compute", "seconds"),
    "used": 1_000_000.5,
    "resets_at": 1_800_000_000,
    "length": 21,
    "session_id": bytes(16),
    "scope": "calculate",
    "reason": "the driver's words",
    "found": "[]",
    "accepted": ("application/json",),
    "methods": ("GET",),
    "ids": frozenset({bytes(16)}),
    "refused": {bytes(16): "too large"},
}
SLUGS = [
    "bad-request",
    "validation-error",
    "domain-error",
    "result-too-large",
    "precondition-failed",
    "range-not-satisfiable",
    "unauthorized",
    "totp-required",
    "forbidden",
    "not-found",
    "method-not-allowed",
    "request-timeout",
    "conflict",
    "payload-too-large",
    "unsupported-media-type",
    "rate-limited",
    "quota-exceeded",
    "computation-timeout",
    "overloaded",
    "unavailable",
    "internal-error",
]


def tree(root: type[PycalcError] = PycalcError) -> Iterator[type[PycalcError]]:
    """Yield an error class and all its subclasses."""
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


@pytest.mark.parametrize("kind", list(tree()))
def test_an_error_survives_pickling(kind: type[PycalcError]) -> None:
    """An error's type, message and attributes survive pickling, which takes it to another process."""
    parameters = list(inspect.signature(kind).parameters.values())
    assert all(parameter.kind is not inspect.Parameter.KEYWORD_ONLY for parameter in parameters)
    error = kind(*[ARGUMENTS[parameter.name] for parameter in parameters])
    arrived = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert type(arrived) is kind
    assert arrived.detail == "A sentence."
    assert (str(arrived), arrived.args, vars(arrived)) == (str(error), error.args, vars(error))


@pytest.mark.parametrize("kind", list(tree()))
def test_an_error_has_a_documented_slug_and_a_title(kind: type[PycalcError]) -> None:
    """Every exception class has a title, an HTTP status and a documented problem type."""
    assert kind.code in SLUGS
    assert kind.title
    assert 400 <= STATUS[kind.code] <= 599
    assert MEANING[kind.code]


def test_the_slugs_are_the_contracts() -> None:
    """The problem types are exactly those of the API's contract, each with a status and an explanation."""
    assert set(STATUS) == set(MEANING) == set(SLUGS)


def test_the_tree_in_the_documentation_is_the_tree() -> None:
    """The tree in the module's docstring contains every error class."""
    assert errors.__doc__
    for kind in tree():
        assert kind.__name__ in errors.__doc__
