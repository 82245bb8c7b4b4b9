"""Expensive and random calculations for each operation and kind of answer, and random long expressions."""

from __future__ import annotations

from math import exp, log
from random import Random
from typing import NamedTuple

from pycalc.services.calculations.planning import DEFAULT_OPTIONS, Options
from pycalc.services.operations.numbers.gmp import gmp, text_of
from pycalc.services.operations.numbers.primes import primes_up_to


class Case(NamedTuple):
    """A calculation, and why it is expensive; ``why`` is "drawn" for a random one."""

    why: str
    operation: str
    literals: tuple[str, ...]
    options: Options = DEFAULT_OPTIONS


def primorial(digits: int) -> int:
    """Return the product of the first primes, as many as fit into ``digits`` decimal digits."""
    product, limit = gmp.mpz(1), gmp.mpz(10) ** digits
    for prime in primes_up_to(10 * digits):
        if product * prime >= limit:
            break
        product *= prime
    return int(product)


def power_of(base: int, digits: int) -> str:
    """Return the largest power of ``base`` with at most ``digits`` digits, as text; ``base`` is no power of ten."""
    value = gmp.mpz(base) ** int(digits / float(gmp.log10(base)))
    return text_of(int(value))


def expensive_cases() -> list[Case]:
    """Return a case for each known way to make a cost estimate slow, or a computation slower than its estimate."""
    smooth = 2 * primorial(7_500)
    ones = "1" + "0" * 9_998 + "1"
    nines, eights = "9" * 10_000, "8" * 9_998 + "1"
    summary, precise = Options(summary=True), Options(10_000)
    return [
        Case("many small primes in the modulus", "factorial", (text_of(smooth - 1),), Options(modulus=text_of(smooth))),
        Case("the same, n far below it", "factorial", (text_of(smooth)[:7_000],), Options(modulus=text_of(smooth))),
        Case("a prime to a high power", "factorial", (nines[:9_000],), Options(modulus=power_of(3, 9_999))),
        Case("n nearly the modulus", "factorial", (nines[:-1] + "8",), Options(modulus=nines)),
        Case("n above the modulus", "factorial", (nines,), Options(modulus="7")),
        Case("a short product, a long modulus", "factorial", ("19999",), Options(modulus=nines)),
        Case("a small factorial modulo a small number", "factorial", ("10",), Options(modulus="7")),
        Case("a long index", "factorial", (nines,)),
        Case("a long index, padded with zeros", "factorial", ("0" * 9_990 + "5",)),
        Case("10^18", "factorial", ("1" + "0" * 18,), summary),
        Case("a thousand digits", "factorial", (nines[:1_000],), summary),
        Case("a long index", "fibonacci", (nines,)),
        Case("a long index, padded with zeros", "fibonacci", ("0" * 9_990 + "5",)),
        Case("a long index modulo 1", "fibonacci", (nines,), Options(modulus="1")),
        Case("a long index, a long modulus", "fibonacci", (nines,), Options(modulus=eights)),
        Case("a short index, a long modulus", "fibonacci", ("5",), Options(modulus=eights)),
        Case("10^18", "fibonacci", ("1" + "0" * 18,), summary),
        Case("a thousand digits", "fibonacci", (nines[:1_000],), summary),
        Case("a long base, to the power 1", "pow", (ones, "1")),
        Case("a long base, to the power 0", "pow", (ones, "0")),
        Case("a long base, to the power -1", "pow", (nines, "-1")),
        Case("a long base, 10^-9999 of it", "pow", (f"{ones[:9_990]}e-9999", "1")),
        Case("a power of 2 as a long base", "pow", (power_of(2, 9_999), "-1")),
        Case("a power of 5 with an exponent", "pow", (power_of(5, 9_990) + "e-9000", "1")),
        Case("a base of zeros", "pow", ("0" * 10_000, "5")),
        Case("a base padded with zeros", "pow", ("0" * 9_999 + "3", "2")),
        Case("a trivial base, a long exponent", "pow", ("-1", nines)),
        Case("a trivial base, a fraction of one", "pow", ("1", "0." + nines[:9_990])),
        Case("a long square under a root", "pow", (text_of(int(gmp.mpz(nines[:5_000]) ** 2)), "0.5")),
        Case("a high exact root", "pow", (power_of(3, 9_990), "0.0009765625")),
        Case("a root that is none", "pow", (nines, "0.5")),
        Case("a long base and a long fraction", "pow", (nines, "0." + eights[:9_998])),
        Case("a tiny fraction", "pow", (nines, "1e-9999")),
        Case("an exponent of a million digits", "pow", ("2", "1e1000000")),
        Case("a base of a million digits", "pow", ("1e1000000", "1")),
        Case("a base of 10^18 digits", "pow", ("1e1000000000000000000", "1")),
        Case("a long base to a long power", "pow", (nines, eights)),
        Case("a long base to a long power", "pow", (nines, eights), Options(modulus=nines[:-1] + "7")),
        Case("a long base to the power 1", "pow", (nines, "1"), Options(modulus=eights)),
        Case("a long base to the power -1", "pow", (ones, "-1"), Options(modulus=eights)),
        Case("a long base modulo a small number", "pow", (nines, "2"), Options(modulus="7")),
        Case("a small power, a long modulus", "pow", ("3", "2"), Options(modulus=nines)),
        Case("a small base with a huge exponent", "pow", ("1e-1000000000", "1"), Options(modulus="7")),
        Case("a long base to the power 1", "pow", (nines[:990], "1"), summary),
        Case("1 next to a power of ten", "pow", ("1." + "0" * 900 + "1", "9" * 90), summary),
        Case("a rounded one", "pow", ("2", "0.5"), precise),
        Case("a long base, rounded", "pow", (nines, "0.3"), precise),
        Case("close to 1, rounded", "pow", ("1." + "0" * 9_000 + "1", "0.3"), precise),
        Case("a fraction near an integer, rounded", "pow", ("3", "1." + "0" * 9_000 + "1"), precise),
        Case("a long fraction, rounded", "pow", (eights, "0." + nines[:9_998]), precise),
        Case("a huge exponent, rounded", "pow", ("2.5", "1e9998"), precise),
        Case("a value of 10^4 digits and a fraction", "pow", ("7", "9999." + "3" * 9_000), precise),
        Case("a rounded one", "pow", ("2", "0.5"), Options(10_000, None, True)),
        Case("the largest precision on an exact result", "pow", ("2", "10"), precise),
        Case("100 characters, rounded", "pow", ("7" * 49, "0." + "3" * 48), Options(100)),
        Case("100 characters close to 1", "pow", ("1." + "0" * 70 + "1", "0.3"), Options(100)),
        Case("100 characters, a fraction", "pow", ("7" * 49, "-49")),
        Case("an index of 100 characters", "factorial", ("7" * 100,)),
        Case("an index of 100 characters", "fibonacci", ("7" * 100,)),
        Case("100 characters, summary", "pow", ("7" * 49, "3" * 49), summary),
        Case("100 characters, mod", "pow", ("7" * 33, "3" * 33), Options(modulus="9" * 33)),
        Case("100 characters, mod", "fibonacci", ("7" * 50,), Options(modulus="9" * 50)),
    ]


# For each operation except fibonacci, factorial and pow: the most digits of a random operand, if the whole value is
# computed.
LONGEST = {
    "binomial": 6, "catalan": 6, "factorize": 40, "gcd": 10_000, "iroot": 10_000, "isprime": 250, "lcm": 10_000,
    "lucas": 7, "modinverse": 10_000, "nextprime": 150, "primorial": 7,
}  # fmt: skip
KINDS = ("value", "mod", "summary", "precision")


class Drawing:
    """A source of random calculations, with operands of all lengths and unusual forms."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def case(self, operation: str, kind: str) -> Case:
        """Return a random calculation. ``kind`` is one of ``KINDS``, but "precision" only for the operation pow."""
        if operation == "pow":
            return self._power(kind)
        if operation in LONGEST:
            if kind == "value":
                return Case("drawn", operation, self._operands(operation))
            n = self._random.randrange(10 ** self._length(18))
            literals = (str(n), str(self._random.randint(0, n)))[: 2 if operation == "binomial" else 1]
            smooth = self._random.choice([2, 3, 5, 10, 101, 30_011]) ** self._length(120)
            return Case("drawn", operation, literals, Options(modulus=str(smooth)))
        options = DEFAULT_OPTIONS
        longest = 8 if operation == "fibonacci" else 6
        if kind == "summary":
            return Case("drawn", operation, (self._natural(1_000),), Options(summary=True))
        if kind == "mod":
            options = Options(modulus=self._natural(10_000))
            longest = 10 if operation == "factorial" else 10_000
        literal = self._natural(10_000) if self._random.random() < 0.2 else self._natural(longest)
        return Case("drawn", operation, (literal,), options)

    def _operands(self, operation: str) -> tuple[str, ...]:
        """Return random operands for an operation in ``LONGEST``, so small that computing takes a few seconds."""
        longest = LONGEST[operation]
        if operation == "binomial":
            n = 10 ** (self._random.random() * longest)
            return str(int(n)), str(int(n * self._random.random()))
        first = self._natural(longest)
        if operation in ("gcd", "lcm"):
            return first, self._natural(longest)
        if operation == "iroot":
            return first, str(self._length(40_000))
        if operation == "modinverse":
            return first, str(gmp.mpz(self._natural(longest)) + 1)
        return (first,)

    def _power(self, kind: str) -> Case:
        if kind == "precision":
            y = f"{self._random.randint(0, 300)}.{self._natural(9_000)}"
            return Case("drawn", "pow", (self._natural(9_000), y), Options(self._length(10_000)))
        x = self._natural(10_000 if kind != "summary" else 900)
        if kind == "summary":
            return Case("drawn", "pow", (x, self._natural(90)), Options(summary=True))
        if kind == "mod":
            return Case("drawn", "pow", (x, self._natural(10_000)), Options(modulus=self._natural(10_000)))
        y = str(max(1, self._length(5_000_000) // len(x)))
        return Case("drawn", "pow", (x, self._random.choice(["", "-"]) + y))

    def _length(self, longest: int) -> int:
        """Return a random length whose logarithm is uniformly distributed."""
        return round(exp(self._random.random() * log(longest)))

    def _natural(self, longest: int) -> str:
        """Return a random natural number above 0 as text, of at most ``longest`` digits and in one of several forms."""
        length = self._length(longest)
        form = self._random.randrange(6)
        if form == 0:
            return "9" * length
        if form == 1:
            return text_of(10 ** (length - 1) + 1)
        if form == 2:
            return power_of(self._random.choice([2, 3, 5, 7, 1_000_003]), length)
        if form == 3:
            return text_of(primorial(length)).rjust(length, "0")
        return str(self._random.randint(1, 9)) + "".join(self._random.choices("0123456789", k=length - 1))


# Templates of long expressions. Letters in braces stand for random numbers, and ``{body}`` for the body of a loop.
_LONG_PARTS = (
    "{b}^{n}", "fibonacci({n})", "{s}!", "lucas({n})", "binomial({s}, {s} // 3)", "{b}^{n} // {c}^{s}",
    "{b}^{n} * {c}^{n}", "({b}^{n} + {c}) % ({c}^{s} + 1)", "({b}/{c})^{s}", "fibonacci({n})^3", "primorial({n})",
)  # fmt: skip
_LOOPS = (
    "sum(i, 1, {t}, {body})", "prod(i, 1, {t}, {body})", "sum(i, {t}, 2 * {t}, {body})",
    "sum(i, 1, {r}, sum(j, 1, i, {body} + j))",
)  # fmt: skip
_BODIES = (
    "i", "i^2", "i^{k}", "i * (i + 1) // 2", "{b}^i mod {m}", "i^{n} mod {m}", "fibonacci(i) mod {m}", "(i % 7) + 1",
    "i // 3 + {b}", "abs(i - {b}) + 1", "2 * i + 1", "max(i, {b})",
)  # fmt: skip
_LONG_BODIES = ("fibonacci(i)", "{b}^i", "i!", "binomial({r}, i)", "1/i", "i/(i + 1)", "1/{b}^i", "{b}^i // (i + 1)")
_RESIDUES = (
    "{b}^(10^{k}) mod {m}", "fibonacci(10^{k}) mod {m}", "({b}^{n} + {c}^{n} * {s}!) mod {m}", "{s}! mod {m}",
    "{b}^{c}^{n} mod {m}", "sum(i, 1, {t}, {b}^i) mod {m}", "({b}^{n} // {c}) mod {m}",
)  # fmt: skip


def long_expression(random: Random) -> str:
    """Return a random expression whose value takes about a millisecond to a second to compute."""

    def number(least: int, most: int) -> str:
        return str(round(exp(log(least) + random.random() * log(most / least))))

    def filled(form: str) -> str:
        letters = {
            "b": number(2, 1_000), "c": number(2, 1_000), "n": number(300, 300_000), "s": number(100, 20_000),
            "t": number(300, 100_000), "r": number(30, 600), "k": number(2, 60), "m": number(10**3, 10**30),
        }  # fmt: skip
        return form.format(**letters)

    kind = random.random()
    if kind < 0.35:
        parts = [filled(random.choice(_LONG_PARTS)) for _ in range(random.randint(1, 4))]
        return random.choice((" + ", " - ", " * ")).join(f"({part})" for part in parts)
    if kind < 0.65:
        return filled(random.choice(_LOOPS).replace("{body}", random.choice(_BODIES)))
    if kind < 0.8:
        return filled(random.choice(_LOOPS[:2]).replace("{body}", random.choice(_LONG_BODIES)).replace("{t}", "{s}"))
    return filled(random.choice(_RESIDUES))
