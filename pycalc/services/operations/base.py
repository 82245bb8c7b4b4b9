"""The interface of an operation: adding one adds its routes, documentation and console form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from pycalc.errors import VerificationFailed
from pycalc.services.operations.numbers.literals import MAX_LITERAL, size_of
from pycalc.services.operations.numbers.modular import random_prime
from pycalc.services.operations.numbers.texts import residue_or_none

Kind = Literal["natural", "integer", "rational", "expression"]
View = Literal["value", "modulo", "summary"]
ArgsT = TypeVar("ArgsT")

_LONGEST_SHOWN = 200  # characters of the operands in a message
VERIFIED_DIGITS = 1_000  # longer results of operations are verified before they are returned


@dataclass(frozen=True, slots=True)
class Parameter:
    """One operand: its name in paths and JSON, the form of its literal, and an example for the documentation.

    ``longest`` is the most characters of its literal.
    """

    name: str
    kind: Kind
    description: str
    example: str
    longest: int = MAX_LITERAL


@dataclass(frozen=True, slots=True)
class Estimate:
    """The size and cost of a result, known before it is computed.

    ``digits`` counts the digit characters of the result's text: exactly, or at most that many.
    ``seconds`` is the time to compute and verify the result on one core, within a factor of about two. ``exact`` is
    False where the result is, or may be, rounded to ``precision`` significant digits. ``memory`` is what intermediate
    values take, in bytes.
    """

    digits: int
    seconds: float
    exact: bool
    memory: float = 0.0


@dataclass(frozen=True, slots=True)
class ResultSummary:
    """A result's size and ends.

    ``leading`` and ``trailing`` are the first and last (up to) 20 digit characters of its text: sign, point, slash and
    exponent are left out.
    """

    digits: int
    leading: str
    trailing: str
    exact: bool


class ResiduePlan(NamedTuple):
    """The cost of a residue: seconds on one core and bytes, each within a factor of about two.

    ``method`` is for ``modulo``: how planning chose to compute the residue.
    """

    seconds: float
    memory: float = 0.0
    method: Any = None


class Verified(NamedTuple):
    """The text of a verified result, and whether it is exact or rounded."""

    text: bytes
    exact: bool


class Calculable(ABC, Generic[ArgsT]):
    """A kind of calculation that a request names: an operation, or ``evaluate``.

    ``ArgsT`` is frozen, hashable and picklable. Instances hold no state; every method may be called from any thread or
    process. ``precision`` (1 to 10,000 significant digits) matters only where the result has no finite exact form.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]]
    default_precision: ClassVar[int] = 50
    # False: the result is no number but JSON text. It has no other base, and an expression has it at its top only.
    numeric: ClassVar[bool] = True

    @abstractmethod
    def parse(self, raw: Mapping[str, str]) -> ArgsT:
        """Return the arguments; raises InvalidInput (with pointers) or DomainError, when there is no real value."""

    @abstractmethod
    def input(self, args: ArgsT) -> dict[str, int | str]:
        """Return the arguments as canonical JSON values: integers within ±(2^53-1) as numbers, the rest as strings."""

    @abstractmethod
    def key(self, args: ArgsT, precision: int) -> str:
        """Return a canonical, bounded name of the result; equal for equal results of the same operation."""

    @abstractmethod
    def estimate(self, args: ArgsT, precision: int) -> Estimate:
        """Return the result's size and cost without the result; milliseconds at worst for any accepted arguments."""

    @abstractmethod
    def is_quick(self, literals: tuple[str, ...], *, modulo: bool) -> bool:
        """Return whether planning for short literals takes only a fraction of a millisecond."""

    @abstractmethod
    def result(self, args: ArgsT, precision: int, *, exact: bool) -> Verified:
        """Return the verified result; ``exact`` is that of the estimate.

        Raises VerificationFailed when the result does not agree with an independent residue.
        """


class Operation(Calculable[ArgsT]):
    """An exact function of a few literals: what each operation has.

    ``Summarisable`` and ``Modular`` are optional: a request for the ability that an operation lacks is refused, and the
    documentation does not offer it. ``IntegerOperation`` has the rest for operands that are whole numbers.
    """

    # A longer result is verified before it is returned: every result of an operation that has 0 here.
    verified_above: ClassVar[int] = VERIFIED_DIGITS

    @abstractmethod
    def compute(self, args: ArgsT, precision: int) -> bytes:
        """Return the result's text in ASCII: ``-123``, ``15.625``, ``p/q`` in lowest terms, or a rounded decimal.

        Where ``numeric`` is False, the text is ``true``, ``false``, or a list or object in JSON.
        """

    @abstractmethod
    def verify(self, args: ArgsT, precision: int, text: bytes, prime: int) -> bool:
        """Return whether ``text`` is the result, by a method independent of ``compute``.

        ``prime`` is a random one of 61 bits. A text that is not a result at all is none.
        """

    def residue(self, args: ArgsT, precision: int, prime: int) -> int | None:
        """Return the result modulo ``prime`` by a method independent of ``compute``; None where there is none.

        Raises ZeroDivisionError in the negligible case that ``prime`` divides an operand.
        """
        return None

    def is_quick(self, literals: tuple[str, ...], *, modulo: bool) -> bool:
        return True

    def result(self, args: ArgsT, precision: int, *, exact: bool) -> Verified:
        return self.verified(args, precision, self.compute(args, precision), exact=exact)

    def verified(self, args: ArgsT, precision: int, text: bytes, *, exact: bool) -> Verified:
        """Return a computed text as a result; raises VerificationFailed."""
        if len(text) > self.verified_above and not self.verify(args, precision, text, random_prime()):
            given = str(self.input(args))[:_LONGEST_SHOWN]
            raise VerificationFailed(f"{self.name}{given} did not agree with its residue")
        return Verified(text, exact and self.is_exact(text))

    def is_exact(self, text: bytes) -> bool:
        """Return whether nothing is missing from a result that is not rounded, such as the remainder of a root."""
        return True


class Stepwise(Operation[ArgsT]):
    """An operation that finds its result in parts: at the deadline, the parts found so far are known."""

    @abstractmethod
    def steps(self, args: ArgsT) -> Iterator[bytes]:
        """Yield what is found so far, in the form of a result, and at last the result."""

    def compute(self, args: ArgsT, precision: int) -> bytes:
        *_, text = self.steps(args)
        return text


class Summarisable(Operation[ArgsT]):
    """An operation that knows the size and the ends of a result without the result (``view=summary``)."""

    @abstractmethod
    def summary(self, args: ArgsT, precision: int) -> ResultSummary:
        """Return the result's size and ends without the result, certain to the last digit, in milliseconds."""

    @abstractmethod
    def summary_seconds(self, args: ArgsT) -> float:
        """Return how long ``summary`` of an exact result takes on one core, within a factor of about two."""


class ByResidue(Operation[ArgsT]):
    """An operation whose results are verified modulo a random prime."""

    @abstractmethod
    def residue(self, args: ArgsT, precision: int, prime: int) -> int | None: ...

    def verify(self, args: ArgsT, precision: int, text: bytes, prime: int) -> bool:
        """Return whether ``text`` agrees with the result's residue modulo ``prime``.

        A wrong text of d digits passes for at most d/18 of the 2.7·10^16 primes of 61 bits. A text that is not
        a number does not agree.
        """
        try:
            return self._agrees(args, precision, text, prime)
        except ZeroDivisionError:
            return self.verify(args, precision, text, random_prime())

    def _agrees(self, args: ArgsT, precision: int, text: bytes, prime: int) -> bool:
        expected = self.residue(args, precision, prime)
        return expected is not None and residue_or_none(text, prime) == expected


class Modular(ByResidue[ArgsT]):
    """An operation that knows a result modulo any number without the result (``?mod=``)."""

    # The most digits of an operand for which ``plan_modulo`` takes only a fraction of a millisecond.
    quick_modulo_length: ClassVar[int] = 100

    @abstractmethod
    def plan_modulo(self, args: ArgsT, modulus: int) -> ResiduePlan:
        """Return the method and the cost of ``modulo``; takes less than a second for any arguments."""

    @abstractmethod
    def modulo(self, args: ArgsT, modulus: int, method: Any = None) -> int:
        """Return the result modulo ``modulus``, from 0 to ``modulus`` - 1, without the result.

        ``method`` is that of ``plan_modulo``, which is called again without it. Raises InvalidInput (pointer ``/mod``)
        for a modulus below 1, and DomainError where the result has no residue.
        """

    def is_quick(self, literals: tuple[str, ...], *, modulo: bool) -> bool:
        return not modulo or max(map(size_of, literals)) <= self.quick_modulo_length

    def agrees_modulo(self, args: ArgsT, value: int, prime: int) -> bool:
        """Return whether ``value`` is an exact result's residue modulo ``prime``; raises what ``residue`` raises."""
        return self.residue(args, 1, prime) == value

    def modulo_agrees(self, args: ArgsT, modulus: int, method: Any, residue: int, prime: int) -> bool:
        """Compute the result modulo ``modulus``·``prime``, and return whether it agrees with both residues.

        Modulo ``modulus`` it must be ``residue``, and modulo ``prime`` what ``residue()`` returns.

        Raises ZeroDivisionError or DomainError in the negligible case that ``prime`` divides an operand.
        """
        wider = self.modulo(args, modulus * prime)
        return wider % modulus == residue and self.agrees_modulo(args, wider % prime, prime)
