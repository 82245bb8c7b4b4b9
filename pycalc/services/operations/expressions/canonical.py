"""The canonical text of an expression: equal for texts that differ in spaces, needless parentheses or notation only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pycalc.services.operations.expressions.nodes import (
    Call,
    Chain,
    Comparison,
    Loop,
    Modulo,
    Negation,
    Node,
    Number,
    Power,
    Variable,
)


def canonical(node: Node) -> str:
    """Return the text of a tree, which is read as the same tree.

    Exponents and the operand of ``mod`` keep parentheses that precedence would allow to leave out: readers disagree
    on them.
    """
    return _FORMS[type(node)](node)


def _atom(node: Node) -> str:
    """Return an operand's text, in parentheses unless it is a literal, a variable or a call."""
    return canonical(node) if isinstance(node, Number | Variable | Loop) or _is_call(node) else f"({canonical(node)})"


def _is_call(node: Node) -> bool:
    return isinstance(node, Call) and node.name != "factorial"


def _factor(node: Node) -> str:
    """Return the text of an operand of ``* / // %``, of ``mod`` or of a minus."""
    tight = isinstance(node, Power | Call)
    return canonical(node) if tight else _atom(node)


def _term(node: Node) -> str:
    """Return the text of an operand of ``+ -``."""
    product = isinstance(node, Chain) and not node.is_sum
    return canonical(node) if product else _factor(node)


def _call(node: Call) -> str:
    if node.name == "factorial":
        return f"{_atom(node.arguments[0])}!"
    return f"{node.name}({', '.join(map(canonical, node.arguments))})"


def _chain(node: Chain) -> str:
    operand = _term if node.is_sum else _factor
    # A minus binds tighter than all operators of a chain, so that the first operand needs no parentheses for it.
    first = canonical(node.first) if isinstance(node.first, Negation) else operand(node.first)
    return first + "".join(f" {step.operator} {operand(step.operand)}" for step in node.steps)


def _power(node: Power) -> str:
    base = canonical(node.base) if isinstance(node.base, Call) else _atom(node.base)
    exponent = canonical(node.exponent) if _is_negative_number(node.exponent) else _atom(node.exponent)
    return f"{base}^{exponent}"


def _is_negative_number(node: Node) -> bool:
    return isinstance(node, Negation) and isinstance(node.operand, Number)


def _loop(node: Loop) -> str:
    bounds = f"{canonical(node.first)}, {canonical(node.last)}"
    return f"{node.name}({node.variable}, {bounds}, {canonical(node.body)})"


def _modulo(node: Modulo) -> str:
    product = isinstance(node.operand, Chain) and not node.operand.is_sum
    operand = canonical(node.operand) if product or isinstance(node.operand, Negation) else _factor(node.operand)
    return f"{operand} mod {_factor(node.modulus)}"


_FORMS: dict[type, Callable[[Any], str]] = {
    Number: lambda node: node.value.text(),
    Variable: lambda node: node.name,
    Negation: lambda node: f"-{_factor(node.operand)}",
    Chain: _chain,
    Power: _power,
    Call: _call,
    Loop: _loop,
    Modulo: _modulo,
    Comparison: lambda node: f"{canonical(node.left)} {node.operator} {canonical(node.right)}",
}
