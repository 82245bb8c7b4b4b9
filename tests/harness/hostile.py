"""Expressions that an attacker might send: deep, long, huge, slow, or not expressions at all."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tests.harness.expressions import draw_whole, written

ADVERSARIAL = (
    "9^9^9^9",
    "9^9^9^9 mod 97",
    "(9^9^9^9)! mod 97",
    "1/0",
    "(" * 10_000,
    ")" * 10_000,
    "-" * 10_000,
    "!" * 10_000,
    "1" * 10_001,
    "9" * 10_000 + "!",
    "9" * 9_000 + "^" + "9" * 900,
    "(" * 101 + "1" + ")" * 101,
    "2^" * 45 + "2 mod 7",
    "2^" * 99 + "3 mod 97",
    "2^" * 90 + "3 mod (10^38 + 7)",
    "fibonacci(" * 99 + "5" + ")" * 99,
    "factorial(" * 8 + "3" + ")" * 8,
    "sum(i, 1, 10^18, i)",
    "sum(i, -10^18, 10^18, i)",
    "sum(i, 1, 9, " * 7 + "i" + ")" * 7,
    "sum(i,1,10^6,sum(j,1,10^6,i*j))",
    "sum(i, 1, 10^6, fibonacci(i))",
    "sum(i, 1, 10^6, 1/i)",
    "sum(i, 1, 100, i^" + "7" * 400 + ") mod 97",
    "sum(i, 2^100, 2^100 + 10, 2^i)",
    "prod(i, 1, 10^6, i^1000)",
    "prod(i, 1, 10^6, i!)",
    "1e999999999999999999",
    "1e-999999999999999999",
    "1e999999999999999999 mod 7",
    "1e40000!",
    "(10^4000)!",
    "fibonacci(10^4000)",
    "(10^12)! mod (10^30 + 57)",
    "(10^18)! mod (2^89 - 1)",
    "999999999! mod (10^30 + 57)",
    "10^(10^9) - 10^(10^9)",
    "2^(2^30) % (2^(2^29) + 1)",
    "(3^(10^8) + 1) // (2^(10^8) - 1)",
    "(1/3)^(10^8) + (1/7)^(10^8)",
    "1/" * 4_999 + "3",
    "+".join(["9^9^5"] * 1_000),
    "max(" + ",".join(["fibonacci(10^6)"] * 600) + ")",
    "%".join(["(9^9^5)"] * 900),
    "1/" + "(1+1/" * 90 + "2" + ")" * 90,
    "1/" + "(1+1/" * 74 + "2" + ")" * 74,
    "2^0.5" + "+2^0.5" * 1_500,
    "floor(" * 98 + "2^0.5" + ")" * 98,
    "(2^0.5)^(10^9)",
    "(10^300000)^(1/3)",
    "sum(a,1,9,sum(a,1,9," + "+".join(["5935!/a"] * 9) + "))",
    "sum(a,1,9,sum(a,1,9," + "+".join(["1/a"] * 19) + "))",
    "(10^18)! mod 97",
    "((10^18)! + 1) mod 97",
    "(binomial(-(10^12), 5*10^8) + 1) mod 97",
    "binomial(10^18, 5*10^17) mod 97 + 1",
    "3^(1e20000) % 97",
    "2^0.5 - 2^0.5",
    "x" * 10_000,
    "\u00e9" * 10_000,
    "\ud800",
    "1 " * 5_000,
    "max(" + ",".join("1" * 4_990) + ")",
    "'; DROP TABLE history; --",
    "__import__('os').system('true')",
)
_PIECES = (
    *("0", "1", "2", "9", "10^9", "1e18", "0.5", "1/3", "0xFFFFFFFF", "1_000", "i", "x", "2^0.5", "9^9^9", "(10^50)"),
    *("+", "-", "*", "/", "//", "%", "^", "**", "!", " mod ", "==", "<", ",", "(", ")", "(", ")"),
    *("fibonacci(", "factorial(", "pow(", "abs(", "floor(", "min(", "sum(i, 1, 10^5, ", "prod(i, 1, 10^4, "),
)
_TOWERS = (
    *("{0}^{1}^{2}", "({0}^{1})! mod {2}", "{0}^({1}^{2}) % {1}"),
    *("fibonacci({0}^{1}) mod {2}", "({0}^{1})//({2}^{0})"),
)


def hostile(random: Random) -> Iterator[str]:
    """Yield expressions without end: first those written by hand, then random ones of several kinds."""
    yield from ADVERSARIAL
    while True:
        yield "".join(random.choices(_PIECES, k=random.randrange(1, 25)))
        yield written(draw_whole(random))
        operands = [str(random.randrange(2, 10 ** random.randrange(1, 20))) for _ in range(3)]
        yield random.choice(_TOWERS).format(*operands)
