"""The interfaces of operations, from which routes, documentation and the console's forms are made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from pycalc.errors import DomainError, FieldProblem, InvalidInput, VerificationFailed
from pycalc.services.operations.numbers.gmp import text_of
from pycalc.services.operations.numbers.literals import MAX_LITERAL, size_of
from pycalc.services.operations.numbers.modular import random_prime
from pycalc.services.operations.numbers.texts import Ends, digits_residue

Kind = Literal["natural", "positive", "integer", "rational", "expression"]
View = Literal["value", "modulo", "summary"]
ArgsT = TypeVar("ArgsT")
T = TypeVar("T")

VERIFIED_DIGITS = 1_000  # longer results are verified before they are returned


@dataclass(frozen=True, slots=True)
class Parameter:
    """One operand: its name in paths and JSON, the form of its literal, and an example for the documentation."""

    name: str
    kind: Kind
    description: str
    example: str
    longest: int = MAX_LITERAL  # characters of the literal


def parse_all(parameters: Iterable[Parameter], parse: Callable[[Parameter], T]) -> list[T]:
    """Return the results of ``parse`` for all parameters. Raises one InvalidInput with the problems of all of them."""
    values: list[T] = []
    problems: list[FieldProblem] = []
    for parameter in parameters:
        try:
            values.append(parse(parameter))
        except InvalidInput as error:
            problems += error.problems
    if problems:
        raise InvalidInput.of(*problems)
    return values


@dataclass(frozen=True, slots=True)
class Estimate:
    """The size and cost of a result, known before the result is computed."""

    # The digits of the result's text, an upper bound, or a number above every limit. May be 0 if the result is not a
    # number.
    digits: int
    seconds: float  # to compute and verify the result on one core, within a factor of about two
    exact: bool  # False if the result is, or may be, rounded to ``precision`` significant digits
    memory: float = 0.0  # bytes of intermediate values
    # If not 0, the result is at least 10^``least``. With one parameter, this holds for all larger operands too.
    least: int = 0


class ResiduePlan(NamedTuple):
    """The estimated cost of a residue, and the method to compute it."""

    seconds: float  # on one core, within a factor of about two
    memory: float = 0.0  # bytes, within a factor of about two
    method: Any = None  # the algorithm that planning has chosen, an argument of ``modulo``


class Verified(NamedTuple):
    """The text of a result, and whether it is exact."""

    text: bytes
    exact: bool  # False for a rounded number, and for an integer root with a remainder


class Calculable(ABC, Generic[ArgsT]):
    """A kind of calculation that a request names: an operation, or ``evaluate``.

    ``ArgsT`` is frozen, hashable and picklable. Instances never change, so any thread or process may call each method.
    ``precision`` is the number of significant digits, 1 to 10,000, of a result without a finite exact form. With the
    precision 0, which only ``evaluate`` takes, such a result is refused.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]]
    default_precision: ClassVar[int] = 50
    # False if the result is JSON text instead of a number. Such a result cannot be written in another base, and an
    # expression cannot compute with it.
    numeric: ClassVar[bool] = True

    @abstractmethod
    def parse(self, raw: Mapping[str, str]) -> ArgsT:
        """Return the arguments. Raises InvalidInput, with JSON pointers, or DomainError if they have no result."""

    @abstractmethod
    def input(self, args: ArgsT) -> dict[str, int | str]:
        """Return the arguments as canonical JSON values: integers within ±(2^53-1) as numbers, the rest as strings."""

    @abstractmethod
    def key(self, args: ArgsT, precision: int) -> str:
        """Return the result's cache key, of bounded length. Equal arguments with equal precisions have equal keys."""

    @abstractmethod
    def estimate(self, args: ArgsT, precision: int) -> Estimate:
        """Estimate the size and cost of the result without computing it.

        Raises DomainError if there is certainly no result, and InvalidInput for an operand that is accepted only with
        ``?mod=``. For an expression, raises ResultTooLarge if a part may be too large to compute, and DomainError if a
        loop may have too many terms.
        """

    @abstractmethod
    def is_quick(self, literals: tuple[str, ...], *, modulo: bool) -> bool:
        """Return whether planning for these literals, which must be short, takes only a fraction of a millisecond.

        ``modulo`` is set for a request with ``?mod=``.
        """

    def steps(self, args: ArgsT, precision: int) -> Iterator[bytes] | None:
        """Return an iterator over partial results and finally the result, or None if there are no partial results.

        Nothing is computed until the first item is taken. At its deadline, a request returns the last partial result.
        The caller must check the final result with ``verified``.
        """
        return None

    @abstractmethod
    def verified(self, args: ArgsT, precision: int, text: bytes, *, exact: bool) -> Verified:
        """Verify the text of a computed result, and return it. ``exact`` comes from the estimate.

        Raises VerificationFailed if the text is wrong.
        """

    @abstractmethod
    def result(self, args: ArgsT, precision: int, *, exact: bool) -> Verified:
        """Compute, verify and return the result. ``exact`` comes from the estimate.

        Raises VerificationFailed if the result fails its check. Raises DomainError or ResultTooLarge if the computation
        shows that there is no result, or that it is too large.
        """


class Operation(Calculable[ArgsT]):
    """An operation, which is a function of a few literals.

    ``Summarisable`` and ``Modular`` add optional abilities. If an operation lacks an ability, requests for it are
    refused and the documentation does not offer it. ``IntegerOperation`` reads operands that are whole numbers.
    """

    # A result of more characters is verified before it is returned; 0 means every result.
    verified_above: ClassVar[int] = VERIFIED_DIGITS

    @abstractmethod
    def compute(self, args: ArgsT, precision: int) -> bytes:
        """Return the result's text in ASCII: ``-123``, ``15.625``, ``p/q`` in lowest terms, or a rounded decimal.

        If ``numeric`` is False, the text is ``true``, ``false``, or a list or object in JSON. Raises DomainError if the
        computation shows that there is no result.
        """

    @abstractmethod
    def verify(self, args: ArgsT, precision: int, text: bytes, prime: int) -> bool:
        """Return whether ``text`` is the result, by a method independent of ``compute``.

        ``prime`` is a random prime of 61 bits, for checks that compare residues.
        """

    def residue(self, args: ArgsT, precision: int, prime: int) -> int | None:
        """Return the result modulo ``prime`` by a method independent of ``compute``, or None without such a method.

        Raises ZeroDivisionError in the negligible case that the method would divide by a multiple of ``prime``.
        """
        return None

    def is_quick(self, literals: tuple[str, ...], *, modulo: bool) -> bool:
        return True

    def result(self, args: ArgsT, precision: int, *, exact: bool) -> Verified:
        return self.verified(args, precision, self.compute(args, precision), exact=exact)

    def verified(self, args: ArgsT, precision: int, text: bytes, *, exact: bool) -> Verified:
        if len(text) > self.verified_above and not self.verify(args, precision, text, random_prime()):
            given = str(self.input(args))[:200]
            raise VerificationFailed(f"{self.name}{given} did not agree with its residue")
        return Verified(text, exact and self.is_exact(text))

    def longest_results(self, ranges: Sequence[tuple[int, int]]) -> Iterable[tuple[int, ...]]:
        """Return candidates for the operands with the longest result, if each operand is a whole number from its range.

        Override this only if operands between the ends of the ranges may have the longest result.
        """
        return ()

    def is_exact(self, text: bytes) -> bool:
        """Return whether an unrounded result counts as exact. Only an integer root with a remainder does not."""
        return True


class Stepwise(Operation[ArgsT]):
    """An operation that computes its result in steps, so that a request can return a partial result at its deadline."""

    @abstractmethod
    def steps(self, args: ArgsT, precision: int) -> Iterator[bytes]: ...

    def compute(self, args: ArgsT, precision: int) -> bytes:
        *_, text = self.steps(args, precision)
        return text


class Summarisable(Operation[ArgsT]):
    """An operation that offers ``view=summary``, which is found without computing a long result."""

    @abstractmethod
    def summary(self, args: ArgsT) -> Ends:
        """Return the number of digits of the result, and its first and last digits.

        Sign, point and slash are not digits. Raises DomainError if the result is irrational.
        """

    @abstractmethod
    def summary_seconds(self, args: ArgsT) -> float:
        """Estimate the seconds for the summary of an exact result on one core, within a factor of about two."""


class ByResidue(Operation[ArgsT]):
    """An operation whose results are verified modulo a random prime."""

    @abstractmethod
    def residue(self, args: ArgsT, precision: int, prime: int) -> int | None: ...

    def verify(self, args: ArgsT, precision: int, text: bytes, prime: int) -> bool:
        """Return whether ``text`` is a number with the same residue modulo ``prime`` as the result.

        If neither the text nor the result has over d digits, a wrong text passes for at most d/18 of the 2.7·10^16
        primes of 61 bits. If the residue cannot be found modulo ``prime``, another random prime is taken.
        """
        try:
            return self._agrees(args, precision, text, prime)
        except ZeroDivisionError:
            return self.verify(args, precision, text, random_prime())

    def _agrees(self, args: ArgsT, precision: int, text: bytes, prime: int) -> bool:
        expected = self.residue(args, precision, prime)
        return expected is not None and digits_residue(text, prime) == expected


class Modular(ByResidue[ArgsT]):
    """An operation that can compute its result modulo a number (``?mod=``), mostly without the whole result."""

    # Up to this number of digits in each operand, ``plan_modulo`` takes only a fraction of a millisecond.
    quick_modulo_length: ClassVar[int] = 100

    @abstractmethod
    def plan_modulo(self, args: ArgsT, modulus: int) -> ResiduePlan:
        """Return the method and the cost of ``modulo``, without computing the residue.

        ``modulus`` must be at least 1. Raises InvalidInput (pointer ``/mod``) if ``modulus`` must be factored and would
        take too long.
        """

    @abstractmethod
    def modulo(self, args: ArgsT, modulus: int, method: Any = None) -> int:
        """Return the result modulo ``modulus``, from 0 to ``modulus`` - 1.

        ``method`` comes from ``plan_modulo``, which is called if it is None. Raises the errors of ``plan_modulo``, and
        DomainError if the result has no residue.
        """

    def is_quick(self, literals: tuple[str, ...], *, modulo: bool) -> bool:
        return not modulo or max(map(size_of, literals)) <= self.quick_modulo_length

    def agrees_modulo(self, args: ArgsT, value: int, prime: int) -> bool:
        """Return whether ``value`` is the result modulo ``prime``. Raises the errors of ``residue``."""
        return self.residue(args, 1, prime) == value

    def result_modulo(self, args: ArgsT, modulus: int, method: Any) -> Verified:
        """Return the result modulo ``modulus``, verified if this residue has over VERIFIED_DIGITS digits.

        Raises VerificationFailed if the check fails, and the errors of ``modulo``.
        """
        residue = self.modulo(args, modulus, method)
        text = text_of(residue).encode()
        while len(text) > VERIFIED_DIGITS:
            with suppress(ZeroDivisionError, DomainError):  # the prime divides a denominator: draw another one
                if self.modulo_agrees(args, modulus, method, residue, random_prime()):
                    break
                given = f"{self.name}{self.input(args)} modulo {text_of(modulus)}"
                raise VerificationFailed(f"{given} did not agree with its residue")
        return Verified(text, True)

    def modulo_agrees(self, args: ArgsT, modulus: int, method: Any, residue: int, prime: int) -> bool:
        """Return whether ``residue`` is the result modulo ``modulus``.

        The result is computed modulo ``modulus``·``prime``. Its residue modulo ``modulus`` must be ``residue``, and its
        residue modulo ``prime`` must pass ``agrees_modulo``. Raises ZeroDivisionError or DomainError in the negligible
        case that ``prime`` divides an operand.
        """
        wider = self.modulo(args, modulus * prime)
        return wider % modulus == residue and self.agrees_modulo(args, wider % prime, prime)
