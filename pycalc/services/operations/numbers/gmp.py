"""The only import of gmpy2, which has no type information. Its objects have the type ``Any`` here."""

from __future__ import annotations

from typing import Any

import gmpy2  # type: ignore[import-untyped,import-not-found,unused-ignore]

gmp: Any = gmpy2
mpz: Any = gmpy2.mpz


def int_of(text: str) -> int:
    """Return the integer of a decimal text of any length. Python's ``int`` refuses more than 4,300 digits."""
    return int(mpz(text)) if len(text) > 300 else int(text)


def exact_root(value: int, degree: int) -> int | None:
    """Return the exact root of this degree of a natural number, or None if it is irrational."""
    if value <= 1:
        return value
    if degree >= value.bit_length():  # GMP refuses huge degrees
        return None
    root, exact = gmp.iroot(mpz(value), int(degree))
    return int(root) if exact else None


def text_of(value: int) -> str:
    """Return the decimal text of an integer of any length."""
    return str(mpz(value).digits()) if value.bit_length() > 1000 else str(value)
