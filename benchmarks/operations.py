"""A benchmark of each operation (computed, verified and written), compared with bare calls of other libraries."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import flint
import gmpy2
from gmpy2 import mpz

from benchmarks.support.timing import timed
from pycalc.services.calculations.planning import Options, make_plan
from pycalc.services.compute.worker import execute
from pycalc.services.operations import CALCULATIONS

MAX_DIGITS = 25_000_000
TARGET = 1.2
TARGET_SECONDS = 0.01
ROUNDS = 5
BUDGET_SECONDS = 2.0  # for all rounds of a line whose calculation takes long
PARI_SECONDS = 0.2  # about how long PARI repeats a short call, because its clock counts milliseconds

_LONG = (2**33_000 // 7, 3**20_000 // 11)  # operands of about 10,000 digits, the longest allowed
_PRIME = 10**99 + 289
_SEMIPRIME = (10**19 + 51) * (10**20 + 39)


class Yardstick(NamedTuple):
    """Calls of other libraries that do the work of one operation; None for a library that is left out.

    If the result is a large number, the time of writing it in decimal is included.
    """

    gmpy2: Callable[..., object] | None
    flint: Callable[..., object] | None
    pari: str


YARDSTICKS: Mapping[str, Yardstick] = {
    "fibonacci": Yardstick(lambda n: gmpy2.fib(n).digits(), lambda n: str(flint.fmpz.fib_ui(n)), "Str(fibonacci({0}))"),
    "factorial": Yardstick(lambda n: gmpy2.fac(n).digits(), lambda n: str(flint.fmpz.fac_ui(n)), "Str(({0})!)"),
    "pow": Yardstick(lambda x, y: (mpz(x) ** y).digits(), lambda x, y: str(flint.fmpz(x) ** y), "Str({0}^{1})"),
    "binomial": Yardstick(
        lambda n, k: gmpy2.bincoef(n, k).digits(),
        lambda n, k: str(flint.fmpz.bin_uiui(n, k)),
        "Str(binomial({0}, {1}))",
    ),
    "catalan": Yardstick(
        lambda n: gmpy2.divexact(gmpy2.bincoef(2 * n, n), n + 1).digits(), None, "Str(binomial(2*{0}, {0})/({0}+1))"
    ),
    "lucas": Yardstick(lambda n: gmpy2.lucas(n).digits(), None, "Str(fibonacci({0}-1)+fibonacci({0}+1))"),
    "primorial": Yardstick(
        lambda n: gmpy2.primorial(n).digits(),
        lambda n: str(flint.fmpz.primorial_ui(n)),
        "Str(vecprod(primes([0, {0}])))",
    ),
    "gcd": Yardstick(
        lambda a, b: gmpy2.gcd(a, b).digits(), lambda a, b: str(flint.fmpz(a).gcd(flint.fmpz(b))), "Str(gcd({0}, {1}))"
    ),
    "lcm": Yardstick(
        lambda a, b: gmpy2.lcm(a, b).digits(), lambda a, b: str(flint.fmpz(a).lcm(flint.fmpz(b))), "Str(lcm({0}, {1}))"
    ),
    "iroot": Yardstick(
        lambda n, k: gmpy2.iroot_rem(mpz(n), k)[0].digits(),
        lambda n, k: str(flint.fmpz(n).root(k)),
        "sqrtnint({0}, {1})",
    ),
    "modinverse": Yardstick(lambda a, m: gmpy2.invert(a, m).digits(), None, "Str(lift(Mod({0}, {1})^-1))"),
    "isprime": Yardstick(None, lambda n: flint.fmpz(n).is_prime(), "isprime({0})"),
    "nextprime": Yardstick(
        None, lambda n: flint.fmpz(int(gmpy2.next_prime(n))).is_prime(), "my(p=nextprime({0}+1)); isprime(p)"
    ),
    "factorize": Yardstick(None, lambda n: flint.fmpz(n).factor(), "factor({0})"),
}
# Operands for a small result and, if the operation has such, for results of about 10^5 and 10^7 digits.
OPERANDS: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "fibonacci": ((100,), (478_500,), (47_850_000,)),
    "factorial": ((50,), (25_206,), (1_720_000,)),
    "pow": ((3, 100), (3, 209_590), (3, 20_959_000)),
    "binomial": ((50, 25), (332_000, 166_000), (33_200_000, 16_600_000)),
    "catalan": ((30,), (166_000,), (16_600_000,)),
    "lucas": ((100,), (478_500,), (47_850_000,)),
    "primorial": ((100,), (230_000,), (23_000_000,)),
    "gcd": ((1071, 462), _LONG),
    "lcm": ((21, 6), _LONG),
    "iroot": ((1_000_000, 3), (_LONG[0], 3)),
    "modinverse": ((3, 11), (2**33_000, 3**20_800)),
    "isprime": ((97,), (2**127 - 1,), (_PRIME,)),
    "nextprime": ((100,), (10**20,), (10**99,)),
    "factorize": ((360,), (10**20 - 1,), (_SEMIPRIME,)),
}
EXPRESSIONS: tuple[tuple[str, Callable[[], object], str], ...] = (
    ("2^100 - 1", lambda: (mpz(2) ** 100 - 1).digits(), "Str(2^100 - 1)"),
    ("3^209590 // 7^9000", lambda: (mpz(3) ** 209_590 // mpz(7) ** 9_000).digits(), "Str(3^209590 \\ 7^9000)"),
    ("3^20959000 + 1", lambda: (mpz(3) ** 20_959_000 + 1).digits(), "Str(3^20959000 + 1)"),
    ("sum(i, 1, 100000, i^2)", lambda: sum(mpz(i) ** 2 for i in range(1, 100_001)), "sum(i = 1, 100000, i^2)"),
    (
        "sum(i, 1, 100000, i^2 % 7)",
        lambda: sum(mpz(i) ** 2 % 7 for i in range(1, 100_001)),
        "sum(i=1, 100000, i^2 % 7)",
    ),
)


def operations() -> None:
    """Print the time of each operation in pycalc and in other libraries, and the ratio to the fastest library."""
    sys.set_int_max_str_digits(0)
    print(
        f"\n## Operations beside the best library's bare call (target {TARGET} above {TARGET_SECONDS * 1e3:.0f} ms)\n"
    )
    print("| calculation | digits | pycalc s | gmpy2 s | python-flint s | PARI/GP s | ratio to the best |")
    print("|---|---|---|---|---|---|---|")
    for name, cases in OPERANDS.items():
        yardstick = YARDSTICKS[name]
        for case in cases:
            calls = {
                library: partial(call, *case)
                for library, call in (("gmpy2", yardstick.gmpy2), ("flint", yardstick.flint))
                if call is not None
            }
            shown = ", ".join(_shown(operand) for operand in case)
            _line(f"{name} {shown}", name, tuple(map(str, case)), calls, yardstick.pari.format(*case))
    for text, call, pari in EXPRESSIONS:
        _line(f"`{text}`", "evaluate", (text,), {"gmpy2": call}, pari)


def _line(
    title: str, name: str, literals: tuple[str, ...], calls: Mapping[str, Callable[[], object]], pari: str
) -> None:
    options = Options(CALCULATIONS[name].default_precision)

    def calculated() -> Any:
        return execute(make_plan(MAX_DIGITS, name, literals, options).task)

    _, facts = calculated()
    rounds: list[dict[str, float]] = []
    while not rounds or (len(rounds) < ROUNDS and sum(map(sum, (each.values() for each in rounds))) < BUDGET_SECONDS):
        rounds.append({"pycalc": timed(calculated), **{library: timed(call) for library, call in calls.items()}})
    times = {library: statistics.median(each[library] for each in rounds) for library in rounds[0]}
    if shutil.which("gp"):
        times["pari"] = _pari_seconds(pari, times["pycalc"])
    ours = times.pop("pycalc")
    best = min(times.values())
    columns = " | ".join(f"{times[library]:.2g}" if library in times else "" for library in ("gmpy2", "flint", "pari"))
    missed = ", **missed**" if ours > TARGET_SECONDS and ours > TARGET * best else ""
    print(f"| {title} | {facts.digits} | {ours:.2g} | {columns} | **{ours / best:.2f}**{missed} |", flush=True)


def _pari_seconds(expression: str, about: float) -> float:
    """Return the seconds that PARI/GP takes for an expression, by its own clock; ``about`` is a guess in seconds."""
    times = max(1, round(PARI_SECONDS / max(about, 1e-6)))
    program = f"t = getwalltime(); for(k = 1, {times}, {expression}); print(getwalltime() - t);\n"
    command = ["gp", "--quiet", "--fast", "--stacksize", "2G"]
    done = subprocess.run(command, input=program, capture_output=True, text=True, check=True)
    return max(1.0, float(done.stdout.split()[-1])) / 1000 / times


def _shown(operand: int) -> str:
    text = str(operand)
    return text if len(text) <= 12 else f"({len(text)} digits)"
