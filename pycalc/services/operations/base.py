"""The interfaces of operations, from which routes, documentation and the console's forms are made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from pycalc.errors import DomainError, VerificationFailed
from pycalc.services.operations.numbers.gmp import text_of
from pycalc.services.operations.numbers.literals import MAX_LITERAL, size_of
from pycalc.services.operations.numbers.modular import random_prime
from pycalc.services.operations.numbers.texts import residue_or_none

Kind = Literal["natural", "integer", "rational", "expression"]
View = Literal["value", "modulo", "summary"]
ArgsT = TypeVar("ArgsT")

_LONGEST_SHOWN = 200  # characters of the operands in a message
VERIFIED_DIGITS = 1_000  # longer results are verified before they are returned


@dataclass(frozen=True, slots=True)
class Parameter:
    """One operand: its name in paths and JSON, the form of its literal, and an example for the documentation.

    ``longest`` is the maximum length of the literal, in characters.
    """

    name: str
    kind: Kind
    description: str
    example: str
    longest: int = MAX_LITERAL


@dataclass(frozen=True, slots=True)
class Estimate:
    """The size and cost of a result, known before the result is computed.

    ``digits`` is the number of digits in the result's text, or an upper bound. It may be 0 if the result is not a
    number. ``seconds`` is the time to compute and verify the result on one core, within a factor of about two.
    ``exact`` is False if the result is, or may be, rounded to ``precision`` significant digits. ``memory`` is the size
    of intermediate values in bytes. The result is certainly at least 10^``least``, if ``least`` is not 0. If the
    operation has one parameter, this bound holds for all larger operands too.
    """

    digits: int
    seconds: float
    exact: bool
    memory: float = 0.0
    least: int = 0


@dataclass(frozen=True, slots=True)
class ResultSummary:
    """The number of digits of a result, and its first and last digits.

    ``leading`` and ``trailing`` are the first and last (up to) 20 digits of its text, without sign, point, slash and
    exponent.
    """

    digits: int
    leading: str
    trailing: str
    exact: bool


class ResiduePlan(NamedTuple):
    """The cost of a residue: ``seconds`` on one core and ``memory`` in bytes, each within a factor of about two.

    ``method`` is the algorithm that planning has chosen, and an argument of ``modulo``.
    """

    seconds: float
    memory: float = 0.0
    method: Any = None


class Verified(NamedTuple):
    """The text of a result, and whether it is exact.

    ``exact`` is False for a rounded number, and for an integer root with a remainder.
    """

    text: bytes
    exact: bool


class Calculable(ABC, Generic[ArgsT]):
    """A kind of calculation that a request names: an operation, or ``evaluate``.

    ``ArgsT`` is frozen, hashable and picklable. Instances have no state, so any thread or process may call each method.
    ``precision`` is 1 to 10,000 significant digits, and matters only if the result has no finite exact form. With a
    precision of 0, ``evaluate`` refuses such a result.
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
        """Return the arguments. Raises InvalidInput, with JSON pointers, or DomainError if there is no real value."""

    @abstractmethod
    def input(self, args: ArgsT) -> dict[str, int | str]:
        """Return the arguments as canonical JSON values: integers within ±(2^53-1) as numbers, the rest as strings."""

    @abstractmethod
    def key(self, args: ArgsT, precision: int) -> str:
        """Return the result's cache key, of bounded length, which is equal for equal arguments.

        The key contains ``precision`` only if the result may depend on it.
        """

    @abstractmethod
    def estimate(self, args: ArgsT, precision: int) -> Estimate:
        """Estimate the size and cost of the result without computing it. For long operands, this takes up to 0.5 s.

        Raises DomainError or ResultTooLarge if the result is certain to have no value or too many digits.
        """

    @abstractmethod
    def is_quick(self, literals: tuple[str, ...], *, modulo: bool) -> bool:
        """Return whether planning takes only a fraction of a millisecond for these literals, which must be short.

        ``modulo`` is set for a request with ``?mod=``.
        """

    def steps(self, args: ArgsT, precision: int) -> Iterator[bytes] | None:
        """Return an iterator over partial results and finally the result. Return None if there are no partial results.

        A request returns the last partial result at its deadline. The caller must check the result with ``verified``.
        """
        return None

    @abstractmethod
    def verified(self, args: ArgsT, precision: int, text: bytes, *, exact: bool) -> Verified:
        """Verify the text of a computed result, and return it. Raises VerificationFailed if the text is wrong."""

    @abstractmethod
    def result(self, args: ArgsT, precision: int, *, exact: bool) -> Verified:
        """Compute, verify and return the result. ``exact`` comes from the estimate.

        Operations verify only results longer than ``verified_above``. Raises VerificationFailed if the result fails its
        independent check. Raises DomainError or ResultTooLarge if the computation finds no value or a huge one.
        """


class Operation(Calculable[ArgsT]):
    """The base class of operations, which are functions of a few literals.

    ``Summarisable`` and ``Modular`` add optional abilities. If an operation lacks an ability, requests for it are
    refused and the documentation does not offer it. ``IntegerOperation`` reads operands that are whole numbers.
    """

    # A result of more characters is verified before it is returned; 0 means every result.
    verified_above: ClassVar[int] = VERIFIED_DIGITS

    @abstractmethod
    def compute(self, args: ArgsT, precision: int) -> bytes:
        """Return the result's text in ASCII: ``-123``, ``15.625``, ``p/q`` in lowest terms, or a rounded decimal.

        If ``numeric`` is False, the text is ``true``, ``false``, or a list or object in JSON. Raises DomainError if
        only the computation can show that there is no value.
        """

    @abstractmethod
    def verify(self, args: ArgsT, precision: int, text: bytes, prime: int) -> bool:
        """Return whether ``text``, which ``compute`` returned, is the result, by a method independent of ``compute``.

        ``prime`` is a random prime of 61 bits, for checks that compare residues.
        """

    def residue(self, args: ArgsT, precision: int, prime: int) -> int | None:
        """Return the result modulo ``prime`` by a method independent of ``compute``, or None if there is no method.

        Raises ZeroDivisionError in the negligible case that ``prime`` divides an operand.
        """
        return None

    def is_quick(self, literals: tuple[str, ...], *, modulo: bool) -> bool:
        return True

    def result(self, args: ArgsT, precision: int, *, exact: bool) -> Verified:
        return self.verified(args, precision, self.compute(args, precision), exact=exact)

    def verified(self, args: ArgsT, precision: int, text: bytes, *, exact: bool) -> Verified:
        """Return a computed text. Raises VerificationFailed if it is longer than ``verified_above`` and wrong."""
        if len(text) > self.verified_above and not self.verify(args, precision, text, random_prime()):
            given = str(self.input(args))[:_LONGEST_SHOWN]
            raise VerificationFailed(f"{self.name}{given} did not agree with its residue")
        return Verified(text, exact and self.is_exact(text))

    def is_exact(self, text: bytes) -> bool:
        """Return whether an unrounded result is exact: True, unless an operation overrides this.

        Only the integer root overrides it: a root with a remainder is not exact.
        """
        return True


class Stepwise(Operation[ArgsT]):
    """An operation that computes its result in steps, so that a request can return a partial result at its deadline."""

    @abstractmethod
    def steps(self, args: ArgsT, precision: int) -> Iterator[bytes]: ...

    def compute(self, args: ArgsT, precision: int) -> bytes:
        *_, text = self.steps(args, precision)
        return text


class Summarisable(Operation[ArgsT]):
    """An operation that can compute the size and the ends of its result without the result (``view=summary``)."""

    @abstractmethod
    def summary(self, args: ArgsT, precision: int) -> ResultSummary:
        """Return the exact number of digits and the exact first and last digits.

        A long result is not computed for this.
        """

    @abstractmethod
    def summary_seconds(self, args: ArgsT) -> float:
        """Estimate the seconds for the summary of an exact result on one core, within a factor of about two."""


class ByResidue(Operation[ArgsT]):
    """An operation whose results are verified modulo a random prime."""

    @abstractmethod
    def residue(self, args: ArgsT, precision: int, prime: int) -> int | None: ...

    def verify(self, args: ArgsT, precision: int, text: bytes, prime: int) -> bool:
        """Return whether ``text`` has the same residue modulo ``prime`` as the result.

        A wrong text of d digits passes for at most d/18 of the 2.7·10^16 primes of 61 bits. For a text that is not a
        number, return False.
        """
        try:
            return self._agrees(args, precision, text, prime)
        except ZeroDivisionError:
            return self.verify(args, precision, text, random_prime())

    def _agrees(self, args: ArgsT, precision: int, text: bytes, prime: int) -> bool:
        expected = self.residue(args, precision, prime)
        return expected is not None and residue_or_none(text, prime) == expected


class Modular(ByResidue[ArgsT]):
    """An operation that computes its result modulo a number, mostly without the result itself (``?mod=``)."""

    # Up to this number of digits in each operand, ``plan_modulo`` takes only a fraction of a millisecond.
    quick_modulo_length: ClassVar[int] = 100

    @abstractmethod
    def plan_modulo(self, args: ArgsT, modulus: int) -> ResiduePlan:
        """Return the method and the cost of ``modulo``, in less than a second for any arguments.

        Raises InvalidInput (pointer ``/mod``) for a modulus below 1, or one that would take too long to factor.
        """

    @abstractmethod
    def modulo(self, args: ArgsT, modulus: int, method: Any = None) -> int:
        """Return the result modulo ``modulus``, from 0 to ``modulus`` - 1.

        ``method`` comes from the plan. If it is None, the residue is planned again. Raises the errors of
        ``plan_modulo``, and DomainError if the result has no residue.
        """

    def is_quick(self, literals: tuple[str, ...], *, modulo: bool) -> bool:
        return not modulo or max(map(size_of, literals)) <= self.quick_modulo_length

    def agrees_modulo(self, args: ArgsT, value: int, prime: int) -> bool:
        """Return whether ``value`` is the residue of an exact result modulo ``prime``.

        Raises the errors of ``residue``.
        """
        return self.residue(args, 1, prime) == value

    def result_modulo(self, args: ArgsT, modulus: int, method: Any) -> Verified:
        """Return the result modulo ``modulus``, verified if it has over VERIFIED_DIGITS digits.

        Raises VerificationFailed, and the errors of ``modulo``.
        """
        residue = self.modulo(args, modulus, method)
        text = text_of(residue).encode()
        while len(text) > VERIFIED_DIGITS:
            with suppress(ZeroDivisionError, DomainError):  # the prime divides a denominator: another will not
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
