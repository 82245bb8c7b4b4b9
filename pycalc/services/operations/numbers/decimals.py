"""Exact arithmetic with Python's ``decimal``, which multiplies more slowly than GMP but writes digits faster."""

from __future__ import annotations

from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal

from pycalc.services.operations.numbers.gmp import mpz

_TRAPS = list(Context().traps)  # every signal, such as Inexact and Overflow


def exact_context() -> Context:
    """Return a new context for exact arithmetic, which raises an exception instead of rounding."""
    return Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=_TRAPS)


def decimal_of(value: int) -> Decimal:
    """Return the exact Decimal of an integer (Python's or GMP's)."""
    return Decimal(mpz(value).digits())
