"""The operations of the service, one method each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any, Unpack
from urllib.parse import quote

from pycalc_client._sync.calculation import Calculation, calculation_of
from pycalc_client._sync.session import Session
from pycalc_client.calls import (
    LONGEST_HELD,
    BaseOption,
    Call,
    IntegerOptions,
    PowOptions,
    View,
    calculation_body,
    new_key,
)
from pycalc_client.errors import Forbidden
from pycalc_client.numbers import Factor, Integer, IntegerRoot, Rational, Value

_IDENTITY = {"Accept-Encoding": "identity"}  # without compression an answer states its length


class Operations:
    """Methods for the operations. If a request has to be retried, its calculation is still recorded only once.

    An operand is a number or a text such as ``"1e6"`` or ``"0xFF"``; ``pow`` also takes ``"2.5"`` or ``"1/3"``. ``mod``
    asks for the result modulo a number. ``view="summary"`` asks for the size and the first and last digits of the
    result. For both, the service need not compute the whole result. ``base`` is the base, 2 to 36, in which ``text`` is
    written.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def calculate(
        self,
        operation: str,
        *,
        mod: Integer | None = None,
        view: View | None = None,
        precision: int | None = None,
        base: int | None = None,
        **operands: Rational,
    ) -> Calculation[Any]:
        """Calculate by the names of the operation and of its operands: ``calculate("gcd", a=12, b=18)``."""
        body = calculation_body(operation, operands, mod=mod, view=view, precision=precision, base=base)
        return self._post("/calculations", body)

    def evaluate(self, expression: str, *, precision: int | None = None, base: int | None = None) -> Calculation[Value]:
        """Evaluate an expression such as ``3^(10^12) mod 10^20``.

        An irrational value is rounded to ``precision`` significant digits. Without ``precision``, the service refuses
        it.
        """
        options = {"precision": precision, "base": base}
        given = {name: value for name, value in options.items() if value is not None}
        return self._post("/evaluate", {"expression": expression, **given})

    def fibonacci(self, n: Integer, **options: Unpack[IntegerOptions]) -> Calculation[int]:
        """Return the n-th Fibonacci number; F(0) = 0 and F(1) = 1."""
        return self.calculate("fibonacci", n=n, **options)

    def factorial(self, n: Integer, **options: Unpack[IntegerOptions]) -> Calculation[int]:
        """Return the product of the whole numbers from 1 to n."""
        return self.calculate("factorial", n=n, **options)

    def pow(self, x: Rational, y: Rational, **options: Unpack[PowOptions]) -> Calculation[int | Fraction | Decimal]:
        """Return x to the power y, exactly if the result is an integer, a terminating decimal or a fraction.

        Other values are rounded to ``precision`` significant digits (50 if it is not given), and ``exact`` is false.
        """
        return self.calculate("pow", x=x, y=y, **options)

    def binomial(self, n: Integer, k: Integer, **options: Unpack[IntegerOptions]) -> Calculation[int]:
        """Return the number of ways to choose k of n things."""
        return self.calculate("binomial", n=n, k=k, **options)

    def catalan(self, n: Integer, **options: Unpack[IntegerOptions]) -> Calculation[int]:
        """Return the n-th Catalan number."""
        return self.calculate("catalan", n=n, **options)

    def lucas(self, n: Integer, **options: Unpack[IntegerOptions]) -> Calculation[int]:
        """Return the n-th Lucas number; L(0) = 2 and L(1) = 1."""
        return self.calculate("lucas", n=n, **options)

    def primorial(self, n: Integer, **options: Unpack[BaseOption]) -> Calculation[int]:
        """Return the product of all primes up to n."""
        return self.calculate("primorial", n=n, **options)

    def gcd(self, a: Integer, b: Integer, **options: Unpack[BaseOption]) -> Calculation[int]:
        """Return the greatest common divisor."""
        return self.calculate("gcd", a=a, b=b, **options)

    def lcm(self, a: Integer, b: Integer, **options: Unpack[BaseOption]) -> Calculation[int]:
        """Return the least common multiple."""
        return self.calculate("lcm", a=a, b=b, **options)

    def iroot(self, n: Integer, k: Integer) -> Calculation[IntegerRoot]:
        """Return the floor of the k-th root of n, and the remainder; ``exact`` is true if the remainder is 0."""
        return self.calculate("iroot", n=n, k=k)

    def isprime(self, n: Integer) -> Calculation[bool]:
        """Return whether n is a prime number; the answer is proved."""
        return self.calculate("isprime", n=n)

    def nextprime(self, n: Integer, **options: Unpack[BaseOption]) -> Calculation[int]:
        """Return the smallest prime number above n."""
        return self.calculate("nextprime", n=n, **options)

    def factorize(self, n: Integer) -> Calculation[list[Factor]]:
        """Return the prime factors of n in ascending order; each is proved to be prime."""
        return self.calculate("factorize", n=n)

    def modinverse(self, a: Integer, m: Integer, **options: Unpack[BaseOption]) -> Calculation[int]:
        """Return the inverse of a modulo m, from 0 to m - 1."""
        return self.calculate("modinverse", a=a, m=m, **options)

    def _post(self, path: str, body: Mapping[str, object]) -> Calculation[Any]:
        """Send a calculation, and return it; a long result is downloaded later, when it is used.

        An API key without the scope ``history:read`` cannot download the result later, so it receives the result at
        once.
        """
        call = Call("POST", path, json=body, headers=_IDENTITY, idempotency_key=new_key(), longest=LONGEST_HELD)
        answer = self._session.send(call)
        if answer.whole:
            return answer.read(partial(calculation_of, self._session))
        try:
            return self.calculation(answer.id())
        except Forbidden:
            answer = self._session.send(replace(call, longest=None))
            return answer.read(partial(calculation_of, self._session))

    def calculation(self, calculation_id: str) -> Calculation[Any]:
        """Return a recorded calculation by its id."""
        answer = self._session.send(Call("GET", f"/calculations/{quote(calculation_id, safe='')}"))
        return answer.read(partial(calculation_of, self._session))
