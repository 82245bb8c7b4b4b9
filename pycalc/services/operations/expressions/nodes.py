"""The nodes of an expression's tree. Each has the position of its operator or first character in the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from pycalc.services.operations.numbers.literals import RationalLiteral


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal."""

    position: int
    value: RationalLiteral


@dataclass(frozen=True, slots=True)
class Variable:
    """The variable of a surrounding ``sum`` or ``prod``."""

    position: int
    name: str


@dataclass(frozen=True, slots=True)
class Negation:
    """A unary minus."""

    position: int
    operand: Node


class Step(NamedTuple):
    """An operator of a chain, and the operand to its right."""

    position: int
    operator: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Chain:
    """A series of operations of one precedence, ``+ -`` or ``* / // %``, which are done from left to right.

    In ``a - b + c``, ``first`` is a, and the steps are ``- b`` and ``+ c``. A series of any length is one node, so that
    the tree is only as deep as the nesting in the text.
    """

    position: int
    first: Node
    steps: tuple[Step, ...]

    @property
    def is_sum(self) -> bool:
        """Return whether the operators are ``+`` and ``-``."""
        return self.steps[0].operator in "+-"


@dataclass(frozen=True, slots=True)
class Exponentiation:
    """A power, ``base ^ exponent``."""

    position: int
    base: Node
    exponent: Node


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function; ``n!`` is a call of ``factorial``."""

    position: int
    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """A sum or a product of ``body``, where the variable takes the integers from ``first`` to ``last``."""

    position: int
    name: Literal["sum", "prod"]
    variable: str
    first: Node
    last: Node
    body: Node


@dataclass(frozen=True, slots=True)
class Modulo:
    """The residue ``operand mod modulus``, from 0 to modulus - 1."""

    position: int
    operand: Node
    modulus: Node


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison, which can only be the root of a tree."""

    position: int
    operator: str
    left: Node
    right: Node


Node = Constant | Variable | Negation | Chain | Exponentiation | Call | Loop | Modulo | Comparison


def has_call(node: Node) -> bool:
    """Return whether a tree calls a function. A power is not a call."""
    return isinstance(node, Call) or any(map(has_call, children(node)))


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes directly below a node."""
    match node:
        case Negation(_, operand):
            return (operand,)
        case Chain(_, first, steps):
            return (first, *(step.operand for step in steps))
        case Exponentiation(_, left, right) | Modulo(_, left, right) | Comparison(_, _, left, right):
            return left, right
        case Call(_, _, arguments):
            return arguments
        case Loop():
            return node.first, node.last, node.body
    return ()


def exact_steps(node: Chain) -> int:
    """Return how many steps of a chain must be computed exactly, even if only the residue modulo m is wanted.

    These are all steps up to the last ``//`` or ``%``, which need the whole value to their left, not only its residue.
    The other operators can be applied to residues.
    """
    return max((index for index, step in enumerate(node.steps, 1) if step.operator in ("//", "%")), default=0)
