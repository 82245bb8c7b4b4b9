"""The interface of an operation: adding one adds its routes, documentation and console form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from pycalc.services.operations.numbers.modular import random_prime
from pycalc.services.operations.numbers.texts import residue_or_none

Kind = Literal["natural", "decimal"]
ArgsT = TypeVar("ArgsT")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One operand: its name in paths and JSON, the form of its literal, and an example for the documentation."""

    name: str
    kind: Kind
    description: str
    example: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """The size and cost of a result, known before it is computed.

    ``digits`` counts the digit characters of the result's text, exactly. ``seconds`` is the time of ``compute`` and
    ``verify`` together on one core, within a factor of about two. ``exact`` is False where the result is rounded to
    ``precision`` significant digits.
    """

    digits: int
    seconds: float
    exact: bool


@dataclass(frozen=True, slots=True)
class Summary:
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


class Operation(ABC, Generic[ArgsT]):
    """An exact function of one or two literals. ``ArgsT`` is frozen, hashable and picklable.

    Instances hold no state; every method may be called from any thread or process. ``precision`` (1 to 10,000
    significant digits) matters only where the result has no finite exact form.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]]
    # The longest literal for which ``plan_modulo`` takes only a fraction of a millisecond.
    quick_modulo_length: ClassVar[int] = 100

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
    def compute(self, args: ArgsT, precision: int) -> bytes:
        """Return the result's text in ASCII: ``-123``, ``15.625``, ``p/q`` in lowest terms, or a rounded decimal."""

    @abstractmethod
    def residue(self, args: ArgsT, precision: int, prime: int) -> int | None:
        """Return the result modulo ``prime`` by a method independent of ``compute``; None where there is none.

        Raises ZeroDivisionError in the negligible case that ``prime`` divides an operand.
        """

    @abstractmethod
    def summary(self, args: ArgsT, precision: int) -> Summary:
        """Return the result's size and ends without the result, certain to the last digit, in milliseconds."""

    @abstractmethod
    def summary_seconds(self, args: ArgsT) -> float:
        """Return how long ``summary`` of an exact result takes on one core, within a factor of about two."""

    @abstractmethod
    def plan_modulo(self, args: ArgsT, modulus: int) -> ResiduePlan:
        """Return the method and the cost of ``modulo``; takes less than a second for any arguments."""

    @abstractmethod
    def modulo(self, args: ArgsT, modulus: int, method: Any = None) -> int:
        """Return the result modulo ``modulus``, from 0 to ``modulus`` - 1, without the result.

        ``method`` is that of ``plan_modulo``, which is called again without it. Raises InvalidInput (pointer ``/mod``)
        for a modulus below 1, and DomainError where the result has no residue.
        """

    def verify(self, args: ArgsT, precision: int, text: bytes, prime: int) -> bool:
        """Return whether ``text`` agrees with the result's residue modulo ``prime``.

        A wrong text of d digits passes for at most d/18 of the 2.7·10^16 primes of 61 bits. A text that is not
        a number does not agree.
        """
        try:
            return self._agrees(args, precision, text, prime)
        except ZeroDivisionError:
            return self.verify(args, precision, text, random_prime())

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

    def _agrees(self, args: ArgsT, precision: int, text: bytes, prime: int) -> bool:
        expected = self.residue(args, precision, prime)
        return expected is not None and residue_or_none(text, prime) == expected
