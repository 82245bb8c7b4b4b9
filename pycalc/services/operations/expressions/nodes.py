"""The nodes of an expression's tree. Each has the position of its operator or first character in the text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pycalc.services.operations.numbers.literals import RationalLiteral


class Signature(NamedTuple):
    """The number of arguments that a function takes, and whether its value is a number."""

    least: int
    most: int | None  # None: no limit
    numeric: bool = True  # if False, the value is not a number, so a call must be the whole expression


# The functions of an expression that are not operations of the registry.
BUILT_IN: Mapping[str, Signature] = {
    **dict.fromkeys(("abs", "floor", "ceil", "round"), Signature(1, 1)),
    **dict.fromkeys(("min", "max"), Signature(1, None)),
}


class Constant(NamedTuple):
    """A literal."""

    position: int
    value: RationalLiteral


class Variable(NamedTuple):
    """The variable of a surrounding ``sum`` or ``prod``."""

    position: int
    name: str


class Negation(NamedTuple):
    """A unary minus."""

    position: int
    operand: Node


class Step(NamedTuple):
    """An operator of a chain, and the operand to its right."""

    position: int
    operator: str
    operand: Node


class Chain(NamedTuple):
    """A series of operations of one precedence, ``+ -`` or ``* / // %``, which are done from left to right.

    In ``a - b + c``, ``first`` is a, and the steps are ``- b`` and ``+ c``. A series of any length is one node, so that
    trees are not deep. Only after its last ``//`` or ``%`` a second node begins, whose ``first`` is the node before.
    """

    position: int
    first: Node
    steps: tuple[Step, ...]

    @property
    def is_sum(self) -> bool:
        """Return whether the operators are ``+`` and ``-``."""
        return self.steps[0].operator in "+-"


class Exponentiation(NamedTuple):
    """A power, ``base ^ exponent``."""

    position: int
    base: Node
    exponent: Node


class Call(NamedTuple):
    """A call of a function; ``n!`` is a call of ``factorial``."""

    position: int
    name: str
    arguments: tuple[Node, ...]


class Loop(NamedTuple):
    """A sum or a product of ``body``, where the variable takes the integers from ``first`` to ``last``."""

    position: int
    name: str  # ``sum`` or ``prod``
    variable: str
    first: Node
    last: Node
    body: Node


class Modulo(NamedTuple):
    """The residue ``operand mod modulus``, from 0 to modulus - 1."""

    position: int
    operand: Node
    modulus: Node


class Comparison(NamedTuple):
    """A comparison, which can only be the root of a tree."""

    position: int
    operator: str
    left: Node
    right: Node


Node = Constant | Variable | Negation | Chain | Exponentiation | Call | Loop | Modulo | Comparison


def tree(node: Node) -> Iterator[Node]:
    """Yield a node and all nodes below it."""
    yield node
    for child in children(node):
        yield from tree(child)


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


def needs_value(node: Node) -> bool:
    """Return whether a residue of a node's value is found from the whole value, not from residues of its operands.

    A chain with ``//`` or ``%`` needs it, and so do the functions that are not operations.
    """
    if isinstance(node, Chain):
        return node.steps[-1].operator in ("//", "%")
    return isinstance(node, Variable | Modulo | Comparison) or (isinstance(node, Call) and node.name in BUILT_IN)
