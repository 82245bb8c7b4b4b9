"""The interfaces of operations. Routes, documentation and the console's forms are made from them."""

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
    """The size and cost of a result, known before it is computed.

    ``digits`` is the number of digit characters in the result's text, or an upper bound; it may be 0 where the result
    is not a number. ``seconds`` is the time to compute and verify the result on one core, within a factor of about two.
    ``exact`` is False where the result is, or may be, rounded to ``precision`` significant digits. ``memory`` is the
    size of intermediate values in bytes.
    """

    digits: int
    seconds: float
    exact: bool
    memory: float = 0.0


@dataclass(frozen=True, slots=True)
class ResultSummary:
    """The number of digits of a result, and its first and last digits.

    ``leading`` and ``trailing`` are the first and last (up to) 20 digit characters of its text. Sign, point, slash and
    exponent are left out.
    """

    digits: int
    leading: str
    trailing: str
    exact: bool


class ResiduePlan(NamedTuple):
    """The cost of a residue: ``seconds`` on one core and ``memory`` in bytes, each within a factor of about two.

    ``method`` is the algorithm that planning chose; it is to be passed to ``modulo``.
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

    ``ArgsT`` is frozen, hashable and picklable. Instances hold no state; every method may be called from any thread or
    process. ``precision`` is 1 to 10,000 significant digits, and matters only where the result has no finite exact
    form. ``evaluate`` refuses such a result if the precision is 0.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]]
    default_precision: ClassVar[int] = 50
    # False where the result is JSON text instead of a number. Such a result cannot be written in another base, and an
    # expression cannot compute with it.
    numeric: ClassVar[bool] = True

    @abstractmethod
    def parse(self, raw: Mapping[str, str]) -> ArgsT:
        """Return the arguments; raises InvalidInput (with pointers), or DomainError where there is no real value."""

    @abstractmethod
    def input(self, args: ArgsT) -> dict[str, int | str]:
        """Return the arguments as canonical JSON values: integers within ±(2^53-1) as numbers, the rest as strings."""

    @abstractmethod
    def key(self, args: ArgsT, precision: int) -> str:
        """Return the result's cache key, of bounded length: equal for equal arguments.

        ``precision`` is part of the key only where the result may depend on it.
        """

    @abstractmethod
    def estimate(self, args: ArgsT, precision: int) -> Estimate:
        """Estimate the size and cost of the result without computing it; for long operands, this takes up to 0.5 s.

        Raises DomainError or ResultTooLarge where that is certain beforehand.
        """

    @abstractmethod
    def is_quick(self, literals: tuple[str, ...], *, modulo: bool) -> bool:
        """Return whether planning takes only a fraction of a millisecond for these literals, which must be short.

        ``modulo`` is True for a request with ``?mod=``.
        """

    def steps(self, args: ArgsT, precision: int) -> Iterator[bytes] | None:
        """Return the partial results, in the form of a result, and finally the result; None where there are none.

        A request returns the last partial result at its deadline. The result is to be passed to ``verified``.
        """
        return None

    @abstractmethod
    def verified(self, args: ArgsT, precision: int, text: bytes, *, exact: bool) -> Verified:
        """Verify the text of a computed result, and return it; raises VerificationFailed."""

    @abstractmethod
    def result(self, args: ArgsT, precision: int, *, exact: bool) -> Verified:
        """Compute the result, verify it and return it; ``exact`` is that of the estimate.

        Operations verify only results longer than ``verified_above``. Raises VerificationFailed when the result fails
        its independent check, and DomainError or ResultTooLarge when the computation finds no value or a huge one.
        """


class Operation(Calculable[ArgsT]):
    """The base class of operations: functions of a few literals.

    ``Summarisable`` and ``Modular`` add optional abilities. A request for an ability that an operation lacks is
    refused, and the documentation does not offer it. ``IntegerOperation`` reads operands that are whole numbers.
    """

    # A result of more characters is verified before it is returned; 0 means every result.
    verified_above: ClassVar[int] = VERIFIED_DIGITS

    @abstractmethod
    def compute(self, args: ArgsT, precision: int) -> bytes:
        """Return the result's text in ASCII: ``-123``, ``15.625``, ``p/q`` in lowest terms, or a rounded decimal.

        Where ``numeric`` is False, the text is ``true``, ``false``, or a list or object in JSON. Raises DomainError
        where only the computation can show that there is no value.
        """

    @abstractmethod
    def verify(self, args: ArgsT, precision: int, text: bytes, prime: int) -> bool:
        """Return whether ``text``, which ``compute`` returned, is the result; the check is independent of ``compute``.

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
        """Verify a computed text if it is longer than ``verified_above``, and return it; raises VerificationFailed."""
        if len(text) > self.verified_above and not self.verify(args, precision, text, random_prime()):
            given = str(self.input(args))[:_LONGEST_SHOWN]
            raise VerificationFailed(f"{self.name}{given} did not agree with its residue")
        return Verified(text, exact and self.is_exact(text))

    def is_exact(self, text: bytes) -> bool:
        """Return whether a result that is not rounded is exact; an integer root with a remainder is not."""
        return True


class Stepwise(Operation[ArgsT]):
    """An operation that finds its result in steps, so that a request can return a partial result at its deadline."""

    @abstractmethod
    def steps(self, args: ArgsT, precision: int) -> Iterator[bytes]: ...

    def compute(self, args: ArgsT, precision: int) -> bytes:
        *_, text = self.steps(args, precision)
        return text


class Summarisable(Operation[ArgsT]):
    """An operation that finds the size and the first and last digits of its result on their own (``view=summary``)."""

    @abstractmethod
    def summary(self, args: ArgsT, precision: int) -> ResultSummary:
        """Return the number of digits and the first and last digits, each of them certain.

        Long results are not computed for this.
        """

    @abstractmethod
    def summary_seconds(self, args: ArgsT) -> float:
        """Estimate the seconds of ``summary`` of an exact result on one core, within a factor of about two."""


class ByResidue(Operation[ArgsT]):
    """An operation whose results are verified modulo a random prime."""

    @abstractmethod
    def residue(self, args: ArgsT, precision: int, prime: int) -> int | None: ...

    def verify(self, args: ArgsT, precision: int, text: bytes, prime: int) -> bool:
        """Return whether ``text`` agrees with the result's residue modulo ``prime``.

        A wrong text of d digits passes for at most d/18 of the 2.7·10^16 primes of 61 bits. The answer is False for a
        text that is not a number.
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

    # ``plan_modulo`` takes only a fraction of a millisecond for operands of at most so many digits.
    quick_modulo_length: ClassVar[int] = 100

    @abstractmethod
    def plan_modulo(self, args: ArgsT, modulus: int) -> ResiduePlan:
        """Return the method and the cost of ``modulo``; takes less than a second for any arguments.

        Raises InvalidInput (pointer ``/mod``) for a modulus below 1, or one that would take too long to factor.
        """

    @abstractmethod
    def modulo(self, args: ArgsT, modulus: int, method: Any = None) -> int:
        """Return the result modulo ``modulus``, from 0 to ``modulus`` - 1.

        ``method`` is that of the plan; if it is None, the residue is planned again. Raises what ``plan_modulo`` raises,
        and DomainError where the result has no residue.
        """

    def is_quick(self, literals: tuple[str, ...], *, modulo: bool) -> bool:
        return not modulo or max(map(size_of, literals)) <= self.quick_modulo_length

    def agrees_modulo(self, args: ArgsT, value: int, prime: int) -> bool:
        """Return whether ``value`` is an exact result's residue modulo ``prime``; raises what ``residue`` raises."""
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

        The result is computed modulo ``modulus``·``prime``. Modulo ``modulus`` it must be ``residue``, and modulo
        ``prime`` it must pass ``agrees_modulo``. Raises ZeroDivisionError or DomainError in the negligible case that
        ``prime`` divides an operand.
        """
        wider = self.modulo(args, modulus * prime)
        return wider % modulus == residue and self.agrees_modulo(args, wider % prime, prime)
