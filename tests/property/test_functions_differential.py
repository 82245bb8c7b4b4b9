"""Results of the operations on whole numbers, compared with PARI/GP on random and chosen operands."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from random import Random

import pytest

from pycalc.errors import DomainError
from pycalc.services.operations import OPERATIONS
from pycalc.services.operations.numbers.modular import random_prime
from pycalc.services.operations.numbers.texts import describe

# Each operation in PARI's language, which has no Lucas numbers: L(n) = F(n-1) + F(n+1).
PARI = {
    "binomial": "binomial({0}, {1})",
    "catalan": "binomial(2*{0}, {0}) / ({0} + 1)",
    "factorize": "factor({0})~",
    "gcd": "gcd({0}, {1})",
    # The floor of the k-th root of a negative n is -1 - floor(root of -n - 1).
    "iroot": (
        "my(n = {0}, k = {1}, r); if(n < 0 && k % 2 == 0, -1, "
        "r = if(n < 0, -1 - sqrtnint(-n - 1, k), sqrtnint(n, k)); [r, n - r^k])"
    ),
    "isprime": "isprime({0})",
    "lcm": "lcm({0}, {1})",
    "lucas": "fibonacci({0} - 1) + fibonacci({0} + 1)",
    "modinverse": "iferr(lift(Mod({0}, {1})^-1), E, -1)",
    "nextprime": "nextprime({0} + 1)",
    "primorial": "vecprod(primes([0, {0}]))",
}
# Strong pseudoprimes to several bases, Carmichael numbers, primes and squares of primes, and powers.
AWKWARD = (
    561, 3_215_031_751, 3_825_123_056_546_413_051, 318_665_857_834_031_151_167_461,
    3_317_044_064_679_887_385_961_981, 2**61 - 1, 2**89 - 1, 2**127 - 1, (2**61 - 1) ** 2, 2**64, 6**50, 10**20,
)  # fmt: skip


def drawn(name: str) -> Iterable[tuple[int, ...]]:
    """Return operands of one operation: random ones, and for most operations also small or unusual ones."""
    random = Random(19)  # noqa: S311  # operands, no secrets

    def wide(largest: int) -> int:
        common = random.choice([1, 1, 6, 2**70, 3**40])
        return random.choice([-1, 1, 0, 1]) * random.getrandbits(random.randint(1, largest)) * common

    if name in ("isprime", "nextprime", "factorize"):
        least, bits = (1, 80) if name == "factorize" else (0, 200)
        return [
            (n,)
            for n in (
                *range(least, 1_500),
                *AWKWARD,
                *(random.getrandbits(random.randint(11, bits)) for _ in range(300)),
            )
        ]
    if len(OPERATIONS[name].parameters) == 1:
        return [(n,) for n in (*range(200), *(random.randint(200, 4_000) for _ in range(300)))]
    if name == "iroot":
        small = [(n, k) for n in range(-30, 31) for k in range(1, 8)]
        powers = [(random.randint(-1_000, 1_000) ** k + d, k) for k in range(1, 40) for d in range(-2, 3)]
        return [*small, *powers, *((wide(3_000), random.randint(1, 60)) for _ in range(500)), (2**70, 71), (-9, 71)]
    if name == "binomial":
        small = [(random.randint(-40, 400), random.randint(-10, 420)) for _ in range(1_500)]
        return [*small, (10**18, 3), (10**30, 2), (-(10**30), 3), (10**9, 10**9 - 2), (2**61 + 5, 12_000)]
    pairs = [(wide(3_000), wide(3_000)) for _ in range(1_500)]
    return [(a, abs(b) + 1) for a, b in pairs] if name == "modinverse" else [*pairs, (0, 0), (0, 7), (-7, 0)]


def by_pari(name: str, cases: Iterable[tuple[int, ...]]) -> list[str]:
    """Return the results that PARI prints, one for each case."""
    program = "\n".join(f"print({PARI[name].format(*(f'({operand})' for operand in case))})" for case in cases)
    command = ["gp", "--quiet", "--fast", "--stacksize", "200M"]
    done = subprocess.run(command, input=program + "\n", capture_output=True, text=True, timeout=300, check=True)
    return done.stdout.splitlines()


def in_pari_form(text: str) -> str:
    """Return a result's text as PARI prints it."""
    if text in ("true", "false"):
        return "1" if text == "true" else "0"
    if text.startswith("{"):
        return "[{root}, {remainder}]".format(**json.loads(text))
    if not text.startswith("["):
        return text
    factors = json.loads(text)
    if not factors:
        return "[;]"
    rows = (", ".join(str(each[member]) for each in factors) for member in ("prime", "exponent"))
    return f"[{'; '.join(rows)}]"


@pytest.mark.parametrize("name", PARI)
def test_every_result_is_that_of_pari(name: str) -> None:
    """Each result equals PARI's, passes verification, and has no more digits than estimated."""
    operation = OPERATIONS[name]
    names = [parameter.name for parameter in operation.parameters]
    cases = list(drawn(name))
    for case, expected in zip(cases, by_pari(name, cases), strict=True):
        literals = dict(zip(names, map(str, case), strict=True))
        if expected == "-1" and name in ("modinverse", "iroot"):
            with pytest.raises(DomainError, match=r"no inverse|no real root"):
                operation.compute(operation.parse(literals), 50)
            continue
        args = operation.parse(literals)
        text = operation.compute(args, 50)
        assert in_pari_form(text.decode()) == expected, case
        assert operation.verify(args, 50, text, random_prime()), case
        assert describe(text).digits <= operation.estimate(args, 50).digits, case


@pytest.mark.parametrize("name", [name for name in PARI if name not in ("factorize", "iroot", "isprime")])
def test_a_wrong_result_is_noticed(name: str) -> None:
    """The verification rejects a result that is too large by one, has the wrong sign, or is not a number."""
    operation = OPERATIONS[name]
    names = [parameter.name for parameter in operation.parameters]
    for case in list(drawn(name))[100:200]:
        args = operation.parse(dict(zip(names, map(str, case), strict=True)))
        try:
            value = int(operation.compute(args, 50))
        except DomainError:
            continue
        for wrong in (str(value + 1), str(-value - 1), str(value * 10), "", "x"):
            if wrong != str(value):
                assert not operation.verify(args, 50, wrong.encode(), random_prime()), (case, wrong)


@pytest.mark.parametrize("wrong", [[(4, 1), (9, 1)], [(2, 2), (9, 1)], [(2, 2), (3, 1)], [(3, 2), (2, 2)], []])
def test_a_wrong_factorization_is_noticed(wrong: list[tuple[int, int]]) -> None:
    """The verification rejects factors that are not prime, have another product, or are out of order."""
    operation = OPERATIONS["factorize"]
    text = json.dumps([{"prime": prime, "exponent": exponent} for prime, exponent in wrong])
    assert not operation.verify(operation.parse({"n": "36"}), 50, text.encode(), random_prime())


@pytest.mark.parametrize(("root", "remainder"), [(9, 19), (11, -21), (10, 1), (10, -1), (-10, 0), (11, 0), (0, 100)])
def test_a_wrong_root_is_noticed(root: int, remainder: int) -> None:
    """The verification rejects a root that is too small or too large, and a wrong remainder."""
    operation = OPERATIONS["iroot"]
    text = json.dumps({"root": root, "remainder": remainder}).encode()
    assert not operation.verify(operation.parse({"n": "100", "k": "2"}), 50, text, random_prime())
    assert operation.verify(operation.parse({"n": "100", "k": "2"}), 50, b'{"root":10,"remainder":0}', random_prime())


def test_a_root_of_a_huge_degree_is_1() -> None:
    """The integer root of a huge degree is 1 for 1,000, and -1 for -1.

    For -2 the root is rounded down to -2, so that the remainder is huge, as the estimate says.
    """
    operation = OPERATIONS["iroot"]
    args = operation.parse({"n": "1000", "k": "1e30"})
    text = operation.compute(args, 50)
    assert json.loads(text) == {"root": 1, "remainder": 999}
    assert operation.verify(args, 50, text, random_prime())
    assert not operation.verify(args, 50, b'{"root":1,"remainder":998}', random_prime())
    minus_one = operation.parse({"n": "-1", "k": "1000001"})
    assert json.loads(operation.compute(minus_one, 50)) == {"root": -1, "remainder": 0}
    assert operation.estimate(operation.parse({"n": "-2", "k": str(10**300 + 1)}), 50).digits > 10**299
