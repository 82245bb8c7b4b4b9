"""The canonical text of an expression. Spaces, needless parentheses and notation do not change the canonical text."""

from __future__ import annotations

from pycalc.services.operations.expressions import nodes
from pycalc.services.operations.expressions.nodes import Node

# Levels of precedence, from the loosest: sums, signs, ``mod`` and comparisons are at the loosest level.
_LOOSE, _PRODUCT, _POWER, _FACTORIAL, _ATOM = range(5)


def canonical(node: Node, least: int = _LOOSE) -> str:
    """Return the canonical text of a tree, in parentheses if its precedence is below ``least``.

    A compound exponent keeps parentheses that precedence does not require, because languages disagree on ``a^b^c``.
    """
    match node:
        case nodes.Constant():
            return node.value.text()
        case nodes.Variable():
            return node.name
        case nodes.Loop(_, name, variable, first, last, body):
            return f"{name}({variable}, {canonical(first)}, {canonical(last)}, {canonical(body)})"
        case nodes.Call(_, name, arguments) if name != "factorial":
            return f"{name}({', '.join(map(canonical, arguments))})"
        case _:  # two calls for each level, so that the deepest tree stays within the interpreter's limit of recursion
            text, tightness = _operation(node)
            return text if tightness >= least else f"({text})"


def _operation(node: Node) -> tuple[str, int]:
    """Return the text of an operator (or ``!``) with its operands, and its precedence."""
    match node:
        case nodes.Chain():
            operand = _PRODUCT if node.is_sum else _POWER
            # A minus binds tighter than the operators of a chain, so a first operand such as -a needs no parentheses.
            text = canonical(node.first, _LOOSE if isinstance(node.first, nodes.Negation) else _PRODUCT)
            for step in node.steps:
                text += f" {step.operator} {canonical(step.operand, operand)}"
            return text, _LOOSE if node.is_sum else _PRODUCT
        case nodes.Exponentiation(_, base, exponent):
            negative = isinstance(exponent, nodes.Negation) and isinstance(exponent.operand, nodes.Constant)
            return f"{canonical(base, _FACTORIAL)}^{canonical(exponent, _LOOSE if negative else _ATOM)}", _POWER
        case nodes.Call():
            return f"{canonical(node.arguments[0], _ATOM)}!", _FACTORIAL
        case nodes.Modulo(_, operand, modulus):
            least = _LOOSE if isinstance(operand, nodes.Negation) else _PRODUCT
            return f"{canonical(operand, least)} mod {canonical(modulus, _POWER)}", _LOOSE
        case nodes.Comparison(_, operator, left, right):
            return f"{canonical(left)} {operator} {canonical(right)}", _LOOSE
        case nodes.Negation(_, operand):
            return f"-{canonical(operand, _POWER)}", _LOOSE
    raise TypeError(f"{type(node).__name__} is no operation")
