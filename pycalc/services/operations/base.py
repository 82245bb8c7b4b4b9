"""The interfaces of operations, from which routes, documentation and the console's forms are made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from pycalc.errors import DomainError, FieldProblem, InvalidInput, VerificationFailed
from pycalc.services.operations.numbers.gmp import text_of
from pycalc.services.operations.numbers.literals import MAX_LITERAL, shortened, size_of
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

    # The digits of the result's text, without the zeros before a rounded value, or an upper bound. May be 0 if the
    # result is no number.
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
    """The verified text of a result."""

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
    numeric: ClassVar[bool] = True  # False if the result is JSON text, which has no base and is no value of expressions

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
        """Return whether planning for these short literals, with ``modulo`` for a residue, takes far below 1 ms."""

    def steps(self, args: ArgsT, precision: int) -> Iterator[bytes] | None:
        """Return an iterator over partial results and finally the result, or None if there are no partial results.

        At its deadline, a request returns the last partial result. The caller must check the final result with
        ``verified``.
        """
        return None

    @abstractmethod
    def verified(self, args: ArgsT, precision: int, text: bytes, *, exact: bool) -> Verified:
        """Return a computed text. ``exact`` is the estimate's. Raises VerificationFailed if the text is wrong."""

    @abstractmethod
    def result(self, args: ArgsT, precision: int, *, exact: bool) -> Verified:
        """Compute, verify and return the result. ``exact`` is the estimate's.

        Raises VerificationFailed, and DomainError or ResultTooLarge if only the computation shows these.
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

    def residue(self, args: ArgsT, precision: int, prime: int) -> int | None:
        """Return the result modulo ``prime`` by a method independent of ``compute``, or None without such a method.

        Raises ZeroDivisionError in the negligible case that the method would divide by a multiple of ``prime``.
        """
        return None

    def verify(self, args: ArgsT, precision: int, text: bytes, prime: int) -> bool:
        """Return whether ``text`` is the result, by a method independent of ``compute``: here, by its ``residue``.

        ``prime`` is a random prime of 61 bits. If neither the text nor the result has over d digits, a wrong text
        passes for at most d/18 of the 2.7·10^16 such primes. If ``prime`` allows no residue, another is drawn.
        """
        try:
            return self._agrees(args, precision, text, prime)
        except ZeroDivisionError:
            return self.verify(args, precision, text, random_prime())

    def _agrees(self, args: ArgsT, precision: int, text: bytes, prime: int) -> bool:
        expected = self.residue(args, precision, prime)
        return expected is not None and digits_residue(text, prime) == expected

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
        """Return candidates, beside the ends of the ``ranges``, for the whole operands with the longest result."""
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
        """Return the count of the result's digits (not sign, point and slash) and its ends.

        Raises DomainError if the result is irrational.
        """

    @abstractmethod
    def summary_seconds(self, args: ArgsT) -> float:
        """Estimate the seconds for the summary of an exact result on one core, within a factor of about two."""


class Modular(Operation[ArgsT]):
    """An operation that can compute its result modulo a number (``?mod=``), mostly without the whole result."""

    # Up to this number of digits in each operand, ``plan_modulo`` takes only a fraction of a millisecond.
    quick_modulo_length: ClassVar[int] = 100

    @abstractmethod
    def plan_modulo(self, args: ArgsT, modulus: int) -> ResiduePlan:
        """Return the method and the cost of ``modulo``, for ``modulus`` >= 1.

        Raises InvalidInput (pointer ``/mod``) if ``modulus`` must be factored and would take too long.
        """

    @abstractmethod
    def modulo(self, args: ArgsT, modulus: int, method: Any = None) -> int:
        """Return the residue, from 0 to ``modulus`` - 1, by the ``method`` of ``plan_modulo``, called if it is None.

        Raises the errors of ``plan_modulo``, and DomainError if the result has no residue.
        """

    def is_quick(self, literals: tuple[str, ...], *, modulo: bool) -> bool:
        return not modulo or max(map(size_of, literals)) <= self.quick_modulo_length

    def has_residue(self, args: ArgsT, value: int, prime: int) -> bool:
        """Return whether ``value`` is the result modulo ``prime``. Raises the errors of ``residue``."""
        return self.residue(args, 1, prime) == value

    def result_modulo(self, args: ArgsT, modulus: int, method: Any) -> Verified:
        """Return the residue, verified if it is long. Raises VerificationFailed, and the errors of ``modulo``."""
        residue = self.modulo(args, modulus, method)
        text = text_of(residue).encode()
        while len(text) > VERIFIED_DIGITS:
            with suppress(ZeroDivisionError, DomainError):  # the prime divides a denominator: draw another one
                if self.verify_modulo(args, modulus, method, residue, random_prime()):
                    break
                given = f"{self.name}{str(self.input(args))[:200]} modulo {shortened(modulus)}"
                raise VerificationFailed(f"{given} did not agree with its residue")
        return Verified(text, True)

    def verify_modulo(self, args: ArgsT, modulus: int, method: Any, residue: int, prime: int) -> bool:
        """Return whether the result modulo ``modulus``·``prime`` has this ``residue``, and passes ``has_residue``.

        Raises ZeroDivisionError or DomainError in the negligible case that ``prime`` divides an operand.
        """
        wider = self.modulo(args, modulus * prime)
        return wider % modulus == residue and self.has_residue(args, wider % prime, prime)
