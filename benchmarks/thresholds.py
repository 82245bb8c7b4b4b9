"""Measure most constants of ``operations/numbers/thresholds.py``.

They are the sizes from which ``decimal`` is faster than GMP, and the seconds that results of given sizes take. Run
``python benchmarks/thresholds.py`` on a quiet machine, and copy what it prints to that file. Alternatives run in turn
and are compared by their medians, so that a busy moment of the machine affects all of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pycalc.services.operations.base import Operation
from pycalc.services.operations.factorial.operation import Factorial, factorial_decimal
from pycalc.services.operations.factorial.residue import factorial_by_steps, largest_inverted
from pycalc.services.operations.fibonacci import Fibonacci, fibonacci_decimal
from pycalc.services.operations.numbers.gmp import gmp, mpz, text_of
from pycalc.services.operations.numbers.modular import fibonacci_residue, random_prime
from pycalc.services.operations.power.exact_text import power_decimal
from tests.harness.mission import THREE

Task = Callable[[], object]

MAX_LEVELS = 8
TARGET_SECONDS = 0.6
LOG_3 = 0.47712125472


def medians(tasks: Sequence[Task]) -> list[float]:
    """Return the median seconds of each task, over 3 to 200 rounds that take about TARGET_SECONDS for each task."""
    rounds: list[list[float]] = []
    deadline = time.perf_counter() + TARGET_SECONDS * len(tasks)
    while len(rounds) < 3 or (time.perf_counter() < deadline and len(rounds) < 200):
        rounds.append([seconds(task) for task in tasks])
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def seconds(task: Task) -> float:
    """Return the seconds that one run of a task takes."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def fibonacci_tasks(n: int) -> tuple[int, Task, Callable[[int], Task]]:
    """Return the number of digits of F(n), a task that computes F(n) by GMP, and a maker of tasks that use ``decimal``.

    The maker takes a number k. Its task uses ``decimal`` instead of GMP for the last k doublings.
    """
    return (
        Fibonacci().digits(n),
        lambda: gmp.fib(n).digits().encode(),
        lambda levels: lambda: str(fibonacci_decimal(n, levels)).encode(),
    )


def factorial_tasks(n: int) -> tuple[int, Task, Callable[[int], Task]]:
    """Return the number of digits of n!, a task that computes n! by GMP, and a maker of tasks that use ``decimal``.

    The maker takes a number k. Its task uses ``decimal`` instead of GMP for the last k squarings.
    """
    return (
        Factorial().digits(n),
        lambda: gmp.fac(n).digits().encode(),
        lambda levels: lambda: factorial_decimal(n, levels),
    )


def power_tasks(n: int) -> tuple[int, Task, Callable[[int], Task]]:
    """Return the number of digits of 3^n, a task that computes 3^n by GMP, and a maker of tasks that use ``decimal``.

    The maker takes a number k. Its task uses ``decimal`` instead of GMP for the last k squarings.
    """
    return (
        int(n * LOG_3) + 1,
        lambda: (mpz(3) ** n).digits().encode(),
        lambda levels: lambda: str(power_decimal(3, n, levels)).encode(),
    )


def switch_over(name: str, tasks: Callable[[int], tuple[int, Task, Callable[[int], Task]]], sizes: list[int]) -> None:
    """Print the time of ``decimal`` divided by GMP's for each size, and the size from which ``decimal`` is faster."""
    threshold = 0
    for n in sizes:
        digits, by_gmp, by_decimal = tasks(n)
        base, *others = medians([by_gmp, *(by_decimal(levels) for levels in range(1, MAX_LEVELS + 1))])
        ratios = [other / base for other in others]
        threshold = 0 if min(ratios) > 1 else threshold or digits
        shown = " ".join(f"{ratio:5.2f}" for ratio in ratios)
        best = ratios.index(min(ratios)) + 1
        print(f"{name} n={n:>9} digits={digits:>9} gmp={base:.5f}s decimal/gmp: {shown} best seed {digits >> best}")
    print(f"{name.upper()}_DECIMAL_DIGITS = {threshold}\n")


def costs(name: str, raws: list[dict[str, str]], precisions: Sequence[int] = (50,)) -> None:
    """Print pairs: the number of digits of a result, and the seconds to compute and verify it.

    ``name`` is the operation's. Each of ``raws`` maps the names of the operands to their texts. Each is computed with
    each of ``precisions``.
    """
    operation = THREE[name]
    points = []
    for raw in raws:
        args = operation.parse(raw)
        for precision in precisions:
            task = partial(checked, operation, args, precision)
            points.append((operation.estimate(args, precision).digits, float(f"{medians([task])[0]:.2g}")))
    print(f"{name}: {tuple(points)}")


def checked(operation: Operation[Any], args: Any, precision: int) -> bool:
    """Compute one result, and return whether it passes its verification."""
    return operation.verify(args, precision, operation.compute(args, precision), random_prime())


def residues() -> None:
    """Print the seconds for n! mod p by ``factorial_by_steps``, and by computing n! with GMP and dividing once."""
    prime = random_prime()
    for n in (500, 1_000, 2_000, 4_000, 8_000, 10**5, 10**6, 10**7):
        steps, product = medians([partial(factorial_by_steps, n, prime), partial(product_residue, n, prime)])
        print(f"n={n}: by steps {steps:.2g}s = sqrt(n)·{steps / n**0.5:.2g}, GMP's product {product:.2g}s")


def residues_by_bits() -> None:
    """Print the seconds that residues take, by bits of the modulus.

    The seconds are per step for n!, per bit of n for F(n), and per bit of the exponent for a power.
    """
    n, exponent, steps = 10**6, 2**1_000 - 1, 1_000.0
    for bits in (61, 200, 600, 1_000, 2_000, 4_000, 8_000, 33_000):
        modulus = int(gmp.next_prime(2**bits)) if bits <= 1_000 else 2**bits // 3 * 2 + 1
        while gmp.gcd(modulus, gmp.primorial(largest_inverted(n))) > 1:
            modulus += 2
        factorial, fibonacci, power = medians(
            [
                partial(factorial_by_steps, n, modulus),
                partial(fibonacci_residue, exponent, modulus),
                partial(gmp.powmod, modulus // 3, exponent, modulus),
            ]
        )
        print(f"{bits} bits: n! {factorial / steps:.2g}, F {fibonacci / 1_000:.2g}, power {power / 1_000:.2g}")


def summaries() -> None:
    """Print the seconds for a summary (size, first and last digits) of F(n), n! and 3^n, by bits of n."""
    for bits in (64, 330, 1_000, 3_300, 10_000, 33_200):
        digits = text_of(2**bits // 3)[:9_999]
        raws = {"fibonacci": {"n": digits}, "factorial": {"n": digits}, "pow": {"x": "3", "y": digits}}
        tasks = [partial(THREE[name].summary, THREE[name].parse(raw)) for name, raw in raws.items()]
        print(f"summaries, {bits} bits:", ", ".join(f"{median:.2g}" for median in medians(tasks)))


def product_residue(n: int, prime: int) -> int:
    """Return n! mod a prime, by computing n! itself."""
    return int(gmp.fac(n) % prime)


def main() -> None:
    """Run all measurements, which takes some minutes."""
    switch_over("fibonacci", fibonacci_tasks, [5 * 10**5, 10**6, 15 * 10**5, 2 * 10**6, 3 * 10**6, 5 * 10**6, 10**7])
    switch_over("power", power_tasks, [10**5, 2 * 10**5, 4 * 10**5, 8 * 10**5, 1_600_000, 3_200_000, 6_400_000])
    switch_over("factorial", factorial_tasks, [20_000, 40_000, 60_000, 80_000, 120_000, 250_000, 500_000, 10**6])
    costs("fibonacci", [{"n": str(n)} for n in (100, 5_000, 50_000, 10**6, 10**7, 10**8)])
    costs("pow", [{"x": "3", "y": str(n)} for n in (100, 2_000, 20_000, 400_000, 4_000_000, 43_800_000)])
    costs("factorial", [{"n": str(n)} for n in (50, 500, 3_000, 10**5, 10**6, 3_500_000)])
    costs("pow", [{"x": "2.5", "y": "0.3"}], (50, 500, 1_000, 3_000, 10_000))
    residues()
    residues_by_bits()
    summaries()


if __name__ == "__main__":
    main()
