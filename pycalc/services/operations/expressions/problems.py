"""Errors in an expression, each with its position in the text."""

from __future__ import annotations

from pycalc.errors import DomainError, FieldProblem, InvalidInput, ResultTooLarge

POINTER = "/expression"
# The largest value within an expression, in bits: about 300 million digits.
MOST_BITS = 1_000_000_000


def invalid(position: int, detail: str) -> InvalidInput:
    """Return the error for a text that is not an expression."""
    return InvalidInput.of(FieldProblem(POINTER, detail, position))


def undefined(position: int, detail: str) -> DomainError:
    """Return the error for a subexpression that has no value."""
    return DomainError(detail, (FieldProblem(POINTER, detail, position),))


def too_large(position: int, detail: str = "", bits: int = MOST_BITS) -> ResultTooLarge:
    """Return the error for a subexpression whose value may have over ``bits`` bits. ``detail`` replaces the message."""
    limit = int(bits * 0.30103)  # digits
    detail = detail or f"This part may have more than {limit:,} digits: make it smaller, or ask for a residue with mod."
    return ResultTooLarge(detail, None, limit, None, None, (FieldProblem(POINTER, detail, position),))
