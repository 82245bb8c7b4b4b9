"""The parser of expressions, by recursive descent. Its errors have the position in the text (ADR 25).

Precedence, from loosest to tightest: comparison (at the top only); ``+ -``; ``mod``; ``* / // %``; unary ``+ -``;
``^``, from right to left; ``!``. A ``mod`` after a sum, or before another operator, needs parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pycalc.errors import InvalidInput
from pycalc.services.operations.expressions import nodes
from pycalc.services.operations.expressions.lexer import Token, separated_thousands, tokens
from pycalc.services.operations.expressions.nodes import Node, children
from pycalc.services.operations.expressions.problems import invalid
from pycalc.services.operations.numbers.literals import parse_rational

MOST_CHARACTERS = 10_000
MOST_DEPTH = 100  # nested parentheses and exponents
# Nested operations. Python 3.11 needs up to five levels of recursion to pickle each, and allows a thousand.
MOST_LEVELS = 150
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_LOOPS = frozenset({"sum", "prod"})
_AFTER_MOD = _COMPARISONS | {"", ")", ","}
# What is wrong with a token that is not expected, or with the end.
_UNEXPECTED = {
    "": "The expression ends here, but a ) is missing.",
    ",": "A comma only separates arguments: write 1000 or 1_000 for thousands, 2.5 for a decimal.",
    ")": "This ) closes no parenthesis: remove it, or open one before it.",
    **dict.fromkeys(_COMPARISONS, "A comparison must be the whole expression, not a part of it or in parentheses."),
    **dict.fromkeys(("number", "("), "An operator is missing here: write * for a product."),
}
_ZEROS = re.compile(",0[0-9]{2}(?![0-9])")  # the part of ``1,000`` after the first digit
_LONGEST_SHOWN = 64
_TOO_DEEP = (
    f"An expression has at most {MOST_DEPTH} parentheses and exponents, and {MOST_LEVELS} operations, within each "
    "other: write it with fewer levels."
)


def parse(text: str, functions: Mapping[str, nodes.Signature]) -> Node:
    """Return the tree of an expression, which may call the given functions. Raises InvalidInput with the position."""
    if len(text) > MOST_CHARACTERS:
        raise invalid(MOST_CHARACTERS, f"An expression has at most {MOST_CHARACTERS:,} characters.")
    root = _Parser(text, functions).whole()
    level = [root]
    for _ in range(MOST_LEVELS):
        level = [child for node in level for child in children(node)]
        if not level:
            return root
    raise invalid(level[0].position, _TOO_DEEP)


class _Parser:
    def __init__(self, text: str, functions: Mapping[str, nodes.Signature]) -> None:
        self._text = text
        self._functions = functions
        self._tokens = tokens(text)
        self._token = next(self._tokens)
        self._depth = -1  # so that the whole expression has depth 0
        self._in_arguments = False  # True while a comma separates arguments
        self._variables: list[str] = []
        self._alone: list[nodes.Call] = []  # the calls of functions whose values are not numbers

    def whole(self) -> Node:
        """Return the tree of the whole text. Raises InvalidInput unless all of it is one expression."""
        if self._token.kind == "end":
            raise self._error("The expression is empty: write one such as 2^100 - 1.")
        node = self._expression()
        if self._token.text in _COMPARISONS:
            operator = self._take()
            node = nodes.Comparison(operator.position, operator.text, node, self._expression())
            if self._token.text in _COMPARISONS:
                raise self._error("An expression has one comparison: write a second expression for the other.")
        if self._token.kind != "end":
            raise self._unexpected()
        for call in self._alone:
            if call is not node:
                detail = f"The value of {call.name} is no number to compute with: write {call.name}(...) alone."
                raise invalid(call.position, detail)
        return node

    def _take(self) -> Token:
        taken, self._token = self._token, next(self._tokens, self._token)
        return taken

    def _expect(self, text: str) -> None:
        if self._token.text != text:
            raise self._unexpected()
        self._take()

    def _error(self, detail: str) -> InvalidInput:
        return invalid(self._token.position, detail)

    def _unexpected(self) -> InvalidInput:
        text = "number" if self._token.kind in ("based", "decimal", "name") else self._token.text
        other = f"{text} is not expected here: remove it, or write what is missing before it."
        return self._error(_UNEXPECTED.get(text, other))

    def _expression(self) -> Node:
        """Parse a sum, or a product that ``mod`` may follow.

        Languages disagree on ``a + b mod m`` and on ``a mod m * b``, so both need parentheses.
        """
        self._enter()
        first = self._product()
        node = self._chain(first, "+-", self._product)
        if self._token.text == "mod":
            if node is not first:
                raise self._error("Put parentheses around what mod takes: (a + b) mod m, or a + (b mod m).")
            position = self._take().position
            node = nodes.Modulo(position, node, self._unary())
            if self._token.text not in _AFTER_MOD:
                raise self._error("Put parentheses around what mod takes: (a mod m) * b, or a mod (m * b).")
        self._depth -= 1
        return node

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise self._error(_TOO_DEEP)

    def _product(self) -> Node:
        return self._chain(self._unary(), "*/%", self._unary)

    def _chain(self, node: Node, operators: str, operand: Callable[[], Node]) -> Node:
        steps: list[nodes.Step] = []
        while self._token.kind == "operator" and self._token.text[0] in operators:
            operator = self._take()
            steps.append(nodes.Step(operator.position, operator.text, operand()))
        if not steps:
            return node
        position, is_sum = steps[0].position, operators == "+-"
        while isinstance(node, nodes.Chain) and node.is_sum == is_sum:  # (a + b) + c is the chain a + b + c
            steps = [*node.steps, *steps]
            node = node.first
        exact = max((index for index, step in enumerate(steps, 1) if step.operator in ("//", "%")), default=0)
        if 0 < exact < len(steps):
            node, steps = nodes.Chain(position, node, tuple(steps[:exact])), steps[exact:]
        return nodes.Chain(position, node, tuple(steps))

    def _unary(self) -> Node:
        """Parse signs, then an operand with its factorial and its exponent: ``-2^2`` is -(2^2)."""
        minuses = []
        while self._token.text in ("-", "+"):
            sign = self._take()
            if sign.text == "-":
                minuses.append(sign.position)
        node = self._primary()
        if self._token.text == "!":
            node = nodes.Call(self._take().position, "factorial", (node,))
            if self._token.text == "!":
                raise self._error("n!! has two meanings: write (n!)! for the factorial of a factorial.")
        if self._token.text in ("^", "**"):
            position = self._take().position
            self._enter()
            node = nodes.Exponentiation(position, node, self._unary())
            self._depth -= 1
        return nodes.Negation(minuses[0], node) if len(minuses) % 2 else node

    def _primary(self) -> Node:
        token = self._take()
        if token.kind in ("based", "decimal"):
            # 1 000 and 1,000 are refused as thousands. Among arguments, 1,200 is two numbers, but 1,000 is refused.
            following = self._token
            comma = following.text == "," and (not self._in_arguments or _ZEROS.match(self._text, following.position))
            if (following.kind == "decimal" or comma) and (error := separated_thousands(self._text, token.position)):
                raise error
            try:
                return nodes.Constant(token.position, parse_rational({"literal": token.text}, "literal"))
            except InvalidInput:
                raise invalid(token.position, "The exponent of a literal must be within ±10^18.") from None
        if token.text == "(":
            outside, self._in_arguments = self._in_arguments, False
            node = self._expression()
            self._in_arguments = outside
            self._expect(")")
            return node
        if token.kind == "name" and token.text != "mod":
            return nodes.Variable(token.position, token.text) if token.text in self._variables else self._named(token)
        if token.kind == "end":
            raise invalid(token.position, "The expression ends here, but a number is missing.")
        raise invalid(token.position, f"A number is missing before {token.text}: write one.")

    def _named(self, name: Token) -> Node:
        if name.text not in self._functions and name.text not in _LOOPS:
            known = ", ".join(sorted([*self._functions, *_LOOPS]))
            shown = name.text[:_LONGEST_SHOWN]
            raise invalid(name.position, f"There is no function or variable {shown}: the functions are {known}.")
        if self._token.text != "(":
            raise self._error(f"{name.text} is a function: write its arguments in parentheses.")
        self._take()
        outside, self._in_arguments = self._in_arguments, True
        node = self._loop(name) if name.text in _LOOPS else self._call(name)
        self._in_arguments = outside
        return node

    def _call(self, name: Token) -> Node:
        arguments = []
        if self._token.text != ")":
            arguments.append(self._expression())
            while self._token.text == ",":
                self._take()
                arguments.append(self._expression())
        self._expect(")")
        least, most, numeric = self._functions[name.text]
        if len(arguments) < least or (most is not None and len(arguments) > most):
            wanted = f"{least}" if most == least else f"at least {least}"
            plural = "" if least == 1 else "s"
            raise invalid(name.position, f"{name.text} takes {wanted} argument{plural}, not {len(arguments)}.")
        if name.text == "pow":
            return nodes.Exponentiation(name.position, arguments[0], arguments[1])
        call = nodes.Call(name.position, name.text, tuple(arguments))
        if not numeric:
            self._alone.append(call)
        return call

    def _loop(self, name: Token) -> Node:
        variable = self._take()
        taken = variable.text in self._functions or variable.text in _LOOPS or variable.text == "mod"
        if variable.kind != "name" or taken or len(variable.text) > _LONGEST_SHOWN:
            detail = f"{name.text} needs the name of its variable first, as in {name.text}(i, 1, 100, i^2)."
            raise invalid(variable.position, detail)
        self._expect(",")
        first = self._expression()
        self._expect(",")
        last = self._expression()
        self._expect(",")
        self._variables.append(variable.text)
        body = self._expression()
        self._variables.pop()
        self._expect(")")
        return nodes.Loop(name.position, name.text, variable.text, first, last, body)
